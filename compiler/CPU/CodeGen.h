// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// From lowered kernels to machine code: the MLIR conversions, the LLVM pipeline
// and the target machine that every CPU kernel is compiled with. Needs the X86
// target to be initialised by the caller.

#ifndef FOVEA_COMPILER_CPU_CODEGEN_H
#define FOVEA_COMPILER_CPU_CODEGEN_H

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <memory>

namespace llvm {
class Module;
class TargetMachine;
} // namespace llvm
namespace mlir {
class OpPassManager;
} // namespace mlir

namespace fovea::cpu {

/// An attribute of functions, in LLVM IR too, that use matrix units: they are
/// compiled with those, and their instructions stay in order.
inline constexpr char matrixUnitsAttr[] = "fovea-matrix-units";

/// Adds the conversion of func, scf, vector, memref, math and arith to the LLVM
/// dialect, with bf16 conversions and math functions expanded.
void addConversionToLLVM(mlir::OpPassManager &pm);

/// A target machine for position-independent code on x86-64 Linux. `cpu` is an
/// LLVM CPU name, such as x86-64-v3 (AVX2 and FMA) or x86-64-v4 (AVX-512).
llvm::Expected<std::unique_ptr<llvm::TargetMachine>>
createTargetMachine(llvm::StringRef cpu);

/// The processor of code that runs on each: what is outside the variants.
inline constexpr char baselineCpu[] = "x86-64";

/// Marks every function of `module` for the target and does what takes a look
/// at more than one function.
void optimize(llvm::Module &module, llvm::TargetMachine &target);

/// Functions that are the same, down to what they are compiled for, become one.
void mergeEqualFunctions(llvm::Module &module);

/// Optimises each function of `module` and emits it as an object file or as
/// assembly. What becomes of a function does not depend on the others.
llvm::Expected<llvm::SmallVector<char, 0>> emitCode(llvm::Module &module,
                                                    llvm::TargetMachine &target,
                                                    bool asAssembly = false);

} // namespace fovea::cpu

#endif // FOVEA_COMPILER_CPU_CODEGEN_H
