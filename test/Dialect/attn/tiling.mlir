// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// RUN: fovea-opt %s -split-input-file -verify-diagnostics --transform-interpreter --canonicalize --cse | FileCheck %s

!q = tensor<?x?x8x16xf32>
!k = tensor<?x?x2x16xf32>

// Batch, kv head, group and rows are loops; a norm and RoPE are pulled in, each
// tile of RoPE starting at its own position.
// CHECK-DAG: #[[$TILE:.*]] = affine_map<(d0)[s0] -> (-d0 + s0, 32)>
// CHECK-DAG: #[[$HEAD:.*]] = affine_map<(d0) -> (d0 * 4)>
// CHECK-LABEL: func @fuse
// CHECK-SAME: %[[Q:[^:]*]]: tensor<?x?x8x16xf32>, %[[K:[^:]*]]: tensor<?x?x2x16xf32>, %[[V:[^:]*]]: tensor<?x?x2x16xf32>
// CHECK-SAME: %[[LEN:[^:]*]]: tensor<?xi32>, %[[SINKS:[^:]*]]: tensor<8xf32>, %[[PAST:[^:]*]]: tensor<?xi32>
func.func @fuse(%q: !q, %k: !k, %v: !k, %len: tensor<?xi32>, %sinks: tensor<8xf32>,
                %past: tensor<?xi32>, %qe: !q, %ke: !k, %o: !q, %lse: tensor<?x8x?xf32>)
    -> (!q, tensor<?x8x?xf32>) {
  // CHECK: scf.for %[[B:[a-z0-9]*]] =
  // CHECK: scf.for %[[G:[a-z0-9]*]] =
  // CHECK: scf.for %[[M:[a-z0-9]*]] =
  // CHECK-DAG: %[[ROWS:.*]] = affine.min #[[$TILE]](%[[M]])
  // CHECK-DAG: %[[H:.*]] = affine.apply #[[$HEAD]](%[[G]])
  // CHECK-DAG: %[[PB:.*]] = tensor.extract %[[PAST]][%[[B]]]
  // CHECK-DAG: %[[PW:.*]] = arith.extsi %[[PB]] : i32 to i64
  // CHECK-DAG: %[[M64:.*]] = arith.index_cast %[[M]] : index to i64
  // CHECK-DAG: %[[POS:.*]] = arith.addi %[[PW]], %[[M64]] : i64
  // CHECK-DAG: %[[QS:.*]] = tensor.extract_slice %[[Q]][%[[B]], %[[M]], %[[H]], 0] [1, %[[ROWS]], 4, 16]
  // CHECK: %[[QN:.*]] = attn.rms_norm ins(%[[QS]] : tensor<1x?x4x16xf32>)
  // CHECK: %[[QR:.*]] = attn.rope ins(%[[QN]] : tensor<1x?x4x16xf32>) offset(%[[POS]] : i64)
  // CHECK: %[[KS:.*]] = tensor.extract_slice %[[K]][%[[B]], 0, %[[G]], 0] [1, %{{.*}}, 1, 16]
  // CHECK: %[[KR:.*]] = attn.rope ins(%[[KS]] : tensor<1x?x1x16xf32>) outs
  // CHECK: %[[VS:.*]] = tensor.extract_slice %[[V]][%[[B]], 0, %[[G]], 0] [1, %{{.*}}, 1, 16]
  // CHECK: %[[LS:.*]] = tensor.extract_slice %[[LEN]][%[[B]]] [1]
  // CHECK: %[[SS:.*]] = tensor.extract_slice %[[SINKS]][%[[H]]] [4]
  // CHECK: attn.attention ins(%[[QR]], %[[KR]], %[[VS]] :
  // CHECK-SAME: lengths(%[[LS]] : tensor<1xi32>) sinks(%[[SS]] : tensor<4xf32>)
  // CHECK-SAME: origin(%[[B]], %[[H]], %[[M]], %{{.*}}) extents(
  // CHECK-SAME: mask("causal(bottom_right)") {scale = 2.500000e-01 : f64}
  // CHECK-SAME: -> tensor<1x?x4x16xf32>, tensor<1x4x?xf32>
  // CHECK: tensor.insert_slice
  // CHECK: tensor.insert_slice
  %qn = attn.rms_norm ins(%q : !q) outs(%qe : !q) {eps = 1.0e-6} -> !q
  %qr = attn.rope ins(%qn : !q) offset(%past : tensor<?xi32>) outs(%qe : !q)
    {style = #attn.rope_style<neox>, base = 10000.0} -> !q
  %kr = attn.rope ins(%k : !k) outs(%ke : !k)
    {style = #attn.rope_style<neox>, base = 10000.0} -> !k
  %r:2 = attn.attention ins(%qr, %kr, %v : !q, !k, !k) lengths(%len : tensor<?xi32>)
    sinks(%sinks : tensor<8xf32>) outs(%o, %lse : !q, tensor<?x8x?xf32>)
    mask("causal(bottom_right)") -> !q, tensor<?x8x?xf32>
  return %r#0, %r#1 : !q, tensor<?x8x?xf32>
}
module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %attention = transform.structured.match ops{["attn.attention"]} in %root
      : (!transform.any_op) -> !transform.any_op
    %tiled, %loops:3 = transform.structured.fuse %attention tile_sizes [1, 1, 0, 32]
      : (!transform.any_op) -> (!transform.any_op, !transform.any_op, !transform.any_op, !transform.any_op)
    transform.yield
  }
}

// -----

!m = memref<2x64x8x16xf32>
!n = memref<2x64x2x16xf32>

// On memrefs, in parallel, one query head of a group at a time.
// CHECK-LABEL: func @parallel
func.func @parallel(%q: !m, %k: !n, %v: !n, %o: !m) {
  // CHECK: scf.forall (%[[G:.*]], %[[R:.*]]) in (2, 4)
  // CHECK: %[[H:.*]] = affine.apply #{{.*}}(%[[G]], %[[R]])
  // CHECK: %[[QS:.*]] = memref.subview %{{.*}}[0, 0, %[[H]], 0] [2, 64, 1, 16]
  // CHECK: %[[KS:.*]] = memref.subview %{{.*}}[0, 0, %[[G]], 0] [2, 64, 1, 16]
  // CHECK: attn.attention ins(%[[QS]], %[[KS]], %{{.*}} :
  attn.attention ins(%q, %k, %v : !m, !n, !n) outs(%o : !m)
  return
}
module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %attention = transform.structured.match ops{["attn.attention"]} in %root
      : (!transform.any_op) -> !transform.any_op
    %tiled, %loop = transform.structured.tile_using_forall %attention tile_sizes [0, 1, 1, 0]
      : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}

// -----

!m = memref<2x64x8x16xf32>
!n = memref<2x64x2x16xf32>

// Parts of several groups are no slice of the heads.
func.func @parts_of_groups(%q: !m, %k: !n, %v: !n, %o: !m) {
  // expected-error@+3 {{a tile must take whole groups of query heads, or part of one group, of constant size (rule S1)}}
  // expected-error@+2 {{faild to tile operation}}
  // expected-error@+1 {{failed to generate tiling loops}}
  attn.attention ins(%q, %k, %v : !m, !n, !n) outs(%o : !m)
  return
}
module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %attention = transform.structured.match ops{["attn.attention"]} in %root
      : (!transform.any_op) -> !transform.any_op
    %tiled, %loop = transform.structured.tile_using_for %attention tile_sizes [0, 0, 2, 0]
      : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}

// -----

!x = tensor<4x64x8x16xf32>

// CHECK-LABEL: func @rows
func.func @rows(%x: !x, %y: !x, %past: tensor<4xi64>, %positions: tensor<4x64xi32>, %n: i64) -> (!x, !x, !x) {
  // Whole sequences: each batch row keeps its offset.
  // CHECK: scf.for %[[B:[a-z0-9]*]] =
  // CHECK: %[[P:.*]] = tensor.extract_slice %{{.*}}[%[[B]]] [2] [1] : tensor<4xi64> to tensor<2xi64>
  // CHECK: attn.rope ins(%{{.*}} : tensor<2x64x8x16xf32>) offset(%[[P]] : tensor<2xi64>)
  %0 = attn.rope ins(%x : !x) offset(%past : tensor<4xi64>) outs(%y : !x)
    {style = #attn.rope_style<neox>, base = 10000.0, test = 0} -> !x
  // CHECK: scf.for %[[B:[a-z0-9]*]] =
  // CHECK: scf.for %[[I:[a-z0-9]*]] =
  // CHECK: tensor.extract_slice %{{.*}}[%[[B]], %[[I]]] [2, 16] [1, 1] : tensor<4x64xi32> to tensor<2x16xi32>
  // CHECK: attn.rope ins(%{{.*}} : tensor<2x16x8x16xf32>) positions(%{{.*}} : tensor<2x16xi32>)
  %1 = attn.rope ins(%0 : !x) positions(%positions : tensor<4x64xi32>) outs(%y : !x)
    {style = #attn.rope_style<neox>, base = 10000.0, test = 1} -> !x
  // A length per batch row goes with the rows of its batch, wherever they start.
  // CHECK: scf.for %[[B:[a-z0-9]*]] =
  // CHECK: scf.for %[[I:[a-z0-9]*]] =
  // CHECK: %[[LENGTH:.*]] = tensor.extract_slice %{{.*}}[%[[B]]] [2] [1] : tensor<4xi64> to tensor<2xi64>
  // CHECK: attn.rope ins(%{{.*}} : tensor<2x16x8x16xf32>) offset(%{{.*}} : i64) length(%[[LENGTH]] : tensor<2xi64>)
  %3 = attn.rope ins(%1 : !x) length(%past : tensor<4xi64>) outs(%y : !x)
    {style = #attn.rope_style<neox>, base = 10000.0, test = 3,
     scaling = #attn.rope_scaling<kind = dynamic, factor = 2.0, original_length = 32>} -> !x
  // CHECK: scf.for %[[B:[a-z0-9]*]] =
  // CHECK: scf.for %[[I:[a-z0-9]*]] =
  // CHECK: %[[I64:.*]] = arith.index_cast %[[I]]
  // CHECK: %[[POS:.*]] = arith.addi %{{.*}}, %[[I64]]
  // CHECK: attn.rope ins(%{{.*}} : tensor<2x16x8x16xf32>) offset(%[[POS]] : i64)
  %2 = attn.rope ins(%3 : !x) offset(%n : i64) outs(%y : !x)
    {style = #attn.rope_style<neox>, base = 10000.0, test = 2} -> !x
  return %0, %1, %2 : !x, !x, !x
}
module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %batch = transform.structured.match ops{["attn.rope"]} attributes {test = 0} in %root
      : (!transform.any_op) -> !transform.any_op
    %a, %l0 = transform.structured.tile_using_for %batch tile_sizes [2]
      : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    %given = transform.structured.match ops{["attn.rope"]} attributes {test = 1} in %root
      : (!transform.any_op) -> !transform.any_op
    %b, %l1:2 = transform.structured.tile_using_for %given tile_sizes [2, 16]
      : (!transform.any_op) -> (!transform.any_op, !transform.any_op, !transform.any_op)
    %length = transform.structured.match ops{["attn.rope"]} attributes {test = 3} in %root
      : (!transform.any_op) -> !transform.any_op
    %d, %l3:2 = transform.structured.tile_using_for %length tile_sizes [2, 16]
      : (!transform.any_op) -> (!transform.any_op, !transform.any_op, !transform.any_op)
    %one = transform.structured.match ops{["attn.rope"]} attributes {test = 2} in %root
      : (!transform.any_op) -> !transform.any_op
    %c, %l2:2 = transform.structured.tile_using_for %one tile_sizes [2, 16]
      : (!transform.any_op) -> (!transform.any_op, !transform.any_op, !transform.any_op)
    transform.yield
  }
}

// -----

!x = tensor<4x64x8x16xf32>

func.func @rows_of_several_batches(%x: !x, %y: !x, %past: tensor<4xi64>) -> !x {
  // expected-error@+3 {{with an offset per batch row, a tile must take all rows, or rows of one batch (rule P1)}}
  // expected-error@+2 {{faild to tile operation}}
  // expected-error@+1 {{failed to generate tiling loops}}
  %0 = attn.rope ins(%x : !x) offset(%past : tensor<4xi64>) outs(%y : !x)
    {style = #attn.rope_style<neox>, base = 10000.0} -> !x
  return %0 : !x
}
module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root: !transform.any_op {transform.readonly}) {
    %rope = transform.structured.match ops{["attn.rope"]} in %root
      : (!transform.any_op) -> !transform.any_op
    %tiled, %loops:2 = transform.structured.tile_using_for %rope tile_sizes [2, 16]
      : (!transform.any_op) -> (!transform.any_op, !transform.any_op, !transform.any_op)
    transform.yield
  }
}
