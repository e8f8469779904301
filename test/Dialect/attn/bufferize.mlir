// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// RUN: fovea-opt %s --one-shot-bufferize="bufferize-function-boundaries function-boundary-type-conversion=fully-dynamic-layout-map" | FileCheck %s --implicit-check-not=memref.copy

// A function whose results are its destinations bufferizes with no copy and, but
// for the temporaries it names itself, no allocation.

!x = tensor<?x?x8x16xf32>

// CHECK-LABEL: func @kernel
// CHECK-SAME: %[[Q:[^:]*]]: memref<?x?x8x16xf32, strided<[?, ?, ?, ?], offset: ?>>
func.func @kernel(%q: !x, %k: !x, %v: !x, %kc: !x, %vc: !x, %o: !x, %lse: tensor<?x8x?xf32>,
                  %past: tensor<?xi32>, %len: tensor<?xi32>, %b: index, %m: index)
    -> (!x, tensor<?x8x?xf32>, !x, !x) {
  // CHECK: %[[TMP:.*]] = memref.alloc(%{{.*}}, %{{.*}}) {{.*}} : memref<?x?x8x16xf32>
  %e = tensor.empty(%b, %m) : !x
  // CHECK: attn.rms_norm ins(%[[Q]] : {{.*}}) outs(%[[TMP]] : memref<?x?x8x16xf32>)
  %qn = attn.rms_norm ins(%q : !x) outs(%e : !x) {eps = 1.0e-6} -> !x
  // CHECK: %[[TMP2:.*]] = memref.alloc(%{{.*}}, %{{.*}}) {{.*}} : memref<?x?x8x16xf32>
  // CHECK-NOT: memref.alloc
  %e2 = tensor.empty(%b, %m) : !x
  // CHECK: attn.rope ins(%[[TMP]] : memref<?x?x8x16xf32>) offset(%{{.*}} : memref<?xi32, strided<[?], offset: ?>>) outs(%[[TMP2]] : memref<?x?x8x16xf32>)
  %qr = attn.rope ins(%qn : !x) offset(%past : tensor<?xi32>) outs(%e2 : !x)
    {style = #attn.rope_style<neox>, base = 1.0e4} -> !x
  // CHECK: attn.append ins({{.*}}) past({{.*}}) outs(%[[KC:.*]] :
  %kn = attn.append ins(%k : !x) past(%past : tensor<?xi32>) outs(%kc : !x) -> !x
  // CHECK: attn.append ins({{.*}}) past({{.*}}) outs(%[[VC:.*]] :
  %vn = attn.append ins(%v : !x) past(%past : tensor<?xi32>) outs(%vc : !x) -> !x
  // CHECK: attn.attention ins(%[[TMP2]], %[[KC]], %[[VC]] :
  // CHECK-SAME: captures(len = %{{.*}} : memref<?xi32, strided<[?], offset: ?>>)
  // CHECK-SAME: mask("causal(bottom_right) and j < len[b]")
  %r:2 = attn.attention ins(%qr, %kn, %vn : !x, !x, !x)
    captures(len = %len : tensor<?xi32>) outs(%o, %lse : !x, tensor<?x8x?xf32>)
    mask("causal(bottom_right) and j < len[b]") -> !x, tensor<?x8x?xf32>
  return %r#0, %r#1, %kn, %vn : !x, tensor<?x8x?xf32>, !x, !x
}

// Row operations work in place where the program says so, and their results may
// take the buffer of a temporary that is dead after them.
// CHECK-LABEL: func @in_place
// CHECK-SAME: %[[X:[^:]*]]: memref<
// CHECK-NOT: memref.alloc
// CHECK: attn.rms_norm ins(%[[X]] : {{.*}}) outs(%[[X]] :
// CHECK-NOT: memref.alloc
// CHECK: attn.rope ins(%[[X]] : {{.*}}) outs(%[[X]] :
// CHECK: return
func.func @in_place(%x: !x) -> !x {
  %n = attn.rms_norm ins(%x : !x) outs(%x : !x) {eps = 1.0e-6} -> !x
  %r = attn.rope ins(%n : !x) outs(%x : !x) {style = #attn.rope_style<neox>, base = 1.0e4} -> !x
  return %r : !x
}

// What is read afterwards is not overwritten; nor are slices that overlap.
// CHECK-LABEL: func @not_in_place
// CHECK-SAME: %[[X:[^:]*]]: memref<
// CHECK: %[[TMP:.*]] = memref.alloc
// CHECK: attn.rope ins(%[[X]] : {{.*}}) outs(%[[TMP]] :
// CHECK: attn.rms_norm ins(%[[X]] : {{.*}}) outs(%[[X]] :
func.func @not_in_place(%x: !x) -> (!x, !x) {
  %r = attn.rope ins(%x : !x) outs(%x : !x) {style = #attn.rope_style<neox>, base = 1.0e4} -> !x
  %n = attn.rms_norm ins(%x : !x) outs(%x : !x) {eps = 1.0e-6} -> !x
  return %r, %n : !x, !x
}

!s = tensor<2x4x8x16xf32>
// CHECK-LABEL: func @overlap
// CHECK: %[[FROM:.*]] = memref.subview %{{.*}}[0, 1, 0, 0]
// CHECK: %[[TMP:.*]] = memref.alloc
// CHECK: memref.copy %[[FROM]], %[[TMP]]
// CHECK: %[[TO:.*]] = memref.subview %{{.*}}[0, 0, 0, 0]
// CHECK: attn.rope ins(%[[TMP]] : {{.*}}) outs(%[[TO]] :
// CHECK: memref.copy %[[TO]]
func.func @overlap(%x: tensor<2x5x8x16xf32>) -> tensor<2x5x8x16xf32> {
  %a = tensor.extract_slice %x[0, 1, 0, 0] [2, 4, 8, 16] [1, 1, 1, 1] : tensor<2x5x8x16xf32> to !s
  %b = tensor.extract_slice %x[0, 0, 0, 0] [2, 4, 8, 16] [1, 1, 1, 1] : tensor<2x5x8x16xf32> to !s
  %r = attn.rope ins(%a : !s) outs(%b : !s) {style = #attn.rope_style<neox>, base = 1.0e4} -> !s
  %y = tensor.insert_slice %r into %x[0, 0, 0, 0] [2, 4, 8, 16] [1, 1, 1, 1] : !s into tensor<2x5x8x16xf32>
  return %y : tensor<2x5x8x16xf32>
}

// A region that is no text keeps reading its capture, as a memref.
// CHECK-LABEL: func @region
func.func @region(%q: !x, %o: !x, %t: tensor<?xi32>) -> !x {
  // CHECK: mask {
  // CHECK: ^bb0({{.*}}, %[[T:.*]]: memref<?xi32, strided<[?], offset: ?>>):
  // CHECK: attn.element %[[T]][%{{.*}}] : memref<?xi32, strided<[?], offset: ?>> -> i64
  %r = attn.attention ins(%q, %q, %q : !x, !x, !x) captures(t = %t : tensor<?xi32>)
    outs(%o : !x) mask {
    ^bb0(%b: i64, %h: i64, %i: i64, %j: i64, %B: i64, %H: i64, %G: i64, %M: i64, %N: i64, %D: i64, %c: tensor<?xi32>):
      %0 = attn.element %c[%b] : tensor<?xi32> -> i64
      %1 = arith.remsi %0, %j : i64
      %2 = arith.cmpi eq, %1, %0 : i64
      attn.yield %2 : i1
    } -> !x
  return %r : !x
}

// CHECK-LABEL: func @partial_form
func.func @partial_form(%q: tensor<16x8xf32>, %k: tensor<32x8xf32>, %acc: tensor<16x8xf32>,
                        %max: tensor<16xf32>, %sum: tensor<16xf32>, %acc2: tensor<16x8xf32>,
                        %max2: tensor<16xf32>, %sum2: tensor<16xf32>, %o: tensor<16x8xf32>,
                        %whole: tensor<1x16x1x8xf32>, %c: index)
    -> (tensor<16x8xf32>, tensor<1x16x1x8xf32>) {
  // CHECK-NOT: memref.alloc
  // CHECK: attn.gather_rows
  // CHECK: attn.partial ins(%[[Q:.*]], %{{.*}}, %{{.*}} :
  // CHECK: attn.merge
  // CHECK: attn.finalize
  // CHECK: attn.scatter_rows
  %g = attn.gather_rows %whole at(%c, %c, %c) rows(%c) outs(%q : tensor<16x8xf32>)
    {group = 1} : tensor<1x16x1x8xf32> -> tensor<16x8xf32>
  %0:3 = attn.partial ins(%g, %k, %k : tensor<16x8xf32>, tensor<32x8xf32>, tensor<32x8xf32>)
    at(%c, %c, %c, %c) extents(%c, %c, %c)
    outs(%acc, %max, %sum : tensor<16x8xf32>, tensor<16xf32>, tensor<16xf32>)
    {scale = 1.0, group = 1, kv_heads = 1} -> tensor<16x8xf32>, tensor<16xf32>, tensor<16xf32>
  %1:3 = attn.merge ins(%0#0, %0#1, %0#2 : tensor<16x8xf32>, tensor<16xf32>, tensor<16xf32>)
    outs(%acc2, %max2, %sum2 : tensor<16x8xf32>, tensor<16xf32>, tensor<16xf32>)
    -> tensor<16x8xf32>, tensor<16xf32>, tensor<16xf32>
  %2 = attn.finalize ins(%1#0, %1#1, %1#2 : tensor<16x8xf32>, tensor<16xf32>, tensor<16xf32>)
    outs(%o : tensor<16x8xf32>) -> tensor<16x8xf32>
  %3 = attn.scatter_rows %2 at(%c, %c, %c) rows(%c) outs(%whole : tensor<1x16x1x8xf32>)
    {group = 1} : tensor<16x8xf32> -> tensor<1x16x1x8xf32>
  return %2, %3 : tensor<16x8xf32>, tensor<1x16x1x8xf32>
}
