// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// From lowered kernels to machine code. See CodeGen.h. No fast-math flag is set
// anywhere: fused multiply-add is explicit in the kernels, and -inf and NaN
// have meaning (rules M1 and M2).

#include "compiler/CPU/CodeGen.h"
#include "compiler/CPU/Passes.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

#include "llvm/ADT/StringSet.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/OptBisect.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Transforms/IPO/GlobalDCE.h"
#include "llvm/Transforms/IPO/MergeFunctions.h"

using namespace mlir;
using namespace fovea::cpu;

void fovea::cpu::addConversionToLLVM(OpPassManager &pm) {
  // What can be done to one function is nested, for functions to be converted
  // side by side.
  // attn is gone: func, scf, vector, memref, math, arith.
  pm.addNestedPass<func::FuncOp>(createExpandMath());
  arith::ArithExpandOpsPassOptions expand;
  expand.includeBf16 =
      true; // AVX2 and plain AVX-512 have no instruction for it
  pm.addNestedPass<func::FuncOp>(arith::createArithExpandOpsPass(expand));
  pm.addNestedPass<func::FuncOp>(createCanonicalizerPass());
  pm.addNestedPass<func::FuncOp>(createCSEPass());
  pm.addNestedPass<func::FuncOp>(createSCFToControlFlowPass());
  // cf, vector, memref without strides in subviews, math, arith.
  pm.addNestedPass<func::FuncOp>(memref::createExpandStridedMetadataPass());
  pm.addNestedPass<func::FuncOp>(createLowerAffinePass());
  pm.addNestedPass<func::FuncOp>(createConvertVectorToLLVMPass());
  pm.addPass(createConvertToLLVMPass());
  // llvm.
  pm.addNestedPass<LLVM::LLVMFuncOp>(createReconcileUnrealizedCastsPass());
  pm.addNestedPass<LLVM::LLVMFuncOp>(createCanonicalizerPass());
  pm.addNestedPass<LLVM::LLVMFuncOp>(createCSEPass());
}

llvm::Expected<std::unique_ptr<llvm::TargetMachine>>
fovea::cpu::createTargetMachine(StringRef cpu) {
  llvm::Triple triple("x86_64-unknown-linux-gnu");
  std::string error;
  const llvm::Target *target =
      llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target)
    return llvm::createStringError(error);
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Strict;
  // Assembly tells loops from each other and names spills.
  options.MCOptions.AsmVerbose = true;
  return std::unique_ptr<llvm::TargetMachine>(target->createTargetMachine(
      triple, cpu, /*Features=*/"", options, llvm::Reloc::PIC_, std::nullopt,
      llvm::CodeGenOptLevel::Aggressive));
}

// Kernels come unrolled, in vectors, canonicalised and free of common
// subexpressions. What is left is what the lowering to LLVM itself adds:
// memref descriptors to take apart, address arithmetic to fold, guards of
// loops. The default pipeline at O2 takes twice as long for kernels that are
// no faster, and adds unrolled loops around them that cost size.
#define INSTCOMBINE "instcombine<no-verify-fixpoint>"

/// Looks at several functions. Entries take their bodies in; of descriptors the
/// parts in use are passed.
static constexpr char modulePipeline[] =
    "function(sroa,early-cse<memssa>," INSTCOMBINE ",simplifycfg),"
    "ipsccp,cgscc(inline),deadargelim,globaldce";

/// Looks at one function at a time.
static constexpr char functionPipeline[] =
    "function(loop-simplify,lcssa,"
    "loop-mssa(loop-rotate,licm,simple-loop-unswitch<no-nontrivial;trivial>),"
    "simplifycfg," INSTCOMBINE ","
    "loop(loop-idiom,indvars,loop-deletion),"
    "sroa,gvn,loop-mssa(licm),simplifycfg," INSTCOMBINE ")";
#undef INSTCOMBINE

static void runPipeline(llvm::Module &module, llvm::TargetMachine &target,
                        const char *pipeline) {
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager callGraph;
  llvm::ModuleAnalysisManager modules;
  llvm::PassBuilder builder(&target);
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(callGraph);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, callGraph, modules);
  llvm::ModulePassManager passes;
  llvm::cantFail(builder.parsePassPipeline(passes, pipeline));
  passes.run(module, modules);
}

void fovea::cpu::mergeEqualFunctions(llvm::Module &module) {
  llvm::ModuleAnalysisManager modules;
  llvm::FunctionAnalysisManager functions;
  llvm::PassBuilder builder;
  builder.registerModuleAnalyses(modules);
  builder.registerFunctionAnalyses(functions);
  modules.registerPass(
      [&] { return llvm::FunctionAnalysisManagerModuleProxy(functions); });
  llvm::ModulePassManager passes;
  passes.addPass(llvm::MergeFunctionsPass());
  passes.addPass(llvm::GlobalDCEPass());
  passes.run(module, modules);
}

void fovea::cpu::optimize(llvm::Module &module, llvm::TargetMachine &target) {
  module.setTargetTriple(target.getTargetTriple());
  module.setDataLayout(target.createDataLayout());
  for (llvm::Function &function : module) {
    if (function.isDeclaration())
      continue;
    function.addFnAttr("target-cpu", target.getTargetCPU());
    // Vectors are as wide as the kernels ask for, on every AVX-512 CPU.
    function.addFnAttr("prefer-vector-width", "512");
    if (function.hasFnAttribute(matrixUnitsAttr)) {
      StringRef others =
          function.getFnAttribute("target-features").getValueAsString();
      function.addFnAttr(
          "target-features",
          (others + (others.empty() ? "" : ",") + "+amx-tile,+amx-bf16").str());
    }
  }
  runPipeline(module, target, modulePipeline);
}

namespace {
/// Keeps the machine scheduler away from functions whose order was made on
/// purpose (attn-cpu-interleave): it looks at registers and latencies, gathers
/// what was spread, and spills vectors by the dozen.
class OrderKeeper : public llvm::OptPassGate {
public:
  explicit OrderKeeper(llvm::Module &module) : context(module.getContext()) {
    for (llvm::Function &function : module)
      if (function.hasFnAttribute(matrixUnitsAttr))
        kept.insert(("function (" + function.getName() + ")").str());
    previous = &context.getOptPassGate();
    if (!kept.empty()) // asked before every pass on every function
      context.setOptPassGate(*this);
  }
  ~OrderKeeper() override { context.setOptPassGate(*previous); }

  bool isEnabled() const override { return true; }
  bool shouldRunPass(StringRef pass, StringRef unit) const override {
    return pass != "machine-scheduler" || !kept.contains(unit);
  }

private:
  llvm::LLVMContext &context;
  llvm::OptPassGate *previous;
  llvm::StringSet<> kept;
};
} // namespace

llvm::Expected<llvm::SmallVector<char, 0>>
fovea::cpu::emitCode(llvm::Module &module, llvm::TargetMachine &target,
                     bool asAssembly) {
  llvm::SmallVector<char, 0> code;
  llvm::raw_svector_ostream stream(code);
  runPipeline(module, target, functionPipeline);
  OrderKeeper keeper(module);
  llvm::legacy::PassManager passes;
  auto type = asAssembly ? llvm::CodeGenFileType::AssemblyFile
                         : llvm::CodeGenFileType::ObjectFile;
  if (target.addPassesToEmitFile(passes, stream, nullptr, type))
    return llvm::createStringError("the target cannot emit this kind of file");
  passes.run(module);
  return code;
}
