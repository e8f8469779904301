// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// RUN: fovea-opt %s -split-input-file -verify-diagnostics

// What the partial form refuses, one rule at a time.

// Where a tile is.
func.func @f(%q: memref<16x8xf32>, %k: memref<32x8xf32>, %v: memref<32x5xf32>, %acc: memref<16x5xf32>, %max: memref<16xf32>, %sum: memref<16xf32>, %c: index) {
  // expected-error@+1 {{at is (b, g, row0, j0)}}
  attn.partial ins(%q, %k, %v : memref<16x8xf32>, memref<32x8xf32>, memref<32x5xf32>)
      at(%c, %c) extents(%c, %c, %c)
      outs(%acc, %max, %sum : memref<16x5xf32>, memref<16xf32>, memref<16xf32>)
      {scale = 1.0, group = 4, kv_heads = 2}
  return
}

// -----

// The problem.
func.func @f(%q: memref<16x8xf32>, %k: memref<32x8xf32>, %v: memref<32x5xf32>, %acc: memref<16x5xf32>, %max: memref<16xf32>, %sum: memref<16xf32>, %c: index) {
  // expected-error@+1 {{extents are (B, M, N)}}
  attn.partial ins(%q, %k, %v : memref<16x8xf32>, memref<32x8xf32>, memref<32x5xf32>)
      at(%c, %c, %c, %c) extents(%c)
      outs(%acc, %max, %sum : memref<16x5xf32>, memref<16xf32>, memref<16xf32>)
      {scale = 1.0, group = 4, kv_heads = 2}
  return
}

// -----

// One map per operand.
func.func @f(%q: memref<16x8xf32>, %k: memref<32x8xf32>, %v: memref<32x5xf32>, %acc: memref<16x5xf32>, %max: memref<16xf32>, %sum: memref<16xf32>, %c: index) {
  // expected-error@+1 {{needs one indexing map per q, k, v and acc}}
  attn.partial ins(%q, %k, %v : memref<16x8xf32>, memref<32x8xf32>, memref<32x5xf32>)
      at(%c, %c, %c, %c) extents(%c, %c, %c)
      outs(%acc, %max, %sum : memref<16x5xf32>, memref<16xf32>, memref<16xf32>)
      {scale = 1.0, group = 4, kv_heads = 2, indexing_maps = [affine_map<(m, n, d, e) -> (m, d)>]}
  return
}

// -----

// Maps permute.
func.func @f(%q: memref<16x8xf32>, %k: memref<32x8xf32>, %v: memref<32x5xf32>, %acc: memref<16x5xf32>, %max: memref<16xf32>, %sum: memref<16xf32>, %c: index) {
  // expected-error@+1 {{indexing map of k must be a permutation of its two dimensions of (m, n, d, e), each whole or split by floordiv and mod, and 0 for terms of q, k or v}}
  attn.partial ins(%q, %k, %v : memref<16x8xf32>, memref<32x8xf32>, memref<32x5xf32>)
      at(%c, %c, %c, %c) extents(%c, %c, %c)
      outs(%acc, %max, %sum : memref<16x5xf32>, memref<16xf32>, memref<16xf32>)
      {scale = 1.0, group = 4, kv_heads = 2,
       indexing_maps = [affine_map<(m, n, d, e) -> (m, d)>, affine_map<(m, n, d, e) -> (n, n)>, affine_map<(m, n, d, e) -> (n, e)>, affine_map<(m, n, d, e) -> (m, e)>]}
  return
}

// -----

// Tiles fit.
func.func @f(%q: memref<16x8xf32>, %k: memref<32x9xf32>, %v: memref<32x5xf32>, %acc: memref<16x5xf32>, %max: memref<16xf32>, %sum: memref<16xf32>, %c: index) {
  // expected-error@+1 {{k does not fit the other tiles}}
  attn.partial ins(%q, %k, %v : memref<16x8xf32>, memref<32x9xf32>, memref<32x5xf32>)
      at(%c, %c, %c, %c) extents(%c, %c, %c)
      outs(%acc, %max, %sum : memref<16x5xf32>, memref<16xf32>, memref<16xf32>)
      {scale = 1.0, group = 4, kv_heads = 2}
  return
}

// -----

// What is likely to be read soon.
func.func @f(%q: memref<16x8xf32>, %k: memref<32x8xf32>, %v: memref<32x5xf32>, %next: memref<?x9xf32>, %acc: memref<16x5xf32>, %max: memref<16xf32>, %sum: memref<16xf32>, %c: index) {
  // expected-error@+1 {{next_key must hold rows like those of k}}
  attn.partial ins(%q, %k, %v : memref<16x8xf32>, memref<32x8xf32>, memref<32x5xf32>)
      next_key(%next : memref<?x9xf32>) at(%c, %c, %c, %c) extents(%c, %c, %c)
      outs(%acc, %max, %sum : memref<16x5xf32>, memref<16xf32>, memref<16xf32>)
      {scale = 1.0, group = 4, kv_heads = 2}
  return
}

// -----

func.func @f(%q: memref<16x8xf32>, %k: memref<32x8xf32>, %v: memref<32x5xf32>, %next: memref<?x5xbf16>, %acc: memref<16x5xf32>, %max: memref<16xf32>, %sum: memref<16xf32>, %c: index) {
  // expected-error@+1 {{next_value must hold rows like those of v}}
  attn.partial ins(%q, %k, %v : memref<16x8xf32>, memref<32x8xf32>, memref<32x5xf32>)
      next_value(%next : memref<?x5xbf16>) at(%c, %c, %c, %c) extents(%c, %c, %c)
      outs(%acc, %max, %sum : memref<16x5xf32>, memref<16xf32>, memref<16xf32>)
      {scale = 1.0, group = 4, kv_heads = 2}
  return
}

// -----

// Rows unzipped by nothing.
func.func @f(%q: memref<16x8xf32>, %k: memref<32x8xf32>, %v: memref<32x5xf32>, %acc: memref<16x5xf32>, %max: memref<16xf32>, %sum: memref<16xf32>, %c: index) {
  // expected-error@+1 {{unzipped must be positive}}
  attn.partial ins(%q, %k, %v : memref<16x8xf32>, memref<32x8xf32>, memref<32x5xf32>)
      at(%c, %c, %c, %c) extents(%c, %c, %c)
      outs(%acc, %max, %sum : memref<16x5xf32>, memref<16xf32>, memref<16xf32>)
      {scale = 1.0, group = 4, kv_heads = 2, unzipped = 0}
  return
}

// -----

// S1: type of the state.
func.func @f(%q: memref<16x8xf32>, %k: memref<32x8xf32>, %v: memref<32x5xf32>, %acc: memref<16x5xf32>, %max: memref<16xf64>, %sum: memref<16xf32>, %c: index) {
  // expected-error@+1 {{state must be 'f32' (rule S1)}}
  attn.partial ins(%q, %k, %v : memref<16x8xf32>, memref<32x8xf32>, memref<32x5xf32>)
      at(%c, %c, %c, %c) extents(%c, %c, %c)
      outs(%acc, %max, %sum : memref<16x5xf32>, memref<16xf64>, memref<16xf32>)
      {scale = 1.0, group = 4, kv_heads = 2}
  return
}

// -----

// Shape of the state.
func.func @f(%q: memref<16x8xf32>, %k: memref<32x8xf32>, %v: memref<32x5xf32>, %acc: memref<16x5xf32>, %max: memref<16xf32>, %sum: memref<15xf32>, %c: index) {
  // expected-error@+1 {{max and sum hold one value per row of the tile}}
  attn.partial ins(%q, %k, %v : memref<16x8xf32>, memref<32x8xf32>, memref<32x5xf32>)
      at(%c, %c, %c, %c) extents(%c, %c, %c)
      outs(%acc, %max, %sum : memref<16x5xf32>, memref<16xf32>, memref<15xf32>)
      {scale = 1.0, group = 4, kv_heads = 2}
  return
}

// -----

// S1: heads.
func.func @f(%q: memref<16x8xf32>, %k: memref<32x8xf32>, %v: memref<32x5xf32>, %acc: memref<16x5xf32>, %max: memref<16xf32>, %sum: memref<16xf32>, %c: index) {
  // expected-error@+1 {{group and kv_heads must be positive (rule S1)}}
  attn.partial ins(%q, %k, %v : memref<16x8xf32>, memref<32x8xf32>, memref<32x5xf32>)
      at(%c, %c, %c, %c) extents(%c, %c, %c)
      outs(%acc, %max, %sum : memref<16x5xf32>, memref<16xf32>, memref<16xf32>)
      {scale = 1.0, group = 0, kv_heads = 2}
  return
}

// -----

// S1: scale.
func.func @f(%q: memref<16x8xf32>, %k: memref<32x8xf32>, %v: memref<32x5xf32>, %acc: memref<16x5xf32>, %max: memref<16xf32>, %sum: memref<16xf32>, %c: index) {
  // expected-error@+1 {{scale must be finite (rule S1)}}
  attn.partial ins(%q, %k, %v : memref<16x8xf32>, memref<32x8xf32>, memref<32x5xf32>)
      at(%c, %c, %c, %c) extents(%c, %c, %c)
      outs(%acc, %max, %sum : memref<16x5xf32>, memref<16xf32>, memref<16xf32>)
      {scale = 0x7FF0000000000000 : f64, group = 4, kv_heads = 2}
  return
}

// -----

// The layout of acc.
func.func @f(%a1: memref<16x5xf32>, %m1: memref<16xf32>, %s1: memref<16xf32>, %a2: memref<16x5xf32>, %m2: memref<16xf32>, %s2: memref<16xf32>) {
  // expected-error@+1 {{acc_map must be a permutation of (m, e)}}
  attn.merge ins(%a1, %m1, %s1 : memref<16x5xf32>, memref<16xf32>, memref<16xf32>)
      outs(%a2, %m2, %s2 : memref<16x5xf32>, memref<16xf32>, memref<16xf32>) {acc_map = affine_map<(m, e) -> (m, m)>}
  return
}

// -----

// Rows of the state.
func.func @f(%a1: memref<16x5xf32>, %m1: memref<16xf32>, %s1: memref<16xf32>, %a2: memref<16x5xf32>, %m2: memref<5xf32>, %s2: memref<16xf32>) {
  // expected-error@+1 {{max and sum hold one value per row of acc}}
  attn.merge ins(%a1, %m1, %s1 : memref<16x5xf32>, memref<16xf32>, memref<16xf32>)
      outs(%a2, %m2, %s2 : memref<16x5xf32>, memref<5xf32>, memref<16xf32>)
  return
}

// -----

// S1: the state is not narrow.
func.func @f(%a1: memref<16x5xf32>, %m1: memref<16xf32>, %s1: memref<16xf32>, %a2: memref<16x5xf16>, %m2: memref<16xf32>, %s2: memref<16xf32>) {
  // expected-error@+1 {{state must be f32 or f64 (rule S1)}}
  attn.merge ins(%a1, %m1, %s1 : memref<16x5xf32>, memref<16xf32>, memref<16xf32>)
      outs(%a2, %m2, %s2 : memref<16x5xf16>, memref<16xf32>, memref<16xf32>)
  return
}

// -----

// S1: one type.
func.func @f(%a1: memref<16x5xf32>, %m1: memref<16xf32>, %s1: memref<16xf32>, %a2: memref<16x5xf32>, %m2: memref<16xf32>, %s2: memref<16xf64>) {
  // expected-error@+1 {{state must have one element type (rule S1)}}
  attn.merge ins(%a1, %m1, %s1 : memref<16x5xf32>, memref<16xf32>, memref<16xf32>)
      outs(%a2, %m2, %s2 : memref<16x5xf32>, memref<16xf32>, memref<16xf64>)
  return
}

// -----

// R2: one shape.
func.func @f(%a1: memref<16x6xf32>, %m1: memref<16xf32>, %s1: memref<16xf32>, %a2: memref<16x5xf32>, %m2: memref<16xf32>, %s2: memref<16xf32>) {
  // expected-error@+1 {{both states must have one shape and type (rule R2)}}
  attn.merge ins(%a1, %m1, %s1 : memref<16x6xf32>, memref<16xf32>, memref<16xf32>)
      outs(%a2, %m2, %s2 : memref<16x5xf32>, memref<16xf32>, memref<16xf32>)
  return
}

// -----

// R1: outputs.
func.func @f(%a: memref<16x5xf32>, %m: memref<16xf32>, %s: memref<16xf32>, %o: memref<16x5xf32>, %l: memref<16xf32>) {
  // expected-error@+1 {{has the outputs o and, if asked, lse (rule R1)}}
  attn.finalize ins(%a, %m, %s : memref<16x5xf32>, memref<16xf32>, memref<16xf32>)
      outs(%o, %l, %l : memref<16x5xf32>, memref<16xf32>, memref<16xf32>)
  return
}

// -----

// R2: shape of o.
func.func @f(%a: memref<16x5xf32>, %m: memref<16xf32>, %s: memref<16xf32>, %o: memref<5x16xf32>) {
  // expected-error@+1 {{o must be [m, e] for the acc given (rule R2)}}
  attn.finalize ins(%a, %m, %s : memref<16x5xf32>, memref<16xf32>, memref<16xf32>)
      outs(%o : memref<5x16xf32>)
  return
}

// -----

// R1: type of lse.
func.func @f(%a: memref<16x5xf32>, %m: memref<16xf32>, %s: memref<16xf32>, %o: memref<16x5xf32>, %l: memref<16xf16>) {
  // expected-error@+1 {{lse must be [m] of the state's type (rule R1)}}
  attn.finalize ins(%a, %m, %s : memref<16x5xf32>, memref<16xf32>, memref<16xf32>)
      outs(%o, %l : memref<16x5xf32>, memref<16xf16>)
  return
}

// -----

// M7: sinks.
func.func @f(%a: memref<16x5xf32>, %m: memref<16xf32>, %s: memref<16xf32>, %o: memref<16x5xf32>, %k: memref<8xf32>) {
  // expected-error@+1 {{sinks holds one logit per row of the tile (rule M7)}}
  attn.finalize ins(%a, %m, %s : memref<16x5xf32>, memref<16xf32>, memref<16xf32>) sinks(%k : memref<8xf32>)
      outs(%o : memref<16x5xf32>)
  return
}

// -----

// S1: group.
func.func @f(%x: memref<2x4x8x16xf32>, %t: memref<16x16xf32>, %c: index) {
  // expected-error@+1 {{group must be positive (rule S1)}}
  attn.gather_rows %x at(%c, %c, %c) rows(%c) outs(%t : memref<16x16xf32>)
      {group = 0} : memref<2x4x8x16xf32>
  return
}

// -----

// Ranks of rows.
func.func @f(%x: memref<2x4x8x16xf32>, %t: memref<16xf32>, %c: index) {
  // expected-error@+1 {{a tile is [l, d] of a 4-dimensional tensor or [l] of a 3-dimensional one, and map a permutation of (b, h, i, d)}}
  attn.gather_rows %x at(%c, %c, %c) rows(%c) outs(%t : memref<16xf32>)
      {group = 4} : memref<2x4x8x16xf32>
  return
}

// -----

// Width of rows.
func.func @f(%x: memref<2x4x8x16xf32>, %t: memref<16x12xf32>, %c: index) {
  // expected-error@+1 {{tile and tensor differ in width}}
  attn.scatter_rows %t at(%c, %c, %c) rows(%c) outs(%x : memref<2x4x8x16xf32>)
      {group = 4} : memref<16x12xf32>
  return
}

// -----

// Blocks are of the size that the map says.
func.func @f(%q: memref<16x8xf32>, %k: memref<32x8xf32>, %v: memref<1x5x32xf32>, %acc: memref<16x5xf32>, %max: memref<16xf32>, %sum: memref<16xf32>, %c: index) {
  // expected-error@+1 {{indexing map of v must be a permutation of its two dimensions of (m, n, d, e), each whole or split by floordiv and mod}}
  attn.partial ins(%q, %k, %v : memref<16x8xf32>, memref<32x8xf32>, memref<1x5x32xf32>)
      at(%c, %c, %c, %c) extents(%c, %c, %c)
      outs(%acc, %max, %sum : memref<16x5xf32>, memref<16xf32>, memref<16xf32>)
      {scale = 1.0, group = 4, kv_heads = 2,
       indexing_maps = [affine_map<(m, n, d, e) -> (m, d)>, affine_map<(m, n, d, e) -> (n, d)>, affine_map<(m, n, d, e) -> (n floordiv 64, e, n mod 64)>, affine_map<(m, n, d, e) -> (m, e)>]}
  return
}

// -----

// Blocks have room.
func.func @f(%q: memref<16x8xf32>, %k: memref<65x8xf32>, %v: memref<1x5x64xf32>, %acc: memref<16x5xf32>, %max: memref<16xf32>, %sum: memref<16xf32>, %c: index) {
  // expected-error@+1 {{v does not fit the other tiles}}
  attn.partial ins(%q, %k, %v : memref<16x8xf32>, memref<65x8xf32>, memref<1x5x64xf32>)
      at(%c, %c, %c, %c) extents(%c, %c, %c)
      outs(%acc, %max, %sum : memref<16x5xf32>, memref<16xf32>, memref<16xf32>)
      {scale = 1.0, group = 4, kv_heads = 2,
       indexing_maps = [affine_map<(m, n, d, e) -> (m, d)>, affine_map<(m, n, d, e) -> (n, d)>, affine_map<(m, n, d, e) -> (n floordiv 64, e, n mod 64)>, affine_map<(m, n, d, e) -> (m, e)>]}
  return
}

// -----

// Maps have no other results.
func.func @f(%q: memref<16x8xf32>, %k: memref<32x8xf32>, %v: memref<32x5x7xf32>, %acc: memref<16x5xf32>, %max: memref<16xf32>, %sum: memref<16xf32>, %c: index) {
  // expected-error@+1 {{indexing map of v has a result that is none of its dimensions}}
  attn.partial ins(%q, %k, %v : memref<16x8xf32>, memref<32x8xf32>, memref<32x5x7xf32>)
      at(%c, %c, %c, %c) extents(%c, %c, %c)
      outs(%acc, %max, %sum : memref<16x5xf32>, memref<16xf32>, memref<16xf32>)
      {scale = 1.0, group = 4, kv_heads = 2,
       indexing_maps = [affine_map<(m, n, d, e) -> (m, d)>, affine_map<(m, n, d, e) -> (n, d)>, affine_map<(m, n, d, e) -> (n, e, m)>, affine_map<(m, n, d, e) -> (m, e)>]}
  return
}

// -----

// q, k and v may be sums of terms, the state may not.
func.func @f(%q: memref<2x16x8xf32>, %k: memref<32x2x8xf32>, %v: memref<32x5xf32>, %acc: memref<2x16x5xf32>, %max: memref<16xf32>, %sum: memref<16xf32>, %c: index) {
  // expected-error@+1 {{indexing map of acc has a result that is none of its dimensions}}
  attn.partial ins(%q, %k, %v : memref<2x16x8xf32>, memref<32x2x8xf32>, memref<32x5xf32>)
      at(%c, %c, %c, %c) extents(%c, %c, %c)
      outs(%acc, %max, %sum : memref<2x16x5xf32>, memref<16xf32>, memref<16xf32>)
      {scale = 1.0, group = 4, kv_heads = 2,
       indexing_maps = [affine_map<(m, n, d, e) -> (0, m, d)>, affine_map<(m, n, d, e) -> (n, 0, d)>, affine_map<(m, n, d, e) -> (n, e)>, affine_map<(m, n, d, e) -> (0, m, e)>]}
  return
}
