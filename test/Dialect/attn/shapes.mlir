// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// RUN: fovea-opt %s --resolve-ranked-shaped-type-result-dims --canonicalize --cse | FileCheck %s

// A result has the shape of its destination, so asking for its extents does not
// keep the operation.

!x = tensor<?x?x8x16xf32>

// CHECK-LABEL: func @shapes
// CHECK-SAME: %[[Q:[^:]*]]: tensor<?x?x8x16xf32>, %[[O:[^:]*]]: tensor<?x?x8x16xf32>, %[[LSE:[^:]*]]: tensor<?x8x?xf32>
func.func @shapes(%q: !x, %o: !x, %lse: tensor<?x8x?xf32>, %p: tensor<?xi32>)
    -> (index, index, index, index, index) {
  // CHECK-NOT: attn
  // CHECK-DAG: %[[C0:.*]] = arith.constant 0 : index
  // CHECK-DAG: %[[C1:.*]] = arith.constant 1 : index
  // CHECK-DAG: %[[C2:.*]] = arith.constant 2 : index
  // CHECK-DAG: %[[C8:.*]] = arith.constant 8 : index
  // CHECK-DAG: %[[R0:.*]] = tensor.dim %[[O]], %[[C0]]
  // CHECK-DAG: %[[R1:.*]] = tensor.dim %[[LSE]], %[[C2]]
  // CHECK-DAG: %[[R2:.*]] = tensor.dim %[[Q]], %[[C1]]
  // CHECK: return %[[R0]], %[[R1]], %[[R2]], %[[R2]], %[[C8]]
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %0:2 = attn.attention ins(%q, %q, %q : !x, !x, !x) outs(%o, %lse : !x, tensor<?x8x?xf32>)
    -> !x, tensor<?x8x?xf32>
  %1 = attn.rope ins(%q : !x) outs(%q : !x) {style = #attn.rope_style<neox>, base = 1.0e4} -> !x
  %2 = attn.rms_norm ins(%o : !x) outs(%1 : !x) {eps = 0.0} -> !x
  %3 = attn.append ins(%o : !x) past(%p : tensor<?xi32>) outs(%2 : !x) -> !x
  %d0 = tensor.dim %0#0, %c0 : !x
  %d1 = tensor.dim %0#1, %c2 : tensor<?x8x?xf32>
  %d2 = tensor.dim %2, %c1 : !x
  %d3 = tensor.dim %3, %c1 : !x
  %d4 = tensor.dim %3, %c2 : !x
  return %d0, %d1, %d2, %d3, %d4 : index, index, index, index, index
}
