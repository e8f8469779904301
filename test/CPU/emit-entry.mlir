// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// RUN: fovea-opt %s -attn-cpu-emit-entry=suffix=avx512 -split-input-file -verify-diagnostics | FileCheck %s

// CHECK-LABEL: func @plain
// CHECK-NEXT: return
// CHECK-NOT: plain__
func.func @plain(%x: memref<4xf32>) {
  return
}

// -----

// The kernel takes what the cpu operations stand for, and returns a status.
// CHECK-LABEL: func private @kernel(
// CHECK-SAME: %[[X:.*]]: memref<?x4xf32, {{.*}}>, %[[P:[a-z0-9]*]]: i64, %[[SPACE:.*]]: memref<?xi8>, %[[WORKERS:.*]]: index, %[[CONTEXT:.*]]: !llvm.ptr) -> i32
// CHECK: cf.cond_br %{{.*}}, ^[[GO:.*]], ^[[LEAVE:.*]]
// CHECK: ^[[GO]]:
// CHECK: call @use(%[[X]], %[[P]], %[[WORKERS]], %[[SPACE]], %[[CONTEXT]])
// CHECK: %[[OK:.*]] = arith.constant 0 : i32
// CHECK: return %[[OK]]
// CHECK: ^[[LEAVE]]:
// CHECK: %[[STATUS:.*]] = arith.constant 4 : i32
// CHECK: return %[[STATUS]]

// The size function: extents from the symbols (N is the second), no memory.
// CHECK-LABEL: func @kernel__avx512_workspace(
// CHECK-SAME: %[[SYMBOLS:.*]]: !llvm.ptr, %[[PARAMS:.*]]: !llvm.ptr, %[[W:.*]]: i64) -> i64
// CHECK: llvm.mlir.zero
// CHECK: %[[N:.*]] = llvm.getelementptr %[[SYMBOLS]][8]
// CHECK: llvm.getelementptr %[[PARAMS]][0]
// CHECK: call @kernel_workspace

// The entry reads the frame: symbols 8, params 16, args 24, workspace 32,
// workers 40, context 0; a view is its data and then its strides.
// CHECK-LABEL: func @kernel__avx512(
// CHECK-SAME: %[[FRAME:.*]]: !llvm.ptr) -> i32
// CHECK: llvm.getelementptr %[[FRAME]][8]
// CHECK: llvm.getelementptr %[[FRAME]][16]
// CHECK: llvm.getelementptr %[[FRAME]][24]
// CHECK-NEXT: %[[VIEWS:.*]] = llvm.load
// CHECK: llvm.getelementptr %[[VIEWS]][0]
// CHECK: llvm.getelementptr %[[VIEWS]][8]
// CHECK: llvm.getelementptr %[[VIEWS]][16]
// CHECK: llvm.getelementptr %[[FRAME]][32]
// CHECK: llvm.getelementptr %[[FRAME]][40]
// CHECK: llvm.getelementptr %[[FRAME]][0]
// CHECK: %[[RESULT:.*]] = call @kernel(
// CHECK: return %[[RESULT]]
// CHECK: func private @kernel_workspace
func.func private @use(memref<?x4xf32, strided<[?, ?], offset: ?>>, i64, index, memref<?xi8>, !llvm.ptr)
func.func @kernel(
    %x: memref<?x4xf32, strided<[?, ?], offset: ?>> {attn.name = "x", attn.role = "input", attn.dims = ["N", 4]},
    %p: i64 {attn.name = "p", attn.role = "param"}) attributes {attn.symbols = ["B", "N"]} {
  %w = cpu.workers
  %m = cpu.workspace : memref<?xi8>
  %c = cpu.context : !llvm.ptr
  %zero = arith.constant 0 : i64
  %ok = arith.cmpi sge, %p, %zero : i64
  cpu.require %ok else 4
  call @use(%x, %p, %w, %m, %c) : (memref<?x4xf32, strided<[?, ?], offset: ?>>, i64, index, memref<?xi8>, !llvm.ptr) -> ()
  return
}
func.func @kernel_workspace(%x: memref<?x4xf32, strided<[?, ?], offset: ?>>, %p: i64) -> i64 {
  %w = cpu.workers
  %r = arith.index_cast %w : index to i64
  return %r : i64
}

// -----

// The second tensor's view lies 72 bytes on.
// CHECK-LABEL: func @second__avx512(
// CHECK: llvm.getelementptr %{{.*}}[72]
// CHECK: llvm.getelementptr %{{.*}}[80]
func.func @second(
    %x: memref<?xf32, strided<[?], offset: ?>> {attn.dims = ["N"]},
    %y: memref<?xf32, strided<[?], offset: ?>> {attn.dims = ["N"]}) attributes {attn.symbols = ["N"]} {
  return
}
func.func @second_workspace(%x: memref<?xf32, strided<[?], offset: ?>>, %y: memref<?xf32, strided<[?], offset: ?>>) -> i64 {
  %r = arith.constant 0 : i64
  return %r : i64
}

// -----

// expected-error@+1 {{has no size function; run attn-cpu-plan-workspace}}
func.func @unplanned() attributes {attn.symbols = []} {
  return
}

// -----

// expected-error@+1 {{argument 0 needs attn.dims, one per dimension}}
func.func @dims(%x: memref<?x?xf32> {attn.dims = ["N"]}) attributes {attn.symbols = ["N"]} {
  return
}
func.func private @dims_workspace(%x: memref<?x?xf32>) -> i64 {
  %r = arith.constant 0 : i64
  return %r : i64
}

// -----

// expected-error@+1 {{attn.dims names "M", which is no symbol}}
func.func @symbol(%x: memref<?xf32> {attn.dims = ["M"]}) attributes {attn.symbols = ["N"]} {
  return
}
func.func private @symbol_workspace(%x: memref<?xf32>) -> i64 {
  %r = arith.constant 0 : i64
  return %r : i64
}
