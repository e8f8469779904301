// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// fovea-opt: mlir-opt with the attn dialect and every Fovea pass.

#include "dialects/attn/IR/AttnOps.h"
#include "dialects/cpu/IR/CpuOps.h"

#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

#ifdef FOVEA_HAS_TRANSFORMS
#include "compiler/Transforms/Passes.h"
#endif
#ifdef FOVEA_HAS_CPU
#include "compiler/CPU/Passes.h"
#endif
#ifdef FOVEA_HAS_PIPELINES
#include "compiler/Pipelines/Pipelines.h"
#endif

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  mlir::registerAllExtensions(registry);
  registry.insert<fovea::attn::AttnDialect, fovea::cpu::CpuDialect>();
  fovea::attn::registerBufferizationModels(registry);
  mlir::registerAllPasses();
#ifdef FOVEA_HAS_TRANSFORMS
  fovea::registerTransformsPasses();
#endif
#ifdef FOVEA_HAS_CPU
  fovea::registerCPUPasses();
#endif
#ifdef FOVEA_HAS_PIPELINES
  fovea::registerPipelines();
#endif
  return mlir::asMainReturnCode(
      mlir::MlirOptMain(argc, argv, "Fovea optimizer driver\n", registry));
}
