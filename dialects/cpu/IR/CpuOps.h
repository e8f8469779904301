// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The cpu dialect: what a CPU kernel asks of the runtime (CpuOps.td).

#ifndef FOVEA_DIALECTS_CPU_IR_CPUOPS_H
#define FOVEA_DIALECTS_CPU_IR_CPUOPS_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/LLVMIR/LLVMTypes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/cpu/IR/CpuDialect.h.inc"
#define GET_OP_CLASSES
#include "dialects/cpu/IR/CpuOps.h.inc"

#endif // FOVEA_DIALECTS_CPU_IR_CPUOPS_H
