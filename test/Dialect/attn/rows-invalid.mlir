// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// RUN: fovea-opt %s -split-input-file -verify-diagnostics

// What the row operations and the attributes refuse, one rule at a time.

// Shapes.
func.func @f(%x: memref<2x4x8x16xf32>, %y: memref<2x4x8x12xf32>) {
  // expected-error@+1 {{input and output must have one shape}}
  attn.rope ins(%x : memref<2x4x8x16xf32>) outs(%y : memref<2x4x8x12xf32>)
      {style = #attn.rope_style<neox>, base = 1.0e4}
  return
}

// -----

// R4: width.
func.func @f(%x: memref<2x4x8x?xf32>, %y: memref<2x4x8x?xf32>) {
  // expected-error@+1 {{the last dimension must be static (rule R4)}}
  attn.rope ins(%x : memref<2x4x8x?xf32>) outs(%y : memref<2x4x8x?xf32>)
      {style = #attn.rope_style<neox>, base = 1.0e4}
  return
}

// -----

// P1: rotary width.
func.func @f(%x: memref<2x4x8x16xf32>, %y: memref<2x4x8x16xf32>) {
  // expected-error@+1 {{rotary_dim must be even and in [2, 16], got 18 (rule P1)}}
  attn.rope ins(%x : memref<2x4x8x16xf32>) outs(%y : memref<2x4x8x16xf32>)
      {style = #attn.rope_style<neox>, base = 1.0e4, rotary_dim = 18 : i64}
  return
}

// -----

// P1: pairs.
func.func @f(%x: memref<2x4x8x16xf32>, %y: memref<2x4x8x16xf32>) {
  // expected-error@+1 {{rotary_dim must be even and in [2, 16], got 7 (rule P1)}}
  attn.rope ins(%x : memref<2x4x8x16xf32>) outs(%y : memref<2x4x8x16xf32>)
      {style = #attn.rope_style<neox>, base = 1.0e4, rotary_dim = 7 : i64}
  return
}

// -----

// P1: base.
func.func @f(%x: memref<2x4x8x16xf32>, %y: memref<2x4x8x16xf32>) {
  // expected-error@+1 {{base must be positive and finite (rule P1)}}
  attn.rope ins(%x : memref<2x4x8x16xf32>) outs(%y : memref<2x4x8x16xf32>)
      {style = #attn.rope_style<neox>, base = -1.0}
  return
}

// -----

// P1: one source of positions.
func.func @f(%x: memref<2x4x8x16xf32>, %y: memref<2x4x8x16xf32>, %p: memref<2x4xi32>, %n: i64) {
  // expected-error@+1 {{takes positions or an offset, not both (rule P1)}}
  attn.rope ins(%x : memref<2x4x8x16xf32>) positions(%p : memref<2x4xi32>) offset(%n : i64) outs(%y : memref<2x4x8x16xf32>)
      {style = #attn.rope_style<neox>, base = 1.0e4}
  return
}

// -----

// P1: shape of positions.
func.func @f(%x: memref<2x4x8x16xf32>, %y: memref<2x4x8x16xf32>, %p: memref<2x5xi32>) {
  // expected-error@+1 {{positions must have the shape of the leading dimensions of the input (rule P1)}}
  attn.rope ins(%x : memref<2x4x8x16xf32>) positions(%p : memref<2x5xi32>) outs(%y : memref<2x4x8x16xf32>)
      {style = #attn.rope_style<neox>, base = 1.0e4}
  return
}

// -----

// P1: rank for an offset.
func.func @f(%x: memref<4x16xf32>, %y: memref<4x16xf32>) {
  // expected-error@+1 {{an offset needs an input [B, M, ..., D]; give positions (rule P1)}}
  attn.rope ins(%x : memref<4x16xf32>) outs(%y : memref<4x16xf32>)
      {style = #attn.rope_style<neox>, base = 1.0e4}
  return
}

// -----

// P1: shape of an offset.
func.func @f(%x: memref<2x4x8x16xf32>, %y: memref<2x4x8x16xf32>, %n: memref<3xi64>) {
  // expected-error@+1 {{offset is one i64 or one integer per batch row (rule P1)}}
  attn.rope ins(%x : memref<2x4x8x16xf32>) offset(%n : memref<3xi64>) outs(%y : memref<2x4x8x16xf32>)
      {style = #attn.rope_style<neox>, base = 1.0e4}
  return
}

// -----

// P1: dynamic NTK looks at the length.
func.func @f(%x: memref<2x4x8x16xf32>, %y: memref<2x4x8x16xf32>) {
  // expected-error@+1 {{dynamic scaling needs length (rule P1)}}
  attn.rope ins(%x : memref<2x4x8x16xf32>) outs(%y : memref<2x4x8x16xf32>)
      {style = #attn.rope_style<neox>, base = 1.0e4, scaling = #attn.rope_scaling<kind = dynamic, factor = 2.0, original_length = 32>}
  return
}

// -----

// P1: linear scaling does not.
func.func @f(%x: memref<2x4x8x16xf32>, %y: memref<2x4x8x16xf32>, %n: i64) {
  // expected-error@+1 {{linear scaling takes no length (rule P1)}}
  attn.rope ins(%x : memref<2x4x8x16xf32>) length(%n : i64) outs(%y : memref<2x4x8x16xf32>)
      {style = #attn.rope_style<neox>, base = 1.0e4, scaling = #attn.rope_scaling<kind = linear, factor = 2.0>}
  return
}

// -----

// P1: length without scaling.
func.func @f(%x: memref<2x4x8x16xf32>, %y: memref<2x4x8x16xf32>, %n: i64) {
  // expected-error@+1 {{length is for dynamic and longrope scaling only (rule P1)}}
  attn.rope ins(%x : memref<2x4x8x16xf32>) length(%n : i64) outs(%y : memref<2x4x8x16xf32>)
      {style = #attn.rope_style<neox>, base = 1.0e4}
  return
}

// -----

// P1: shape of a length.
func.func @f(%x: memref<2x4x8x16xf32>, %y: memref<2x4x8x16xf32>, %n: memref<2x4xi32>) {
  // expected-error@+1 {{length is one i64 or one integer per batch row (rule P1)}}
  attn.rope ins(%x : memref<2x4x8x16xf32>) length(%n : memref<2x4xi32>) outs(%y : memref<2x4x8x16xf32>)
      {style = #attn.rope_style<neox>, base = 1.0e4, scaling = #attn.rope_scaling<kind = dynamic, factor = 2.0, original_length = 32>}
  return
}

// -----

// P1: rank for a length per batch row.
func.func @f(%x: memref<4x16xf32>, %p: memref<4xi64>, %n: memref<4xi32>) {
  // expected-error@+1 {{a length per batch row needs an input [B, M, ..., D] (rule P1)}}
  attn.rope ins(%x : memref<4x16xf32>) positions(%p : memref<4xi64>) length(%n : memref<4xi32>) outs(%x : memref<4x16xf32>)
      {style = #attn.rope_style<neox>, base = 1.0e4, scaling = #attn.rope_scaling<kind = dynamic, factor = 2.0, original_length = 32>}
  return
}

// -----

// P1: longrope's tables.
func.func @f(%x: memref<2x4x8x16xf32>, %y: memref<2x4x8x16xf32>, %n: i64) {
  // expected-error@+1 {{longrope needs 8 factors, one per frequency (rule P1)}}
  attn.rope ins(%x : memref<2x4x8x16xf32>) length(%n : i64) outs(%y : memref<2x4x8x16xf32>)
      {style = #attn.rope_style<neox>, base = 1.0e4,
       scaling = #attn.rope_scaling<kind = longrope, original_length = 32,
         short_factor = [1.0], long_factor = [2.0]>}
  return
}

// -----

// P1: dynamic scaling.
// expected-error@+1 {{dynamic scaling needs original_length > 0 (rule P1)}}
module attributes {a = #attn.rope_scaling<kind = dynamic, factor = 2.0>} {}

// -----

// P1: factors stretch.
// expected-error@+1 {{linear scaling needs factor >= 1 (rule P1)}}
module attributes {a = #attn.rope_scaling<kind = linear, factor = 0.5>} {}

// -----

// P1: YaRN.
// expected-error@+1 {{yarn scaling needs beta_fast > beta_slow > 0 (rule P1)}}
module attributes {a = #attn.rope_scaling<kind = yarn, factor = 2.0, original_length = 32, beta_fast = 1.0, beta_slow = 2.0>} {}

// -----

// P1: Llama 3.
// expected-error@+1 {{llama3 scaling needs high_freq_factor > low_freq_factor > 0 (rule P1)}}
module attributes {a = #attn.rope_scaling<kind = llama3, factor = 2.0, original_length = 32, low_freq_factor = 1.0, high_freq_factor = 1.0>} {}

// -----

// P1: tables are longrope's.
// expected-error@+1 {{longrope scaling, and no other, needs short_factor and long_factor of one length (rule P1)}}
module attributes {a = #attn.rope_scaling<kind = linear, factor = 2.0, short_factor = [1.0], long_factor = [1.0]>} {}

// -----

// P1: longrope's factors.
// expected-error@+1 {{longrope factors must be positive (rule P1)}}
module attributes {a = #attn.rope_scaling<kind = longrope, original_length = 32, short_factor = [0.0], long_factor = [1.0]>} {}

// -----

// P1: attention factor.
// expected-error@+1 {{attention_factor must not be negative (rule P1)}}
module attributes {a = #attn.rope_scaling<kind = yarn, factor = 2.0, original_length = 32, beta_fast = 32.0, beta_slow = 1.0, attention_factor = -1.0>} {}

// -----

// P1: parameters of another kind.
// expected-error@+1 {{linear scaling takes no beta_fast (rule P1)}}
module attributes {a = #attn.rope_scaling<kind = linear, factor = 2.0, beta_fast = 1.0>} {}

// -----

// P1: truncation is YaRN's.
// expected-error@+1 {{linear scaling takes no truncate = false (rule P1)}}
module attributes {a = #attn.rope_scaling<kind = linear, factor = 2.0, truncate = false>} {}

// -----

// P1: parameters are numbers.
// expected-error@+1 {{scaling parameters must be finite (rule P1)}}
module attributes {a = #attn.rope_scaling<kind = linear, factor = 0x7FF0000000000000>} {}

// -----

// expected-error@+1 {{vector must be a power of two of at most 64 elements}}
module attributes {a = #attn.config<query_tile = 64, narrow_query_tile = 16, kv_tile = 128, vector = 12, unroll = 8, kv_split = 1024>} {}

// -----

// expected-error@+1 {{query_tile must be a multiple of vector, at most 256}}
module attributes {a = #attn.config<query_tile = 24, narrow_query_tile = 16, kv_tile = 128, vector = 16, unroll = 8, kv_split = 1024>} {}

// -----

// expected-error@+1 {{narrow_query_tile must be in [1, query_tile]}}
module attributes {a = #attn.config<query_tile = 64, narrow_query_tile = 128, kv_tile = 128, vector = 16, unroll = 8, kv_split = 1024>} {}

// -----

// expected-error@+1 {{kv_tile must be in [1, 4096], unroll in [1, 32]}}
module attributes {a = #attn.config<query_tile = 64, narrow_query_tile = 16, kv_tile = 128, vector = 16, unroll = 33, kv_split = 1024>} {}

// -----

// expected-error@+1 {{kv_split must be a multiple of kv_tile}}
module attributes {a = #attn.config<query_tile = 64, narrow_query_tile = 16, kv_tile = 128, vector = 16, unroll = 8, kv_split = 1000>} {}

// -----

// expected-error@+1 {{kv_chunk must be 0 or a multiple of kv_tile}}
module attributes {a = #attn.config<query_tile = 64, narrow_query_tile = 16, kv_tile = 128, vector = 16, unroll = 8, kv_split = 1024, kv_chunk = 192>} {}

// -----

// expected-error@+1 {{chunk_tiles must be in [1, 256]}}
module attributes {a = #attn.config<query_tile = 64, narrow_query_tile = 16, kv_tile = 128, vector = 16, unroll = 8, kv_split = 1024, kv_chunk = 128, chunk_tiles = 0>} {}

// -----

// expected-error@+1 {{kv_walk must be in [0, kv_tile]}}
module attributes {a = #attn.config<query_tile = 64, narrow_query_tile = 16, kv_tile = 128, vector = 16, unroll = 8, kv_split = 1024, kv_walk = 129>} {}

// -----

// The weight of a norm.
func.func @f(%x: memref<2x4x8x16xf32>, %y: memref<2x4x8x16xf32>, %w: memref<8xf32>) {
  // expected-error@+1 {{weight must be one vector of the input's last dimension}}
  attn.rms_norm ins(%x : memref<2x4x8x16xf32>) weight(%w : memref<8xf32>) outs(%y : memref<2x4x8x16xf32>) {eps = 1.0e-6}
  return
}

// -----

// The eps of a norm.
func.func @f(%x: memref<2x4x8x16xf32>, %y: memref<2x4x8x16xf32>) {
  // expected-error@+1 {{eps must be finite and not negative}}
  attn.rms_norm ins(%x : memref<2x4x8x16xf32>) outs(%y : memref<2x4x8x16xf32>) {eps = -1.0}
  return
}

// -----

// K3: shapes of an append.
func.func @f(%x: memref<2x4x8x16xf32>, %p: memref<2xi32>, %c: memref<2x32x4x16xf32>) {
  // expected-error@+1 {{input and cache may differ in dimension 1 only (rule K3)}}
  attn.append ins(%x : memref<2x4x8x16xf32>) past(%p : memref<2xi32>)
      outs(%c : memref<2x32x4x16xf32>)
  return
}

// -----

// K3: past.
func.func @f(%x: memref<2x4x8x16xf32>, %p: memref<3xi32>, %c: memref<2x32x8x16xf32>) {
  // expected-error@+1 {{past holds one integer per batch row (rule K3)}}
  attn.append ins(%x : memref<2x4x8x16xf32>) past(%p : memref<3xi32>) outs(%c : memref<2x32x8x16xf32>)
  return
}

// -----

// expected-error@+1 {{matrix_rows must be 0 or a multiple of vector, at most 256}}
module attributes {a = #attn.config<query_tile = 64, narrow_query_tile = 16, kv_tile = 128, vector = 16, unroll = 8, kv_split = 1024, matrix_rows = 24>} {}
