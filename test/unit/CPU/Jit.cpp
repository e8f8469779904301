// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Compiles MLIR text with the CPU passes and loads it into this process.

#include "test/unit/CPU/Jit.h"

#include "compiler/CPU/CodeGen.h"
#include "compiler/CPU/Passes.h"
#include "dialects/attn/IR/AttnOps.h"
#include "dialects/cpu/IR/CpuOps.h"

#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Dialect/All.h"
#include "mlir/Target/LLVMIR/Export.h"

#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Transforms/Utils/Cloning.h"

using namespace mlir;
using namespace fovea::test;

static llvm::ExitOnError check("jit: ");

static void require(bool condition, const char *what) {
  if (condition)
    return;
  llvm::errs() << "jit: " << what << "\n";
  abort();
}

Jit::Jit(StringRef source, StringRef cpu, int64_t vectorBits) {
  llvm::InitializeNativeTarget();
  llvm::InitializeNativeTargetAsmPrinter();
  DialectRegistry registry;
  registerAllDialects(registry);
  registerAllExtensions(registry);
  registerAllToLLVMIRTranslations(registry);
  registry.insert<attn::AttnDialect, cpu::CpuDialect>();
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(source, &context);
  require(bool(module), "the source does not parse");
  PassManager passes(&context);
  passes.addPass(createLowerRows({vectorBits}));
  passes.addPass(createLowerRope({vectorBits}));
  passes.addPass(createLowerRmsNorm({vectorBits}));
  passes.addPass(createLowerAppend({vectorBits}));
  passes.addPass(createLowerTranspose({vectorBits}));
  passes.addPass(createLowerPartial());
  passes.addPass(createLowerMerge());
  cpu::addConversionToLLVM(passes);
  require(succeeded(passes.run(*module)), "the passes failed");

  auto llvmContext = std::make_unique<llvm::LLVMContext>();
  std::unique_ptr<llvm::Module> llvmModule =
      translateModuleToLLVMIR(*module, *llvmContext);
  require(bool(llvmModule), "translation to LLVM IR failed");
  std::unique_ptr<llvm::TargetMachine> target =
      check(cpu::createTargetMachine(cpu));
  cpu::optimize(*llvmModule, *target);
  std::unique_ptr<llvm::Module> copy = llvm::CloneModule(*llvmModule);
  auto text = check(cpu::emitCode(*copy, *target, /*asAssembly=*/true));
  assembly.assign(text.begin(), text.end());
  auto object = check(cpu::emitCode(*llvmModule, *target));
  jit = check(llvm::orc::LLJITBuilder().create());
  check(jit->addObjectFile(llvm::MemoryBuffer::getMemBufferCopy(
      StringRef(object.data(), object.size()), "kernel")));
}

Jit::~Jit() = default;

void *Jit::lookup(StringRef name) {
  return check(jit->lookup(("_mlir_ciface_" + name).str())).toPtr<void *>();
}
