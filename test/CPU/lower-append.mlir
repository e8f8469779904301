// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// RUN: fovea-opt %s -attn-cpu-lower-append -canonicalize -cse -split-input-file -verify-diagnostics | FileCheck %s

// CHECK-LABEL: func @unchanged
// CHECK-NEXT: arith.addf
// CHECK-NEXT: return
func.func @unchanged(%x: f32) -> f32 {
  %0 = arith.addf %x, %x : f32
  return %0 : f32
}

// -----

// Rows run from max(0, -past) to min(M, C - past), so that none lies outside (K3).
// CHECK-LABEL: func @append
// CHECK-DAG: %[[M:.*]] = memref.dim %arg0, %c1
// CHECK-DAG: %[[C:.*]] = memref.dim %arg2, %c1
// CHECK: %[[PAST:.*]] = arith.index_cast
// CHECK: %[[NEGATIVE:.*]] = arith.subi %c0, %[[PAST]]
// CHECK: %[[FROM:.*]] = arith.maxsi %[[NEGATIVE]], %c0
// CHECK: %[[ROOM:.*]] = arith.subi %[[C]], %[[PAST]]
// CHECK: %[[TO:.*]] = arith.minsi %[[M]], %[[ROOM]]
// CHECK: scf.for %[[I:.*]] = %[[FROM]] to %[[TO]]
// CHECK:   %[[TARGET:.*]] = arith.addi %[[PAST]], %[[I]]
// CHECK:   scf.for %[[H:.*]] =
// CHECK:     vector.load %arg0[%[[B:.*]], %[[I]], %[[H]], %c0]
// CHECK:     arith.bitcast %{{.*}} : vector<8xi16> to vector<8xbf16>
// CHECK:     vector.store %{{.*}}, %arg2[%[[B]], %[[TARGET]], %[[H]], %c0]
func.func @append(%x: memref<?x?x4x8xf32>, %past: memref<?xi32>, %cache: memref<?x?x4x8xbf16>) {
  attn.append ins(%x : memref<?x?x4x8xf32>) past(%past : memref<?xi32>)
    outs(%cache : memref<?x?x4x8xbf16>)
  return
}

// -----

func.func @narrow(%x: memref<?x?xf32>, %past: memref<?xi32>, %cache: memref<?x?xf32>) {
  // expected-error @+1 {{needs rows [B, M, ..., D] of static width}}
  attn.append ins(%x : memref<?x?xf32>) past(%past : memref<?xi32>) outs(%cache : memref<?x?xf32>)
  return
}
