// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// A kernel for matrix units on its way: each phase prints IR that reads back as the
// same and goes on.
// RUN: fovea-opt %s --fovea-to-bufferized=isa=amx > %t.bufferized.mlir
// RUN: FileCheck %s --check-prefix=BUFFERIZED < %t.bufferized.mlir
// RUN: fovea-opt %t.bufferized.mlir --fovea-to-tiled=isa=amx > %t.tiled.mlir
// RUN: fovea-opt %t.tiled.mlir | diff - %t.tiled.mlir
// RUN: FileCheck %s --check-prefix=TILED < %t.tiled.mlir
// RUN: fovea-opt %t.tiled.mlir --fovea-to-vector=isa=amx > %t.vector.mlir
// RUN: fovea-opt %t.vector.mlir | diff - %t.vector.mlir
// RUN: FileCheck %s --check-prefix=VECTOR --implicit-check-not='attn.{{partial|gather_rows}}' --implicit-check-not=linalg. --implicit-check-not=cpu.interleave < %t.vector.mlir
// RUN: fovea-opt %t.vector.mlir --fovea-to-llvm=isa=amx > %t.llvm.mlir
// RUN: FileCheck %s --check-prefix=LLVM --implicit-check-not=func.func --implicit-check-not=unrealized_conversion_cast --implicit-check-not=cpu. --implicit-check-not='amx.tile{{_}}' < %t.llvm.mlir
// RUN: mlir-translate --mlir-to-llvmir %t.llvm.mlir | FileCheck %s --check-prefix=IR

// Without matrix units in the target there are none in the code.
// RUN: fovea-opt %s --fovea-to-bufferized=isa=avx512 --fovea-to-tiled=isa=avx512 --fovea-to-vector=isa=avx512 | FileCheck %s --check-prefix=NONE --implicit-check-not=amx.
// NONE: func.func

// BUFFERIZED: #attn.config<{{.*}}, matrix_rows = 32,
// TILED: attn.partial {{.*}} : memref<1x64x32x2xbf16
// VECTOR: amx.tile_load {{.*}} {cpu.stream}
// VECTOR: amx.tile_mulf
// VECTOR: llvm.call_intrinsic "llvm.x86.avx512.mask.scalef.ps.512"
// LLVM: llvm.call_intrinsic "llvm.x86.tileloaddt164.internal"
// LLVM: llvm.call_intrinsic "llvm.x86.tdpbf16ps.internal"
// IR: call x86_amx @llvm.x86.tileloaddt164.internal(i16 16, i16 64
// IR: call x86_amx @llvm.x86.tdpbf16ps.internal(i16 16, i16 64, i16 64
func.func @kernel(%q: tensor<?x?x4x128xbf16> {attn.name = "q", attn.role = "input", attn.dims = ["B", "M", 4, 128]},
    %k: tensor<?x?x2x128xbf16> {attn.name = "k", attn.role = "input", attn.dims = ["B", "N", 2, 128]},
    %v: tensor<?x?x2x128xbf16> {attn.name = "v", attn.role = "input", attn.dims = ["B", "N", 2, 128]},
    %o: tensor<?x?x4x128xbf16> {attn.name = "o", attn.role = "output", attn.dims = ["B", "M", 4, 128]}) -> tensor<?x?x4x128xbf16> attributes {attn.symbols = ["B", "M", "N"]} {
  %r = attn.attention ins(%q, %k, %v : tensor<?x?x4x128xbf16>, tensor<?x?x2x128xbf16>, tensor<?x?x2x128xbf16>)
      outs(%o : tensor<?x?x4x128xbf16>) mask("causal(bottom_right)") -> tensor<?x?x4x128xbf16>
  return %r : tensor<?x?x4x128xbf16>
}
