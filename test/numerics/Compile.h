// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// From the text of a drawn kernel to code in this process, for the numerics
// tests. Everything is in one context, which lives as long as the process.

#ifndef FOVEA_TEST_NUMERICS_COMPILE_H
#define FOVEA_TEST_NUMERICS_COMPILE_H

#include "test/numerics/KernelSpec.h"

#include "compiler/Artifact/LoadedKernel.h"
#include "compiler/Pipelines/Pipelines.h"

#include "mlir/IR/BuiltinOps.h"

namespace fovea::numerics {

mlir::MLIRContext &getContext();

/// A type from its name, such as "bf16".
mlir::Type parseElement(llvm::StringRef name);

/// A pass to run on a kernel when it has come to a phase, vector at most.
struct Intrusion {
  Phase phase;
  std::unique_ptr<mlir::Pass> pass;
};

/// A copy of the module at the attn phase, compiled and loaded. On a machine
/// that lacks what `target` needs, the code is the same but for its
/// instructions: vectors in halves, matrix units emulated.
llvm::Expected<std::unique_ptr<LoadedKernel>>
compileKernel(mlir::ModuleOp module, Target target,
              std::optional<Intrusion> intrusion = std::nullopt);

/// The same of a spec, for every machine that the tests run on, with its cache
/// or one of this size.
llvm::Expected<std::unique_ptr<LoadedKernel>>
compileSpec(const KernelSpec &spec,
            std::optional<int64_t> cacheBytes = std::nullopt,
            llvm::StringRef isa = "x86-64-v3");

} // namespace fovea::numerics

#endif // FOVEA_TEST_NUMERICS_COMPILE_H
