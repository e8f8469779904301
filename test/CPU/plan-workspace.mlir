// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// RUN: fovea-opt %s -attn-cpu-plan-workspace -canonicalize -split-input-file -verify-diagnostics | FileCheck %s

// A kernel without scratch memory needs none.
// CHECK-LABEL: func @none_workspace
// CHECK-NEXT: %[[ZERO:.*]] = arith.constant 0 : i64
// CHECK-NEXT: return %[[ZERO]]
// CHECK-LABEL: func @none(
// CHECK-NEXT: return
func.func @none(%x: memref<?xf32>) {
  return
}

// -----

// Memory of private functions is no business of the caller's.
// CHECK-LABEL: func private @helper
// CHECK: memref.alloc
// CHECK-NOT: workspace
func.func private @helper(%n: index) -> memref<?xf32> {
  %a = memref.alloc(%n) : memref<?xf32>
  return %a : memref<?xf32>
}

// -----

// Each block starts on a line of 64 bytes; the size function counts the same
// bytes, in numbers that cannot wrap besides.
// CHECK-LABEL: func @two_workspace(
// CHECK-SAME: %[[X:.*]]: memref<?x3xf32>) -> i64
// CHECK-DAG: %[[FAILED:.*]] = arith.constant -1 : i64
// CHECK-DAG: %[[LIMIT:.*]] = arith.constant 4.6116860184273879E+18 : f64
// CHECK-DAG: %[[W:.*]] = cpu.workers
// CHECK-DAG: %[[N:.*]] = memref.dim %[[X]]
// CHECK: %[[A:.*]] = arith.muli %[[W]], %c40
// CHECK: %[[B:.*]] = arith.muli %[[N]], %c4{{ }}
// CHECK: arith.addi %[[B]], %c63
// CHECK: %[[TOTAL:.*]] = arith.addi
// CHECK: %[[FITS:.*]] = arith.cmpf olt, %{{.*}}, %[[LIMIT]]
// CHECK: %[[BYTES:.*]] = arith.index_cast %[[TOTAL]]
// CHECK: %[[RESULT:.*]] = arith.select %[[FITS]], %[[BYTES]], %[[FAILED]]
// CHECK: return %[[RESULT]]
// CHECK-LABEL: func @two(
// CHECK-NOT: memref.alloc
// CHECK: %[[SPACE:.*]] = cpu.workspace
// CHECK: %[[WORKERS:.*]] = cpu.workers
// CHECK: memref.view %[[SPACE]][%c0][%[[WORKERS]]] : memref<?xi8> to memref<?x5xf64>
// CHECK: %[[USED:.*]] = arith.muli %[[WORKERS]], %c40
// CHECK: %[[MORE:.*]] = arith.addi %[[USED]], %c63
// CHECK: %[[LINES:.*]] = arith.divui %[[MORE]], %c64
// CHECK: %[[NEXT:.*]] = arith.muli %[[LINES]], %c64
// CHECK: memref.view %[[SPACE]][%[[NEXT]]][%{{.*}}] : memref<?xi8> to memref<?x2xbf16>
// CHECK-NOT: memref.dealloc
func.func @two(%x: memref<?x3xf32>) {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f64
  %half = arith.constant 0.0 : bf16
  %n = memref.dim %x, %c0 : memref<?x3xf32>
  %w = cpu.workers
  %a = memref.alloc(%w) {alignment = 64 : i64} : memref<?x5xf64>
  %b = memref.alloc(%n) : memref<?x2xbf16>
  memref.store %zero, %a[%c0, %c0] : memref<?x5xf64>
  memref.store %half, %b[%c0, %c0] : memref<?x2xbf16>
  memref.dealloc %b : memref<?x2xbf16>
  return
}

// -----

func.func @inside(%n: index) {
  cpu.parallel (%item, %worker) to %n each %n {
    // expected-error@+1 {{is scratch memory outside the entry block}}
    %a = memref.alloc(%n) : memref<?xf32>
  }
  return
}

// -----

func.func @of_data(%x: memref<?xindex>) -> memref<?xf32> {
  %c0 = arith.constant 0 : index
  // expected-error@+1 {{takes part in the size of scratch memory}}
  %n = memref.load %x[%c0] : memref<?xindex>
  %a = memref.alloc(%n) : memref<?xf32>
  return %a : memref<?xf32>
}

// -----

func.func @of_strides(%x: memref<?xf32, strided<[?]>>) -> memref<?xf32> {
  // expected-error@+1 {{takes part in the size of scratch memory}}
  %base, %offset, %size, %stride = memref.extract_strided_metadata %x : memref<?xf32, strided<[?]>> -> memref<f32>, index, index, index
  %a = memref.alloc(%stride) : memref<?xf32>
  return %a : memref<?xf32>
}
