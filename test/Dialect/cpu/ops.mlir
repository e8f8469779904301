// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Round trip, in the short form and in the generic one.
// RUN: fovea-opt %s | fovea-opt | FileCheck %s
// RUN: fovea-opt %s -mlir-print-op-generic | fovea-opt | FileCheck %s

// CHECK-LABEL: func @parallel
// CHECK: cpu.parallel (%[[ITEM:.*]], %[[WORKER:.*]]) to %arg0 each %arg0 {
// CHECK-NEXT: memref.store %[[WORKER]], %arg1[%[[ITEM]]]
// CHECK-NEXT: }
// CHECK: cpu.parallel (%{{.*}}, %{{.*}}) to %arg0 each %arg0 {
// CHECK-NEXT: } {note = "kept"}
func.func @parallel(%n: index, %x: memref<?xindex>) {
  cpu.parallel (%item, %worker) to %n each %n {
    memref.store %worker, %x[%item] : memref<?xindex>
  }
  cpu.parallel (%item, %worker) to %n each %n {
  } {note = "kept"}
  return
}

// CHECK-LABEL: func @runtime
// CHECK: cpu.workers
// CHECK-NEXT: cpu.workspace : memref<?xi8>
// CHECK-NEXT: cpu.context : !llvm.ptr
// CHECK-NEXT: cpu.require %arg0 else 4
func.func @runtime(%ok: i1) {
  %0 = cpu.workers
  %1 = cpu.workspace : memref<?xi8>
  %2 = cpu.context : !llvm.ptr
  cpu.require %ok else 4
  return
}

// CHECK-LABEL: func @interleave
// CHECK-NEXT: cpu.interleave {
// CHECK-NEXT: memref.store
// CHECK-NEXT: }, {
// CHECK-NEXT: arith.addf
// CHECK-NEXT: }
// CHECK-NEXT: return
func.func @interleave(%x: memref<f32>, %y: f32) {
  cpu.interleave {
    memref.store %y, %x[] : memref<f32>
  }, {
    %z = arith.addf %y, %y : f32
  }
  return
}

// CHECK-LABEL: func @split
// CHECK-NEXT: cpu.split %arg0 into %arg1 : memref<4x8xf32> into memref<4x2x8xbf16>
// CHECK-NEXT: cpu.split %arg0 into %arg1 {infinity = 1.000000e+00 : f64} : memref<4x8xf32> into memref<4x2x8xbf16>
func.func @split(%rows: memref<4x8xf32>, %terms: memref<4x2x8xbf16>) {
  cpu.split %rows into %terms : memref<4x8xf32> into memref<4x2x8xbf16>
  cpu.split %rows into %terms {infinity = 1.0 : f64} : memref<4x8xf32> into memref<4x2x8xbf16>
  return
}

// CHECK-LABEL: func @unzip
// CHECK-NEXT: cpu.unzip %arg0 rows(%arg1) {lanes = 4 : i64} : memref<?x8xf32>
// CHECK-NEXT: cpu.unzip %arg0 rows(%arg1) {inverse, lanes = 4 : i64} : memref<?x8xf32>
func.func @unzip(%tile: memref<?x8xf32>, %count: index) {
  cpu.unzip %tile rows(%count) {lanes = 4 : i64} : memref<?x8xf32>
  cpu.unzip %tile rows(%count) {inverse, lanes = 4 : i64} : memref<?x8xf32>
  return
}
