// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// RUN: fovea-opt %s -attn-select-config | FileCheck %s
// RUN: fovea-opt %s -attn-select-config="vector-bits=512 registers=32" | FileCheck %s --check-prefix=WIDE
// RUN: fovea-opt %s -attn-select-config="vector-bits=512 registers=32 matrix-rows=32 cache-bytes=2097152 explain" 2>&1 | FileCheck %s --check-prefix=MATRIX
// RUN: fovea-opt %s -attn-select-config=explain 2>&1 | FileCheck %s --check-prefix=REMARK

// CHECK-LABEL: func @kept
// CHECK: config = #attn.config<query_tile = 16, narrow_query_tile = 8, kv_tile = 32, vector = 8, unroll = 2, kv_split = 64>
// WIDE-LABEL: func @kept
// WIDE: config = #attn.config<query_tile = 16, narrow_query_tile = 8, kv_tile = 32, vector = 8, unroll = 2, kv_split = 64>
func.func @kept(%q: memref<?x?x4x64xf32>, %k: memref<?x?x2x64xf32>, %o: memref<?x?x4x64xf32>) {
  attn.attention ins(%q, %k, %k : memref<?x?x4x64xf32>, memref<?x?x2x64xf32>, memref<?x?x2x64xf32>)
    outs(%o : memref<?x?x4x64xf32>)
    {config = #attn.config<query_tile = 16, narrow_query_tile = 8, kv_tile = 32, vector = 8, unroll = 2, kv_split = 64>}
  return
}

// CHECK-LABEL: func @f32
// CHECK: config = #attn.config<query_tile = 24, narrow_query_tile = 8, kv_tile = 64, vector = 8, unroll = 4, kv_split = 1024, kv_chunk = 512, chunk_tiles = 16, kv_walk = 64>
// WIDE-LABEL: func @f32
// WIDE: config = #attn.config<query_tile = 48, narrow_query_tile = 8, kv_tile = 64, vector = 16, unroll = 8, kv_split = 1024, kv_chunk = 512, chunk_tiles = 8, kv_walk = 64>
// MATRIX: remark: no matrix units: they multiply bf16, f16 as sums of two, and f32 as sums of three where precision is bf16x6
// MATRIX: remark: matrix units: for more than 48 folded query rows
// MATRIX-NOT: rounded
// MATRIX: remark: matrix units: for more than 48 folded query rows
// MATRIX: remark: matrix units: q is rounded to bf16 behind norms and RoPE
// MATRIX: remark: matrix units: for more than 48 folded query rows
// MATRIX: remark: matrix units: q and k are rounded to bf16 behind norms and RoPE
// MATRIX: remark: no matrix units: v is computed in f32 by a norm or RoPE
// MATRIX: remark: matrix units: for more than 48 folded query rows
// MATRIX: remark: matrix units: k is rounded to sums of two bf16 behind norms and RoPE
// MATRIX: remark: matrix units: f16 as sums of two bf16, in three products of four
// MATRIX: remark: no matrix units: the heads are narrower than 16 together, where vectors are as fast
// MATRIX: remark: no matrix units: the heads are wider than 320 together
// MATRIX: remark: no matrix units: the heads are wider than 512 together
// MATRIX: remark: matrix units: for more than 48 folded query rows
// MATRIX-NOT: rounded
// MATRIX: remark: matrix units: f32 as sums of three bf16, in six products of nine
// MATRIX: remark: no matrix units: the heads are narrower than 24 together, where vectors are as fast; products are of f32
// MATRIX: remark: no matrix units: the heads are wider than 320 together; products are of f32
// MATRIX: remark: no matrix units: q, k and v differ in type
// MATRIX-LABEL: func @f32
// MATRIX-NOT: matrix_rows
// REMARK: remark: config #attn.config<query_tile = 24, {{.*}}>: 256-bit vectors, 16 registers
func.func @f32(%q: memref<?x?x4x64xf32>, %k: memref<?x?x2x64xf32>, %o: memref<?x?x4x64xf32>) {
  attn.attention ins(%q, %k, %k : memref<?x?x4x64xf32>, memref<?x?x2x64xf32>, memref<?x?x2x64xf32>)
    outs(%o : memref<?x?x4x64xf32>)
  return
}

// Half precision computes in f32, double precision in half as many lanes.
// CHECK-LABEL: func @bf16
// CHECK: vector = 8
// WIDE-LABEL: func @bf16
// WIDE: vector = 16
// MATRIX-LABEL: func @bf16
// MATRIX: vector = 16, {{.*}} matrix_rows = 32, kv_chunk = 4096, chunk_tiles = 32, kv_walk = 64>
func.func @bf16(%q: tensor<?x?x4x64xbf16>, %k: tensor<?x?x2x64xbf16>, %o: tensor<?x?x4x64xbf16>) -> tensor<?x?x4x64xbf16> {
  %r = attn.attention ins(%q, %k, %k : tensor<?x?x4x64xbf16>, tensor<?x?x2x64xbf16>, tensor<?x?x2x64xbf16>)
    outs(%o : tensor<?x?x4x64xbf16>) -> tensor<?x?x4x64xbf16>
  return %r : tensor<?x?x4x64xbf16>
}

// CHECK-LABEL: func @f64
// CHECK: query_tile = 12, narrow_query_tile = 8,{{.*}} vector = 4
// WIDE-LABEL: func @f64
// WIDE: query_tile = 24, narrow_query_tile = 8,{{.*}} vector = 8
func.func @f64(%q: memref<?x?x4x64xf64>, %k: memref<?x?x2x64xf64>, %o: memref<?x?x4x64xf64>) {
  attn.attention ins(%q, %k, %k : memref<?x?x4x64xf64>, memref<?x?x2x64xf64>, memref<?x?x2x64xf64>)
    outs(%o : memref<?x?x4x64xf64>)
  return
}

// Wide heads take smaller KV tiles, so that K and V of a tile stay in the cache.
// A chunk would serve one query tile: there are none.
// CHECK-LABEL: func @wide_heads
// CHECK: kv_tile = 16, {{.*}}kv_split = 256, kv_walk = 8>
// WIDE-LABEL: func @wide_heads
func.func @wide_heads(%q: memref<?x?x1x2048xf32>, %k: memref<?x?x1x2048xf32>, %o: memref<?x?x1x2048xf32>) {
  attn.attention ins(%q, %k, %k : memref<?x?x1x2048xf32>, memref<?x?x1x2048xf32>, memref<?x?x1x2048xf32>)
    outs(%o : memref<?x?x1x2048xf32>)
  return
}

// A step of a decode's walk, for all heads, takes a quarter of the cache, but no
// less than a vector of keys.
// CHECK-LABEL: func @walk
// CHECK: kv_walk = 32>
// CHECK: kv_walk = 8>
// CHECK: kv_walk = 8>
// MATRIX-LABEL: func @walk
// MATRIX: kv_walk = 64>
// MATRIX: kv_walk = 32>
// MATRIX: kv_walk = 16>
func.func @walk(%q: memref<?x?x32x128xbf16>, %k8: memref<?x?x8x128xbf16>, %k32: memref<?x?x32x128xbf16>, %f: memref<?x?x32x128xf32>) {
  attn.attention ins(%q, %k8, %k8 : memref<?x?x32x128xbf16>, memref<?x?x8x128xbf16>, memref<?x?x8x128xbf16>)
    outs(%q : memref<?x?x32x128xbf16>)
  attn.attention ins(%q, %k32, %k32 : memref<?x?x32x128xbf16>, memref<?x?x32x128xbf16>, memref<?x?x32x128xbf16>)
    outs(%q : memref<?x?x32x128xbf16>)
  attn.attention ins(%f, %f, %f : memref<?x?x32x128xf32>, memref<?x?x32x128xf32>, memref<?x?x32x128xf32>)
    outs(%f : memref<?x?x32x128xf32>)
  return
}

// The narrow tile holds whole queries of a group: of 6 heads one query, of 3 heads
// two, of 16 heads one; a group of more rows than a full tile has no use for it.
// CHECK-LABEL: func @groups
// CHECK-COUNT-2: narrow_query_tile = 6,
// CHECK: narrow_query_tile = 16,
// CHECK: query_tile = 24, narrow_query_tile = 24,
func.func @groups(%six: memref<?x?x6x8xf32>, %three: memref<?x?x3x8xf32>, %sixteen: memref<?x?x16x8xf32>, %forty: memref<?x?x40x8xf32>, %k: memref<?x?x1x8xf32>) {
  attn.attention ins(%six, %k, %k : memref<?x?x6x8xf32>, memref<?x?x1x8xf32>, memref<?x?x1x8xf32>) outs(%six : memref<?x?x6x8xf32>)
  attn.attention ins(%three, %k, %k : memref<?x?x3x8xf32>, memref<?x?x1x8xf32>, memref<?x?x1x8xf32>) outs(%three : memref<?x?x3x8xf32>)
  attn.attention ins(%sixteen, %k, %k : memref<?x?x16x8xf32>, memref<?x?x1x8xf32>, memref<?x?x1x8xf32>) outs(%sixteen : memref<?x?x16x8xf32>)
  attn.attention ins(%forty, %k, %k : memref<?x?x40x8xf32>, memref<?x?x1x8xf32>, memref<?x?x1x8xf32>) outs(%forty : memref<?x?x40x8xf32>)
  return
}

// Matrix units take q and k behind row operations too, v as it is stored, and all
// up to a width.
// MATRIX-LABEL: func @turned
// MATRIX: matrix_rows = 32
func.func @turned(%q: tensor<?x?x4x64xbf16>, %k: tensor<?x?x2x64xbf16>, %o: tensor<?x?x4x64xbf16>) -> tensor<?x?x4x64xbf16> {
  %t = attn.rope ins(%q : tensor<?x?x4x64xbf16>) outs(%o : tensor<?x?x4x64xbf16>) {style = #attn.rope_style<neox>, base = 1.0e4} -> tensor<?x?x4x64xbf16>
  %r = attn.attention ins(%t, %k, %k : tensor<?x?x4x64xbf16>, tensor<?x?x2x64xbf16>, tensor<?x?x2x64xbf16>)
    outs(%o : tensor<?x?x4x64xbf16>) -> tensor<?x?x4x64xbf16>
  return %r : tensor<?x?x4x64xbf16>
}

// MATRIX-LABEL: func @turned_and_normed
// MATRIX: matrix_rows = 32
func.func @turned_and_normed(%q: tensor<?x?x4x64xbf16>, %k: tensor<?x?x4x64xbf16>, %o: tensor<?x?x4x64xbf16>) -> tensor<?x?x4x64xbf16> {
  %t = attn.rope ins(%q : tensor<?x?x4x64xbf16>) outs(%o : tensor<?x?x4x64xbf16>) {style = #attn.rope_style<neox>, base = 1.0e4} -> tensor<?x?x4x64xbf16>
  %n = attn.rms_norm ins(%k : tensor<?x?x4x64xbf16>) outs(%o : tensor<?x?x4x64xbf16>) {eps = 1.0e-6 : f64} -> tensor<?x?x4x64xbf16>
  %r = attn.attention ins(%t, %n, %k : tensor<?x?x4x64xbf16>, tensor<?x?x4x64xbf16>, tensor<?x?x4x64xbf16>)
    outs(%o : tensor<?x?x4x64xbf16>) -> tensor<?x?x4x64xbf16>
  return %r : tensor<?x?x4x64xbf16>
}

// MATRIX-LABEL: func @normed_values
// MATRIX-NOT: matrix_rows
func.func @normed_values(%q: tensor<?x?x4x64xbf16>, %k: tensor<?x?x4x64xbf16>, %o: tensor<?x?x4x64xbf16>) -> tensor<?x?x4x64xbf16> {
  %v = attn.rms_norm ins(%k : tensor<?x?x4x64xbf16>) outs(%o : tensor<?x?x4x64xbf16>) {eps = 1.0e-6 : f64} -> tensor<?x?x4x64xbf16>
  %r = attn.attention ins(%q, %k, %v : tensor<?x?x4x64xbf16>, tensor<?x?x4x64xbf16>, tensor<?x?x4x64xbf16>)
    outs(%o : tensor<?x?x4x64xbf16>) -> tensor<?x?x4x64xbf16>
  return %r : tensor<?x?x4x64xbf16>
}

// f16 is the sum of two bf16, which takes three products and pays from a width on.
// MATRIX-LABEL: func @f16
// MATRIX: matrix_rows = 32
// MATRIX-LABEL: func @narrow_f16
// MATRIX-NOT: matrix_rows
func.func @f16(%q: tensor<?x?x4x64xf16>, %k: tensor<?x?x4x64xf16>, %o: tensor<?x?x4x64xf16>) -> tensor<?x?x4x64xf16> {
  %n = attn.rms_norm ins(%k : tensor<?x?x4x64xf16>) outs(%o : tensor<?x?x4x64xf16>) {eps = 1.0e-6 : f64} -> tensor<?x?x4x64xf16>
  %r = attn.attention ins(%q, %n, %k : tensor<?x?x4x64xf16>, tensor<?x?x4x64xf16>, tensor<?x?x4x64xf16>)
    outs(%o : tensor<?x?x4x64xf16>) -> tensor<?x?x4x64xf16>
  return %r : tensor<?x?x4x64xf16>
}
func.func @narrow_f16(%q: memref<?x?x4x7xf16>, %k: memref<?x?x4x7xf16>) {
  attn.attention ins(%q, %k, %k : memref<?x?x4x7xf16>, memref<?x?x4x7xf16>, memref<?x?x4x7xf16>)
    outs(%q : memref<?x?x4x7xf16>)
  return
}
// MATRIX-LABEL: func @wide_f16
// MATRIX-NOT: matrix_rows
func.func @wide_f16(%q: memref<?x?x4x192xf16>, %k: memref<?x?x4x192xf16>) {
  attn.attention ins(%q, %k, %k : memref<?x?x4x192xf16>, memref<?x?x4x192xf16>, memref<?x?x4x192xf16>)
    outs(%q : memref<?x?x4x192xf16>)
  return
}

// MATRIX-LABEL: func @wide_bf16
// MATRIX-NOT: matrix_rows
func.func @wide_bf16(%q: memref<?x?x1x320xbf16>, %k: memref<?x?x1x320xbf16>, %o: memref<?x?x1x320xbf16>) {
  attn.attention ins(%q, %k, %k : memref<?x?x1x320xbf16>, memref<?x?x1x320xbf16>, memref<?x?x1x320xbf16>)
    outs(%o : memref<?x?x1x320xbf16>)
  return
}

// Asked for (S8), f32 is the sum of three bf16, which takes six products; the terms
// hold what norms and RoPE make. Where nothing serves it, products are of f32.
// REMARK: remark: config
// REMARK-NEXT: attn.attention
// REMARK: remark: no matrix units: the target has none; products are of f32
// WIDE-LABEL: func @bf16x6
// WIDE-NOT: matrix_rows
// MATRIX-LABEL: func @bf16x6
// MATRIX: matrix_rows = 32
// MATRIX-LABEL: func @narrow_bf16x6
// MATRIX-NOT: matrix_rows
// MATRIX-LABEL: func @wide_bf16x6
// MATRIX-NOT: matrix_rows
// MATRIX-LABEL: func @mixed
// MATRIX-NOT: matrix_rows
func.func @bf16x6(%q: tensor<?x?x4x64xf32>, %k: tensor<?x?x4x64xf32>, %o: tensor<?x?x4x64xf32>) -> tensor<?x?x4x64xf32> {
  %n = attn.rms_norm ins(%k : tensor<?x?x4x64xf32>) outs(%o : tensor<?x?x4x64xf32>) {eps = 1.0e-6 : f64} -> tensor<?x?x4x64xf32>
  %r = attn.attention ins(%q, %n, %k : tensor<?x?x4x64xf32>, tensor<?x?x4x64xf32>, tensor<?x?x4x64xf32>)
    outs(%o : tensor<?x?x4x64xf32>) {precision = #attn.precision<bf16x6>} -> tensor<?x?x4x64xf32>
  return %r : tensor<?x?x4x64xf32>
}
func.func @narrow_bf16x6(%q: memref<?x?x4x11xf32>, %k: memref<?x?x4x11xf32>) {
  attn.attention ins(%q, %k, %k : memref<?x?x4x11xf32>, memref<?x?x4x11xf32>, memref<?x?x4x11xf32>)
    outs(%q : memref<?x?x4x11xf32>) {precision = #attn.precision<bf16x6>}
  return
}
func.func @wide_bf16x6(%q: memref<?x?x4x192xf32>, %k: memref<?x?x4x192xf32>) {
  attn.attention ins(%q, %k, %k : memref<?x?x4x192xf32>, memref<?x?x4x192xf32>, memref<?x?x4x192xf32>)
    outs(%q : memref<?x?x4x192xf32>) {precision = #attn.precision<bf16x6>}
  return
}
func.func @mixed(%q: memref<?x?x4x64xf16>, %k: memref<?x?x4x64xbf16>) {
  attn.attention ins(%q, %k, %k : memref<?x?x4x64xf16>, memref<?x?x4x64xbf16>, memref<?x?x4x64xbf16>)
    outs(%q : memref<?x?x4x64xf16>)
  return
}
