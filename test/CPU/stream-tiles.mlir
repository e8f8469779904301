// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// RUN: fovea-opt %s -attn-cpu-stream-tiles | FileCheck %s

// CHECK-LABEL: func @unchanged
// CHECK-NEXT: amx.tile_load
// CHECK-NEXT: amx.tile_store
// CHECK-NEXT: return
func.func @unchanged(%m: memref<16x32xbf16>, %i: index) {
  %a = amx.tile_load %m[%i, %i] : memref<16x32xbf16> into !amx.tile<16x32xbf16>
  amx.tile_store %m[%i, %i], %a : memref<16x32xbf16>, !amx.tile<16x32xbf16>
  return
}

// Rows of 64 bytes at the element's address, a row of the memref apart.
// CHECK-LABEL: func @streamed
// CHECK-SAME: %[[M:.*]]: memref<?x?xbf16>, %[[I:.*]]: index, %[[J:.*]]: index
// CHECK-NOT: amx.tile_load
// CHECK: %{{.*}}, %[[OFFSET:.*]], %{{.*}}:2, %[[STRIDES:.*]]:2 = memref.extract_strided_metadata %[[M]]
// CHECK: %[[ROW:.*]] = arith.muli %[[I]], %[[STRIDES]]#0
// CHECK: arith.addi %[[OFFSET]], %[[ROW]]
// CHECK: %[[ADDRESS:.*]] = llvm.inttoptr
// CHECK: %[[BYTES:.*]] = arith.muli %[[STRIDES]]#0, %c2
// CHECK: %[[STRIDE:.*]] = arith.index_cast %[[BYTES]]
// CHECK: %[[TILE:.*]] = llvm.call_intrinsic "llvm.x86.tileloaddt164.internal"(%c16_i16, %c64_i16, %[[ADDRESS]], %[[STRIDE]])
// CHECK: %[[CAST:.*]] = builtin.unrealized_conversion_cast %[[TILE]]
// CHECK: amx.tile_store {{.*}}, %[[CAST]]
func.func @streamed(%m: memref<?x?xbf16>, %i: index, %j: index) {
  %a = amx.tile_load %m[%i, %j] {cpu.stream} : memref<?x?xbf16> into !amx.tile<16x32xbf16>
  amx.tile_store %m[%i, %j], %a : memref<?x?xbf16>, !amx.tile<16x32xbf16>
  return
}
