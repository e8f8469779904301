// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

#include "test/numerics/Compile.h"

#include "test/numerics/EmulateMatrixUnits.h"

#include "compiler/Artifact/KernelModule.h"
#include "runtime/include/fovea/runtime.h"

#include "mlir/AsmParser/AsmParser.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"

using namespace mlir;

namespace fovea::numerics {

MLIRContext &getContext() {
  static MLIRContext *context = [] {
    DialectRegistry registry;
    registerKernelDialects(registry);
    auto *made = new MLIRContext(registry, MLIRContext::Threading::DISABLED);
    made->loadAllAvailableDialects();
    return made;
  }();
  return *context;
}

Type parseElement(StringRef name) { return parseType(name, &getContext()); }

llvm::Expected<std::unique_ptr<LoadedKernel>>
compileKernel(ModuleOp module, Target target,
              std::optional<Intrusion> intrusion) {
  auto interface = readKernelInterface(module);
  if (!interface)
    return interface.takeError();
  OwningOpRef<ModuleOp> copy = module.clone();
  bool isMissing = target.runtimeFeatures & ~fovea_cpu_features();
  PassManager toVectors(&getContext()), toCode(&getContext());
  Phase phase = Phase::Attn;
  if (intrusion) {
    phase = intrusion->phase;
    buildPipeline(toVectors, Phase::Attn, phase, target);
    toVectors.addPass(std::move(intrusion->pass));
  }
  buildPipeline(toVectors, phase, Phase::Vector, target);
  buildPipeline(toCode, Phase::Vector, Phase::LLVM, target);
  if (failed(toVectors.run(*copy)))
    return llvm::createStringError("the pipeline failed");
  if (isMissing) {
    emulateMatrixUnits(*copy);
    const Target &least = getTargets().back();
    target.cpu = least.cpu;
    target.features = least.features;
    target.runtimeFeatures = least.runtimeFeatures;
  }
  if (failed(toCode.run(*copy)))
    return llvm::createStringError("the pipeline failed");
  llvm::LLVMContext context;
  auto code = buildKernelModule(IsaModule{&target, *copy}, *interface, context);
  if (!code)
    return code.takeError();
  auto objects = emitObjects(**code);
  if (!objects)
    return objects.takeError();
  return LoadedKernel::load(std::move(*objects), interface->name);
}

llvm::Expected<std::unique_ptr<LoadedKernel>>
compileSpec(const KernelSpec &spec, std::optional<int64_t> cacheBytes,
            StringRef isa) {
  OwningOpRef<ModuleOp> module =
      parseSourceString<ModuleOp>(spec.getText(), &getContext());
  Target target = *lookupTarget(isa);
  target.cacheBytes = cacheBytes.value_or(target.cacheBytes);
  return compileKernel(*module, target);
}

} // namespace fovea::numerics
