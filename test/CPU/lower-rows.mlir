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

// -----

// Terms of a float, each rounded from what those before it leave; of what is not
// finite nothing is left. Numbers beyond the largest term begin with it. Eight
// lanes, then the rest of a row.
// CHECK-LABEL: func @split
// CHECK-DAG: %[[LARGEST:.*]] = arith.constant dense<3.38953139E+38> : vector<8xf32>
// CHECK-DAG: %[[LEAST:.*]] = arith.constant dense<-3.38953139E+38> : vector<8xf32>
// CHECK-DAG: %[[ZERO:.*]] = arith.constant dense<0.000000e+00> : vector<8xf32>
// CHECK: scf.for %[[ROW:.*]] = %c0 to %c3
// CHECK:   %[[X:.*]] = vector.load %arg0[%[[ROW]], %c0] : memref<3x12xf32>, vector<8xf32>
// CHECK:   %[[IS:.*]] = arith.cmpf olt, %[[LARGEST]], %[[X]]
// CHECK:   %[[NEAR:.*]] = arith.select %[[IS]], %[[LARGEST]], %[[X]]
// CHECK:   %[[IS:.*]] = arith.cmpf olt, %[[NEAR]], %[[LEAST]]
// CHECK:   %[[NEAR_BOTH:.*]] = arith.select %[[IS]], %[[LEAST]], %[[NEAR]]
// CHECK:   %[[NONE:.*]] = arith.subf %[[X]], %[[X]]
// CHECK:   %[[IS:.*]] = arith.cmpf oeq, %[[NONE]], %[[ZERO]]
// CHECK:   %[[KEPT:.*]] = arith.select %[[IS]], %[[NEAR_BOTH]], %[[X]]
// CHECK:   arith.bitcast %[[KEPT]]
// CHECK:   vector.store %[[FIRST:.*]], %arg1[%[[ROW]], %c0, %c0] : memref<3x2x12xbf16>, vector<8xbf16>
// CHECK:   %[[WIDE:.*]] = arith.extf %[[FIRST]] : vector<8xbf16> to vector<8xf32>
// CHECK:   %[[REST:.*]] = arith.subf %[[X]], %[[WIDE]]
// CHECK:   %[[IS:.*]] = arith.cmpf oeq, %[[REST]], %[[REST]]
// CHECK:   arith.select %[[IS]], %[[REST]], %[[ZERO]]
// CHECK:   vector.store %{{.*}}, %arg1[%[[ROW]], %c1, %c0]
// CHECK-NOT: arith.subf
// CHECK:   vector.load %arg0[%[[ROW]], %c8] : memref<3x12xf32>, vector<4xf32>
// Infinities count as what is said of them, and none is kept.
// CHECK: scf.for
// CHECK:   %[[IS:.*]] = arith.cmpf oeq, %[[X:.*]], %cst
// CHECK:   %[[Y:.*]] = arith.select %[[IS]], %{{.*}}, %[[X]]
// CHECK:   %[[IS:.*]] = arith.cmpf oeq, %[[Y]], %cst
// CHECK:   arith.select %[[IS]], %{{.*}}, %[[Y]]
// CHECK-NOT: arith.subf
// CHECK:   vector.store {{.*}} : memref<3x1x4xbf16>
func.func @split(%x: memref<3x12xf32>, %y: memref<3x2x12xbf16>, %small: memref<3x4xf32>, %one: memref<3x1x4xbf16>) {
  cpu.split %x into %y : memref<3x12xf32> into memref<3x2x12xbf16>
  cpu.split %small into %one {infinity = 1.0 : f64} : memref<3x4xf32> into memref<3x1x4xbf16>
  return
}

// Even elements before odd ones, in whole runs of eight of the rows that exist.
// CHECK-LABEL: func @unzip
// CHECK: scf.for %[[ROW:.*]] = %c0 to %arg1 step %c1
// CHECK: scf.for %[[FROM:.*]] = %c0 to %c16 step %c8
// CHECK: %[[MIDDLE:.*]] = arith.addi %[[FROM]], %c4
// CHECK: %[[A:.*]] = vector.load %arg0[%[[ROW]], %[[FROM]]] : memref<?x20xf32>, vector<4xf32>
// CHECK: %[[B:.*]] = vector.load %arg0[%[[ROW]], %[[MIDDLE]]]
// CHECK: %[[EVEN:.*]] = vector.shuffle %[[A]], %[[B]] [0, 2, 4, 6]
// CHECK: vector.store %[[EVEN]], %arg0[%[[ROW]], %[[FROM]]]
// CHECK: %[[ODD:.*]] = vector.shuffle %[[A]], %[[B]] [1, 3, 5, 7]
// CHECK: vector.store %[[ODD]], %arg0[%[[ROW]], %[[MIDDLE]]]
// CHECK: vector.shuffle {{.*}} [0, 4, 1, 5]
// CHECK: vector.shuffle {{.*}} [2, 6, 3, 7]
func.func @unzip(%tile: memref<?x20xf32>, %count: index) {
  cpu.unzip %tile rows(%count) {lanes = 4 : i64} : memref<?x20xf32>
  cpu.unzip %tile rows(%count) {inverse, lanes = 4 : i64} : memref<?x20xf32>
  return
}
