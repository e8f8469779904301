// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// RUN: fovea-opt %s -attn-results-to-arguments -split-input-file -verify-diagnostics | FileCheck %s

// Only kernels pass their results in arguments.
// CHECK-LABEL: func @plain
// CHECK: return %arg0
func.func @plain(%x: memref<4xf32>) -> memref<4xf32> {
  return %x : memref<4xf32>
}

// -----

// A result that is its destination goes; another one is copied there.
// CHECK-LABEL: func @kernel(
// CHECK-SAME: %[[X:.*]]: memref<4xf32> {{{.*}}}, %[[CACHE:.*]]: memref<4xf32> {{{.*}}}, %[[O:.*]]: memref<4xf32> {{{.*}}}) attributes
// CHECK-NOT: memref.copy
// CHECK: memref.copy %[[X]], %[[O]]
// CHECK-NOT: memref.copy
// CHECK: return{{$}}
func.func @kernel(%x: memref<4xf32> {attn.role = "input"}, %cache: memref<4xf32> {attn.role = "inout"},
                  %o: memref<4xf32> {attn.role = "output"}) -> (memref<4xf32>, memref<4xf32>)
    attributes {attn.symbols = []} {
  return %cache, %x : memref<4xf32>, memref<4xf32>
}

// -----

// expected-error@+1 {{returns 1 results for 2 output arguments}}
func.func @few(%a: memref<4xf32> {attn.role = "output"}, %b: memref<4xf32> {attn.role = "output"}) -> memref<4xf32>
    attributes {attn.symbols = []} {
  return %a : memref<4xf32>
}
