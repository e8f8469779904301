// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The passes that turn the partial form into vector code for CPUs, in the order
// in which a pipeline runs them: attn.partial, attn.merge and attn.finalize on
// memref tiles become vector, scf and memref operations, then what is left of
// math becomes arith. They must not be asked about tensors or whole attentions.

#ifndef FOVEA_COMPILER_CPU_PASSES_H
#define FOVEA_COMPILER_CPU_PASSES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace fovea {

#define GEN_PASS_DECL
#include "compiler/CPU/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "compiler/CPU/Passes.h.inc"

} // namespace fovea

#endif // FOVEA_COMPILER_CPU_PASSES_H
