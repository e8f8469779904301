// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef FOVEA_COMPILER_TRANSFORMS_PASSES_TD
#define FOVEA_COMPILER_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def SelectConfig : Pass<"attn-select-config"> {
  let summary = "choose the codegen configuration of every attention";
  let description = [{
    Attaches `#attn.config` to each `attn.attention` that has none, from the facts
    of the machine given as options. A configuration never changes what is computed.
  }];
  let options = [
    Option<"vectorBits", "vector-bits", "int64_t", "256", "bits of a vector register">,
    Option<"registers", "registers", "int64_t", "16", "vector registers">,
    Option<"matrixRows", "matrix-rows", "int64_t", "0",
           "query rows of a tile for matrix units; 0: there are none">,
    Option<"cacheBytes", "cache-bytes", "int64_t", "524288",
           "second-level cache of a core">,
    Option<"explain", "explain", "bool", "false", "emit a remark for every choice">];
  let dependentDialects = ["::fovea::attn::AttnDialect"];
}

def ResultsToArguments : Pass<"attn-results-to-arguments", "::mlir::func::FuncOp"> {
  let summary = "drop what bufferized kernels return: it is in their arguments";
  let dependentDialects = ["::mlir::memref::MemRefDialect"];
}

#endif
