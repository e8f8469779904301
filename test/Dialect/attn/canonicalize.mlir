// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// RUN: fovea-opt %s --canonicalize | FileCheck %s

!q = tensor<2x4x8x16xf32>
!k = tensor<2x6x2x16xf32>

// A mask and a score that do something stay, and so do their captures.
// CHECK-LABEL: func @nothing_to_do
func.func @nothing_to_do(%q: !q, %k: !k, %v: !k, %o: !q, %n: i64, %t: f32) -> !q {
  // CHECK: captures(n = %{{.*}} : i64, t = %{{.*}} : f32) outs
  // CHECK-SAME: score("s * t") mask("j % 2 < n")
  %0 = attn.attention ins(%q, %k, %v : !q, !k, !k) captures(n = %n : i64, t = %t : f32)
    outs(%o : !q) score("s * t") mask("j % 2 < n") -> !q
  return %0 : !q
}

// CHECK-LABEL: func @trivial_regions
func.func @trivial_regions(%q: !q, %k: !k, %v: !k, %o: !q) -> !q {
  // CHECK: outs(%{{.*}} : tensor<2x4x8x16xf32>) -> tensor
  %0 = attn.attention ins(%q, %k, %v : !q, !k, !k) outs(%o : !q)
    score("s") mask("true") -> !q
  return %0 : !q
}

// An empty row is a result (rule M2), not an operation to drop.
// CHECK-LABEL: func @false_mask
func.func @false_mask(%q: !q, %k: !k, %v: !k, %o: !q) -> !q {
  // CHECK: attn.attention {{.*}} mask("false")
  %0 = attn.attention ins(%q, %k, %v : !q, !k, !k) outs(%o : !q) mask("false") -> !q
  return %0 : !q
}

// CHECK-LABEL: func @captures
// CHECK-SAME: %[[LEN:[^:]*]]: tensor<2xi32>, %[[P:[^:]*]]: i64, %[[T:[^:]*]]: f32
func.func @captures(%len: tensor<2xi32>, %p: i64, %t: f32, %q: !q, %k: !k, %v: !k, %o: !q) -> !q {
  // CHECK: captures(len = %[[LEN]] : tensor<2xi32>, t = %[[T]] : f32) outs
  // CHECK-SAME: score("s * t") mask("j < len[b] and i < len[b]")
  %0 = attn.attention ins(%q, %k, %v : !q, !k, !k)
    captures(p = %p : i64, len = %len : tensor<2xi32>, again = %len : tensor<2xi32>, t = %t : f32)
    outs(%o : !q) score("s * t") mask("j < len[b] and i < again[b]") -> !q
  return %0 : !q
}

// CHECK-LABEL: func @captures_without_regions
func.func @captures_without_regions(%p: i64, %q: !q, %k: !k, %v: !k, %o: !q) -> !q {
  // CHECK-NOT: captures
  // CHECK-NOT: capture_names
  %0 = attn.attention ins(%q, %k, %v : !q, !k, !k) captures(p = %p : i64)
    outs(%o : !q) -> !q
  return %0 : !q
}

// The same on attn.partial.
// CHECK-LABEL: func @partial
func.func @partial(%q: memref<16x8xf32>, %k: memref<32x8xf32>, %acc: memref<16x8xf32>,
                   %max: memref<16xf32>, %sum: memref<16xf32>, %n: i64, %p: i64, %c: index) {
  // CHECK: captures(n = %{{.*}} : i64) outs
  // CHECK-NOT: score
  // CHECK-SAME: mask("j % 2 < n")
  attn.partial ins(%q, %k, %k : memref<16x8xf32>, memref<32x8xf32>, memref<32x8xf32>)
    at(%c, %c, %c, %c) extents(%c, %c, %c) captures(p = %p : i64, n = %n : i64)
    outs(%acc, %max, %sum : memref<16x8xf32>, memref<16xf32>, memref<16xf32>)
    score("s") mask("j % 2 < n") {scale = 1.0, group = 4, kv_heads = 2}
  return
}

// Casts are folded, and the regions see the types that come of it.
// CHECK-LABEL: func @tensor_casts
// CHECK-SAME: %[[LEN:[^:]*]]: tensor<2xi32>, %[[Q:[^:]*]]: tensor<2x4x8x16xf32>
func.func @tensor_casts(%len: tensor<2xi32>, %q: !q, %k: !k, %v: !k, %o: !q)
    -> tensor<?x?x8x16xf32> {
  %q1 = tensor.cast %q : !q to tensor<?x4x8x16xf32>
  %o1 = tensor.cast %o : !q to tensor<?x?x8x16xf32>
  %len1 = tensor.cast %len : tensor<2xi32> to tensor<?xi32>
  // CHECK: attn.attention ins(%[[Q]], %{{.*}}, %{{.*}} : tensor<2x4x8x16xf32>,
  // CHECK-SAME: captures(len = %[[LEN]] : tensor<2xi32>)
  // CHECK-SAME: outs(%{{.*}} : tensor<2x4x8x16xf32>) mask("j < len[b]") -> tensor<2x4x8x16xf32>
  %0 = attn.attention ins(%q1, %k, %v : tensor<?x4x8x16xf32>, !k, !k)
    captures(len = %len1 : tensor<?xi32>) outs(%o1 : tensor<?x?x8x16xf32>)
    mask("j < len[b]") -> tensor<?x?x8x16xf32>
  return %0 : tensor<?x?x8x16xf32>
}

// CHECK-LABEL: func @memref_casts
func.func @memref_casts(%len: memref<2xi32>, %x: memref<2x4x8x16xf32>, %past: memref<2xi32>) {
  // CHECK-NOT: memref.cast
  %x1 = memref.cast %x : memref<2x4x8x16xf32> to memref<?x4x8x16xf32, strided<[?, ?, ?, ?], offset: ?>>
  %len1 = memref.cast %len : memref<2xi32> to memref<?xi32>
  %past1 = memref.cast %past : memref<2xi32> to memref<?xi32>
  // CHECK: attn.attention {{.*}} captures(len = %{{.*}} : memref<2xi32>) {{.*}} mask("j < len[b]")
  attn.attention
    ins(%x1, %x, %x : memref<?x4x8x16xf32, strided<[?, ?, ?, ?], offset: ?>>, memref<2x4x8x16xf32>, memref<2x4x8x16xf32>)
    captures(len = %len1 : memref<?xi32>)
    outs(%x1 : memref<?x4x8x16xf32, strided<[?, ?, ?, ?], offset: ?>>) mask("j < len[b]")
  // CHECK: attn.rope ins(%{{.*}} : memref<2x4x8x16xf32>) offset(%{{.*}} : memref<2xi32>) outs(%{{.*}} : memref<2x4x8x16xf32>)
  attn.rope ins(%x1 : memref<?x4x8x16xf32, strided<[?, ?, ?, ?], offset: ?>>)
    offset(%past1 : memref<?xi32>) outs(%x : memref<2x4x8x16xf32>)
    {style = #attn.rope_style<neox>, base = 1.0e4}
  return
}

// A state whose maxima are -inf holds no key (rules M2, R2).
// CHECK-LABEL: func @merge_with_empty
// CHECK-SAME: %[[A:[^:]*]]: tensor<16x8xf32>, %[[M:[^:]*]]: tensor<16xf32>, %[[S:[^:]*]]: tensor<16xf32>
func.func @merge_with_empty(%a: tensor<16x8xf32>, %m: tensor<16xf32>, %s: tensor<16xf32>)
    -> (tensor<16x8xf32>, tensor<16xf32>, tensor<16xf32>, tensor<16x8xf32>) {
  %zeros = arith.constant dense<0.0> : tensor<16x8xf32>
  %zero = arith.constant dense<0.0> : tensor<16xf32>
  %empty = arith.constant dense<0xFF800000> : tensor<16xf32>
  %inf = arith.constant 0xFF800000 : f32
  %filled = linalg.fill ins(%inf : f32) outs(%zero : tensor<16xf32>) -> tensor<16xf32>
  %0:3 = attn.merge ins(%zeros, %empty, %zero : tensor<16x8xf32>, tensor<16xf32>, tensor<16xf32>)
    outs(%a, %m, %s : tensor<16x8xf32>, tensor<16xf32>, tensor<16xf32>)
    -> tensor<16x8xf32>, tensor<16xf32>, tensor<16xf32>
  %1:3 = attn.merge ins(%a, %m, %s : tensor<16x8xf32>, tensor<16xf32>, tensor<16xf32>)
    outs(%zeros, %filled, %zero : tensor<16x8xf32>, tensor<16xf32>, tensor<16xf32>)
    -> tensor<16x8xf32>, tensor<16xf32>, tensor<16xf32>
  // CHECK-NOT: attn.merge
  // CHECK: return %[[A]], %[[M]], %[[S]], %[[A]]
  return %0#0, %0#1, %0#2, %1#0
    : tensor<16x8xf32>, tensor<16xf32>, tensor<16xf32>, tensor<16x8xf32>
}

// CHECK-LABEL: func @merge_of_two
func.func @merge_of_two(%a: tensor<16x8xf32>, %m: tensor<16xf32>, %s: tensor<16xf32>,
                        %b: tensor<16x8xf32>, %n: tensor<16xf32>, %t: tensor<16xf32>)
    -> tensor<16x8xf32> {
  // CHECK: attn.merge
  %0:3 = attn.merge ins(%a, %m, %s : tensor<16x8xf32>, tensor<16xf32>, tensor<16xf32>)
    outs(%b, %n, %t : tensor<16x8xf32>, tensor<16xf32>, tensor<16xf32>)
    -> tensor<16x8xf32>, tensor<16xf32>, tensor<16xf32>
  return %0#0 : tensor<16x8xf32>
}
