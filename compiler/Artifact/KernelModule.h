// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// From the modules of the llvm phase, one per instruction set, to one LLVM
// module with everything that an artifact holds. It must not be asked to lower
// MLIR, nor to write files.

#ifndef FOVEA_COMPILER_ARTIFACT_KERNELMODULE_H
#define FOVEA_COMPILER_ARTIFACT_KERNELMODULE_H

#include "compiler/Artifact/KernelInterface.h"
#include "compiler/Pipelines/Pipelines.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/Error.h"

#include <memory>
#include <string>

namespace fovea {

/// The module of the llvm phase for one instruction set. It defines
/// @NAME__ISA and @NAME__ISA_workspace.
struct IsaModule {
  const Target *target;
  mlir::ModuleOp module;
};

/// One LLVM module: the optimised code of every instruction set, the descriptor
/// NAME_kernel and the entry points NAME and NAME_workspace. Those three alone
/// are visible. `isas` come best first.
llvm::Expected<std::unique_ptr<llvm::Module>>
buildKernelModule(llvm::ArrayRef<IsaModule> isas, const KernelInterface &kernel,
                  llvm::LLVMContext &context);

/// The best target that this machine runs, or null.
const Target *hostTarget();

} // namespace fovea

#endif // FOVEA_COMPILER_ARTIFACT_KERNELMODULE_H
