// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// RUN: fovea-opt %s -attn-cpu-lower-rows -canonicalize -cse -split-input-file -verify-diagnostics | FileCheck %s

// CHECK-LABEL: func @unchanged
// CHECK-NEXT: arith.addf
// CHECK-NEXT: return
func.func @unchanged(%x: f32) -> f32 {
  %0 = arith.addf %x, %x : f32
  return %0 : f32
}

// -----

// Row r = row0 + l is index r / 3 of head g * 3 + r % 3; rows from the count on are
// zero. 20 elements are two vectors and a remainder of four.
// CHECK-LABEL: func @gather
// CHECK-SAME: %[[B:[a-z0-9]+]]: index, %[[G:[a-z0-9]+]]: index, %[[ROW0:[a-z0-9]+]]: index, %[[ROWS:[a-z0-9]+]]: index
// CHECK: %[[WHOLE:.*]] = memref.transpose
// CHECK: %[[MIN:.*]] = arith.minsi %[[ROWS]], %{{.*}}
// CHECK: %[[COUNT:.*]] = arith.maxsi %[[MIN]]
// CHECK: scf.for %[[L:.*]] = %{{.*}} to %[[COUNT]]
// CHECK:   %[[R:.*]] = arith.addi %[[ROW0]], %[[L]]
// CHECK:   %[[MEMBER:.*]] = arith.remui %[[R]], %c3
// CHECK:   %[[I:.*]] = arith.divui %[[R]], %c3
// CHECK:   %[[FIRST:.*]] = arith.muli %[[G]], %c3
// CHECK:   %[[H:.*]] = arith.addi %[[FIRST]], %[[MEMBER]]
// CHECK:   scf.for %[[D:.*]] = %c0 to %c16 step %c8
// CHECK:     %[[X:.*]] = vector.load %[[WHOLE]][%[[B]], %[[H]], %[[I]], %[[D]]] : {{.*}}, vector<8xbf16>
// CHECK:     %[[Y:.*]] = arith.extf %[[X]]
// CHECK:     vector.store %[[Y]], %{{.*}}[%[[L]], %[[D]]]
// CHECK:   vector.load {{.*}}, vector<4xbf16>
// CHECK: scf.for %{{.*}} = %[[COUNT]] to
// CHECK-NOT: vector.load
// CHECK:   vector.store
func.func @gather(%source: memref<?x?x6x20xbf16>, %b: index, %g: index, %row0: index, %rows: index,
                  %tile: memref<16x20xf32>) {
  attn.gather_rows %source at(%b, %g, %row0) rows(%rows) outs(%tile : memref<16x20xf32>)
    {group = 3} : memref<?x?x6x20xbf16>
  return
}

// -----

// A stride known at run time only is tested there.
// CHECK-LABEL: func @scatter
// CHECK: %{{.*}}, %{{.*}}, %{{.*}}, %[[STRIDES:.*]]:4 = memref.extract_strided_metadata
// CHECK: %[[UNIT:.*]] = arith.cmpi eq, %[[STRIDES]]#3, %c1
// CHECK: scf.if %[[UNIT]]
// CHECK:   arith.truncf %{{.*}} : vector<8xf32> to vector<8xf16>
// CHECK:   vector.store {{.*}} strided<[?, ?, ?, 1], offset: ?>>
// CHECK: else
// CHECK-NOT: vector.
// CHECK:   memref.store
func.func @scatter(%tile: memref<16x8xf32>, %b: index, %g: index, %row0: index, %rows: index,
                   %dest: memref<?x?x6x8xf16, strided<[?, ?, ?, ?], offset: ?>>) {
  attn.scatter_rows %tile at(%b, %g, %row0) rows(%rows)
    outs(%dest : memref<?x?x6x8xf16, strided<[?, ?, ?, ?], offset: ?>>)
    {group = 1} : memref<16x8xf32>
  return
}

// -----

func.func @tensor(%source: tensor<2x3x6x8xf32>, %i: index, %tile: tensor<16x8xf32>) -> tensor<16x8xf32> {
  // expected-error @+1 {{must be on memrefs here; bufferize first}}
  %0 = attn.gather_rows %source at(%i, %i, %i) rows(%i) outs(%tile : tensor<16x8xf32>)
    {group = 1} : tensor<2x3x6x8xf32> -> tensor<16x8xf32>
  return %0 : tensor<16x8xf32>
}
