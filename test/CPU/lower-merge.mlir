// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// RUN: fovea-opt %s -attn-cpu-lower-merge -canonicalize -cse | FileCheck %s

#state = affine_map<(m, e) -> (e, m)>

// CHECK-LABEL: func @unchanged
// CHECK-NEXT: arith.addf
// CHECK-NEXT: return
func.func @unchanged(%x: f32) -> f32 {
  %0 = arith.addf %x, %x : f32
  return %0 : f32
}

// Both weights come from the larger maximum, or from 0 if both are empty (M2).
// CHECK-LABEL: func @merge
// CHECK: %[[OLD:.*]] = vector.load %arg4
// CHECK: %[[OTHER:.*]] = vector.load %arg1
// CHECK: %[[MAX:.*]] = arith.select %{{.*}}, %[[OTHER]], %[[OLD]]
// CHECK: %[[BASE:.*]] = arith.select
// CHECK: arith.subf %[[OLD]], %[[BASE]]
// CHECK: arith.subf %[[OTHER]], %[[BASE]]
// CHECK: vector.store %[[MAX]], %arg4
// CHECK: scf.for
func.func @merge(%a: memref<32x24xf32>, %m: memref<24xf32>, %s: memref<24xf32>,
                 %acc: memref<32x24xf32>, %max: memref<24xf32>, %sum: memref<24xf32>) {
  attn.merge ins(%a, %m, %s : memref<32x24xf32>, memref<24xf32>, memref<24xf32>)
    outs(%acc, %max, %sum : memref<32x24xf32>, memref<24xf32>, memref<24xf32>) {acc_map = #state}
  return
}

// A row-major output: 8 x 8 transpositions of 3 stages, one rounding, rows stored.
// CHECK-LABEL: func @finalize
// CHECK: scf.for
// CHECK-COUNT-8: arith.divf
// CHECK-COUNT-24: vector.shuffle
// CHECK-COUNT-8: arith.bitcast %{{.*}} : vector<8xi16> to vector<8xbf16>
// CHECK-NOT: vector.shuffle
// CHECK-NOT: math.log
func.func @finalize(%acc: memref<32x8xf32>, %max: memref<8xf32>, %sum: memref<8xf32>,
                    %o: memref<8x32xbf16, strided<[?, 1]>>, %lse: memref<8xf32>) {
  attn.finalize ins(%acc, %max, %sum : memref<32x8xf32>, memref<8xf32>, memref<8xf32>)
    outs(%o, %lse : memref<8x32xbf16, strided<[?, 1]>>, memref<8xf32>) {acc_map = #state}
  return
}

// A state of rows: the weights of a row are spread over its columns.
// CHECK-LABEL: func @merge_rows
// CHECK: %[[WEIGHT:.*]] = vector.extract %{{.*}}[0] : f32 from vector<4xf32>
// CHECK: %[[SPREAD:.*]] = vector.broadcast %[[WEIGHT]] : f32 to vector<16xf32>
// CHECK: math.fma %{{.*}}, %[[SPREAD]]
// CHECK: vector.store %{{.*}}, %arg3[%c0, %{{.*}}]
// CHECK: vector.store %{{.*}}, %arg3[%c3, %{{.*}}]
// CHECK-NOT: vector.store
func.func @merge_rows(%a: memref<4x32xf32>, %m: memref<4xf32>, %s: memref<4xf32>,
                      %acc: memref<4x32xf32>, %max: memref<4xf32>, %sum: memref<4xf32>) {
  attn.merge ins(%a, %m, %s : memref<4x32xf32>, memref<4xf32>, memref<4xf32>)
    outs(%acc, %max, %sum : memref<4x32xf32>, memref<4xf32>, memref<4xf32>)
  return
}

// CHECK-LABEL: func @finalize_rows
// CHECK-NOT: vector.shuffle
// CHECK: arith.divf {{.*}} : vector<16xf32>
// CHECK: vector.store %{{.*}}, %arg3[%c0, %{{.*}}]
func.func @finalize_rows(%acc: memref<4x32xf32>, %max: memref<4xf32>, %sum: memref<4xf32>, %o: memref<4x32xf32>) {
  attn.finalize ins(%acc, %max, %sum : memref<4x32xf32>, memref<4xf32>, memref<4xf32>)
    outs(%o : memref<4x32xf32>)
  return
}
