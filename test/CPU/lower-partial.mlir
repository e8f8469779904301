// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// RUN: fovea-opt %s -attn-cpu-lower-partial -canonicalize -cse | FileCheck %s

#q = affine_map<(m, n, d, e) -> (d, m)>
#k = affine_map<(m, n, d, e) -> (n, d)>
#v = affine_map<(m, n, d, e) -> (n, e)>
#acc = affine_map<(m, n, d, e) -> (e, m)>
#config = #attn.config<query_tile = 16, narrow_query_tile = 8, kv_tile = 60, vector = 8, unroll = 6, kv_split = 60>

// CHECK-LABEL: func @unchanged
// CHECK-NEXT: arith.addf
// CHECK-NEXT: return
func.func @unchanged(%x: f32) -> f32 {
  %0 = arith.addf %x, %x : f32
  return %0 : f32
}

// A tile without a mask: no integer arithmetic on lanes, no test of the result.
// CHECK-LABEL: func private @full__partial
// CHECK-SAME: linkage = #llvm.linkage<internal>
// CHECK: %[[S:.*]] = memref.alloca() {alignment = 64 : i64} : memref<60x16xf32>
// CHECK-NOT: xi64>
// CHECK-NOT: scf.if
// QK: 12 accumulators, 4 steps of d in the innermost loop.
// CHECK: scf.for
// CHECK: scf.for
// CHECK: scf.for %{{.*}} iter_args
// CHECK-COUNT-48: math.fma
// CHECK: scf.yield
// CHECK: vector.store %{{.*}}, %[[S]]
// PV: acc is read when the block's own sums are done.
// CHECK: %[[OLD:.*]] = vector.load %[[ACC:.*]][{{.*}}] : memref<32x16xf32>
// CHECK-NEXT: %[[NEW:.*]] = math.fma %[[OLD]], %{{[0-9]+}}, %{{[0-9]+}}#0
// CHECK-NEXT: vector.store %[[NEW]], %[[ACC]][
// CHECK: return
// CHECK-LABEL: func @full(
// CHECK-NEXT: %[[K:.*]] = memref.cast %arg1
// CHECK-NEXT: %[[V:.*]] = memref.cast %arg2
// CHECK-NEXT: call @full__partial(%arg0, %[[K]], %[[V]]
// CHECK-NEXT: return
func.func @full(%q: memref<64x16xf32>, %k: memref<?x64xf32, strided<[?, 1]>>, %v: memref<?x32xf32, strided<[?, 1]>>,
                %acc: memref<32x16xf32>, %max: memref<16xf32>, %sum: memref<16xf32>,
                %b: index, %g: index, %row: index, %j: index, %B: index, %M: index, %N: index) {
  attn.partial ins(%q, %k, %v : memref<64x16xf32>, memref<?x64xf32, strided<[?, 1]>>, memref<?x32xf32, strided<[?, 1]>>)
    at(%b, %g, %row, %j) extents(%B, %M, %N)
    outs(%acc, %max, %sum : memref<32x16xf32>, memref<16xf32>, memref<16xf32>)
    {scale = 0.125 : f64, group = 4 : i64, kv_heads = 2 : i64, indexing_maps = [#q, #k, #v, #acc], config = #config}
  return
}

// A mask: rows are lanes, the key is a scalar; S becomes -inf, and a group of
// output columns is done again if it is not finite (rule M1).
// CHECK-LABEL: func private @masked__partial
// CHECK-DAG: %[[INF:.*]] = arith.constant dense<0xFF800000> : vector<8xf32>
// CHECK: %[[QUERY:.*]] = arith.divui %{{.*}} : vector<8xi64>
// CHECK: %[[KEY:[a-z0-9]+]] = arith.index_cast %{{.*}} : index to i64
// CHECK: %[[KEYS:.*]] = vector.broadcast %[[KEY]] : i64 to vector<8xi64>
// CHECK: %[[MASK:.*]] = arith.cmpi sle, %[[KEYS]], %[[QUERY]] : vector<8xi64>
// CHECK: arith.select %[[MASK]], %{{.*}}, %[[INF]] : vector<8xi1>, vector<8xf32>
// CHECK: arith.cmpf uno
// CHECK: %[[ANY:.*]] = vector.reduction <or>
// CHECK: scf.if %[[ANY]]
func.func @masked(%q: memref<64x16xf32>, %k: memref<?x64xf32, strided<[?, 1]>>, %v: memref<?x32xf32, strided<[?, 1]>>,
                  %acc: memref<32x16xf32>, %max: memref<16xf32>, %sum: memref<16xf32>,
                  %b: index, %g: index, %row: index, %j: index, %B: index, %M: index, %N: index) {
  attn.partial ins(%q, %k, %v : memref<64x16xf32>, memref<?x64xf32, strided<[?, 1]>>, memref<?x32xf32, strided<[?, 1]>>)
    at(%b, %g, %row, %j) extents(%B, %M, %N)
    outs(%acc, %max, %sum : memref<32x16xf32>, memref<16xf32>, memref<16xf32>)
    mask {
    ^bb0(%rb: i64, %rh: i64, %ri: i64, %rj: i64, %rB: i64, %rH: i64, %rG: i64, %rM: i64, %rN: i64, %rD: i64):
      %0 = arith.cmpi sle, %rj, %ri : i64
      attn.yield %0 : i1
    } {scale = 0.125 : f64, group = 4 : i64, kv_heads = 2 : i64, indexing_maps = [#q, #k, #v, #acc], config = #config}
  return
}

// Rows not transposed: depth in the lanes. Even and odd elements of K are
// converted by one operation each, as those of q lie apart. K serves the rows of a block (the group's 4, 2 keys at a time);
// scores of a key group come out of one reduction. Meanwhile a row of `next_value`
// is fetched for each key. PV has 4 steps of 16 columns: of two, the first fetches
// `next_key` line by line.
// CHECK-LABEL: func private @decode__partial
// CHECK: %[[S:.*]] = memref.alloca() {alignment = 64 : i64} : memref<4x64xf32>
// CHECK: %[[N:.*]] = memref.dim %arg1
// CHECK: scf.for %[[FIRST:[a-z0-9]+]] = %c0 to %[[N]] step %c60
// CHECK: scf.for %{{.*}} = %c0 to %{{.*}} step %c2
// CHECK: memref.prefetch %arg4[%[[ROW:.*]], %c0], read, locality<2>, data : memref<?x64xbf16
// CHECK: memref.prefetch %arg4[%[[ROW]], %c32], read, locality<2>, data : memref<?x64xbf16
// CHECK-NOT: memref.prefetch %arg3
// CHECK: scf.for %{{.*}} iter_args
// CHECK: vector.load %arg1{{.*}} vector<16xbf16>
// CHECK: arith.shli
// CHECK: arith.andi
// CHECK: vector.load %arg0
// CHECK-COUNT-16: math.fma
// CHECK: scf.yield
// CHECK-COUNT-14: vector.shuffle
// CHECK-COUNT-4: vector.store %{{.*}}, %[[S]]{{.*}} vector<2xf32>
// CHECK: scf.for %[[COLUMN:[a-z0-9]+]] = %c0 to %c64 step %c32
// CHECK: %[[STEP:.*]] = arith.divui %[[COLUMN]], %c32
// CHECK: %[[BEGUN:.*]] = arith.muli %[[STEP]]
// CHECK: scf.for %[[KEY:[a-z0-9]+]] =
// CHECK: %[[LINE:.*]] = arith.addi %[[BEGUN]], %[[KEY]]
// CHECK: %[[PART:.*]] = arith.remui %[[LINE]], %c2
// CHECK: %[[AT:.*]] = arith.muli %[[PART]], %c32
// CHECK: %[[DOWN:.*]] = arith.divui %[[LINE]], %c2
// CHECK: %[[ROW:.*]] = arith.addi %[[FIRST]], %[[DOWN]]
// CHECK: memref.prefetch %arg3[%[[ROW]], %[[AT]]], read, locality<2>
// CHECK: vector.load %arg2[%{{.*}}, %[[COLUMN]]]{{.*}} vector<16xbf16>
// CHECK: scf.for
// CHECK-NOT: memref.prefetch
// CHECK: return
func.func @decode(%q: memref<4x64xf32>, %k: memref<?x64xbf16, strided<[?, 1]>>, %v: memref<?x64xbf16, strided<[?, 1]>>, %next: memref<?x64xbf16, strided<[?, 1]>>, %after: memref<?x64xbf16, strided<[?, 1]>>,
                  %acc: memref<4x64xf32>, %max: memref<4xf32>, %sum: memref<4xf32>,
                  %b: index, %g: index, %row: index, %j: index, %B: index, %M: index, %N: index) {
  attn.partial ins(%q, %k, %v : memref<4x64xf32>, memref<?x64xbf16, strided<[?, 1]>>, memref<?x64xbf16, strided<[?, 1]>>)
    next_key(%next : memref<?x64xbf16, strided<[?, 1]>>) next_value(%after : memref<?x64xbf16, strided<[?, 1]>>)
    at(%b, %g, %row, %j) extents(%B, %M, %N)
    outs(%acc, %max, %sum : memref<4x64xf32>, memref<4xf32>, memref<4xf32>)
    {scale = 0.125 : f64, group = 4 : i64, kv_heads = 2 : i64, unzipped = 8 : i64, config = #config}
  return
}
