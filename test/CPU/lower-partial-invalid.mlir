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
  // expected-error @below {{needs k, v and what is next with unit inner stride}}
  attn.partial ins(%q, %k, %k : memref<4x64xf32>, memref<?x64xf32, strided<[?, 2]>>, memref<?x64xf32, strided<[?, 2]>>)
    at(%i, %i, %i, %i) extents(%i, %i, %i)
    outs(%acc, %row, %row : memref<4x64xf32>, memref<4xf32>, memref<4xf32>)
    {scale = 0.125 : f64, group = 1 : i64, kv_heads = 1 : i64, config = #config}
  return
}

// -----

#config = #attn.config<query_tile = 16, narrow_query_tile = 8, kv_tile = 60, vector = 8, unroll = 6, kv_split = 60>
func.func @unzipped(%q: memref<4x64xf32>, %k: memref<?x64xbf16>, %acc: memref<4x64xf32>, %row: memref<4xf32>, %i: index) {
  // expected-error @below {{can only be unzipped by the config's vector (8), with q and acc not transposed}}
  attn.partial ins(%q, %k, %k : memref<4x64xf32>, memref<?x64xbf16>, memref<?x64xbf16>)
    at(%i, %i, %i, %i) extents(%i, %i, %i)
    outs(%acc, %row, %row : memref<4x64xf32>, memref<4xf32>, memref<4xf32>)
    {scale = 0.125 : f64, group = 1 : i64, kv_heads = 1 : i64, unzipped = 4, config = #config}
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

// -----

#q = affine_map<(m, n, d, e) -> (0, d floordiv 2, m, d mod 2)>
#k = affine_map<(m, n, d, e) -> (n, 0, d)>
#v = affine_map<(m, n, d, e) -> (n floordiv 64, 0, e, n mod 64)>
#acc = affine_map<(m, n, d, e) -> (e, m)>
#config = #attn.config<query_tile = 48, narrow_query_tile = 8, kv_tile = 64, vector = 16, unroll = 8, kv_split = 1024, matrix_rows = 32>
func.func @matrix_type(%q: memref<1x32x32x2xbf16>, %k: memref<?x1x40xbf16, strided<[64, 64, 1]>>, %v: memref<?x1x32x64xf32>, %acc: memref<32x32xf32>, %row: memref<32xf32>, %i: index) {
  // expected-error @below {{needs q, k and v of bf16 for matrix units}}
  attn.partial ins(%q, %k, %v : memref<1x32x32x2xbf16>, memref<?x1x40xbf16, strided<[64, 64, 1]>>, memref<?x1x32x64xf32>)
    at(%i, %i, %i, %i) extents(%i, %i, %i)
    outs(%acc, %row, %row : memref<32x32xf32>, memref<32xf32>, memref<32xf32>)
    {scale = 0.125 : f64, group = 1 : i64, kv_heads = 1 : i64, indexing_maps = [#q, #k, #v, #acc], config = #config}
  return
}

// -----

#q = affine_map<(m, n, d, e) -> (0, d floordiv 2, m, d mod 2)>
#k = affine_map<(m, n, d, e) -> (n, 0, d)>
#v = affine_map<(m, n, d, e) -> (n floordiv 64, 0, e, n mod 64)>
#acc = affine_map<(m, n, d, e) -> (e, m)>
#config = #attn.config<query_tile = 48, narrow_query_tile = 8, kv_tile = 64, vector = 16, unroll = 8, kv_split = 1024, matrix_rows = 32>
func.func @matrix_rows(%q: memref<1x32x16x2xbf16>, %k: memref<?x1x40xbf16, strided<[64, 64, 1]>>, %v: memref<?x1x32x64xbf16>, %acc: memref<32x16xf32>, %row: memref<16xf32>, %i: index) {
  // expected-error @below {{needs 32 rows in vectors of 16 for matrix units}}
  attn.partial ins(%q, %k, %v : memref<1x32x16x2xbf16>, memref<?x1x40xbf16, strided<[64, 64, 1]>>, memref<?x1x32x64xbf16>)
    at(%i, %i, %i, %i) extents(%i, %i, %i)
    outs(%acc, %row, %row : memref<32x16xf32>, memref<16xf32>, memref<16xf32>)
    {scale = 0.125 : f64, group = 1 : i64, kv_heads = 1 : i64, indexing_maps = [#q, #k, #v, #acc], config = #config}
  return
}

// -----

#q = affine_map<(m, n, d, e) -> (0, d floordiv 2, m, d mod 2)>
#k = affine_map<(m, n, d, e) -> (n, 0, d)>
#v = affine_map<(m, n, d, e) -> (n floordiv 64, 0, e, n mod 64)>
#acc = affine_map<(m, n, d, e) -> (e, m)>
#config = #attn.config<query_tile = 48, narrow_query_tile = 8, kv_tile = 64, vector = 16, unroll = 8, kv_split = 1024, matrix_rows = 32>
func.func @matrix_padding(%q: memref<1x32x32x2xbf16>, %k: memref<?x1x40xbf16, strided<[40, 40, 1]>>, %v: memref<?x1x32x64xbf16>, %acc: memref<32x32xf32>, %row: memref<32xf32>, %i: index) {
  // expected-error @below {{needs rows of k and columns of v padded to 32 for matrix units}}
  attn.partial ins(%q, %k, %v : memref<1x32x32x2xbf16>, memref<?x1x40xbf16, strided<[40, 40, 1]>>, memref<?x1x32x64xbf16>)
    at(%i, %i, %i, %i) extents(%i, %i, %i)
    outs(%acc, %row, %row : memref<32x32xf32>, memref<32xf32>, memref<32xf32>)
    {scale = 0.125 : f64, group = 1 : i64, kv_heads = 1 : i64, indexing_maps = [#q, #k, #v, #acc], config = #config}
  return
}

// -----

#q = affine_map<(m, n, d, e) -> (0, d floordiv 2, m, d mod 2)>
#k = affine_map<(m, n, d, e) -> (n, 0, d)>
#v = affine_map<(m, n, d, e) -> (n floordiv 64, 0, e, n mod 64)>
#acc = affine_map<(m, n, d, e) -> (e, m)>
#config = #attn.config<query_tile = 48, narrow_query_tile = 8, kv_tile = 64, vector = 16, unroll = 8, kv_split = 1024, matrix_rows = 32>
func.func @matrix_columns(%q: memref<1x32x32x2xbf16>, %k: memref<?x1x40xbf16, strided<[64, 64, 1]>>, %v: memref<?x1x20x64xbf16>, %acc: memref<20x32xf32>, %row: memref<32xf32>, %i: index) {
  // expected-error @below {{needs rows of k and columns of v padded to 32 for matrix units}}
  attn.partial ins(%q, %k, %v : memref<1x32x32x2xbf16>, memref<?x1x40xbf16, strided<[64, 64, 1]>>, memref<?x1x20x64xbf16>)
    at(%i, %i, %i, %i) extents(%i, %i, %i)
    outs(%acc, %row, %row : memref<20x32xf32>, memref<32xf32>, memref<32xf32>)
    {scale = 0.125 : f64, group = 1 : i64, kv_heads = 1 : i64, indexing_maps = [#q, #k, #v, #acc], config = #config}
  return
}

// -----

#q = affine_map<(m, n, d, e) -> (0, d floordiv 2, m, d mod 2)>
#k = affine_map<(m, n, d, e) -> (n, 0, d)>
#v = affine_map<(m, n, d, e) -> (n floordiv 64, 0, e, n mod 64)>
#acc = affine_map<(m, n, d, e) -> (e, m)>
#config = #attn.config<query_tile = 48, narrow_query_tile = 8, kv_tile = 64, vector = 16, unroll = 8, kv_split = 1024, matrix_rows = 32>
func.func @matrix_strides(%q: memref<1x32x32x2xbf16>, %k: memref<?x1x40xbf16, strided<[64, 64, 1]>>, %v: memref<?x1x32x64xbf16, strided<[4096, 4096, 128, 1]>>, %acc: memref<32x32xf32>, %row: memref<32xf32>, %i: index) {
  // expected-error @below {{needs q, v and acc contiguous and of static shape, but for the blocks of v, for matrix units}}
  attn.partial ins(%q, %k, %v : memref<1x32x32x2xbf16>, memref<?x1x40xbf16, strided<[64, 64, 1]>>, memref<?x1x32x64xbf16, strided<[4096, 4096, 128, 1]>>)
    at(%i, %i, %i, %i) extents(%i, %i, %i)
    outs(%acc, %row, %row : memref<32x32xf32>, memref<32xf32>, memref<32xf32>)
    {scale = 0.125 : f64, group = 1 : i64, kv_heads = 1 : i64, indexing_maps = [#q, #k, #v, #acc], config = #config}
  return
}

// -----

#q = affine_map<(m, n, d, e) -> (0, d floordiv 2, m, d mod 2)>
#k = affine_map<(m, n, d, e) -> (n, 0, d)>
#v = affine_map<(m, n, d, e) -> (n floordiv 64, 0, e, n mod 64)>
#acc = affine_map<(m, n, d, e) -> (e, m)>
#config = #attn.config<query_tile = 48, narrow_query_tile = 8, kv_tile = 64, vector = 16, unroll = 8, kv_split = 1024, matrix_rows = 32>
func.func @matrix_terms(%q: memref<1x32x32x2xbf16>, %k: memref<?x1x40xbf16, strided<[64, 64, 1]>>, %v: memref<?x2x32x64xbf16>, %acc: memref<32x32xf32>, %row: memref<32xf32>, %i: index) {
  // expected-error @below {{needs q, k and v of one number of terms for matrix units}}
  attn.partial ins(%q, %k, %v : memref<1x32x32x2xbf16>, memref<?x1x40xbf16, strided<[64, 64, 1]>>, memref<?x2x32x64xbf16>)
    at(%i, %i, %i, %i) extents(%i, %i, %i)
    outs(%acc, %row, %row : memref<32x32xf32>, memref<32xf32>, memref<32xf32>)
    {scale = 0.125 : f64, group = 1 : i64, kv_heads = 1 : i64, indexing_maps = [#q, #k, #v, #acc], config = #config}
  return
}
