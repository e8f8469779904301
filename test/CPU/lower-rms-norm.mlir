// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// RUN: fovea-opt %s -attn-cpu-lower-rms-norm -canonicalize -cse -split-input-file -verify-diagnostics | FileCheck %s

// CHECK-LABEL: func @unchanged
// CHECK-NEXT: arith.addf
// CHECK-NEXT: return
func.func @unchanged(%x: f32) -> f32 {
  %0 = arith.addf %x, %x : f32
  return %0 : f32
}

// -----

// Four vectors are summed side by side, in f32; the remainder of 4 joins them.
// CHECK-LABEL: func @norm
// CHECK: scf.for
// CHECK:   scf.for {{.*}} -> (vector<32xf32>)
// CHECK:     arith.extf %{{.*}} : vector<32xbf16> to vector<32xf32>
// CHECK:     math.fma
// CHECK:   vector.load {{.*}}, vector<4xbf16>
// CHECK:   vector.insert_strided_slice
// CHECK:   %[[ROOT:.*]] = math.sqrt
// CHECK:   arith.divf %{{.*}}, %[[ROOT]]
// CHECK:   vector.load %arg1
// CHECK:   arith.bitcast %{{.*}} : vector<8xi16> to vector<8xbf16>
func.func @norm(%x: memref<16x100xbf16>, %weight: memref<100xf32>) {
  attn.rms_norm ins(%x : memref<16x100xbf16>) weight(%weight : memref<100xf32>)
    outs(%x : memref<16x100xbf16>) {eps = 1.0e-6 : f64}
  return
}

// -----

func.func @tensor(%x: tensor<16x4xf32>) -> tensor<16x4xf32> {
  // expected-error @+1 {{must be on memrefs here; bufferize first}}
  %0 = attn.rms_norm ins(%x : tensor<16x4xf32>) outs(%x : tensor<16x4xf32>) {eps = 1.0e-6 : f64} -> tensor<16x4xf32>
  return %0 : tensor<16x4xf32>
}
