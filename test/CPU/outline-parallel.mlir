// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// RUN: fovea-opt %s -attn-cpu-outline-parallel -split-input-file | FileCheck %s

// CHECK-LABEL: func @none
// CHECK-NEXT: return
// CHECK-NOT: fovea_parallel_for
func.func @none(%x: memref<4xf32>) {
  return
}

// -----

// What the body uses travels in a struct, constants are made anew; the struct is
// made once, in the entry block.
// CHECK-LABEL: func private @kernel_task0(
// CHECK-SAME: %[[CLOSURE:.*]]: !llvm.ptr, %[[BEGIN:.*]]: i64, %[[END:.*]]: i64, %[[WORKER:.*]]: i64)
// CHECK: %[[LOADED:.*]] = llvm.load
// CHECK: %[[X:.*]] = builtin.unrealized_conversion_cast %[[LOADED]] {{.*}} to memref<?xindex>
// CHECK-DAG: %[[FROM:.*]] = arith.index_cast %[[BEGIN]]
// CHECK-DAG: %[[TO:.*]] = arith.index_cast %[[END]]
// CHECK-DAG: %[[W:.*]] = arith.index_cast %[[WORKER]]
// CHECK: scf.for %[[ITEM:.*]] = %[[FROM]] to %[[TO]]
// CHECK:   %[[C3:.*]] = arith.constant 3
// CHECK:   %[[AT:.*]] = arith.addi %[[ITEM]], %[[C3]]
// CHECK:   memref.store %[[W]], %[[X]][%[[AT]]]
// CHECK-LABEL: func @kernel(
// CHECK-SAME: %{{.*}}, %[[N:.*]]: index
// CHECK: %[[STRUCT:.*]] = llvm.alloca
// CHECK: scf.for
// CHECK:   llvm.store
// CHECK:   %[[CONTEXT:.*]] = cpu.context
// CHECK:   %[[COUNT:.*]] = arith.index_cast %[[N]]
// CHECK:   %[[TIME:.*]] = arith.index_cast %[[N]]
// CHECK:   %[[TASK:.*]] = func.constant @kernel_task0
// CHECK:   %[[ADDRESS:.*]] = builtin.unrealized_conversion_cast %[[TASK]]
// CHECK:   call @fovea_parallel_for(%[[CONTEXT]], %[[COUNT]], %[[TIME]], %[[ADDRESS]], %[[STRUCT]])
// CHECK: func private @fovea_parallel_for
func.func @kernel(%x: memref<?xindex>, %n: index) {
  %c3 = arith.constant 3 : index
  scf.for %i = %c3 to %n step %c3 {
    cpu.parallel (%item, %worker) to %n each %n {
      %at = arith.addi %item, %c3 : index
      memref.store %worker, %x[%at] : memref<?xindex>
    }
  }
  return
}

// -----

// Tasks of one kernel have names of their own, and one declaration serves all.
// CHECK-DAG: func private @several_task0
// CHECK-DAG: func private @several_task1
// CHECK: func private @fovea_parallel_for
// CHECK-NOT: func private @fovea_parallel_for
func.func @several(%n: index) {
  cpu.parallel (%item, %worker) to %n each %n {
  }
  cpu.parallel (%item, %worker) to %n each %n {
  }
  return
}
