// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// RUN: fovea-opt %s -attn-cpu-tile-append -canonicalize -cse -split-input-file | FileCheck %s

// CHECK-LABEL: func @unchanged
// CHECK-NEXT: arith.addf
// CHECK-NEXT: return
func.func @unchanged(%x: f32) -> f32 {
  %0 = arith.addf %x, %x : f32
  return %0 : f32
}

// -----

// Caches of another rank are left to attn-cpu-lower-append.
// CHECK-LABEL: func @other_rank
// CHECK-NEXT: attn.append
func.func @other_rank(%x: memref<?x?x8xf32>, %past: memref<?xi32>, %cache: memref<?x?x8xf32>) {
  attn.append ins(%x : memref<?x?x8xf32>) past(%past : memref<?xi32>) outs(%cache : memref<?x?x8xf32>)
  return
}

// -----

// The room is checked before the first row is written: 0 <= past <= C - M.
// CHECK-LABEL: func @append
// CHECK-SAME: %[[X:.*]]: memref<?x?x4x8xbf16>, %[[PAST:.*]]: memref<?xi32>, %[[CACHE:.*]]: memref<?x?x4x8xbf16>
// CHECK-DAG: %[[M:.*]] = memref.dim %[[X]], %c1
// CHECK-DAG: %[[C:.*]] = memref.dim %[[CACHE]], %c1
// CHECK: %[[OK:.*]] = scf.for %[[B:.*]] =
// CHECK:   %[[P:.*]] = arith.index_cast
// CHECK:   %[[ROOM:.*]] = arith.subi %[[C]], %[[M]]
// CHECK:   arith.cmpi sge, %[[P]], %c0
// CHECK:   arith.cmpi sle, %[[P]], %[[ROOM]]
// CHECK: cpu.require %[[OK]] else 4
// CHECK: cpu.parallel
// CHECK:   attn.gather_rows %[[X]] at(%[[BATCH:.*]], %[[HEAD:.*]], %[[FIRST:.*]]) rows(%[[COUNT:.*]]) outs(%[[TILE:.*]] : memref<32x8xf32
// CHECK:   %[[START:.*]] = arith.addi %{{.*}}, %[[FIRST]]
// CHECK:   attn.scatter_rows %[[TILE]] at(%[[BATCH]], %[[HEAD]], %[[START]]) rows(%[[COUNT]]) outs(%[[CACHE]]
func.func @append(%x: memref<?x?x4x8xbf16>, %past: memref<?xi32>, %cache: memref<?x?x4x8xbf16>) {
  attn.append ins(%x : memref<?x?x4x8xbf16>) past(%past : memref<?xi32>) outs(%cache : memref<?x?x4x8xbf16>)
  return
}

// -----

// A norm and RoPE that make the rows are replayed on the tile, in order, and
// their temporaries vanish; positions start at `past`.
// CHECK-LABEL: func @fused
// CHECK-SAME: %[[X:[a-z0-9]+]]: memref<1x?x2x8xf32>
// CHECK-NOT: memref.alloc{{.*}}memref<1x?x2x8xf32>
// CHECK: cpu.parallel
// CHECK:   attn.gather_rows %[[X]] at(%[[B:.*]], %{{.*}}, %[[FIRST:.*]]) rows(%{{.*}}) outs(%[[TILE:.*]] : memref<32x8xf32
// CHECK:   attn.rms_norm ins(%[[TILE]] {{.*}} outs(%[[TILE]]
// CHECK:   %[[PAST:.*]] = memref.load %{{.*}}[%[[B]]]
// CHECK:   scf.for %[[L:.*]] =
// CHECK:     arith.addi %[[FIRST]], %[[L]]
// CHECK:     memref.store %{{.*}}, %[[POSITIONS:.*]][%[[L]]]
// CHECK:   attn.rope ins(%[[TILE]] {{.*}} positions(%[[POSITIONS]] {{.*}} outs(%[[TILE]]
// CHECK:   attn.scatter_rows %[[TILE]]
func.func @fused(%x: memref<1x?x2x8xf32>, %m: index, %past: memref<1xi32>, %cache: memref<1x?x2x8xf32>) {
  %a = memref.alloc(%m) : memref<1x?x2x8xf32>
  attn.rms_norm ins(%x : memref<1x?x2x8xf32>) outs(%a : memref<1x?x2x8xf32>) {eps = 1.0e-6 : f64}
  %b = memref.alloc(%m) : memref<1x?x2x8xf32>
  attn.rope ins(%a : memref<1x?x2x8xf32>) offset(%past : memref<1xi32>) outs(%b : memref<1x?x2x8xf32>)
    {style = #attn.rope_style<neox>, base = 1.0e4 : f64}
  attn.append ins(%b : memref<1x?x2x8xf32>) past(%past : memref<1xi32>) outs(%cache : memref<1x?x2x8xf32>)
  return
}

// -----

// The same through one temporary, written in place; a length per batch row becomes that
// of the tile's.
// CHECK-LABEL: func @in_place
// CHECK-SAME: %[[X:[a-z0-9]+]]: memref<1x?x2x8xf32>
// CHECK-NOT: memref.alloc{{.*}}memref<1x?x2x8xf32>
// CHECK: cpu.parallel
// CHECK:   attn.gather_rows %[[X]] at(%[[B:.*]], %{{.*}}, %{{.*}}) rows(%{{.*}}) outs(%[[TILE:.*]] : memref<32x8xf32
// CHECK:   attn.rms_norm ins(%[[TILE]] {{.*}} outs(%[[TILE]]
// CHECK:   %[[N:.*]] = memref.load %arg3[%[[B]]] : memref<1xi32>
// CHECK:   %[[LENGTH:.*]] = arith.extsi %[[N]] : i32 to i64
// CHECK:   attn.rope ins(%[[TILE]] {{.*}} length(%[[LENGTH]] : i64) outs(%[[TILE]]
// CHECK:   attn.scatter_rows %[[TILE]]
func.func @in_place(%x: memref<1x?x2x8xf32>, %m: index, %past: memref<1xi32>, %n: memref<1xi32>, %cache: memref<1x?x2x8xf32>) {
  %a = memref.alloc(%m) : memref<1x?x2x8xf32>
  attn.rms_norm ins(%x : memref<1x?x2x8xf32>) outs(%a : memref<1x?x2x8xf32>) {eps = 1.0e-6 : f64}
  attn.rope ins(%a : memref<1x?x2x8xf32>) offset(%past : memref<1xi32>) length(%n : memref<1xi32>) outs(%a : memref<1x?x2x8xf32>)
    {style = #attn.rope_style<neox>, base = 1.0e4 : f64,
     scaling = #attn.rope_scaling<kind = dynamic, factor = 2.0, original_length = 32>}
  attn.append ins(%a : memref<1x?x2x8xf32>) past(%past : memref<1xi32>) outs(%cache : memref<1x?x2x8xf32>)
  return
}

// -----

// A temporary that someone else reads is filled and read as it is.
// CHECK-LABEL: func @shared
// CHECK: %[[TEMPORARY:.*]] = memref.alloc
// CHECK: attn.rms_norm {{.*}} outs(%[[TEMPORARY]]
// CHECK: attn.gather_rows %[[TEMPORARY]]
// CHECK-NOT: attn.rms_norm
// CHECK: return %[[TEMPORARY]]
func.func @shared(%x: memref<1x?x2x8xf32>, %m: index, %past: memref<1xi32>, %cache: memref<1x?x2x8xf32>) -> memref<1x?x2x8xf32> {
  %a = memref.alloc(%m) : memref<1x?x2x8xf32>
  attn.rms_norm ins(%x : memref<1x?x2x8xf32>) outs(%a : memref<1x?x2x8xf32>) {eps = 1.0e-6 : f64}
  attn.append ins(%a : memref<1x?x2x8xf32>) past(%past : memref<1xi32>) outs(%cache : memref<1x?x2x8xf32>)
  return %a : memref<1x?x2x8xf32>
}
