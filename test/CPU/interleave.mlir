// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// RUN: fovea-opt %s -attn-cpu-interleave -split-input-file | FileCheck %s
// RUN: fovea-opt %s -attn-cpu-interleave=explain -split-input-file 2>&1 >/dev/null | FileCheck %s --check-prefix=REMARK

// CHECK-LABEL: func @unchanged
// CHECK-NEXT: vector.load
// CHECK-NEXT: arith.addf
// CHECK-NEXT: vector.store
// CHECK-NEXT: return
func.func @unchanged(%m: memref<16xf32>, %i: index) {
  %x = vector.load %m[%i] : memref<16xf32>, vector<16xf32>
  %y = arith.addf %x, %x : vector<16xf32>
  vector.store %y, %m[%i] : memref<16xf32>, vector<16xf32>
  return
}

// -----

// Two tile loads and two products are 48 cycles, six vector operations 6: each
// of these goes where its share of the 48 is done. The order within a part stands;
// address arithmetic costs nothing and stays in front of its operation.
// REMARK: remark: parts of 48 and 6 cycles, interleaved
// CHECK-LABEL: func @shares
// CHECK-NOT: cpu.interleave
// CHECK: %[[A:.*]] = amx.tile_load
// CHECK-NEXT: %[[X:.*]] = vector.load
// CHECK-NEXT: %[[B:.*]] = amx.tile_load
// CHECK-NEXT: %[[Y:.*]] = arith.addf %[[X]], %[[X]]
// CHECK-NEXT: %[[C:.*]] = amx.tile_mulf %[[A]], %[[B]]
// CHECK-NEXT: %[[Z:.*]] = arith.addf %[[Y]], %[[Y]]
// CHECK-NEXT: %[[NEXT:.*]] = arith.addi
// CHECK-NEXT: vector.store %[[Z]], %{{.*}}[%[[NEXT]]]
// CHECK-NEXT: %[[D:.*]] = amx.tile_mulf %[[A]], %[[B]], %[[C]]
// CHECK-NEXT: arith.mulf
// CHECK-NEXT: vector.store
// CHECK-NEXT: return
func.func @shares(%q: memref<16x32xbf16>, %c: !amx.tile<16x16xf32>, %m: memref<?xf32>, %i: index) {
  cpu.interleave {
    %a = amx.tile_load %q[%i, %i] : memref<16x32xbf16> into !amx.tile<16x32xbf16>
    %b = amx.tile_load %q[%i, %i] : memref<16x32xbf16> into !amx.tile<16x32xbf16>
    %d = amx.tile_mulf %a, %b, %c : !amx.tile<16x32xbf16>, !amx.tile<16x32xbf16>, !amx.tile<16x16xf32>
    %e = amx.tile_mulf %a, %b, %d : !amx.tile<16x32xbf16>, !amx.tile<16x32xbf16>, !amx.tile<16x16xf32>
  }, {
    %x = vector.load %m[%i] : memref<?xf32>, vector<16xf32>
    %y = arith.addf %x, %x : vector<16xf32>
    %z = arith.addf %y, %y : vector<16xf32>
    %j = arith.addi %i, %i : index
    vector.store %z, %m[%j] : memref<?xf32>, vector<16xf32>
    %w = arith.mulf %z, %z : vector<16xf32>
    vector.store %w, %m[%i] : memref<?xf32>, vector<16xf32>
  }
  return
}

// -----

// Parts that cost nothing, or have nothing, are there in full, too.
// CHECK-LABEL: func @free
// CHECK-NEXT: arith.addi
// CHECK-NEXT: arith.muli
// CHECK-NEXT: return
func.func @free(%i: index) {
  cpu.interleave {
    %a = arith.addi %i, %i : index
  }, {
    %b = arith.muli %i, %i : index
  }
  return
}
