// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef FOVEA_COMPILER_CPU_PASSES_TD
#define FOVEA_COMPILER_CPU_PASSES_TD

include "mlir/Pass/PassBase.td"

def LowerPartial : Pass<"attn-cpu-lower-partial", "::mlir::ModuleOp"> {
  let summary = "attn.partial on memref tiles to register-tiled vector loops";
  let description = [{
    Every `attn.partial` becomes a call of a private function of its own: QK^T,
    online softmax and PV over blocks of `kv_tile` keys, with query rows in the
    lanes of vectors. The tile operands must be q^T [D][L], k [n][D], v [n][E] and
    acc^T [E][L] of the state's type, with L a multiple of the config's `vector`
    and static; q^T, acc^T, max and sum have unit inner stride. Or they are those
    of another kernel of PartialKernel.h.
  }];
  let dependentDialects = [
    "::fovea::cpu::CpuDialect", "::mlir::amx::AMXDialect",
    "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
    "::mlir::LLVM::LLVMDialect", "::mlir::math::MathDialect",
    "::mlir::memref::MemRefDialect",
    "::mlir::scf::SCFDialect", "::mlir::vector::VectorDialect"];
}

def Interleave : Pass<"attn-cpu-interleave", "::mlir::func::FuncOp"> {
  let summary = "cpu.interleave to one block, in an order made from costs";
  let description = [{
    The operations of the parts are merged into the block around `cpu.interleave`
    so that at every point each part has done about the same share of its cycles:
    16 for a tile product or store, 8 for a tile load, 1 for a vector operation,
    none for address arithmetic.
  }];
  let options = [Option<"explain", "explain", "bool", "false",
                        "emit a remark with each part's cycles">];
  let dependentDialects = ["::fovea::cpu::CpuDialect"];
}

def StreamTiles : Pass<"attn-cpu-stream-tiles", "::mlir::func::FuncOp"> {
  let summary = "amx.tile_load marked cpu.stream to the load with a T1 hint";
  let description = [{
    The amx dialect has no such load. What is read once goes past the first-level
    cache, which stays with what is read again.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
    "::mlir::LLVM::LLVMDialect", "::mlir::memref::MemRefDialect"];
}

def LowerMerge : Pass<"attn-cpu-lower-merge"> {
  let summary = "attn.merge and attn.finalize on memref tiles to vector loops";
  let description = [{
    States are acc^T [E][L], max [L] and sum [L], as `attn-cpu-lower-partial` leaves
    them. O may be row-major or transposed and of any float type: conversion is the
    one rounding of rule R2.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
    "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
    "::mlir::vector::VectorDialect"];
}

def ExpandMath : Pass<"attn-cpu-expand-math"> {
  let summary = "math functions on f32 and f64 to arith, so that no kernel calls libm";
  let description = [{
    Expands exp, exp2, log, log2, tanh, sin and cos, scalar or vector. Functions on
    f16 and bf16 are computed in f32 first. Other math operations are left alone.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::math::MathDialect"];
}

def TileAppend : Pass<"attn-cpu-tile-append"> {
  let summary = "attn.append on memrefs to parallel work items over tiles of rows";
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::fovea::cpu::CpuDialect",
    "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect"];
}

def TileAttention : Pass<"attn-cpu-tile-attention", "::mlir::ModuleOp"> {
  let summary = "attn.attention on memrefs to parallel work items in the partial form";
  let description = [{
    Needs the `#attn.config` that `attn-select-config` attaches. Row operations that
    feed q, k and v are replayed on tiles; scratch memory is `memref.alloc` in the
    entry block, for `attn-cpu-plan-workspace`.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::fovea::cpu::CpuDialect",
    "::mlir::func::FuncDialect", "::mlir::linalg::LinalgDialect",
    "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect"];
}

def OutlineTiles : Pass<"attn-cpu-outline-tiles", "::mlir::ModuleOp"> {
  let summary = "operations on tiles to functions that like ones share";
  let dependentDialects = ["::mlir::func::FuncDialect"];
}

def PlanWorkspace : Pass<"attn-cpu-plan-workspace", "::mlir::ModuleOp"> {
  let summary = "scratch memory to views of the workspace, and a function for its size";
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::fovea::cpu::CpuDialect",
    "::mlir::memref::MemRefDialect"];
}

def OutlineParallel : Pass<"attn-cpu-outline-parallel", "::mlir::ModuleOp"> {
  let summary = "cpu.parallel to task functions and calls of the runtime";
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::fovea::cpu::CpuDialect",
    "::mlir::LLVM::LLVMDialect", "::mlir::scf::SCFDialect"];
}

def EmitEntry : Pass<"attn-cpu-emit-entry", "::mlir::ModuleOp"> {
  let summary = "the C ABI around a kernel function";
  let options = [
    Option<"suffix", "suffix", "std::string", "\"generic\"",
           "what follows the kernel's name and two underscores: the ISA">];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::cf::ControlFlowDialect",
    "::mlir::LLVM::LLVMDialect"];
}

/// A pass that lowers operations on whole rows of memrefs.
class RowPass<string name, string op = ""> : Pass<name, op> {
  let options = [Option<"vectorBits", "vector-bits", "int64_t", "256",
                        "bits of the target's vector registers">];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
    "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
    "::mlir::vector::VectorDialect"];
}

def LowerRows : RowPass<"attn-cpu-lower-rows"> {
  let summary = "attn.gather_rows, attn.scatter_rows and cpu.split to vector loops";
  let description = [{
    Any strides and, for the copies, any two float types. A row whose inner stride
    turns out to be 1 at run time is copied by vectors.
  }];
}

def LowerTranspose : RowPass<"attn-cpu-lower-transpose"> {
  let summary = "linalg.transpose of static 2-D memrefs of floats to vector shuffles";
  let description = [{
    Square blocks of a vector's lanes are transposed in registers, the edges by
    elements. Every other linalg.transpose is left alone.
  }];
}

def LowerRope : RowPass<"attn-cpu-lower-rope", "::mlir::ModuleOp"> {
  let summary = "attn.rope on memrefs to vector loops";
  let description = [{
    Frequencies become a constant of the module; angles, cosines and sines are
    computed in f64 (rule P1) by math.cos and math.sin, for `attn-cpu-expand-math`
    to expand. Rows that share a position share its cosines and sines.
  }];
}

def LowerRmsNorm : RowPass<"attn-cpu-lower-rms-norm"> {
  let summary = "attn.rms_norm on memrefs to vector loops";
}

def LowerAppend : RowPass<"attn-cpu-lower-append"> {
  let summary = "attn.append on memrefs to vector loops";
  let description = [{
    Rows that would lie outside the cache are not written (rule K3).
  }];
}

#endif
