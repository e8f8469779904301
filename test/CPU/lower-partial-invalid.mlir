// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// RUN: fovea-opt %s -attn-cpu-lower-partial -split-input-file -verify-diagnostics

#config = #attn.config<query_tile = 16, narrow_query_tile = 8, kv_tile = 60, vector = 8, unroll = 6, kv_split = 60>
#q = affine_map<(m, n, d, e) -> (d, m)>
#k = affine_map<(m, n, d, e) -> (n, d)>
#v = affine_map<(m, n, d, e) -> (n, e)>
#acc = affine_map<(m, n, d, e) -> (m, e)>
func.func @layout(%q: memref<64x16xf32>, %k: memref<?x64xf32>, %acc: memref<16x64xf32>, %row: memref<16xf32>, %i: index) {
  // expected-error @below {{and q and acc either transposed, (d, m) and (e, m), or not, (m, d) and (m, e)}}
  attn.partial ins(%q, %k, %k : memref<64x16xf32>, memref<?x64xf32>, memref<?x64xf32>)
    at(%i, %i, %i, %i) extents(%i, %i, %i)
    outs(%acc, %row, %row : memref<16x64xf32>, memref<16xf32>, memref<16xf32>)
    {scale = 0.125 : f64, group = 1 : i64, kv_heads = 1 : i64, indexing_maps = [#q, #k, #v, #acc], config = #config}
  return
}

// -----

#config = #attn.config<query_tile = 16, narrow_query_tile = 8, kv_tile = 60, vector = 8, unroll = 6, kv_split = 60>
func.func @strided_keys(%q: memref<4x64xf32>, %k: memref<?x64xf32, strided<[?, 2]>>, %acc: memref<4x64xf32>, %row: memref<4xf32>, %i: index) {
  // expected-error @below {{needs k and v with unit inner stride}}
  attn.partial ins(%q, %k, %k : memref<4x64xf32>, memref<?x64xf32, strided<[?, 2]>>, memref<?x64xf32, strided<[?, 2]>>)
    at(%i, %i, %i, %i) extents(%i, %i, %i)
    outs(%acc, %row, %row : memref<4x64xf32>, memref<4xf32>, memref<4xf32>)
    {scale = 0.125 : f64, group = 1 : i64, kv_heads = 1 : i64, config = #config}
  return
}

// -----

func.func @no_config(%q: memref<16x64xf32>, %k: memref<?x64xf32>, %acc: memref<16x64xf32>, %row: memref<16xf32>, %i: index) {
  // expected-error @below {{needs a config to be lowered}}
  attn.partial ins(%q, %k, %k : memref<16x64xf32>, memref<?x64xf32>, memref<?x64xf32>)
    at(%i, %i, %i, %i) extents(%i, %i, %i)
    outs(%acc, %row, %row : memref<16x64xf32>, memref<16xf32>, memref<16xf32>)
    {scale = 0.125 : f64, group = 1 : i64, kv_heads = 1 : i64}
  return
}

// -----

#q = affine_map<(m, n, d, e) -> (d, m)>
#k = affine_map<(m, n, d, e) -> (n, d)>
#v = affine_map<(m, n, d, e) -> (n, e)>
#acc = affine_map<(m, n, d, e) -> (e, m)>
#config = #attn.config<query_tile = 16, narrow_query_tile = 8, kv_tile = 60, vector = 8, unroll = 6, kv_split = 60>
func.func @lanes(%q: memref<64x12xf32>, %k: memref<?x64xf32>, %acc: memref<64x12xf32>, %row: memref<12xf32>, %i: index) {
  // expected-error @below {{has 12 rows, not a multiple of the config's vector (8)}}
  attn.partial ins(%q, %k, %k : memref<64x12xf32>, memref<?x64xf32>, memref<?x64xf32>)
    at(%i, %i, %i, %i) extents(%i, %i, %i)
    outs(%acc, %row, %row : memref<64x12xf32>, memref<12xf32>, memref<12xf32>)
    {scale = 0.125 : f64, group = 1 : i64, kv_heads = 1 : i64, indexing_maps = [#q, #k, #v, #acc], config = #config}
  return
}

// -----

#q = affine_map<(m, n, d, e) -> (d, m)>
#k = affine_map<(m, n, d, e) -> (n, d)>
#v = affine_map<(m, n, d, e) -> (n, e)>
#acc = affine_map<(m, n, d, e) -> (e, m)>
#config = #attn.config<query_tile = 16, narrow_query_tile = 8, kv_tile = 60, vector = 8, unroll = 6, kv_split = 60>
func.func @half(%q: memref<64x16xf16>, %k: memref<?x64xf16>, %acc: memref<64x16xf32>, %row: memref<16xf32>, %i: index) {
  // expected-error @below {{needs q, k and v converted to 'f32'}}
  attn.partial ins(%q, %k, %k : memref<64x16xf16>, memref<?x64xf16>, memref<?x64xf16>)
    at(%i, %i, %i, %i) extents(%i, %i, %i)
    outs(%acc, %row, %row : memref<64x16xf32>, memref<16xf32>, memref<16xf32>)
    {scale = 0.125 : f64, group = 1 : i64, kv_heads = 1 : i64, indexing_maps = [#q, #k, #v, #acc], config = #config}
  return
}
