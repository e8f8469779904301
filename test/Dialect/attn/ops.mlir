// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// RUN: fovea-opt %s | fovea-opt | FileCheck %s
// RUN: fovea-opt %s --mlir-print-op-generic | fovea-opt | FileCheck %s
// RUN: fovea-opt %s --mlir-print-op-generic | FileCheck %s --check-prefix=GENERIC

// Every operation and attribute survives printing, in both forms.

// CHECK-DAG: #[[$Q:.*]] = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d0, d1 * 4 + d2, d3, d5)>
// CHECK-DAG: #[[$T:.*]] = affine_map<(d0, d1) -> (d1, d0)>
// CHECK-DAG: #[[$BHID:.*]] = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>

// CHECK-LABEL: func @attention
// GENERIC: sym_name = "attention"
func.func @attention(%q: tensor<?x?x8x16xbf16>, %k: tensor<?x?x2x16xbf16>,
                     %v: tensor<?x?x2x5xbf16>, %o: tensor<?x?x8x5xbf16>,
                     %lse: tensor<?x8x?xf32>, %len: tensor<?xi32>,
                     %sinks: tensor<8xf32>, %c: index)
    -> (tensor<?x?x8x5xbf16>, tensor<?x8x?xf32>) {
  // CHECK: attn.attention ins(%{{.*}}, %{{.*}}, %{{.*}} : tensor<?x?x8x16xbf16>, tensor<?x?x2x16xbf16>, tensor<?x?x2x5xbf16>) outs(%{{.*}} : tensor<?x?x8x5xbf16>) -> tensor<?x?x8x5xbf16>
  // GENERIC: "attn.attention"(%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}) <{operandSegmentSizes = array<i32: 1, 1, 1, 0, 0, 0, 0, 0, 1>, precision = #attn.precision<full>}> ({
  %0 = attn.attention
    ins(%q, %k, %v : tensor<?x?x8x16xbf16>, tensor<?x?x2x16xbf16>, tensor<?x?x2x5xbf16>)
    outs(%o : tensor<?x?x8x5xbf16>) -> tensor<?x?x8x5xbf16>
  // CHECK: attn.attention ins(
  // CHECK-SAME: lengths(%{{.*}} : tensor<?xi32>) sinks(%{{.*}} : tensor<8xf32>)
  // CHECK-SAME: origin(%[[C:.*]], %[[C]], %[[C]], %[[C]]) extents(%[[C]], %[[C]], %[[C]], %[[C]], %[[C]])
  // CHECK-SAME: outs(%{{.*}}, %{{.*}} : tensor<?x?x8x5xbf16>, tensor<?x8x?xf32>)
  // CHECK-SAME: {config = #attn.config<query_tile = 64, narrow_query_tile = 16, kv_tile = 128, vector = 16, unroll = 8, kv_split = 1024>, scale = 1.000000e-01 : f64}
  // CHECK-SAME: -> tensor<?x?x8x5xbf16>, tensor<?x8x?xf32>
  %1:2 = attn.attention
    ins(%q, %k, %v : tensor<?x?x8x16xbf16>, tensor<?x?x2x16xbf16>, tensor<?x?x2x5xbf16>)
    lengths(%len : tensor<?xi32>) sinks(%sinks : tensor<8xf32>)
    origin(%c, %c, %c, %c) extents(%c, %c, %c, %c, %c)
    outs(%0, %lse : tensor<?x?x8x5xbf16>, tensor<?x8x?xf32>)
    {scale = 0.1, config = #attn.config<query_tile = 64, narrow_query_tile = 16,
      kv_tile = 128, vector = 16, unroll = 8, kv_split = 1024>}
    -> tensor<?x?x8x5xbf16>, tensor<?x8x?xf32>
  return %1#0, %1#1 : tensor<?x?x8x5xbf16>, tensor<?x8x?xf32>
}

// CHECK-LABEL: func @precision
func.func @precision(%q: memref<2x8x4x16xf32>, %k: memref<2x8x4x16xf32>) {
  // CHECK: attn.attention
  // CHECK-SAME: {precision = #attn.precision<bf16x6>}
  attn.attention ins(%q, %k, %k : memref<2x8x4x16xf32>, memref<2x8x4x16xf32>, memref<2x8x4x16xf32>)
    outs(%q : memref<2x8x4x16xf32>) {precision = #attn.precision<bf16x6>}
  // The default is not printed.
  // CHECK: attn.attention
  // CHECK-NOT: precision
  // CHECK: return
  attn.attention ins(%q, %k, %k : memref<2x8x4x16xf32>, memref<2x8x4x16xf32>, memref<2x8x4x16xf32>)
    outs(%q : memref<2x8x4x16xf32>) {precision = #attn.precision<full>}
  return
}

// CHECK-LABEL: func @layout
func.func @layout(%q: memref<2x8x4x16xf64>, %k: memref<2x2x6x16xf64>, %v: memref<2x2x5x6xf64>,
                  %o: memref<2x8x4x5xf64>, %lse: memref<2x8x4xf64>) {
  // CHECK: attn.attention
  // CHECK-SAME: {indexing_maps = [#[[$Q]], #{{.*}}, #{{.*}}, #{{.*}}, #{{.*}}]}
  attn.attention
    ins(%q, %k, %v : memref<2x8x4x16xf64>, memref<2x2x6x16xf64>, memref<2x2x5x6xf64>)
    outs(%o, %lse : memref<2x8x4x5xf64>, memref<2x8x4xf64>)
    {indexing_maps = [affine_map<(b, g, r, m, n, d, e) -> (b, g * 4 + r, m, d)>,
                      affine_map<(b, g, r, m, n, d, e) -> (b, g, n, d)>,
                      affine_map<(b, g, r, m, n, d, e) -> (b, g, e, n)>,
                      affine_map<(b, g, r, m, n, d, e) -> (b, g * 4 + r, m, e)>,
                      affine_map<(b, g, r, m, n, d, e) -> (b, g * 4 + r, m)>]}
  return
}

// CHECK-LABEL: func @rows
func.func @rows(%x: tensor<?x?x8x16xf16>, %w: tensor<16xf32>, %cache: tensor<?x?x8x16xf16>,
                %past: tensor<?xi64>, %positions: tensor<?x?xi32>, %n: i64)
    -> tensor<?x?x8x16xf16> {
  // CHECK: attn.rms_norm ins(%{{.*}} : tensor<?x?x8x16xf16>) outs(%{{.*}} : tensor<?x?x8x16xf16>) {eps = 9.9999999999999995E-7 : f64} -> tensor<?x?x8x16xf16>
  %0 = attn.rms_norm ins(%x : tensor<?x?x8x16xf16>) outs(%x : tensor<?x?x8x16xf16>)
    {eps = 1.0e-6} -> tensor<?x?x8x16xf16>
  // CHECK: attn.rms_norm ins({{.*}}) weight(%{{.*}} : tensor<16xf32>) outs({{.*}}) {eps = 0.000000e+00 : f64, unit_offset}
  %1 = attn.rms_norm ins(%0 : tensor<?x?x8x16xf16>) weight(%w : tensor<16xf32>)
    outs(%x : tensor<?x?x8x16xf16>) {eps = 0.0, unit_offset} -> tensor<?x?x8x16xf16>
  // CHECK: attn.rope ins({{.*}}) outs({{.*}}) {base = 1.000000e+04 : f64, style = #attn.rope_style<neox>}
  %2 = attn.rope ins(%1 : tensor<?x?x8x16xf16>) outs(%x : tensor<?x?x8x16xf16>)
    {style = #attn.rope_style<neox>, base = 1.0e4} -> tensor<?x?x8x16xf16>
  // CHECK: attn.rope ins({{.*}}) positions(%{{.*}} : tensor<?x?xi32>) outs
  // CHECK-SAME: rotary_dim = 8 : i64, scaling = #attn.rope_scaling<kind = linear, factor = 2.000000e+00>, style = #attn.rope_style<interleaved>
  %3 = attn.rope ins(%2 : tensor<?x?x8x16xf16>) positions(%positions : tensor<?x?xi32>)
    outs(%x : tensor<?x?x8x16xf16>)
    {style = #attn.rope_style<interleaved>, base = 1.0e4, rotary_dim = 8,
     scaling = #attn.rope_scaling<kind = linear, factor = 2.0>} -> tensor<?x?x8x16xf16>
  // CHECK: attn.rope ins({{.*}}) offset(%{{.*}} : tensor<?xi64>) outs
  // CHECK-SAME: #attn.rope_scaling<kind = yarn, factor = 3.200000e+01, original_length = 4096, beta_fast = 3.200000e+01, beta_slow = 1.000000e+00, truncate = false, attention_factor = 1.250000e+00>
  %4 = attn.rope ins(%3 : tensor<?x?x8x16xf16>) offset(%past : tensor<?xi64>)
    outs(%x : tensor<?x?x8x16xf16>)
    {style = #attn.rope_style<neox>, base = 1.0e4,
     scaling = #attn.rope_scaling<kind = yarn, factor = 32.0, original_length = 4096,
       beta_fast = 32.0, beta_slow = 1.0, truncate = false, attention_factor = 1.25>} -> tensor<?x?x8x16xf16>
  // CHECK: attn.rope ins({{.*}}) offset(%{{.*}} : i64) outs
  // CHECK-SAME: #attn.rope_scaling<kind = llama3, factor = 8.000000e+00, original_length = 8192, low_freq_factor = 1.000000e+00, high_freq_factor = 4.000000e+00>
  %5 = attn.rope ins(%4 : tensor<?x?x8x16xf16>) offset(%n : i64)
    outs(%x : tensor<?x?x8x16xf16>)
    {style = #attn.rope_style<neox>, base = 1.0e4,
     scaling = #attn.rope_scaling<kind = llama3, factor = 8.0, original_length = 8192,
       low_freq_factor = 1.0, high_freq_factor = 4.0>} -> tensor<?x?x8x16xf16>
  // CHECK: attn.rope ins({{.*}}) length(%{{.*}} : i64) outs
  // CHECK-SAME: #attn.rope_scaling<kind = dynamic, factor = 2.000000e+00, original_length = 2048>
  %6 = attn.rope ins(%5 : tensor<?x?x8x16xf16>) length(%n : i64) outs(%x : tensor<?x?x8x16xf16>)
    {style = #attn.rope_style<neox>, base = 1.0e4,
     scaling = #attn.rope_scaling<kind = dynamic, factor = 2.0, original_length = 2048>}
    -> tensor<?x?x8x16xf16>
  // CHECK: attn.rope ins({{.*}}) length(%{{.*}} : tensor<?xi64>) outs
  // CHECK-SAME: rotary_dim = 4 : i64, scaling = #attn.rope_scaling<kind = longrope, original_length = 4096, short_factor = [1.000000e+00, 1.100000e+00], long_factor = [2.000000e+00, 3.000000e+00]>
  %7 = attn.rope ins(%6 : tensor<?x?x8x16xf16>) length(%past : tensor<?xi64>)
    outs(%x : tensor<?x?x8x16xf16>)
    {style = #attn.rope_style<neox>, base = 1.0e4, rotary_dim = 4,
     scaling = #attn.rope_scaling<kind = longrope, original_length = 4096,
       short_factor = [1.0, 1.1], long_factor = [2.0, 3.0]>} -> tensor<?x?x8x16xf16>
  // CHECK: attn.append ins(%{{.*}} : tensor<?x?x8x16xf16>) past(%{{.*}} : tensor<?xi64>) outs(%{{.*}} : tensor<?x?x8x16xf16>) -> tensor<?x?x8x16xf16>
  %8 = attn.append ins(%7 : tensor<?x?x8x16xf16>) past(%past : tensor<?xi64>)
    outs(%cache : tensor<?x?x8x16xf16>) -> tensor<?x?x8x16xf16>
  return %8 : tensor<?x?x8x16xf16>
}

// CHECK-LABEL: func @partial
func.func @partial(%q: tensor<16x8xf32>, %k: tensor<32x8xf32>, %v: tensor<32x5xf32>,
                   %acc: tensor<16x5xf32>, %max: tensor<16xf32>, %sum: tensor<16xf32>,
                   %o: tensor<16x5xbf16>, %lse: tensor<16xf32>, %sinks: tensor<16xf32>,
                   %n: i64, %c: index) -> (tensor<16x5xbf16>, tensor<16xf32>) {
  // CHECK: %[[P:.*]]:3 = attn.partial ins(%{{.*}}, %{{.*}}, %{{.*}} : tensor<16x8xf32>, tensor<32x8xf32>, tensor<32x5xf32>)
  // CHECK-SAME: at(%[[C:.*]], %[[C]], %[[C]], %[[C]]) extents(%[[C]], %[[C]], %[[C]])
  // CHECK-SAME: captures(n = %{{.*}} : i64) outs(
  // CHECK-SAME: score("s * 2") mask("causal(offset(n))")
  // CHECK-SAME: {group = 4 : i64, kv_heads = 2 : i64, scale = 1.000000e+00 : f64}
  %0:3 = attn.partial ins(%q, %k, %v : tensor<16x8xf32>, tensor<32x8xf32>, tensor<32x5xf32>)
    at(%c, %c, %c, %c) extents(%c, %c, %c) captures(n = %n : i64)
    outs(%acc, %max, %sum : tensor<16x5xf32>, tensor<16xf32>, tensor<16xf32>)
    score("s * 2") mask("j <= i + n")
    {scale = 1.0, group = 4, kv_heads = 2}
    -> tensor<16x5xf32>, tensor<16xf32>, tensor<16xf32>
  // CHECK: %[[M:.*]]:3 = attn.merge ins(%[[P]]#0, %[[P]]#1, %[[P]]#2 : tensor<16x5xf32>, tensor<16xf32>, tensor<16xf32>) outs(
  %1:3 = attn.merge ins(%0#0, %0#1, %0#2 : tensor<16x5xf32>, tensor<16xf32>, tensor<16xf32>)
    outs(%acc, %max, %sum : tensor<16x5xf32>, tensor<16xf32>, tensor<16xf32>)
    -> tensor<16x5xf32>, tensor<16xf32>, tensor<16xf32>
  // CHECK: attn.finalize ins(%[[M]]#0, %[[M]]#1, %[[M]]#2 : tensor<16x5xf32>, tensor<16xf32>, tensor<16xf32>) sinks(%{{.*}} : tensor<16xf32>) outs(%{{.*}}, %{{.*}} : tensor<16x5xbf16>, tensor<16xf32>) -> tensor<16x5xbf16>, tensor<16xf32>
  %2:2 = attn.finalize ins(%1#0, %1#1, %1#2 : tensor<16x5xf32>, tensor<16xf32>, tensor<16xf32>)
    sinks(%sinks : tensor<16xf32>) outs(%o, %lse : tensor<16x5xbf16>, tensor<16xf32>)
    -> tensor<16x5xbf16>, tensor<16xf32>
  return %2#0, %2#1 : tensor<16x5xbf16>, tensor<16xf32>
}

// CHECK-LABEL: func @transposed_state
func.func @transposed_state(%q: memref<8x16xf32>, %k: memref<?x8xf32>, %v: memref<?x5xf32>,
                            %acc: memref<5x16xf32>, %max: memref<16xf32>, %sum: memref<16xf32>,
                            %o: memref<16x5xf32>, %c: index) {
  // CHECK: attn.partial
  // CHECK-SAME: next_key(%{{.*}} : memref<?x8xf32>) next_value(%{{.*}} : memref<?x5xf32>) at(
  // CHECK-SAME: indexing_maps = [#{{.*}}, #{{.*}}, #{{.*}}, #{{.*}}]
  // CHECK-SAME: unzipped = 4
  attn.partial ins(%q, %k, %v : memref<8x16xf32>, memref<?x8xf32>, memref<?x5xf32>)
    next_key(%k : memref<?x8xf32>) next_value(%v : memref<?x5xf32>) at(%c, %c, %c, %c) extents(%c, %c, %c)
    outs(%acc, %max, %sum : memref<5x16xf32>, memref<16xf32>, memref<16xf32>)
    {scale = 1.0, group = 1, kv_heads = 1, unzipped = 4,
     indexing_maps = [affine_map<(m, n, d, e) -> (d, m)>, affine_map<(m, n, d, e) -> (n, d)>,
                      affine_map<(m, n, d, e) -> (n, e)>, affine_map<(m, n, d, e) -> (e, m)>]}
  // CHECK: attn.merge {{.*}} {acc_map = #[[$T]]}
  attn.merge ins(%acc, %max, %sum : memref<5x16xf32>, memref<16xf32>, memref<16xf32>)
    outs(%acc, %max, %sum : memref<5x16xf32>, memref<16xf32>, memref<16xf32>)
    {acc_map = affine_map<(m, e) -> (e, m)>}
  // CHECK: attn.finalize {{.*}} {acc_map = #[[$T]]}
  attn.finalize ins(%acc, %max, %sum : memref<5x16xf32>, memref<16xf32>, memref<16xf32>)
    outs(%o : memref<16x5xf32>) {acc_map = affine_map<(m, e) -> (e, m)>}
  return
}

// CHECK-LABEL: func @folded_rows
func.func @folded_rows(%q: memref<2x4x8x16xbf16>, %tile: memref<32x16xf32>,
                       %lse: memref<2x8x4xf32>, %row: memref<32xf32>, %k: tensor<2x8x4x16xf16>,
                       %kt: tensor<32x16xf32>, %c: index) -> tensor<32x16xf32> {
  // CHECK: attn.gather_rows %{{.*}} at(%{{.*}}, %{{.*}}, %{{.*}}) rows(%{{.*}}) outs(%{{.*}} : memref<32x16xf32>) {group = 4 : i64} : memref<2x4x8x16xbf16>
  attn.gather_rows %q at(%c, %c, %c) rows(%c) outs(%tile : memref<32x16xf32>)
    {group = 4} : memref<2x4x8x16xbf16>
  // CHECK: attn.scatter_rows %{{.*}} at(%{{.*}}, %{{.*}}, %{{.*}}) rows(%{{.*}}) outs(%{{.*}} : memref<2x8x4xf32>) {group = 4 : i64} : memref<32xf32>
  attn.scatter_rows %row at(%c, %c, %c) rows(%c) outs(%lse : memref<2x8x4xf32>)
    {group = 4} : memref<32xf32>
  // CHECK: attn.gather_rows {{.*}} {group = 1 : i64, map = #[[$BHID]]} : tensor<2x8x4x16xf16> -> tensor<32x16xf32>
  %0 = attn.gather_rows %k at(%c, %c, %c) rows(%c) outs(%kt : tensor<32x16xf32>)
    {group = 1, map = affine_map<(b, h, i, d) -> (b, h, i, d)>}
    : tensor<2x8x4x16xf16> -> tensor<32x16xf32>
  return %0 : tensor<32x16xf32>
}
