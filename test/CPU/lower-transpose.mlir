// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// RUN: fovea-opt %s -attn-cpu-lower-transpose -canonicalize -cse | FileCheck %s
// RUN: fovea-opt %s -attn-cpu-lower-transpose=vector-bits=512 | FileCheck %s --check-prefix=WIDE

// CHECK-LABEL: func @unchanged
// CHECK-NEXT: linalg.transpose
// CHECK-NEXT: linalg.transpose
// CHECK-NEXT: return
func.func @unchanged(%x: memref<2x3x4xf32>, %y: memref<4x3x2xf32>, %z: memref<?x4xf32>, %w: memref<4x?xf32>) {
  linalg.transpose ins(%x : memref<2x3x4xf32>) outs(%y : memref<4x3x2xf32>) permutation = [2, 1, 0]
  linalg.transpose ins(%z : memref<?x4xf32>) outs(%w : memref<4x?xf32>) permutation = [1, 0]
  return
}

// Blocks of 8 x 8 in 3 stages of 8 shuffles; the last column by elements.
// CHECK-LABEL: func @transpose
// CHECK: scf.for
// CHECK-COUNT-8: vector.load {{.*}}, vector<8xf32>
// CHECK-COUNT-24: vector.shuffle
// CHECK-NOT: vector.shuffle
// CHECK-COUNT-8: vector.store
// CHECK: memref.load
// CHECK: memref.store
// WIDE-LABEL: func @transpose
// WIDE-COUNT-64: vector.shuffle {{.*}} : vector<16xf32>, vector<16xf32>
func.func @transpose(%x: memref<32x17xf32>, %y: memref<17x32xf32>) {
  linalg.transpose ins(%x : memref<32x17xf32>) outs(%y : memref<17x32xf32>) permutation = [1, 0]
  return
}

// Pairs move as words of 32 bits, 16-bit floats as integers.
// CHECK-LABEL: func @pairs
// CHECK: vector.load {{.*}}, vector<16xbf16>
// CHECK: vector.bitcast {{.*}} : vector<16xbf16> to vector<8xi32>
// CHECK-COUNT-24: vector.shuffle {{.*}} : vector<8xi32>, vector<8xi32>
// CHECK-NOT: vector.shuffle
// CHECK: vector.bitcast {{.*}} : vector<8xi32> to vector<16xbf16>
// CHECK: vector.store
// CHECK-LABEL: func @halves
// CHECK: vector.shuffle {{.*}} : vector<16xi16>, vector<16xi16>
func.func @pairs(%x: memref<32x16x2xbf16>, %y: memref<16x32x2xbf16>) {
  linalg.transpose ins(%x : memref<32x16x2xbf16>) outs(%y : memref<16x32x2xbf16>) permutation = [1, 0, 2]
  return
}
func.func @halves(%x: memref<32x16xbf16>, %y: memref<16x32xbf16>) {
  linalg.transpose ins(%x : memref<32x16xbf16>) outs(%y : memref<16x32xbf16>) permutation = [1, 0]
  return
}
