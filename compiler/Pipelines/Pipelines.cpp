// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Targets, phases and the pass lists between them (see Pipelines.h). Each list
// is headed by the dialects that are alive after it.

#include "compiler/Pipelines/Pipelines.h"

#include "compiler/CPU/CodeGen.h"
#include "compiler/CPU/Passes.h"
#include "compiler/Transforms/Passes.h"
#include "dialects/attn/IR/AttnOps.h"
#include "dialects/cpu/IR/CpuOps.h"
#include "runtime/include/fovea/runtime.h"

#include "mlir/Dialect/Arith/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Bufferization/Transforms/FuncBufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Bufferization/Transforms/Passes.h"
#include "mlir/Dialect/Func/Transforms/Passes.h"
#include "mlir/Dialect/Linalg/Passes.h"
#include "mlir/Dialect/Linalg/Transforms/AllInterfaces.h"
#include "mlir/Dialect/SCF/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Tensor/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/Target/LLVMIR/Dialect/All.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace fovea;

static constexpr uint64_t v3Features =
    FOVEA_CPU_AVX2 | FOVEA_CPU_FMA | FOVEA_CPU_F16C;

static constexpr uint64_t v4Features = v3Features | FOVEA_CPU_AVX512F |
                                       FOVEA_CPU_AVX512BW | FOVEA_CPU_AVX512DQ |
                                       FOVEA_CPU_AVX512VL;

static const Target targets[] = {
    {"amx", "amx", "x86-64-v4", "-prefer-256-bit", 512, 32, 32, 2 << 20,
     v4Features | FOVEA_CPU_AMX_TILE | FOVEA_CPU_AMX_BF16},
    {"avx512", "avx512", "x86-64-v4", "-prefer-256-bit", 512, 32, 0, 1 << 20,
     v4Features},
    {"x86-64-v3", "x86_64_v3", "x86-64-v3", "", 256, 16, 0, 512 << 10,
     v3Features},
};

ArrayRef<Target> fovea::getTargets() { return targets; }

const Target *fovea::lookupTarget(StringRef isa) {
  for (const Target &target : targets)
    if (target.isa == isa)
      return &target;
  return nullptr;
}

static constexpr StringLiteral phaseNames[] = {"attn", "bufferized", "tiled",
                                               "vector", "llvm"};

StringRef fovea::getPhaseName(Phase phase) {
  return phaseNames[unsigned(phase)];
}

std::optional<Phase> fovea::parsePhase(StringRef name) {
  for (auto [index, candidate] : llvm::enumerate(phaseNames))
    if (candidate == name)
      return Phase(index);
  return std::nullopt;
}

static void addCleanup(OpPassManager &manager) {
  manager.addNestedPass<func::FuncOp>(createCanonicalizerPass());
  manager.addNestedPass<func::FuncOp>(createCSEPass());
}

SelectConfigOptions fovea::getConfigOptions(const Target &target) {
  SelectConfigOptions options;
  options.vectorBits = target.vectorBits;
  options.registers = target.registers;
  options.matrixRows = target.matrixRows;
  options.cacheBytes = target.cacheBytes;
  return options;
}

static void addSelectConfig(OpPassManager &manager, const Target &target) {
  manager.addNestedPass<func::FuncOp>(
      createSelectConfig(getConfigOptions(target)));
}

int64_t fovea::getMatrixTerms(ModuleOp module, const Target &target) {
  if (target.matrixRows == 0)
    return 0;
  OwningOpRef<ModuleOp> copy = module.clone();
  PassManager manager(module.getContext());
  addSelectConfig(manager, target);
  if (failed(manager.run(*copy)))
    return 0;
  int64_t terms = 0;
  copy->walk([&](attn::AttentionOp op) {
    if (op.getConfigAttr().getMatrixRows() != 0)
      terms = std::min(terms == 0 ? INT64_MAX : terms, op.getMatrixTerms());
  });
  return terms;
}

/// Afterwards: attn, linalg, arith, memref. Every attention has its
/// configuration.
static void addBufferize(OpPassManager &manager, const Target &target) {
  addSelectConfig(manager, target);
  addCleanup(manager);
  bufferization::OneShotBufferizePassOptions bufferize;
  bufferize.bufferizeFunctionBoundaries = true;
  bufferize.functionBoundaryTypeConversion =
      bufferization::LayoutMapOption::FullyDynamicLayoutMap;
  manager.addPass(bufferization::createOneShotBufferizePass(bufferize));
  manager.addNestedPass<func::FuncOp>(createResultsToArguments());
  addCleanup(manager);
}

/// Afterwards: cpu, scf, arith, memref, linalg.fill and linalg.transpose, and
/// of attn the partial form and row operations on tiles.
static void addTile(OpPassManager &manager) {
  manager.addNestedPass<func::FuncOp>(createTileAppend());
  manager.addPass(createTileAttention());
  addCleanup(manager);
}

/// Afterwards: cpu, scf, arith, math, memref, vector and the LLVM intrinsics
/// that the micro-kernels ask for.
static void addVector(OpPassManager &manager, const Target &target) {
  manager.addPass(createOutlineTiles());
  manager.addNestedPass<func::FuncOp>(
      createLowerRows(LowerRowsOptions{target.vectorBits}));
  manager.addNestedPass<func::FuncOp>(
      createLowerAppend(LowerAppendOptions{target.vectorBits}));
  manager.addPass(createLowerRope(LowerRopeOptions{target.vectorBits}));
  manager.addNestedPass<func::FuncOp>(
      createLowerRmsNorm(LowerRmsNormOptions{target.vectorBits}));
  manager.addNestedPass<func::FuncOp>(
      createLowerTranspose(LowerTransposeOptions{target.vectorBits}));
  manager.addNestedPass<func::FuncOp>(createConvertLinalgToLoopsPass());
  manager.addNestedPass<func::FuncOp>(createLowerMerge());
  manager.addPass(createLowerPartial());
  manager.addNestedPass<func::FuncOp>(createInterleave());
  manager.addPass(func::createDuplicateFunctionEliminationPass());
  addCleanup(manager);
}

/// Afterwards: the LLVM dialect.
static void addLLVM(OpPassManager &manager, const Target &target) {
  manager.addPass(createPlanWorkspace());
  manager.addNestedPass<func::FuncOp>(createStreamTiles());
  manager.addNestedPass<func::FuncOp>(createLoopInvariantCodeMotionPass());
  manager.addPass(createOutlineParallel());
  manager.addPass(createEmitEntry(EmitEntryOptions{target.suffix.str()}));
  cpu::addConversionToLLVM(manager);
}

void fovea::buildPipeline(OpPassManager &manager, Phase from, Phase to,
                          const Target &target) {
  auto crosses = [&](Phase step) { return from < step && step <= to; };
  if (crosses(Phase::Bufferized))
    addBufferize(manager, target);
  if (crosses(Phase::Tiled))
    addTile(manager);
  if (crosses(Phase::Vector))
    addVector(manager, target);
  if (crosses(Phase::LLVM))
    addLLVM(manager, target);
}

void fovea::registerKernelDialects(DialectRegistry &registry) {
  registerAllDialects(registry);
  registerAllExtensions(registry);
  registerAllToLLVMIRTranslations(registry);
  registry.insert<attn::AttnDialect, cpu::CpuDialect>();
  attn::registerBufferizationModels(registry);
}

namespace {
struct PipelineOptions : PassPipelineOptions<PipelineOptions> {
  Option<std::string> isa{*this, "isa",
                          llvm::cl::desc("target instruction set"),
                          llvm::cl::init("x86-64-v3")};
};
} // namespace

void fovea::registerPipelines() {
  for (unsigned phase = 1; phase <= unsigned(Phase::LLVM); ++phase) {
    // Registrations live as long as the process.
    static std::string names[unsigned(Phase::LLVM) + 1];
    names[phase] = ("fovea-to-" + phaseNames[phase]).str();
    new PassPipelineRegistration<PipelineOptions>(
        names[phase],
        ("from the phase before to '" + phaseNames[phase] + "'").str(),
        [phase](OpPassManager &manager, const PipelineOptions &options) {
          if (const Target *target = lookupTarget(options.isa))
            buildPipeline(manager, Phase(phase - 1), Phase(phase), *target);
        });
  }
}
