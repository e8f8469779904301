// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Each phase prints IR that reads back as the same and goes on, on both targets.
// RUN: fovea-opt %s --fovea-to-bufferized=isa=x86-64-v3 > %t.bufferized.mlir
// RUN: fovea-opt %t.bufferized.mlir | diff - %t.bufferized.mlir
// RUN: FileCheck %s --check-prefix=BUFFERIZED < %t.bufferized.mlir
// RUN: fovea-opt %t.bufferized.mlir --fovea-to-tiled=isa=x86-64-v3 > %t.tiled.mlir
// RUN: fovea-opt %t.tiled.mlir | diff - %t.tiled.mlir
// RUN: FileCheck %s --check-prefix=TILED --implicit-check-not=attn.append --implicit-check-not=attn.attention < %t.tiled.mlir
// RUN: fovea-opt %t.tiled.mlir --fovea-to-vector=isa=x86-64-v3 > %t.vector.mlir
// RUN: fovea-opt %t.vector.mlir | diff - %t.vector.mlir
// RUN: FileCheck %s --check-prefix=VECTOR --implicit-check-not='attn.{{partial|merge|finalize|rope|gather_rows|scatter_rows|element}}' --implicit-check-not=linalg. < %t.vector.mlir
// RUN: fovea-opt %t.vector.mlir --fovea-to-llvm=isa=x86-64-v3 > %t.llvm.mlir
// RUN: fovea-opt %t.llvm.mlir | diff - %t.llvm.mlir
// RUN: FileCheck %s --check-prefix=LLVM --implicit-check-not=func.func --implicit-check-not=unrealized_conversion_cast --implicit-check-not=cpu. < %t.llvm.mlir
// RUN: mlir-translate --mlir-to-llvmir %t.llvm.mlir | FileCheck %s --check-prefix=V3
// RUN: fovea-opt %s --fovea-to-bufferized=isa=avx512 > %t.bufferized.mlir
// RUN: fovea-opt %t.bufferized.mlir | diff - %t.bufferized.mlir
// RUN: FileCheck %s --check-prefix=BUFFERIZED < %t.bufferized.mlir
// RUN: fovea-opt %t.bufferized.mlir --fovea-to-tiled=isa=avx512 > %t.tiled.mlir
// RUN: fovea-opt %t.tiled.mlir | diff - %t.tiled.mlir
// RUN: FileCheck %s --check-prefix=TILED --implicit-check-not=attn.append --implicit-check-not=attn.attention < %t.tiled.mlir
// RUN: fovea-opt %t.tiled.mlir --fovea-to-vector=isa=avx512 > %t.vector.mlir
// RUN: fovea-opt %t.vector.mlir | diff - %t.vector.mlir
// RUN: FileCheck %s --check-prefix=VECTOR --implicit-check-not='attn.{{partial|merge|finalize|rope|gather_rows|scatter_rows|element}}' --implicit-check-not=linalg. < %t.vector.mlir
// RUN: fovea-opt %t.vector.mlir --fovea-to-llvm=isa=avx512 > %t.llvm.mlir
// RUN: fovea-opt %t.llvm.mlir | diff - %t.llvm.mlir
// RUN: FileCheck %s --check-prefix=LLVM --implicit-check-not=func.func --implicit-check-not=unrealized_conversion_cast --implicit-check-not=cpu. < %t.llvm.mlir
// RUN: mlir-translate --mlir-to-llvmir %t.llvm.mlir | FileCheck %s --check-prefix=V4

// BUFFERIZED: func.func @kernel
// BUFFERIZED-NOT: tensor<
// BUFFERIZED: attn.append
// BUFFERIZED: attn.attention {{.*}} #attn.config<

// TILED: cpu.parallel
// TILED: attn.partial

// VECTOR: vector.load
// VECTOR: cpu.parallel


// LLVM: llvm.func @fovea_parallel_for

// V3-DAG: declare void @fovea_parallel_for(ptr, i64, i64, ptr, ptr)
// V3-DAG: define i32 @kernel__x86_64_v3(ptr
// V3-DAG: define i64 @kernel__x86_64_v3_workspace(ptr {{.*}}, ptr {{.*}}, i64
// V4-DAG: define i32 @kernel__avx512(ptr
// V4-DAG: define i64 @kernel__avx512_workspace(ptr {{.*}}, ptr {{.*}}, i64
func.func @kernel(
    %q: tensor<?x?x4x8xbf16> {attn.name = "q", attn.role = "input", attn.dims = ["B", "M", 4, 8]},
    %k: tensor<?x?x2x8xbf16> {attn.name = "k", attn.role = "input", attn.dims = ["B", "M", 2, 8]},
    %v: tensor<?x?x2x8xbf16> {attn.name = "v", attn.role = "input", attn.dims = ["B", "M", 2, 8]},
    %kc: tensor<?x?x2x8xbf16> {attn.name = "k_cache", attn.role = "inout", attn.dims = ["B", "C", 2, 8]},
    %vc: tensor<?x?x2x8xbf16> {attn.name = "v_cache", attn.role = "inout", attn.dims = ["B", "C", 2, 8]},
    %past: tensor<?xi32> {attn.name = "past", attn.role = "input", attn.dims = ["B"]},
    %lengths: tensor<?xi32> {attn.name = "lengths", attn.role = "input", attn.dims = ["B"]},
    %o: tensor<?x?x4x8xbf16> {attn.name = "o", attn.role = "output", attn.dims = ["B", "M", 4, 8]},
    %lse: tensor<?x4x?xf32> {attn.name = "lse", attn.role = "output", attn.optional, attn.dims = ["B", 4, "M"]},
    %w: i64 {attn.name = "w", attn.role = "param"})
    -> (tensor<?x?x2x8xbf16>, tensor<?x?x2x8xbf16>, tensor<?x?x4x8xbf16>, tensor<?x4x?xf32>)
    attributes {attn.symbols = ["B", "M", "C"]} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %b = tensor.dim %q, %c0 : tensor<?x?x4x8xbf16>
  %m = tensor.dim %q, %c1 : tensor<?x?x4x8xbf16>
  %qe = tensor.empty(%b, %m) : tensor<?x?x4x8xbf16>
  %qr = attn.rope ins(%q : tensor<?x?x4x8xbf16>) offset(%past : tensor<?xi32>) outs(%qe : tensor<?x?x4x8xbf16>)
    {style = #attn.rope_style<neox>, base = 1.0e4 : f64} -> tensor<?x?x4x8xbf16>
  %ke = tensor.empty(%b, %m) : tensor<?x?x2x8xbf16>
  %kr = attn.rope ins(%k : tensor<?x?x2x8xbf16>) offset(%past : tensor<?xi32>) outs(%ke : tensor<?x?x2x8xbf16>)
    {style = #attn.rope_style<neox>, base = 1.0e4 : f64} -> tensor<?x?x2x8xbf16>
  %ka = attn.append ins(%kr : tensor<?x?x2x8xbf16>) past(%past : tensor<?xi32>) outs(%kc : tensor<?x?x2x8xbf16>) -> tensor<?x?x2x8xbf16>
  %va = attn.append ins(%v : tensor<?x?x2x8xbf16>) past(%past : tensor<?xi32>) outs(%vc : tensor<?x?x2x8xbf16>) -> tensor<?x?x2x8xbf16>
  %r:2 = attn.attention ins(%qr, %ka, %va : tensor<?x?x4x8xbf16>, tensor<?x?x2x8xbf16>, tensor<?x?x2x8xbf16>)
    lengths(%lengths : tensor<?xi32>) captures(w = %w : i64)
    outs(%o, %lse : tensor<?x?x4x8xbf16>, tensor<?x4x?xf32>)
    score("20.0 * tanh(s / 20.0)") mask("causal(bottom_right) and window(w, 0)")
    -> tensor<?x?x4x8xbf16>, tensor<?x4x?xf32>
  return %ka, %va, %r#0, %r#1 : tensor<?x?x2x8xbf16>, tensor<?x?x2x8xbf16>, tensor<?x?x4x8xbf16>, tensor<?x4x?xf32>
}
