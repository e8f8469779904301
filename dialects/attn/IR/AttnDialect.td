// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef FOVEA_DIALECTS_ATTN_IR_ATTNDIALECT_TD
#define FOVEA_DIALECTS_ATTN_IR_ATTNDIALECT_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"

def Attn_Dialect : Dialect {
  let name = "attn";
  let cppNamespace = "::fovea::attn";
  let summary = "Attention, as mathematics";
  let description = [{
    The `attn` dialect describes attention graphs without saying how they run.
    At the graph level `attn.attention` and the row operations around it
    (`attn.rope`, `attn.rms_norm`, `attn.append`) work on whole tensors; in the
    partial form `attn.partial`, `attn.merge` and `attn.finalize` carry the state
    of an online softmax over tiles. Masks and score changes are regions of
    scalar arithmetic; they are printed in the expression language of the spec
    and stay symbolic until the KV loop is tiled.

    Every operation is in destination-passing style and exists on tensors and on
    memrefs alike. Rule numbers (S1, M2, ...) are those of docs/semantics.md.
    No operation here knows a target, a block size or the base of an exponential.
  }];
  let useDefaultAttributePrinterParser = 1;
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
    "::mlir::tensor::TensorDialect", "::mlir::memref::MemRefDialect"
  ];
}

#endif
