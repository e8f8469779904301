// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// RUN: fovea-opt %s -attn-cpu-expand-math -split-input-file | FileCheck %s

// Functions outside the list, and tensors, are left alone.
// CHECK-LABEL: func @unchanged
// CHECK-NEXT: math.sqrt %{{.*}} : vector<8xf32>
// CHECK-NEXT: math.erf %{{.*}} : f32
// CHECK-NEXT: math.exp %{{.*}} : tensor<4xf32>
// CHECK-NEXT: return
func.func @unchanged(%x: vector<8xf32>, %y: f32, %z: tensor<4xf32>)
    -> (vector<8xf32>, f32, tensor<4xf32>) {
  %0 = math.sqrt %x : vector<8xf32>
  %1 = math.erf %y : f32
  %2 = math.exp %z : tensor<4xf32>
  return %0, %1, %2 : vector<8xf32>, f32, tensor<4xf32>
}

// -----

// Degree 6, and the power of two in two factors.
// CHECK-LABEL: func @exp2
// CHECK-NOT: math.exp2
// CHECK-COUNT-6: math.fma %{{.*}} : vector<8xf32>
// CHECK-COUNT-2: arith.mulf
// CHECK-NEXT: return
func.func @exp2(%x: vector<8xf32>) -> vector<8xf32> {
  %0 = math.exp2 %x : vector<8xf32>
  return %0 : vector<8xf32>
}

// -----

// CHECK-LABEL: func @scalars
// CHECK-NOT: math.{{(exp|log|log2|tanh|sin|cos)}} 
// CHECK: return
func.func @scalars(%x: f32, %y: f64) -> (f32, f64, f64, f32, f64, f32) {
  %0 = math.exp %x : f32
  %1 = math.log %y : f64
  %2 = math.log2 %y : f64
  %3 = math.tanh %x : f32
  %4 = math.sin %y : f64
  %5 = math.cos %x : f32
  return %0, %1, %2, %3, %4, %5 : f32, f64, f64, f32, f64, f32
}

// -----

// Narrow floats are computed in f32.
// CHECK-LABEL: func @half
// CHECK: arith.extf %{{.*}} : vector<8xf16> to vector<8xf32>
// CHECK: arith.truncf %{{.*}} : vector<8xf32> to vector<8xf16>
func.func @half(%x: vector<8xf16>) -> vector<8xf16> {
  %0 = math.exp %x : vector<8xf16>
  return %0 : vector<8xf16>
}
