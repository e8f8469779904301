// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The passes that turn bufferized attention graphs into code for CPUs: tiling
// to the partial form, the partial form and row operations to vectors, math to
// arith, then scratch memory, threads and the C ABI. compiler/Pipelines has
// their order.

#ifndef FOVEA_COMPILER_CPU_PASSES_H
#define FOVEA_COMPILER_CPU_PASSES_H

#include "dialects/cpu/IR/CpuOps.h"

#include "mlir/Dialect/AMX/AMXDialect.h"
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
