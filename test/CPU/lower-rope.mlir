// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// RUN: fovea-opt %s -attn-cpu-lower-rope -canonicalize -cse -split-input-file -verify-diagnostics | FileCheck %s

// CHECK-NOT: memref.global
// CHECK-LABEL: func @unchanged
// CHECK-NEXT: arith.addf
// CHECK-NEXT: return
func.func @unchanged(%x: f32) -> f32 {
  %0 = arith.addf %x, %x : f32
  return %0 : f32
}

// -----

// One table for both: frequencies, their cosines and sines. A row keeps the cosines of
// the one before if its position is the same, turns them once if it is the next, and
// computes them otherwise. Angles are f64 (P1).
// CHECK: memref.global "private" constant @[[$TABLE:.*]] : memref<3x8xf64>
// CHECK-NOT: memref.global
// CHECK-LABEL: func @tile
// CHECK: %[[T:.*]] = memref.get_global @[[$TABLE]]
// CHECK: %[[F:.*]] = vector.load %[[T]][%c0, %c0]
// CHECK: %[[COS:.*]] = vector.load %[[T]][%c1, %c0]
// CHECK: %[[SIN:.*]] = vector.load %[[T]][%c2, %c0]
// CHECK: scf.for {{.*}} iter_args(%[[LAST:.*]] = %c0_i64, %[[C0:.*]] = %{{.*}}, %[[S0:.*]] = %{{.*}})
// CHECK:   %[[P:.*]] = memref.load %arg1
// CHECK:   %[[MOVED:.*]] = arith.cmpi ne, %[[P]], %[[LAST]]
// CHECK:   %[[CS:.*]]:2 = scf.if %[[MOVED]]
// CHECK:     %[[NEXT:.*]] = arith.addi %[[LAST]], %c1_i64
// CHECK:     %[[ISNEXT:.*]] = arith.cmpi eq, %[[P]], %[[NEXT]]
// CHECK:     %[[PHASE:.*]] = arith.andi %[[P]], %c255_i64
// CHECK:     %[[WITHIN:.*]] = arith.cmpi ne, %[[PHASE]], %c0_i64
// CHECK:     %[[STEP:.*]] = arith.andi %[[ISNEXT]], %[[WITHIN]]
// CHECK:     scf.if %[[STEP]]
// CHECK:       %[[SS:.*]] = arith.mulf %[[S0]], %[[SIN]]
// CHECK:       %[[NSS:.*]] = arith.negf %[[SS]]
// CHECK:       math.fma %[[C0]], %[[COS]], %[[NSS]] : vector<8xf64>
// CHECK:       %[[CST:.*]] = arith.mulf %[[C0]], %[[SIN]]
// CHECK:       math.fma %[[S0]], %[[COS]], %[[CST]] : vector<8xf64>
// CHECK:     %[[PF:.*]] = arith.sitofp %[[P]] : i64 to f64
// CHECK:     %[[PV:.*]] = vector.broadcast %[[PF]]
// CHECK:     %[[ANGLE:.*]] = arith.mulf %[[PV]], %[[F]] : vector<8xf64>
// CHECK:     math.cos %[[ANGLE]]
// CHECK:     math.sin %[[ANGLE]]
// CHECK:   else
// CHECK:     scf.yield %[[C0]], %[[S0]]
// CHECK:   scf.yield %[[P]], %[[CS]]#0, %[[CS]]#1
// The second one reads the same table, and takes the angle at every new position.
// CHECK: vector.load %[[T]]
// CHECK: scf.if
// CHECK-NOT: scf.if
// CHECK: math.cos
func.func @tile(%x: memref<16x16xf32>, %positions: memref<16xi64>, %y: memref<16x16xf64>) {
  attn.rope ins(%x : memref<16x16xf32>) positions(%positions : memref<16xi64>)
    outs(%x : memref<16x16xf32>) {style = #attn.rope_style<neox>, base = 10000.0}
  attn.rope ins(%y : memref<16x16xf64>) positions(%positions : memref<16xi64>)
    outs(%y : memref<16x16xf64>) {style = #attn.rope_style<neox>, base = 10000.0}
  return
}

// -----

// All heads share the cosines of their position; elements beyond rotary_dim are copied.
// CHECK-LABEL: func @whole
// CHECK: scf.for %[[B:.*]] = %c0 to
// CHECK: scf.for %[[I:.*]] = %c0 to
// CHECK:   %[[OFFSET:.*]] = memref.load %arg1[%[[B]]]
// CHECK:   math.cos
// CHECK:   math.sin
// CHECK:   scf.for %[[H:.*]] = %c0 to %c4
// CHECK:     vector.load %arg0[%[[B]], %[[I]], %[[H]], %c0] : {{.*}}, vector<16xbf16>
// CHECK:     vector.deinterleave
// CHECK:     %[[FIRST:.*]] = math.fma
// CHECK:     %[[SECOND:.*]] = math.fma
// CHECK:     vector.interleave %[[FIRST]], %[[SECOND]]
// CHECK:     vector.store
// CHECK: vector.load %arg0[%{{.*}}, %{{.*}}, %{{.*}}, %c16]
func.func @whole(%x: memref<?x?x4x20xbf16>, %past: memref<?xi32>, %y: memref<?x?x4x20xbf16>) {
  attn.rope ins(%x : memref<?x?x4x20xbf16>) offset(%past : memref<?xi32>)
    outs(%y : memref<?x?x4x20xbf16>)
    {style = #attn.rope_style<interleaved>, base = 10000.0, rotary_dim = 16}
  return
}

// -----

// The table holds the frequencies of the short and of the long factors, and their
// cosines and sines behind them.
// CHECK: memref.global {{.*}} : memref<6x2xf64>
// CHECK-LABEL: func @longrope
// CHECK: %[[LONG:.*]] = arith.cmpi sgt, %arg2, %c128_i64
// CHECK: %[[ROW:.*]] = arith.select %[[LONG]], %c1, %c0
// CHECK: vector.load %{{.*}}[%[[ROW]], %c0]
// CHECK: %[[COS:.*]] = arith.addi %[[ROW]], %c2
// CHECK: vector.load %{{.*}}[%[[COS]], %c0]
// CHECK: %[[SIN:.*]] = arith.addi %[[ROW]], %c4
// CHECK: vector.load %{{.*}}[%[[SIN]], %c0]
func.func @longrope(%x: memref<16x4xf32>, %positions: memref<16xi64>, %length: i64) {
  attn.rope ins(%x : memref<16x4xf32>) positions(%positions : memref<16xi64>) length(%length : i64)
    outs(%x : memref<16x4xf32>) {style = #attn.rope_style<neox>, base = 10000.0,
      scaling = #attn.rope_scaling<kind = longrope, factor = 4.0, original_length = 128,
        short_factor = [1.0, 2.0], long_factor = [3.0, 4.0]>}
  return
}

// -----

// With a length per batch row, each has its own ratio.
// CHECK-LABEL: func @dynamic
// CHECK: scf.for %[[B:.*]] = %c0 to
// CHECK:   %[[N:.*]] = memref.load %arg1[%[[B]]] : memref<?xi32>
// CHECK:   %[[LENGTH:.*]] = arith.extsi %[[N]] : i32 to i64
// CHECK:   arith.maxsi %[[LENGTH]], %c128_i64
// CHECK:   math.log
// CHECK:   scf.for
// CHECK:     math.cos
func.func @dynamic(%x: memref<?x?x4x4xf32>, %lengths: memref<?xi32>) {
  attn.rope ins(%x : memref<?x?x4x4xf32>) length(%lengths : memref<?xi32>)
    outs(%x : memref<?x?x4x4xf32>) {style = #attn.rope_style<neox>, base = 10000.0,
      scaling = #attn.rope_scaling<kind = dynamic, factor = 4.0, original_length = 128>}
  return
}

// -----

func.func @tensor(%x: tensor<16x4xf32>, %positions: tensor<16xi64>) -> tensor<16x4xf32> {
  // expected-error @+1 {{must be on memrefs here; bufferize first}}
  %0 = attn.rope ins(%x : tensor<16x4xf32>) positions(%positions : tensor<16xi64>)
    outs(%x : tensor<16x4xf32>) {style = #attn.rope_style<neox>, base = 10000.0} -> tensor<16x4xf32>
  return %0 : tensor<16x4xf32>
}

// -----

// Two tables of one module have two names. A result of another type is rounded as it
// is stored, what does not rotate too.
// CHECK-DAG: memref.global "private" constant @[[$FOUR:.*]] : memref<3x4xf64>
// CHECK-DAG: memref.global "private" constant @[[$ONE:.*]] : memref<3x1xf64>
// CHECK-LABEL: func @two_tables
// CHECK: memref.get_global @[[$FOUR]]
// CHECK: math.fma {{.*}} : vector<4xf32>
// CHECK: vector.store {{.*}} : memref<3x12xbf16>, vector<8xbf16>
// CHECK: %[[REST:.*]] = vector.load %arg0[%{{.*}}, %c8] : memref<3x12xf32>, vector<4xf32>
// CHECK: vector.store {{.*}} : memref<3x12xbf16>, vector<4xbf16>
// CHECK: memref.get_global @[[$ONE]]
func.func @two_tables(%x: memref<3x12xf32>, %p: memref<3xi64>, %y: memref<3x12xbf16>) {
  attn.rope ins(%x : memref<3x12xf32>) positions(%p : memref<3xi64>) outs(%y : memref<3x12xbf16>) {style = #attn.rope_style<interleaved>, base = 1.0e4 : f64, rotary_dim = 8 : i64}
  attn.rope ins(%x : memref<3x12xf32>) positions(%p : memref<3xi64>) outs(%x : memref<3x12xf32>) {style = #attn.rope_style<interleaved>, base = 1.0e4 : f64, rotary_dim = 2 : i64}
  return
}
