// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// RUN: fovea-opt %s -attn-cpu-tile-attention -canonicalize -cse -split-input-file -verify-diagnostics | FileCheck %s

// CHECK-LABEL: func @unchanged
// CHECK-NEXT: arith.addf
// CHECK-NEXT: return
func.func @unchanged(%x: f32) -> f32 {
  %0 = arith.addf %x, %x : f32
  return %0 : f32
}

// -----

// Without a mask: the shapes of work for few rows (up to 8, kept as rows, and up
// to 24, transposed; parts of 1024 keys, then merged) and the one for many. Of
// few rows an item takes the queries of its heads, walks along its KV tiles from
// head to head, if those of a token lie side by side, 16 keys at a time, and
// finishes each head. Keys are read in place or, if their rows are not
// contiguous, gathered. The kernel is told which rows come next: if the heads of
// a token fill it, a head's share of the next 16 keys of all heads, row after
// row; otherwise, K a block of 32 keys ahead (two heads of 16), and V of these
// keys.
// CHECK-LABEL: func @plain
// CHECK-SAME: %[[Q:[a-z0-9]+]]: memref<?x?x4x8xf32{{.*}}>, %[[K:[a-z0-9]+]]: memref<?x?x2x8xf32{{.*}}>, %[[V:[a-z0-9]+]]: memref<?x?x2x16xf32{{.*}}>, %[[O:[a-z0-9]+]]: memref<?x?x4x16xf32{{.*}}>)
// CHECK: %[[STRIDES:[a-z_]*strides[0-9_]*]]:4 = memref.extract_strided_metadata %[[K]]
// CHECK: %[[SIDE_BY_SIDE:.*]] = arith.cmpi slt, %[[STRIDES]]#2, %[[STRIDES]]#1
// CHECK: %[[HEADS:.*]] = arith.select %[[SIDE_BY_SIDE]], %{{.*}}, %c1
// CHECK: %[[WALK:.*]] = arith.select %[[SIDE_BY_SIDE]], %c16, %c64
// CHECK: %[[ALL:.*]] = arith.cmpi eq, %[[HEADS]], %c2
// CHECK: %[[SOME:.*]] = arith.andi %[[SIDE_BY_SIDE]], %[[ALL]]
// CHECK: %[[AHEAD:.*]] = arith.select %[[SIDE_BY_SIDE]], %c16, %c32
// CHECK: %[[TOKEN:.*]] = arith.muli %[[STRIDES]]#2, %c2
// CHECK: %[[FULL:.*]] = arith.cmpi eq, %[[STRIDES]]#1, %[[TOKEN]]
// CHECK: %[[IN_ORDER:.*]] = arith.andi %[[SOME]], %[[FULL]]
// CHECK: %[[K_LEAD:.*]] = arith.select %[[IN_ORDER]], %[[WALK]], %[[AHEAD]]
// CHECK: %[[K_STRIDE:.*]] = arith.select %[[IN_ORDER]], %[[STRIDES]]#2, %[[STRIDES]]#1
// CHECK: %[[V_STRIDES:[a-z_]*strides[0-9_]*]]:4 = memref.extract_strided_metadata %[[V]]
// CHECK: %[[V_IN_ORDER:.*]] = arith.andi %[[SOME]], %{{.*}}
// CHECK: %[[V_LEAD:.*]] = arith.select %[[V_IN_ORDER]], %[[WALK]], %c0
// CHECK: %[[V_STRIDE:.*]] = arith.select %[[V_IN_ORDER]], %[[V_STRIDES]]#2, %[[V_STRIDES]]#1
// CHECK: cpu.parallel
// CHECK:   scf.for
// CHECK:     attn.gather_rows %[[Q]] {{.*}} outs(%{{.*}} : memref<8x8xf32{{.*}} {{.*}}group = 2 : i64
// CHECK-NOT: linalg.transpose
// CHECK:   scf.for
// CHECK:     scf.for %[[J0:.*]] = %{{.*}} to %[[END:.*]] step %[[WALK]]
// CHECK:       %[[LEFT:.*]] = arith.subi %[[END]], %[[J0]]
// CHECK:       %[[COUNT:.*]] = arith.minsi %[[WALK]], %[[LEFT]]
// CHECK:       scf.for %[[HEAD:.*]] =
// CHECK:         %[[HERE:.*]] = memref.reinterpret_cast %[[K]] {{.*}} sizes: [%[[COUNT]], 8], strides: [%[[STRIDES]]#1, 1]
// CHECK:         scf.if {{.*}} -> (memref<?x8xf32
// CHECK-NEXT:      scf.yield %[[HERE]]
// CHECK:         else
// CHECK:           attn.gather_rows %[[K]] at(%{{.*}}, %[[HEAD]], %[[J0]])
// CHECK:         %[[NEXT_HEAD:.*]] = arith.addi %[[HEAD]], %c1
// CHECK:         %[[SHARE:.*]] = arith.muli %[[NEXT_HEAD]], %[[WALK]]
// CHECK:         arith.select %[[IN_ORDER]], %[[SHARE]], %[[HEAD]]
// CHECK:         arith.addi %[[J0]], %[[K_LEAD]]
// CHECK:         %[[NEXT_K:.*]] = memref.reinterpret_cast %[[K]] {{.*}} sizes: [%[[COUNT]], 8], strides: [%[[K_STRIDE]], 1]
// CHECK:         %[[SHARE:.*]] = arith.muli %[[HEAD]], %[[WALK]]
// CHECK:         arith.select %[[V_IN_ORDER]], %[[SHARE]], %[[HEAD]]
// CHECK:         arith.addi %[[J0]], %[[V_LEAD]]
// CHECK:         %[[NEXT_V:.*]] = memref.reinterpret_cast %[[V]] {{.*}} sizes: [%[[COUNT]], 16], strides: [%[[V_STRIDE]], 1]
// CHECK:         attn.partial {{.*}} next_key(%[[NEXT_K]] : {{.*}}) next_value(%[[NEXT_V]] : {{.*}}) at(%{{.*}}, %[[HEAD]], {{.*}} group = 2 : i64, {{.*}}kv_heads = 2 : i64, scale = 0.3535
// CHECK-NOT: mask
// CHECK:   scf.if
// CHECK:     scf.for
// CHECK:       attn.finalize
// CHECK:     attn.scatter_rows {{.*}} outs(%[[O]]
// CHECK: cpu.parallel
// CHECK:   scf.for
// CHECK:     attn.merge
// CHECK:   attn.finalize
// CHECK: cpu.parallel
// CHECK:   attn.gather_rows %[[Q]] {{.*}} outs(%[[ROWS:.*]] : memref<24x8xf32
// CHECK:   linalg.transpose ins(%[[ROWS]]
// CHECK: attn.merge
// Many rows: keys and values are packed once for a round of kv heads.
// CHECK: %[[PACKED_K:.*]] = memref.alloc(%{{.*}}, %{{.*}}) {{.*}} : memref<?x?x8xf32>
// CHECK: %[[PACKED_V:.*]] = memref.alloc(%{{.*}}, %{{.*}}) {{.*}} : memref<?x?x16xf32>
// CHECK: scf.for
// CHECK:   cpu.parallel
// CHECK:     memref.subview %[[PACKED_K]]
// CHECK:     attn.gather_rows %[[K]] {{.*}} memref<64x8xf32
// CHECK:     attn.gather_rows %[[V]] {{.*}} memref<64x16xf32
// CHECK:   cpu.parallel
// CHECK-NOT: scf.for
// CHECK:     attn.partial
// CHECK:     attn.finalize
// CHECK:     attn.scatter_rows {{.*}} outs(%[[O]]
// CHECK-NOT: attn.attention
func.func @plain(%q: memref<?x?x4x8xf32, strided<[?, ?, ?, ?], offset: ?>>, %k: memref<?x?x2x8xf32, strided<[?, ?, ?, ?], offset: ?>>,
                 %v: memref<?x?x2x16xf32, strided<[?, ?, ?, ?], offset: ?>>, %o: memref<?x?x4x16xf32, strided<[?, ?, ?, ?], offset: ?>>) {
  attn.attention ins(%q, %k, %v : memref<?x?x4x8xf32, strided<[?, ?, ?, ?], offset: ?>>, memref<?x?x2x8xf32, strided<[?, ?, ?, ?], offset: ?>>, memref<?x?x2x16xf32, strided<[?, ?, ?, ?], offset: ?>>)
    outs(%o : memref<?x?x4x16xf32, strided<[?, ?, ?, ?], offset: ?>>)
    {config = #attn.config<query_tile = 24, narrow_query_tile = 8, kv_tile = 64, vector = 8, unroll = 4, kv_split = 1024, kv_walk = 16>}
  return
}

// -----

// A decode of one kv head has no steps, whatever the distance of heads.
// CHECK-LABEL: func @one_head
// CHECK: arith.cmpi slt, %[[STRIDES:.*]]#2, %[[STRIDES]]#1
// CHECK-NOT: %c16, %c64
// CHECK: attn.partial
func.func @one_head(%q: memref<?x?x1x8xf32>, %k: memref<?x?x1x8xf32, strided<[?, ?, ?, 1]>>, %o: memref<?x?x1x8xf32>) {
  attn.attention ins(%q, %k, %k : memref<?x?x1x8xf32>, memref<?x?x1x8xf32, strided<[?, ?, ?, 1]>>, memref<?x?x1x8xf32, strided<[?, ?, ?, 1]>>)
    outs(%o : memref<?x?x1x8xf32>)
    {config = #attn.config<query_tile = 24, narrow_query_tile = 8, kv_tile = 64, vector = 8, unroll = 4, kv_split = 1024, kv_walk = 16>}
  return
}

// -----

// K and V of bf16 are read in vectors by few rows: theirs are unzipped once, and
// O is put back at the end of an item, or of the merge. V behind a norm is not.
// CHECK-LABEL: func @few_of_bf16
// CHECK: cpu.parallel
// CHECK:   attn.gather_rows %arg0 {{.*}} rows(%[[ROWS:[a-z0-9]+]]) outs(%[[Q:[a-z0-9_]+]] : memref<8x16xf32
// CHECK:   cpu.unzip %[[Q]] rows(%[[ROWS]]) {lanes = 8 : i64}
// CHECK:   linalg.fill
// CHECK:   attn.partial ins(%[[Q]], {{.*}} outs(%[[ACC:[a-z0-9_]+]], {{.*}} unzipped = 8 : i64
// CHECK:   cpu.unzip %[[ACC:[a-z0-9_]+]] {{.*}} {inverse, lanes = 8 : i64}
// CHECK:   attn.finalize ins(%[[ACC]],
// CHECK: cpu.parallel
// CHECK:   attn.merge
// CHECK:   cpu.unzip %[[ACC:[a-z0-9_]+]] {{.*}} {inverse, lanes = 8 : i64}
// CHECK:   attn.finalize ins(%[[ACC]],
// CHECK-NOT: cpu.unzip
// CHECK-LABEL: func @few_behind_norm
// CHECK: cpu.unzip
// CHECK: attn.partial {{.*}} unzipped
// CHECK-NOT: cpu.unzip
// CHECK: return
func.func @few_of_bf16(%q: memref<?x?x4x16xbf16>, %k: memref<?x?x2x16xbf16>, %o: memref<?x?x4x16xbf16>) {
  attn.attention ins(%q, %k, %k : memref<?x?x4x16xbf16>, memref<?x?x2x16xbf16>, memref<?x?x2x16xbf16>)
    outs(%o : memref<?x?x4x16xbf16>)
    {config = #attn.config<query_tile = 24, narrow_query_tile = 8, kv_tile = 64, vector = 8, unroll = 4, kv_split = 1024>}
  return
}
func.func @few_behind_norm(%q: memref<?x?x4x16xbf16>, %k: memref<?x?x2x16xbf16>, %o: memref<?x?x4x16xbf16>, %b: index, %n: index) {
  %v = memref.alloc(%b, %n) : memref<?x?x2x16xbf16>
  attn.rms_norm ins(%k : memref<?x?x2x16xbf16>) outs(%v : memref<?x?x2x16xbf16>) {eps = 1.0e-6 : f64}
  attn.attention ins(%q, %k, %v : memref<?x?x4x16xbf16>, memref<?x?x2x16xbf16>, memref<?x?x2x16xbf16>)
    outs(%o : memref<?x?x4x16xbf16>)
    {config = #attn.config<query_tile = 24, narrow_query_tile = 8, kv_tile = 64, vector = 8, unroll = 4, kv_split = 1024>}
  return
}

// -----

// With a chunk in the configuration, an item is up to that many tiles, of which
// each visits a chunk of the keys before the next chunk comes; the number of
// tiles changes nothing else. Without one (above), there are no such loops.
// CHECK-LABEL: func @chunks
// CHECK-DAG: %[[LONG:.*]] = arith.cmpi sgt, %[[N:.*]], %c192
// CHECK-DAG: %[[SOME:.*]] = arith.minsi %{{.*}}, %c4 : index
// CHECK: scf.for %{{.*}} = %c0 to %[[HEADS:.*]] step
// CHECK: cpu.parallel
// CHECK: cpu.parallel
// CHECK:   %[[FIRST:.*]] = arith.muli %{{.*}}, %[[TILES:.*]] : index
// CHECK:   %[[AFTER:.*]] = arith.addi %[[FIRST]], %[[TILES]]
// CHECK:   %[[END:.*]] = arith.minsi %[[AFTER]], %{{.*}}
// CHECK:   scf.for %{{.*}} = %[[FIRST]] to %[[END]] step %c1
// CHECK:     attn.gather_rows
// CHECK:     linalg.fill
// CHECK:   scf.for %[[KEY:.*]] = %c0 to %[[KEYS:.*]] step %c128
// CHECK:     %[[NEXT:.*]] = arith.addi %[[KEY]], %c128
// CHECK:     arith.minsi %[[NEXT]], %[[KEYS]]
// CHECK:     scf.for %{{.*}} = %[[FIRST]] to %[[END]] step %c1
// CHECK:       attn.partial
// CHECK:   scf.for %{{.*}} = %[[FIRST]] to %[[END]] step %c1
// CHECK:     attn.finalize
func.func @chunks(%q: memref<1x?x1x8xf32>, %k: memref<1x?x1x8xf32>, %o: memref<1x?x1x8xf32>) {
  attn.attention ins(%q, %k, %k : memref<1x?x1x8xf32>, memref<1x?x1x8xf32>, memref<1x?x1x8xf32>)
    outs(%o : memref<1x?x1x8xf32>)
    {config = #attn.config<query_tile = 24, narrow_query_tile = 8, kv_tile = 64, vector = 8, unroll = 4, kv_split = 1024, kv_chunk = 128, chunk_tiles = 4>}
  return
}

// -----

// No keys, known at compile time: what is packed has room for a tile.
// CHECK-LABEL: func @no_keys
// CHECK: memref.alloc(%{{.*}}) {{.*}}: memref<?x64x8xf32>
func.func @no_keys(%q: memref<1x?x1x8xf32>, %k: memref<1x0x1x8xf32>, %o: memref<1x?x1x8xf32>) {
  attn.attention ins(%q, %k, %k : memref<1x?x1x8xf32>, memref<1x0x1x8xf32>, memref<1x0x1x8xf32>)
    outs(%o : memref<1x?x1x8xf32>)
    {config = #attn.config<query_tile = 24, narrow_query_tile = 8, kv_tile = 64, vector = 8, unroll = 4, kv_split = 1024>}
  return
}

// -----

// With a mask the tiles run in segments of one class: full ones without the
// mask, partial ones with it.
// CHECK-LABEL: func @masked
// CHECK: scf.while
// CHECK:   %[[CLASS:.*]] = arith.select
// CHECK:   %[[END:.*]] = scf.while
// CHECK:   %[[FULL:.*]] = arith.cmpi eq, %[[CLASS2:.*]], %c1_i64
// CHECK:   scf.if %[[FULL]]
// CHECK:     scf.for %{{.*}} = %{{.*}} to %[[END]]
// CHECK:       attn.partial
// CHECK-NOT:   mask
// CHECK:   %[[PARTIAL:.*]] = arith.cmpi eq, %[[CLASS2]], %c2_i64
// CHECK:   scf.if %[[PARTIAL]]
// CHECK:     scf.for %{{.*}} = %{{.*}} to %[[END]]
// CHECK:       attn.partial {{.*}} mask("causal(bottom_right)")
// CHECK:   scf.yield %[[END]]
func.func @masked(%q: memref<1x?x1x8xf32>, %k: memref<1x?x1x8xf32>, %o: memref<1x?x1x8xf32>) {
  attn.attention ins(%q, %k, %k : memref<1x?x1x8xf32>, memref<1x?x1x8xf32>, memref<1x?x1x8xf32>)
    outs(%o : memref<1x?x1x8xf32>) mask("causal(bottom_right)")
    {config = #attn.config<query_tile = 24, narrow_query_tile = 8, kv_tile = 64, vector = 8, unroll = 4, kv_split = 1024>}
  return
}

// -----

// Half precision is computed in f32, few rows of it read as stored; lengths bound the keys
// within [0, N]; sinks are those of the rows' heads; LSE is written only if its
// address is not null.
// CHECK-LABEL: func @all
// CHECK-SAME: %[[LENGTHS:[a-z0-9]+]]: memref<?xi64>, %[[SINKS:[a-z0-9]+]]: memref<4xf16>
// CHECK: cpu.parallel
// CHECK:   %[[LENGTH:.*]] = memref.load %[[LENGTHS]]
// CHECK:   %[[INDEX:.*]] = arith.index_cast %[[LENGTH]]
// CHECK:   %[[LEAST:.*]] = arith.minsi %[[INDEX]]
// CHECK:   arith.maxsi %[[LEAST]], %c0
// CHECK:   attn.partial {{.*}} : memref<8x8xf32{{.*}}, memref<?x8xf16
// CHECK:   memref.load %[[SINKS]]
// CHECK:   arith.extf {{.*}} : f16 to f32
// CHECK:   attn.finalize {{.*}} sinks
// CHECK:   %[[ADDRESS:.*]] = memref.extract_aligned_pointer_as_index
// CHECK:   %[[WANTED:.*]] = arith.cmpi ne, %[[ADDRESS]], %c0
// CHECK:   scf.if %[[WANTED]]
// CHECK:     attn.scatter_rows
func.func @all(%lengths: memref<?xi64>, %sinks: memref<4xf16>, %q: memref<?x?x4x8xf16>, %k: memref<?x?x2x8xf16>, %o: memref<?x?x4x8xf16>, %lse: memref<?x4x?xf32>) {
  attn.attention ins(%q, %k, %k : memref<?x?x4x8xf16>, memref<?x?x2x8xf16>, memref<?x?x2x8xf16>)
    lengths(%lengths : memref<?xi64>) sinks(%sinks : memref<4xf16>)
    outs(%o, %lse : memref<?x?x4x8xf16>, memref<?x4x?xf32>)
    {config = #attn.config<query_tile = 24, narrow_query_tile = 8, kv_tile = 64, vector = 8, unroll = 4, kv_split = 1024>}
  return
}

// -----

// RoPE of q and k runs on tiles (RowSource.h), and no whole tensor of turned rows
// is left.
// CHECK-LABEL: func @fused
// CHECK-SAME: %[[Q:[a-z0-9]+]]: memref<1x?x2x8xf32>
// CHECK-NOT: memref.alloc{{.*}}memref<1x?x2x8xf32>
// CHECK: attn.gather_rows %[[Q]] {{.*}} outs(%[[TILE:.*]] : memref<8x8xf32
// CHECK: attn.rope ins(%[[TILE]] {{.*}} outs(%[[TILE]]
// CHECK: attn.partial ins(%[[ROWS:.*]], %{{.*}}, %{{.*}} : memref<8x8xf32
// CHECK: attn.gather_rows %[[Q]] {{.*}} outs(%[[TILE:.*]] : memref<24x8xf32
// CHECK: attn.rope ins(%[[TILE]] {{.*}} outs(%[[TILE]]
// CHECK: linalg.transpose ins(%[[TILE]]
func.func @fused(%q: memref<1x?x2x8xf32>, %k: memref<1x?x2x8xf32>, %m: index, %o: memref<1x?x2x8xf32>) {
  %a = memref.alloc(%m) : memref<1x?x2x8xf32>
  attn.rope ins(%q : memref<1x?x2x8xf32>) outs(%a : memref<1x?x2x8xf32>) {style = #attn.rope_style<neox>, base = 1.0e4 : f64}
  attn.attention ins(%a, %k, %k : memref<1x?x2x8xf32>, memref<1x?x2x8xf32>, memref<1x?x2x8xf32>)
    outs(%o : memref<1x?x2x8xf32>)
    {config = #attn.config<query_tile = 24, narrow_query_tile = 8, kv_tile = 64, vector = 8, unroll = 4, kv_split = 1024>}
  return
}

// -----

// Queries and keys may be one tensor; what makes it is replayed for both.
// CHECK-LABEL: func @one_tensor
// CHECK-SAME: %[[Q:[a-z0-9]+]]: memref<1x?x2x8xf32>
// CHECK-NOT: memref.alloc{{.*}}memref<1x?x2x8xf32>
// CHECK: attn.gather_rows %[[Q]] {{.*}} outs(%[[TILE:.*]] : memref<8x8xf32
// CHECK: attn.rope ins(%[[TILE]] {{.*}} outs(%[[TILE]]
// CHECK: attn.gather_rows %[[Q]] {{.*}} outs(%[[KEYS:.*]] : memref<64x8xf32
// CHECK: attn.rope ins(%[[KEYS]] {{.*}} outs(%[[KEYS]]
func.func @one_tensor(%q: memref<1x?x2x8xf32>, %m: index, %o: memref<1x?x2x8xf32>) {
  %a = memref.alloc(%m) : memref<1x?x2x8xf32>
  attn.rope ins(%q : memref<1x?x2x8xf32>) outs(%a : memref<1x?x2x8xf32>) {style = #attn.rope_style<neox>, base = 1.0e4 : f64}
  attn.attention ins(%a, %a, %q : memref<1x?x2x8xf32>, memref<1x?x2x8xf32>, memref<1x?x2x8xf32>)
    outs(%o : memref<1x?x2x8xf32>)
    {config = #attn.config<query_tile = 24, narrow_query_tile = 8, kv_tile = 64, vector = 8, unroll = 4, kv_split = 1024>}
  return
}

// -----

func.func @no_config(%q: memref<1x?x1x8xf32>, %o: memref<1x?x1x8xf32>) {
  // expected-error@+1 {{has no #attn.config; run attn-select-config first}}
  attn.attention ins(%q, %q, %q : memref<1x?x1x8xf32>, memref<1x?x1x8xf32>, memref<1x?x1x8xf32>)
    outs(%o : memref<1x?x1x8xf32>)
  return
}

// -----

func.func @tensors(%q: tensor<1x?x1x8xf32>, %o: tensor<1x?x1x8xf32>) -> tensor<1x?x1x8xf32> {
  // expected-error@+1 {{works on tensors; bufferize first}}
  %r = attn.attention ins(%q, %q, %q : tensor<1x?x1x8xf32>, tensor<1x?x1x8xf32>, tensor<1x?x1x8xf32>)
    outs(%o : tensor<1x?x1x8xf32>)
    {config = #attn.config<query_tile = 24, narrow_query_tile = 8, kv_tile = 64, vector = 8, unroll = 4, kv_split = 1024>} -> tensor<1x?x1x8xf32>
  return %r : tensor<1x?x1x8xf32>
}

// -----

// For matrix units: K as padded rows, V transposed in blocks of 64 keys, Q in
// pairs along the depth, zeros behind the widths 40 and 20; few rows as ever.
// CHECK-DAG: #[[$Q:.*]] = affine_map<(d0, d1, d2, d3) -> (0, d2 floordiv 2, d0, d2 mod 2)>
// CHECK-DAG: #[[$K:.*]] = affine_map<(d0, d1, d2, d3) -> (d1, 0, d2)>
// CHECK-DAG: #[[$V:.*]] = affine_map<(d0, d1, d2, d3) -> (d1 floordiv 64, 0, d3, d1 mod 64)>
// CHECK-DAG: #[[$ACC:.*]] = affine_map<(d0, d1, d2, d3) -> (d3, d0)>
// CHECK-LABEL: func @matrix
// CHECK: cpu.parallel
// CHECK:   attn.partial {{.*}} : memref<8x40xf32
// CHECK: cpu.parallel
// CHECK:   attn.partial {{.*}} : memref<40x48xf32
// CHECK: %[[PACKED_K:.*]] = memref.alloc(%{{.*}}, %{{.*}}) {{.*}} : memref<?x?x1x64xbf16>
// CHECK: %[[PACKED_V:.*]] = memref.alloc(%{{.*}}, %{{.*}}) {{.*}} : memref<?x?x1x32x64xbf16>
// CHECK: cpu.parallel
// CHECK:   attn.gather_rows {{.*}} outs(%{{.*}} : memref<64x40xbf16, strided<[64, 1]
// CHECK:   linalg.fill {{.*}} memref<64x1x24xbf16, strided<[64, 64, 1]
// CHECK:   attn.gather_rows {{.*}} outs(%[[ROWS:.*]] : memref<64x20xbf16
// CHECK:   linalg.transpose ins(%[[ROWS]] {{.*}} outs(%{{.*}} : memref<20x64xbf16
// CHECK:   linalg.fill {{.*}} memref<1x12x64xbf16
// CHECK: cpu.parallel
// CHECK:   attn.gather_rows {{.*}} outs(%{{.*}} : memref<32x40xbf16
// CHECK:   linalg.fill {{.*}} memref<32x1x24xbf16
// CHECK:   linalg.transpose {{.*}} memref<32x32x2xbf16{{.*}}memref<32x32x2xbf16{{.*}}permutation = [1, 0, 2]
// CHECK:   attn.partial {{.*}} : memref<1x32x32x2xbf16, {{.*}}memref<?x1x40xbf16, strided<[64, 64, 1]{{.*}}memref<?x1x32x64xbf16
// CHECK-SAME: memref<32x32xf32
// CHECK-SAME: indexing_maps = [#[[$Q]], #[[$K]], #[[$V]], #[[$ACC]]]
// CHECK:   attn.finalize {{.*}} : memref<20x32xf32
func.func @matrix(%q: memref<?x?x4x40xbf16>, %k: memref<?x?x2x40xbf16>, %v: memref<?x?x2x20xbf16>, %o: memref<?x?x4x20xbf16>) {
  attn.attention ins(%q, %k, %v : memref<?x?x4x40xbf16>, memref<?x?x2x40xbf16>, memref<?x?x2x20xbf16>)
    outs(%o : memref<?x?x4x20xbf16>)
    {config = #attn.config<query_tile = 48, narrow_query_tile = 8, kv_tile = 64, vector = 16, unroll = 8, kv_split = 1024, matrix_rows = 32>}
  return
}

// -----

// Norms and RoPE of q and k compute in f32 tiles; the last of them rounds into
// what is packed.
// CHECK-LABEL: func @matrix_of_turned
// CHECK: memref.alloc({{.*}} : memref<?x?x1x64xbf16>
// CHECK: cpu.parallel
// CHECK:   %[[KEYS:.*]] = memref.subview {{.*}} : memref<?x64x40xf32> to memref<64x40xf32
// CHECK:   attn.gather_rows %arg1 {{.*}} outs(%[[KEYS]] : memref<64x40xf32
// CHECK:   attn.rms_norm ins(%[[KEYS]] : {{.*}}) outs(%[[KEYS]] :
// CHECK:   attn.rope ins(%[[KEYS]] : {{.*}}) positions({{.*}}) outs(%{{.*}} : memref<64x40xbf16, strided<[64, 1]
// CHECK:   attn.gather_rows %arg2 {{.*}} outs(%{{.*}} : memref<64x20xbf16
// CHECK: cpu.parallel
// CHECK:   %[[QUERIES:.*]] = memref.subview {{.*}} : memref<?x32x40xf32> to memref<32x40xf32
// CHECK:   attn.gather_rows %arg0 {{.*}} outs(%[[QUERIES]] : memref<32x40xf32
// CHECK:   attn.rope ins(%[[QUERIES]] : {{.*}}) positions({{.*}}) outs(%{{.*}} : memref<32x40xbf16, strided<[64, 1]
// CHECK:   attn.partial {{.*}} : memref<1x32x32x2xbf16
func.func @matrix_of_turned(%q: memref<?x?x4x40xbf16>, %k: memref<?x?x2x40xbf16>, %v: memref<?x?x2x20xbf16>, %o: memref<?x?x4x20xbf16>, %b: index, %m: index, %n: index) {
  %turned_q = memref.alloc(%b, %m) : memref<?x?x4x40xbf16>
  %normed_k = memref.alloc(%b, %n) : memref<?x?x2x40xbf16>
  %turned_k = memref.alloc(%b, %n) : memref<?x?x2x40xbf16>
  attn.rope ins(%q : memref<?x?x4x40xbf16>) outs(%turned_q : memref<?x?x4x40xbf16>) {style = #attn.rope_style<neox>, base = 1.0e4 : f64, rotary_dim = 32 : i64}
  attn.rms_norm ins(%k : memref<?x?x2x40xbf16>) outs(%normed_k : memref<?x?x2x40xbf16>) {eps = 1.0e-6 : f64}
  attn.rope ins(%normed_k : memref<?x?x2x40xbf16>) outs(%turned_k : memref<?x?x2x40xbf16>) {style = #attn.rope_style<neox>, base = 1.0e4 : f64, rotary_dim = 32 : i64}
  attn.attention ins(%turned_q, %turned_k, %v : memref<?x?x4x40xbf16>, memref<?x?x2x40xbf16>, memref<?x?x2x20xbf16>)
    outs(%o : memref<?x?x4x20xbf16>)
    {config = #attn.config<query_tile = 48, narrow_query_tile = 8, kv_tile = 64, vector = 16, unroll = 8, kv_split = 1024, matrix_rows = 32>}
  return
}

// -----

// f16 is two terms: rows in f32, which norms and RoPE turn, are split. A number
// stands for infinities of q and k; those of v are looked for.
// CHECK-LABEL: func @matrix_of_terms
// CHECK: memref.alloc({{.*}} : memref<?x?x2x64xbf16>
// CHECK: memref.alloc({{.*}} : memref<?x?x2x32x64xbf16>
// CHECK: cpu.parallel
// CHECK:   attn.gather_rows %arg1 {{.*}} outs(%[[KEYS:.*]] : memref<64x40xf32
// CHECK:   cpu.split %[[KEYS]] into %{{.*}} {infinity = 1.267{{.*}}E+30 : f64} : memref<64x40xf32, {{.*}} into memref<64x2x40xbf16, strided<[128, 64, 1]
// CHECK:   linalg.fill {{.*}} memref<64x2x24xbf16, strided<[128, 64, 1]
// CHECK:   attn.gather_rows %arg2 {{.*}} outs(%[[VALUES:.*]] : memref<64x20xf32
// CHECK:   cpu.split %[[VALUES]] into %{{[a-z0-9_]*}} : memref<64x20xf32, {{.*}} into memref<64x2x20xbf16
// CHECK-COUNT-2: linalg.transpose {{.*}} memref<20x64xbf16
// CHECK:   linalg.fill {{.*}} memref<2x12x64xbf16
// CHECK: cpu.parallel
// CHECK:   attn.gather_rows %arg0 {{.*}} outs(%[[QUERIES:.*]] : memref<32x40xf32
// CHECK:   attn.rope ins(%[[QUERIES]] : {{.*}}) positions({{.*}}) outs(%[[QUERIES]] :
// CHECK:   cpu.split %[[QUERIES]] into %{{.*}} {infinity = 1.267{{.*}}E+30 : f64} : memref<32x40xf32, {{.*}} into memref<32x2x40xbf16
// CHECK-COUNT-2: linalg.transpose {{.*}} memref<32x32x2xbf16
// CHECK:   attn.partial {{.*}} : memref<2x32x32x2xbf16, {{.*}}memref<?x2x40xbf16, strided<[128, 64, 1]{{.*}}memref<?x2x32x64xbf16
func.func @matrix_of_terms(%q: memref<?x?x4x40xf16>, %k: memref<?x?x2x40xf16>, %v: memref<?x?x2x20xf16>, %o: memref<?x?x4x20xf16>, %b: index, %m: index) {
  %turned_q = memref.alloc(%b, %m) : memref<?x?x4x40xf16>
  attn.rope ins(%q : memref<?x?x4x40xf16>) outs(%turned_q : memref<?x?x4x40xf16>) {style = #attn.rope_style<neox>, base = 1.0e4 : f64}
  attn.attention ins(%turned_q, %k, %v : memref<?x?x4x40xf16>, memref<?x?x2x40xf16>, memref<?x?x2x20xf16>)
    outs(%o : memref<?x?x4x20xf16>)
    {config = #attn.config<query_tile = 48, narrow_query_tile = 8, kv_tile = 64, vector = 16, unroll = 8, kv_split = 1024, matrix_rows = 32>}
  return
}

// -----

// f32 is three terms where that is asked for, from K to the partial.
// CHECK-LABEL: func @matrix_of_three_terms
// CHECK: memref.alloc({{.*}} : memref<?x?x3x64xbf16>
// CHECK: memref.alloc({{.*}} : memref<?x?x3x32x64xbf16>
// CHECK: cpu.parallel
// CHECK:   cpu.split {{.*}} : memref<64x40xf32, {{.*}} into memref<64x3x40xbf16, strided<[192, 64, 1]
// CHECK:   cpu.split {{.*}} : memref<64x20xf32, {{.*}} into memref<64x3x20xbf16
// CHECK-COUNT-3: linalg.transpose {{.*}} memref<20x64xbf16
// CHECK: cpu.parallel
// CHECK:   cpu.split {{.*}} : memref<32x40xf32, {{.*}} into memref<32x3x40xbf16
// CHECK-COUNT-3: linalg.transpose {{.*}} memref<32x32x2xbf16
// CHECK:   attn.partial {{.*}} : memref<3x32x32x2xbf16, {{.*}}memref<?x3x40xbf16, strided<[192, 64, 1]{{.*}}memref<?x3x32x64xbf16
func.func @matrix_of_three_terms(%q: memref<?x?x4x40xf32>, %k: memref<?x?x2x40xf32>, %v: memref<?x?x2x20xf32>, %o: memref<?x?x4x20xf32>) {
  attn.attention ins(%q, %k, %v : memref<?x?x4x40xf32>, memref<?x?x2x40xf32>, memref<?x?x2x20xf32>)
    outs(%o : memref<?x?x4x20xf32>)
    {precision = #attn.precision<bf16x6>,
     config = #attn.config<query_tile = 48, narrow_query_tile = 8, kv_tile = 64, vector = 16, unroll = 8, kv_split = 1024, matrix_rows = 32>}
  return
}

// -----

func.func @matrix_of_normed_values(%q: memref<1x?x1x8xbf16>, %k: memref<1x?x1x8xbf16>, %o: memref<1x?x1x8xbf16>, %n: index) {
  %v = memref.alloc(%n) : memref<1x?x1x8xbf16>
  attn.rms_norm ins(%k : memref<1x?x1x8xbf16>) outs(%v : memref<1x?x1x8xbf16>) {eps = 1.0e-6 : f64}
  // expected-error@+1 {{has matrix_rows in its #attn.config, but v is computed by a norm or RoPE}}
  attn.attention ins(%q, %k, %v : memref<1x?x1x8xbf16>, memref<1x?x1x8xbf16>, memref<1x?x1x8xbf16>)
    outs(%o : memref<1x?x1x8xbf16>)
    {config = #attn.config<query_tile = 48, narrow_query_tile = 8, kv_tile = 64, vector = 16, unroll = 8, kv_split = 1024, matrix_rows = 32>}
  return
}

// -----

func.func @matrix_of_f32(%q: memref<1x?x1x8xf32>, %k: memref<1x?x1x8xf32>, %o: memref<1x?x1x8xf32>) {
  // expected-error@+1 {{has matrix_rows in its #attn.config, but q, k and v are not of bf16, of f16, or of f32 with precision bf16x6}}
  attn.attention ins(%q, %k, %k : memref<1x?x1x8xf32>, memref<1x?x1x8xf32>, memref<1x?x1x8xf32>)
    outs(%o : memref<1x?x1x8xf32>)
    {config = #attn.config<query_tile = 48, narrow_query_tile = 8, kv_tile = 64, vector = 16, unroll = 8, kv_split = 1024, matrix_rows = 32>}
  return
}
