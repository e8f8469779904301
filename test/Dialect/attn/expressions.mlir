// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// RUN: fovea-opt %s | fovea-opt | FileCheck %s
// RUN: fovea-opt %s --mlir-print-op-generic | fovea-opt | FileCheck %s
// RUN: fovea-opt %s --canonicalize --cse | FileCheck %s --check-prefix=CANON
// RUN: fovea-opt %s --mlir-print-op-generic | FileCheck %s --check-prefix=REGION

// Masks and scores are text in the expression language of the spec wherever the
// text says exactly what the region does, before and after canonicalisation.

!q = tensor<?x?x8x16xf32>
!k = tensor<?x?x2x16xf32>

// CHECK-LABEL: func @sugar
// CANON-LABEL: func @sugar
func.func @sugar(%q: !q, %k: !k, %v: !k, %o: !q, %len: tensor<?xi32>, %p: i64) -> !q {
  // CHECK: captures(len = %{{.*}} : tensor<?xi32>, p = %{{.*}} : i64)
  // CHECK-SAME: score("50 * tanh(s / 50)")
  // CHECK-SAME: mask("causal(bottom_right) and window(3, -1) and j < len[b] or prefix(p)")
  // CANON: mask("causal(bottom_right) and window(3, -1) and j < len[b] or prefix(p)")
  %0 = attn.attention ins(%q, %k, %v : !q, !k, !k)
    captures(len = %len : tensor<?xi32>, p = %p : i64) outs(%o : !q)
    score("50 * tanh(s/50)")
    mask("j <= i + N - M and window(3, -1, bottom_right) and (j < len[b]) or j < p") -> !q
  return %0 : !q
}

// Every kind of operation, on integers and on floats; a chain of comparisons.
// CHECK-LABEL: func @operations
// CANON-LABEL: func @operations
func.func @operations(%q: !q, %k: !k, %v: !k, %o: !q, %p: i64, %t: f32, %d: tensor<?x?xi1>,
                      %bias: tensor<8x?xf16>) -> !q {
  // CHECK: score("bias[h, j] * t - (-s + 0.1) / 1e-06 + i + min(s, exp(s)) + max(log(s), sqrt(s)) + abs(sin(s)) + where(s < 0, cos(s), tanh(s))")
  // CHECK-SAME: mask("i % 7 != j // p and not (0 <= i % p < 5 or abs(-i) == min(j, 4) + max(i, h) and d[b, j]) or b * B + H - G >= D and where(i > 3, j <= 2, true)")
  // CANON: score("bias[h, j] * t - (-s + 0.1) / 1e-06
  // CANON-SAME: mask("i % 7 != j // p
  %0 = attn.attention ins(%q, %k, %v : !q, !k, !k)
    captures(p = %p : i64, t = %t : f32, d = %d : tensor<?x?xi1>, bias = %bias : tensor<8x?xf16>)
    outs(%o : !q)
    score("bias[h, j] * t - (-s + 0.1) / 1e-6 + i + min(s, exp(s)) + max(log(s), sqrt(s)) + abs(sin(s)) + where(s < 0, cos(s), tanh(s))")
    mask("i % 7 != j // p and not (0 <= i % p < 5 or abs(-i) == min(j, 4) + max(i, h) and d[b, j]) or b * B + H - G >= D and where(i > 3, j <= 2, true)")
    -> !q
  return %0 : !q
}

// A division by a parameter cannot trap: 0 gives 0, and -1 is a product.
// REGION-LABEL: sym_name = "division"
func.func @division(%q: memref<1x4x1x1xf32>, %p: i64) {
  // REGION: ^bb0(%{{.*}}: i64, %{{.*}}: i64, %[[I:.*]]: i64, %[[J:.*]]: i64, %{{.*}}: i64, %{{.*}}: i64, %{{.*}}: i64, %{{.*}}: i64, %{{.*}}: i64, %{{.*}}: i64, %[[P:.*]]: i64):
  // REGION: %[[ONE:.*]] = "arith.constant"() <{value = 1 : i64}>
  // REGION: %[[NEXT:.*]] = "arith.addi"(%[[P]], %[[ONE]])
  // REGION: %[[TWO:.*]] = "arith.constant"() <{value = 2 : i64}>
  // REGION: %[[UNSAFE:.*]] = "arith.cmpi"(%[[NEXT]], %[[TWO]]) <{predicate = 6 : i64}>
  // REGION: %[[SAFE:.*]] = "arith.select"(%[[UNSAFE]], %{{.*}}, %[[P]])
  // REGION: %[[QUOTIENT:.*]] = "arith.floordivsi"(%[[I]], %[[SAFE]])
  // REGION: %[[PRODUCT:.*]] = "arith.muli"(%[[I]], %[[P]])
  // REGION: "arith.select"(%[[UNSAFE]], %[[PRODUCT]], %[[QUOTIENT]])
  // REGION: %[[SEVEN:.*]] = "arith.constant"() <{value = 7 : i64}>
  // REGION: %[[Q:.*]] = "arith.floordivsi"(%[[J]], %[[SEVEN]])
  // REGION: %[[R:.*]] = "arith.muli"(%[[Q]], %[[SEVEN]])
  // REGION: "arith.subi"(%[[J]], %[[R]])
  attn.attention ins(%q, %q, %q : memref<1x4x1x1xf32>, memref<1x4x1x1xf32>, memref<1x4x1x1xf32>)
    captures(p = %p : i64) outs(%q : memref<1x4x1x1xf32>) mask("i // p == j % 7")
  return
}

// What the language cannot say stays a region: other operations, fast-math, an
// operation that nothing reads, an infinity, a capture whose name is taken.
// CHECK-LABEL: func @regions
func.func @regions(%q: memref<1x4x1x1xf32>, %p: i64) {
  // CHECK: mask {
  // CHECK: arith.divsi
  attn.attention ins(%q, %q, %q : memref<1x4x1x1xf32>, memref<1x4x1x1xf32>, memref<1x4x1x1xf32>)
    outs(%q : memref<1x4x1x1xf32>)
    mask {
    ^bb0(%b: i64, %h: i64, %i: i64, %j: i64, %B: i64, %H: i64, %G: i64, %M: i64, %N: i64, %D: i64):
      %0 = arith.divsi %i, %B : i64
      %1 = arith.cmpi sle, %j, %0 : i64
      attn.yield %1 : i1
    }
  // CHECK: score {
  // CHECK: arith.mulf %{{.*}}, %{{.*}} fastmath<contract>
  attn.attention ins(%q, %q, %q : memref<1x4x1x1xf32>, memref<1x4x1x1xf32>, memref<1x4x1x1xf32>)
    outs(%q : memref<1x4x1x1xf32>)
    score {
    ^bb0(%s: f32, %b: i64, %h: i64, %i: i64, %j: i64, %B: i64, %H: i64, %G: i64, %M: i64, %N: i64, %D: i64):
      %0 = arith.mulf %s, %s fastmath<contract> : f32
      attn.yield %0 : f32
    }
  // CHECK: mask {
  // CHECK: arith.addi
  attn.attention ins(%q, %q, %q : memref<1x4x1x1xf32>, memref<1x4x1x1xf32>, memref<1x4x1x1xf32>)
    outs(%q : memref<1x4x1x1xf32>)
    mask {
    ^bb0(%b: i64, %h: i64, %i: i64, %j: i64, %B: i64, %H: i64, %G: i64, %M: i64, %N: i64, %D: i64):
      %0 = arith.addi %i, %B : i64
      %1 = arith.cmpi sle, %j, %i : i64
      attn.yield %1 : i1
    }
  // CHECK: score {
  // CHECK: arith.constant 0xFF800000 : f32
  attn.attention ins(%q, %q, %q : memref<1x4x1x1xf32>, memref<1x4x1x1xf32>, memref<1x4x1x1xf32>)
    outs(%q : memref<1x4x1x1xf32>)
    score {
    ^bb0(%s: f32, %b: i64, %h: i64, %i: i64, %j: i64, %B: i64, %H: i64, %G: i64, %M: i64, %N: i64, %D: i64):
      %0 = arith.constant 0xFF800000 : f32
      %1 = arith.cmpi sle, %j, %i : i64
      %2 = arith.select %1, %s, %0 : f32
      attn.yield %2 : f32
    }
  // Order and sharing are free.
  // CHECK: mask("j + 3 <= i + 3")
  attn.attention ins(%q, %q, %q : memref<1x4x1x1xf32>, memref<1x4x1x1xf32>, memref<1x4x1x1xf32>)
    outs(%q : memref<1x4x1x1xf32>)
    mask {
    ^bb0(%b: i64, %h: i64, %i: i64, %j: i64, %B: i64, %H: i64, %G: i64, %M: i64, %N: i64, %D: i64):
      %c3 = arith.constant 3 : i64
      %three = arith.constant 3 : i64
      %1 = arith.addi %i, %c3 : i64
      %0 = arith.addi %j, %three : i64
      %2 = arith.cmpi sle, %0, %1 : i64
      attn.yield %2 : i1
    }
  return
}

// Captures without names are c0, c1, ...
// CHECK-LABEL: func @unnamed
func.func @unnamed(%q: memref<1x4x1x1xf64>, %p: i64) {
  // CHECK: captures(c0 = %{{.*}} : i64) outs(%{{.*}} : memref<1x4x1x1xf64>) score("s * 0.1") mask("causal(offset(c0))")
  "attn.attention"(%q, %q, %q, %p, %q) <{operandSegmentSizes = array<i32: 1, 1, 1, 0, 0, 0, 0, 1, 1>}> ({
  ^bb0(%s: f64, %b: i64, %h: i64, %i: i64, %j: i64, %B: i64, %H: i64, %G: i64, %M: i64, %N: i64, %D: i64, %c: i64):
    %0 = arith.constant 0.1 : f64
    %1 = arith.mulf %s, %0 : f64
    attn.yield %1 : f64
  }, {
  ^bb0(%b: i64, %h: i64, %i: i64, %j: i64, %B: i64, %H: i64, %G: i64, %M: i64, %N: i64, %D: i64, %c: i64):
    %0 = arith.addi %i, %c : i64
    %1 = arith.cmpi sle, %j, %0 : i64
    attn.yield %1 : i1
  }) : (memref<1x4x1x1xf64>, memref<1x4x1x1xf64>, memref<1x4x1x1xf64>, i64, memref<1x4x1x1xf64>) -> ()
  return
}
