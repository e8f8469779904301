// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// RUN: fovea-opt %s -attn-cpu-lower-partial -canonicalize | FileCheck %s

// The micro-kernel for matrix units.

#q = affine_map<(m, n, d, e) -> (0, d floordiv 2, m, d mod 2)>
#k = affine_map<(m, n, d, e) -> (n, 0, d)>
#v = affine_map<(m, n, d, e) -> (n floordiv 64, 0, e, n mod 64)>
#acc = affine_map<(m, n, d, e) -> (e, m)>
#config = #attn.config<query_tile = 48, narrow_query_tile = 8, kv_tile = 64, vector = 16, unroll = 8, kv_split = 1024, matrix_rows = 32>

// CHECK-LABEL: func @unchanged
// CHECK-NEXT: return
func.func @unchanged() {
  return
}

// Without a mask: keys behind the last one get -inf; then the steady step, tile
// operations in one part and vectors in the other, or the same in loops.
// CHECK-LABEL: func private @plain__partial
// CHECK-SAME: passthrough = ["noinline", "fovea-matrix-units"]
// CHECK-DAG: %[[SCORES:.*]] = memref.alloca() {alignment = 64 : i64} : memref<2x64x32xf32>
// CHECK-DAG: %[[WEIGHTS:.*]] = memref.alloca() {alignment = 64 : i64} : memref<2x1x2x32x32xbf16>
// CHECK: scf.for
// CHECK:   scf.if
// CHECK:     scf.for
// CHECK-COUNT-2: vector.store %cst{{[_0-9]*}}, %[[SCORES]]
// CHECK:   scf.if
// CHECK:     cpu.interleave {
// The product of 32 columns: two steps of 32 keys in a block of 2 x 2 tiles.
// CHECK:       amx.tile_load %arg2{{.*}} {cpu.stream}
// CHECK-NEXT:  amx.tile_load %[[WEIGHTS]]
// CHECK-NOT: cpu.stream
// CHECK:       amx.tile_load %[[ACC:.*]][{{.*}} {cpu.stream}
// CHECK-NEXT:  amx.tile_mulf
// CHECK-COUNT-7: amx.tile_mulf
// CHECK-COUNT-4: amx.tile_store %[[ACC]]
// The scores in two blocks: each store of the first comes just before its
// register is taken again.
// CHECK:       amx.tile_load %arg1{{.*}} {cpu.stream}
// CHECK-NEXT:  amx.tile_load %arg0
// CHECK-NEXT:  amx.tile_zero
// CHECK-COUNT-8: amx.tile_mulf
// CHECK:       amx.tile_load %arg0
// CHECK-NEXT:  amx.tile_store %[[SCORES]]
// CHECK-NEXT:  amx.tile_zero
// CHECK-COUNT-8: amx.tile_mulf
// CHECK-NOT: amx.tile_mulf
// CHECK-COUNT-4: amx.tile_store %[[SCORES]]
// CHECK:     }, {
// CHECK-NOT: amx.
// CHECK-COUNT-128: llvm.x86.avx512.mask.scalef.ps.512
// CHECK:     else
// CHECK-COUNT-8: amx.tile_mulf
// CHECK:       scf.for
// CHECK:       scf.for
// CHECK-COUNT-8: amx.tile_mulf
// CHECK-NOT: amx.tile_mulf
// CHECK-LABEL: func @plain
func.func @plain(%q: memref<1x32x32x2xbf16>, %k: memref<?x1x64xbf16>, %v: memref<?x1x32x64xbf16>, %acc: memref<32x32xf32>, %row: memref<32xf32>, %i: index) {
  attn.partial ins(%q, %k, %v : memref<1x32x32x2xbf16>, memref<?x1x64xbf16>, memref<?x1x32x64xbf16>)
    at(%i, %i, %i, %i) extents(%i, %i, %i)
    outs(%acc, %row, %row : memref<32x32xf32>, memref<32xf32>, memref<32xf32>)
    {scale = 0.125 : f64, group = 1 : i64, kv_heads = 1 : i64, indexing_maps = [#q, #k, #v, #acc], config = #config}
  return
}

// With one, the scores of every unit are edited, V is searched for what is not
// finite, and a product on vectors is there for it.
// CHECK-LABEL: func private @masked__partial
// CHECK: arith.cmpi sle
// CHECK: arith.select
// CHECK: arith.maxui {{.*}} : vector<32xi16>
// CHECK: vector.reduction <or>
// CHECK: cpu.interleave
// CHECK: math.fma
// CHECK-LABEL: func @masked
func.func @masked(%q: memref<1x32x32x2xbf16>, %k: memref<?x1x64xbf16>, %v: memref<?x1x32x64xbf16>, %acc: memref<32x32xf32>, %row: memref<32xf32>, %i: index) {
  attn.partial ins(%q, %k, %v : memref<1x32x32x2xbf16>, memref<?x1x64xbf16>, memref<?x1x32x64xbf16>)
    at(%i, %i, %i, %i) extents(%i, %i, %i)
    outs(%acc, %row, %row : memref<32x32xf32>, memref<32xf32>, memref<32xf32>) mask("causal(top_left)")
    {scale = 0.125 : f64, group = 1 : i64, kv_heads = 1 : i64, indexing_maps = [#q, #k, #v, #acc], config = #config}
  return
}

// Elements of two terms: of each block first what is small, K's second term and Q's
// first, Q's tiles of a term loaded once for all; three products of four. Weights are
// stored as terms too, what is left of the first beside it.
// CHECK-LABEL: func private @terms__partial
// CHECK: %[[WEIGHTS:.*]] = memref.alloca() {alignment = 64 : i64} : memref<2x2x2x32x32xbf16>
// CHECK:     cpu.interleave {
// CHECK:       amx.tile_load %arg2[%{{.*}}, %c0, {{.*}} {cpu.stream}
// CHECK-NEXT:  amx.tile_load %[[WEIGHTS]][%{{.*}}, %c1, %c0
// CHECK:       amx.tile_load %[[WEIGHTS]][%{{.*}}, %c1, %c1
// CHECK:       amx.tile_load %arg2[%{{.*}}, %c0, {{.*}} {cpu.stream}
// CHECK:       amx.tile_load %arg2[%{{.*}}, %c1, {{.*}} {cpu.stream}
// CHECK-NEXT:  amx.tile_load %[[WEIGHTS]][%{{.*}}, %c0, %c0
// CHECK:       amx.tile_load %[[WEIGHTS]][%{{.*}}, %c0, %c1
// CHECK:       amx.tile_load %arg2[%{{.*}}, %c1, {{.*}} {cpu.stream}
// CHECK-NOT:   amx.tile_load %[[WEIGHTS]]
// CHECK:       amx.tile_load %arg2[%{{.*}}, %c0, {{.*}} {cpu.stream}
// CHECK-NOT:   amx.tile_load %[[WEIGHTS]]
// CHECK:       amx.tile_load %arg2[%{{.*}}, %c0, {{.*}} {cpu.stream}
// CHECK-COUNT-62: amx.tile_mulf
// CHECK-NOT: amx.tile_mulf
// CHECK:     }, {
// CHECK:       vector.store %{{.*}}, %[[WEIGHTS]][%{{.*}}, %c0, %c0
// CHECK:       arith.subf
// CHECK:       vector.store %{{.*}}, %[[WEIGHTS]][%{{.*}}, %c1, %c0
// CHECK:     else
// CHECK-LABEL: func @terms
func.func @terms(%q: memref<2x32x32x2xbf16>, %k: memref<?x2x64xbf16>, %v: memref<?x2x32x64xbf16>, %acc: memref<32x32xf32>, %row: memref<32xf32>, %i: index) {
  attn.partial ins(%q, %k, %v : memref<2x32x32x2xbf16>, memref<?x2x64xbf16>, memref<?x2x32x64xbf16>)
    at(%i, %i, %i, %i) extents(%i, %i, %i)
    outs(%acc, %row, %row : memref<32x32xf32>, memref<32xf32>, memref<32xf32>)
    {scale = 0.125 : f64, group = 1 : i64, kv_heads = 1 : i64, indexing_maps = [#q, #k, #v, #acc], config = #config}
  return
}

// Of three terms: six products of nine, in the order of l + r for each right term,
// on top of nothing, and then one addition to acc. Weights have the exp of f32.
// CHECK-LABEL: func private @three__partial
// CHECK-DAG: %[[WEIGHTS:.*]] = memref.alloca() {alignment = 64 : i64} : memref<2x3x2x32x32xbf16>
// CHECK-DAG: %[[PRODUCT:.*]] = memref.alloca() {{.*}} : memref<32x32xf32>
// CHECK:     cpu.interleave {
// CHECK-NOT:   amx.tile_load %arg10
// CHECK:       amx.tile_load %arg2[%{{[a-z0-9_]+}}, %c0, {{.*}} {cpu.stream}
// CHECK-NEXT:  amx.tile_load %[[WEIGHTS]][%{{[a-z0-9_]+}}, %c2, %c0
// CHECK-NEXT:  amx.tile_zero
// CHECK-NEXT:  amx.tile_mulf
// CHECK:       amx.tile_load %arg2[%{{[a-z0-9_]+}}, %c1, {{.*}} {cpu.stream}
// CHECK-NEXT:  amx.tile_load %[[WEIGHTS]][%{{[a-z0-9_]+}}, %c1, %c0
// CHECK:       amx.tile_load %arg2[%{{[a-z0-9_]+}}, %c0, {{.*}} {cpu.stream}
// CHECK-NOT:   amx.tile_load %[[WEIGHTS]]
// CHECK:       amx.tile_load %arg2[%{{[a-z0-9_]+}}, %c2, {{.*}} {cpu.stream}
// CHECK-NEXT:  amx.tile_load %[[WEIGHTS]][%{{[a-z0-9_]+}}, %c0, %c0
// CHECK:       amx.tile_load %arg2[%{{[a-z0-9_]+}}, %c1, {{.*}} {cpu.stream}
// CHECK-NOT:   amx.tile_load %[[WEIGHTS]]
// CHECK:       amx.tile_load %arg2[%{{[a-z0-9_]+}}, %c0, {{.*}} {cpu.stream}
// CHECK:       amx.tile_store %[[PRODUCT]]
// CHECK-NOT:   amx.tile_store %arg10
// CHECK:     }, {
// CHECK-COUNT-6: math.fma
// CHECK:       vector.store %{{.*}}, %[[WEIGHTS]][%{{[a-z0-9_]+}}, %c0, %c0
// CHECK:       vector.store %{{.*}}, %[[WEIGHTS]][%{{[a-z0-9_]+}}, %c1, %c0
// CHECK:       vector.store %{{.*}}, %[[WEIGHTS]][%{{[a-z0-9_]+}}, %c2, %c0
// CHECK:     else
// CHECK:     scf.for %[[COLUMN:.*]] = %c0 to %c32
// CHECK:       %[[ACC:.*]] = vector.load %arg10[%[[COLUMN]], %c0]
// CHECK:       %[[MORE:.*]] = vector.load %[[PRODUCT]][%[[COLUMN]], %c0]
// CHECK:       %[[SUM:.*]] = arith.addf %[[ACC]], %[[MORE]]
// CHECK:       vector.store %[[SUM]], %arg10[%[[COLUMN]], %c0]
// CHECK-LABEL: func @three
func.func @three(%q: memref<3x32x32x2xbf16>, %k: memref<?x3x64xbf16>, %v: memref<?x3x32x64xbf16>, %acc: memref<32x32xf32>, %row: memref<32xf32>, %i: index) {
  attn.partial ins(%q, %k, %v : memref<3x32x32x2xbf16>, memref<?x3x64xbf16>, memref<?x3x32x64xbf16>)
    at(%i, %i, %i, %i) extents(%i, %i, %i)
    outs(%acc, %row, %row : memref<32x32xf32>, memref<32xf32>, memref<32xf32>)
    {scale = 0.125 : f64, group = 1 : i64, kv_heads = 1 : i64, indexing_maps = [#q, #k, #v, #acc], config = #config}
  return
}
