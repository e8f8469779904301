// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// fovea-opt: mlir-opt with the attn dialect and every Fovea pass.

#include "compiler/CPU/Passes.h"
#include "compiler/Pipelines/Pipelines.h"
#include "compiler/Transforms/Passes.h"
#include "dialects/attn/IR/AttnOps.h"
#include "dialects/cpu/IR/CpuOps.h"

#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

#include <vector>

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  mlir::registerAllExtensions(registry);
  registry.insert<fovea::attn::AttnDialect, fovea::cpu::CpuDialect>();
  fovea::attn::registerBufferizationModels(registry);
  mlir::registerAllPasses();
  fovea::registerTransformsPasses();
  fovea::registerCPUPasses();
  fovea::registerPipelines();
  std::vector<char *> arguments(argv, argv + argc);
#ifdef FOVEA_THREAD_SANITIZER
  char noThreads[] = "--mlir-disable-threading";
  arguments.push_back(noThreads);
#endif
  return mlir::asMainReturnCode(
      mlir::MlirOptMain(static_cast<int>(arguments.size()), arguments.data(),
                        "Fovea optimizer driver\n", registry));
}
