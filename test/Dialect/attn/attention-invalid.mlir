// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// RUN: fovea-opt %s -split-input-file -verify-diagnostics

// What attn.attention, its regions and attn.element refuse, one rule at a time.

// Tensors and memrefs.
func.func @f(%q: memref<2x4x8x16xf32>, %k: tensor<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>) {
  // expected-error@+1 {{mixes tensors and memrefs}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, tensor<2x6x2x16xf32>, memref<2x6x2x5xf32>)
      outs(%o : memref<2x4x8x5xf32>)
  return
}

// -----

// Results on memrefs.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>) {
  // expected-error@+1 {{expected 0 results, got 1}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x2x5xf32>)
      outs(%o : memref<2x4x8x5xf32>) -> tensor<2x4x8x5xf32>
  return
}

// -----

// A result of another type.
func.func @f(%q: tensor<2x4x8x16xf32>, %k: tensor<2x6x2x16xf32>, %v: tensor<2x6x2x5xf32>, %o: tensor<2x4x8x5xf32>) {
  // expected-error@+1 {{result type differs from its destination's}}
  %r = attn.attention ins(%q, %k, %v : tensor<2x4x8x16xf32>, tensor<2x6x2x16xf32>, tensor<2x6x2x5xf32>)
      outs(%o : tensor<2x4x8x5xf32>) -> tensor<2x4x8x6xf32>
  return
}

// -----

// One result per destination.
func.func @f(%q: tensor<2x4x8x16xf32>, %k: tensor<2x6x2x16xf32>, %v: tensor<2x6x2x5xf32>, %o: tensor<2x4x8x5xf32>) {
  // expected-error@+1 {{expected 1 results, got 0}}
  attn.attention ins(%q, %k, %v : tensor<2x4x8x16xf32>, tensor<2x6x2x16xf32>, tensor<2x6x2x5xf32>)
      outs(%o : tensor<2x4x8x5xf32>)
  return
}

// -----

// R1: outputs.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>, %l: memref<2x8x4xf32>, %x: memref<2x8x4xf32>) {
  // expected-error@+1 {{has the outputs o and, if asked, lse (rule R1)}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x2x5xf32>)
      outs(%o, %l, %x : memref<2x4x8x5xf32>, memref<2x8x4xf32>, memref<2x8x4xf32>)
  return
}

// -----

// S1: ranks.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>) {
  // expected-error@+1 {{q, k, v and o have 4 dimensions (rule S1)}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x16xf32>, memref<2x6x2x5xf32>)
      outs(%o : memref<2x4x8x5xf32>)
  return
}

// -----

// R1: rank of lse.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>, %l: memref<2x8xf32>) {
  // expected-error@+1 {{lse has the 3 dimensions batch, head, row (rule R1)}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x2x5xf32>)
      outs(%o, %l : memref<2x4x8x5xf32>, memref<2x8xf32>)
  return
}

// -----

// S1: head counts are static.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x?x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>) {
  // expected-error@+1 {{head counts must be static (rule S1)}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x?x16xf32>, memref<2x6x2x5xf32>)
      outs(%o : memref<2x4x8x5xf32>)
  return
}

// -----

// S1: query heads are a multiple.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x3x16xf32>, %v: memref<2x6x3x5xf32>, %o: memref<2x4x8x5xf32>) {
  // expected-error@+1 {{query heads (8) must be a multiple of kv heads (3) (rule S1)}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x3x16xf32>, memref<2x6x3x5xf32>)
      outs(%o : memref<2x4x8x5xf32>)
  return
}

// -----

// R4: widths are static.
func.func @f(%q: memref<2x4x8x?xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>) {
  // expected-error@+1 {{head widths must be static and at least 1 (rule R4)}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x?xf32>, memref<2x6x2x16xf32>, memref<2x6x2x5xf32>)
      outs(%o : memref<2x4x8x5xf32>)
  return
}

// -----

// R4: widths are at least 1.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x0xf32>, %o: memref<2x4x8x0xf32>) {
  // expected-error@+1 {{head widths must be static and at least 1 (rule R4)}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x2x0xf32>)
      outs(%o : memref<2x4x8x0xf32>)
  return
}

// -----

// S1: width of q and k.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x12xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>) {
  // expected-error@+1 {{q and k differ in head width: 16 and 12 (rule S1)}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x12xf32>, memref<2x6x2x5xf32>)
      outs(%o : memref<2x4x8x5xf32>)
  return
}

// -----

// S1: heads of k and v.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x4x5xf32>, %o: memref<2x4x8x5xf32>) {
  // expected-error@+1 {{k and v differ in heads: 2 and 4 (rule S1)}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x4x5xf32>)
      outs(%o : memref<2x4x8x5xf32>)
  return
}

// -----

// S1: keys of k and v.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x7x2x5xf32>, %o: memref<2x4x8x5xf32>) {
  // expected-error@+1 {{k and v differ in key length (rule S1)}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x7x2x5xf32>)
      outs(%o : memref<2x4x8x5xf32>)
  return
}

// -----

// S1: batch.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<3x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>) {
  // expected-error@+1 {{operands differ in batch (rule S1)}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<3x6x2x16xf32>, memref<2x6x2x5xf32>)
      outs(%o : memref<2x4x8x5xf32>)
  return
}

// -----

// R2: shape of o.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x6xf32>) {
  // expected-error@+1 {{o must have q's batch, rows and heads and v's width (rule R2)}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x2x5xf32>)
      outs(%o : memref<2x4x8x6xf32>)
  return
}

// -----

// S1: f64 and narrower types.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf64>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>) {
  // expected-error@+1 {{f64 does not mix with narrower types (rule S1)}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf64>, memref<2x6x2x5xf32>)
      outs(%o : memref<2x4x8x5xf32>)
  return
}

// -----

// R1: type of lse.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>, %l: memref<2x8x4xf16>) {
  // expected-error@+1 {{lse must be 'f32' (rule R1)}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x2x5xf32>)
      outs(%o, %l : memref<2x4x8x5xf32>, memref<2x8x4xf16>)
  return
}

// -----

// R1: shape of lse.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>, %l: memref<2x4x8xf32>) {
  // expected-error@+1 {{lse must have q's batch, heads and rows (rule R1)}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x2x5xf32>)
      outs(%o, %l : memref<2x4x8x5xf32>, memref<2x4x8xf32>)
  return
}

// -----

// K1: lengths.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>, %n: memref<3xi32>) {
  // expected-error@+1 {{lengths holds one integer per batch row (rule K1)}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x2x5xf32>)
      lengths(%n : memref<3xi32>)
      outs(%o : memref<2x4x8x5xf32>)
  return
}

// -----

// M7: sinks.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>, %n: memref<2xf32>) {
  // expected-error@+1 {{sinks holds one logit per query head (rule M7)}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x2x5xf32>)
      sinks(%n : memref<2xf32>)
      outs(%o : memref<2x4x8x5xf32>)
  return
}

// -----

// A tile's place.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>, %c: index) {
  // expected-error@+1 {{origin is (b, h, i, j)}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x2x5xf32>)
      origin(%c, %c) extents(%c, %c, %c, %c, %c)
      outs(%o : memref<2x4x8x5xf32>)
  return
}

// -----

// A tile's problem.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>, %c: index) {
  // expected-error@+1 {{extents are (B, H, G, M, N)}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x2x5xf32>)
      origin(%c, %c, %c, %c) extents(%c)
      outs(%o : memref<2x4x8x5xf32>)
  return
}

// -----

// Place and problem.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>, %c: index) {
  // expected-error@+1 {{origin and extents come together}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x2x5xf32>)
      origin(%c, %c, %c, %c)
      outs(%o : memref<2x4x8x5xf32>)
  return
}

// -----

// S8: products of bf16 stand for products of f32 alone.
func.func @f(%q: memref<2x4x8x16xf16>, %k: memref<2x6x2x16xf16>, %v: memref<2x6x2x5xf16>, %o: memref<2x4x8x5xf16>) {
  // expected-error@+1 {{precision bf16x6 is for q, k and v of f32 (rule S8)}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf16>, memref<2x6x2x16xf16>, memref<2x6x2x5xf16>)
      outs(%o : memref<2x4x8x5xf16>) {precision = #attn.precision<bf16x6>}
  return
}

// -----

// S1: scale.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>) {
  // expected-error@+1 {{scale must be finite (rule S1)}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x2x5xf32>)
      outs(%o : memref<2x4x8x5xf32>) {scale = 0x7FF0000000000000 : f64}
  return
}

// -----

// One map per operand.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>) {
  // expected-error@+1 {{needs one indexing map per q, k, v and output}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x2x5xf32>)
      outs(%o : memref<2x4x8x5xf32>) {indexing_maps = [affine_map<(b, g, r, m, n, d, e) -> (b, m, g * 4 + r, d)>,
        affine_map<(b, g, r, m, n, d, e) -> (b, n, g, d)>,
        affine_map<(b, g, r, m, n, d, e) -> (b, n, g, e)>]}
  return
}

// -----

// Maps go over seven loops.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>) {
  // expected-error@+1 {{indexing map of k must go from (b, g, r, m, n, d, e) to the 4 dimensions of its operand}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x2x5xf32>)
      outs(%o : memref<2x4x8x5xf32>) {indexing_maps = [affine_map<(b, g, r, m, n, d, e) -> (b, m, g * 4 + r, d)>,
        affine_map<(b, g, r, m, n, d, e) -> (b, n, g)>,
        affine_map<(b, g, r, m, n, d, e) -> (b, n, g, e)>,
        affine_map<(b, g, r, m, n, d, e) -> (b, m, g * 4 + r, e)>]}
  return
}

// -----

// S1: the head of a query-side operand.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>) {
  // expected-error@+1 {{head of q must be indexed by g * group + r}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x2x5xf32>)
      outs(%o : memref<2x4x8x5xf32>) {indexing_maps = [affine_map<(b, g, r, m, n, d, e) -> (b, m, g floordiv 4 + r, d)>,
        affine_map<(b, g, r, m, n, d, e) -> (b, n, g, d)>,
        affine_map<(b, g, r, m, n, d, e) -> (b, n, g, e)>,
        affine_map<(b, g, r, m, n, d, e) -> (b, m, g * 4 + r, e)>]}
  return
}

// -----

// Maps permute.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>) {
  // expected-error@+1 {{indexing map of v must be a permutation of its dimensions}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x2x5xf32>)
      outs(%o : memref<2x4x8x5xf32>) {indexing_maps = [affine_map<(b, g, r, m, n, d, e) -> (b, m, g * 4 + r, d)>,
        affine_map<(b, g, r, m, n, d, e) -> (b, n, g, d)>,
        affine_map<(b, g, r, m, n, d, e) -> (b, n + 1, g, e)>,
        affine_map<(b, g, r, m, n, d, e) -> (b, m, g * 4 + r, e)>]}
  return
}

// -----

// Maps use each loop once.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>) {
  // expected-error@+1 {{indexing map of k must use each of its dimensions once}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x2x5xf32>)
      outs(%o : memref<2x4x8x5xf32>) {indexing_maps = [affine_map<(b, g, r, m, n, d, e) -> (b, m, g * 4 + r, d)>,
        affine_map<(b, g, r, m, n, d, e) -> (b, n, d, d)>,
        affine_map<(b, g, r, m, n, d, e) -> (b, n, g, e)>,
        affine_map<(b, g, r, m, n, d, e) -> (b, m, g * 4 + r, e)>]}
  return
}

// -----

// S1: the group in the maps is that of the head counts.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>) {
  // expected-error@+1 {{head must be indexed by g * 4 + r for these head counts (rule S1)}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x2x5xf32>)
      outs(%o : memref<2x4x8x5xf32>) {indexing_maps = [affine_map<(b, g, r, m, n, d, e) -> (b, m, g * 2 + r, d)>,
        affine_map<(b, g, r, m, n, d, e) -> (b, n, g, d)>,
        affine_map<(b, g, r, m, n, d, e) -> (b, n, g, e)>,
        affine_map<(b, g, r, m, n, d, e) -> (b, m, g * 4 + r, e)>]}
  return
}

// -----

// S1: head counts, with maps.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x?x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>) {
  // expected-error@+1 {{head counts must be static and positive (rule S1)}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x?x16xf32>, memref<2x6x2x5xf32>)
      outs(%o : memref<2x4x8x5xf32>) {indexing_maps = [affine_map<(b, g, r, m, n, d, e) -> (b, m, g * 4 + r, d)>,
        affine_map<(b, g, r, m, n, d, e) -> (b, n, g, d)>,
        affine_map<(b, g, r, m, n, d, e) -> (b, n, g, e)>,
        affine_map<(b, g, r, m, n, d, e) -> (b, m, g * 4 + r, e)>]}
  return
}

// -----

// One name per capture.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>, %p: i64) {
  // expected-error@+1 {{needs one name per capture}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x2x5xf32>)
      captures(p = %p : i64)
      outs(%o : memref<2x4x8x5xf32>) {capture_names = ["p", "x"]}
  return
}

// -----

// M5: names are the language's.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>, %p: i64) {
  // expected-error@+1 {{capture name 'i' must be an identifier that the expression language does not use itself (rule M5)}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x2x5xf32>)
      captures(i = %p : i64)
      outs(%o : memref<2x4x8x5xf32>)
  return
}

// -----

// M5: names are identifiers.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>, %p: i64) {
  // expected-error@+1 {{capture name '2x' must be an identifier that the expression language does not use itself (rule M5)}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x2x5xf32>)
      captures("2x" = %p : i64)
      outs(%o : memref<2x4x8x5xf32>)
  return
}

// -----

// M5: names differ.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>, %p: i64) {
  // expected-error@+1 {{captures two values named 'p' (rule M5)}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x2x5xf32>)
      captures(p = %p : i64, p = %p : i64)
      outs(%o : memref<2x4x8x5xf32>)
  return
}

// -----

// M5: arguments of a mask.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>) {
  // expected-error@+1 {{mask region must take (b, h, i, j, B, H, G, M, N, D, captures...), i64 indices and the captures' types (rule M5)}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x2x5xf32>)
      outs(%o : memref<2x4x8x5xf32>) mask {
  ^bb0(%i: i64, %j: i64):
  %c = arith.cmpi sle, %j, %i : i64
  attn.yield %c : i1
  }
  return
}

// -----

// S3: arguments of a score.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>) {
  // expected-error@+1 {{score region must take (s, b, h, i, j, B, H, G, M, N, D, captures...), i64 indices and the captures' types (rule S3)}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x2x5xf32>)
      outs(%o : memref<2x4x8x5xf32>) score {
  ^bb0(%b: i64, %h: i64, %i: i64, %j: i64, %B: i64, %H: i64, %G: i64, %M: i64, %N: i64, %D: i64):
  %c = arith.constant 0.0 : f32
  attn.yield %c : f32
  }
  return
}

// -----

// M5: a mask is a truth value.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>) {
  // expected-error@+1 {{mask region must end in attn.yield of 'i1' (rule M5)}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x2x5xf32>)
      outs(%o : memref<2x4x8x5xf32>) mask {
  ^bb0(%b: i64, %h: i64, %i: i64, %j: i64, %B: i64, %H: i64, %G: i64, %M: i64, %N: i64, %D: i64):
  %c = arith.constant 0.0 : f32
  attn.yield %c : f32
  }
  return
}

// -----

// S3: a score has the type of the scores.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>) {
  // expected-error@+1 {{score region must end in attn.yield of 'f32' (rule S3)}}
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x2x5xf32>)
      outs(%o : memref<2x4x8x5xf32>) score {
  ^bb0(%s: f32, %b: i64, %h: i64, %i: i64, %j: i64, %B: i64, %H: i64, %G: i64, %M: i64, %N: i64, %D: i64):
  %c = arith.constant 0.0 : f64
  attn.yield %c : f64
  }
  return
}

// -----

// M5: operations of a mask.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>) {
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x2x5xf32>)
      outs(%o : memref<2x4x8x5xf32>) mask {
  ^bb0(%b: i64, %h: i64, %i: i64, %j: i64, %B: i64, %H: i64, %G: i64, %M: i64, %N: i64, %D: i64):
  // expected-error@+1 {{is not allowed in a mask region: only arith, math and attn.element are (rule M5)}}
  %x = index.constant 3
  %c = arith.cmpi sle, %j, %i : i64
  attn.yield %c : i1
  }
  return
}

// -----

// M5: masks are exact.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>) {
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x2x5xf32>)
      outs(%o : memref<2x4x8x5xf32>) mask {
  ^bb0(%b: i64, %h: i64, %i: i64, %j: i64, %B: i64, %H: i64, %G: i64, %M: i64, %N: i64, %D: i64):
  // expected-error@+1 {{computes a float; masks are integer and boolean expressions (rule M5)}}
  %x = arith.sitofp %i : i64 to f32
  %c = arith.cmpi sle, %j, %i : i64
  attn.yield %c : i1
  }
  return
}

// -----

// M5: as many indices as dimensions.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>, %t: memref<2x3xi32>) {
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x2x5xf32>)
      captures(t = %t : memref<2x3xi32>)
      outs(%o : memref<2x4x8x5xf32>) score {
  ^bb0(%s: f32, %b: i64, %h: i64, %i: i64, %j: i64, %B: i64, %H: i64, %G: i64, %M: i64, %N: i64, %D: i64, %u: memref<2x3xi32>):
  // expected-error@+1 {{needs 2 indices, got 1 (rule M5)}}
  %x = attn.element %u[%b] : memref<2x3xi32> -> i64
  attn.yield %s : f32
  }
  return
}

// -----

// M5: types inside regions.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>, %t: memref<2xi32>) {
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x2x5xf32>)
      captures(t = %t : memref<2xi32>)
      outs(%o : memref<2x4x8x5xf32>) score {
  ^bb0(%s: f32, %b: i64, %h: i64, %i: i64, %j: i64, %B: i64, %H: i64, %G: i64, %M: i64, %N: i64, %D: i64, %u: memref<2xi32>):
  // expected-error@+1 {{reads 'i32' as 'f32'; integers are read as i64, booleans as i1, floats as the region's type (rule M5)}}
  %x = attn.element %u[%b] : memref<2xi32> -> f32
  attn.yield %s : f32
  }
  return
}

// -----

// q has a shape.
func.func @f(%q: i32) {
  // expected-error@+1 {{q must be a shaped type}}
  attn.attention ins(%q, %q, %q : i32, i32, i32) outs(%q : i32)
  return
}

// -----

// Expressions: the caret is in the text.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>, %n: i64) {
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x2x5xf32>)
      captures(len = %n : i64)
  // expected-error@+1 {{unknown name 'lem'; did you mean 'len'?}}
      outs(%o : memref<2x4x8x5xf32>) mask("j <= i + lem")
  return
}

// -----

// S2: a mask does not see the score.
func.func @f(%q: memref<2x4x8x16xf32>, %k: memref<2x6x2x16xf32>, %v: memref<2x6x2x5xf32>, %o: memref<2x4x8x5xf32>) {
  attn.attention ins(%q, %k, %v : memref<2x4x8x16xf32>, memref<2x6x2x16xf32>, memref<2x6x2x5xf32>)
  // expected-error@+1 {{the score}}
      outs(%o : memref<2x4x8x5xf32>) mask("s > 0")
  return
}
