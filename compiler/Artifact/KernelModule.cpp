// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Translation to LLVM IR, the descriptor and the entry points.
// The code of every instruction set lives in one module: each function says
// what it is compiled for in its own attributes.

#include "compiler/Artifact/KernelModule.h"

#include "compiler/CPU/CodeGen.h"
#include "fovea/kernel_abi.h"

#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"

#include "llvm/ADT/StringSet.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/Verifier.h"
#include "llvm/Linker/Linker.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"

#include <mutex>

using llvm::ArrayRef;
using llvm::Constant;
using llvm::createStringError;
using llvm::Error;
using llvm::Expected;
using llvm::GlobalValue;
using llvm::StringRef;

namespace fovea {
namespace {

template <typename... Ts> Error makeError(const char *format, Ts... values) {
  return createStringError(std::errc::invalid_argument, format, values...);
}

/// What generated code may call: the runtime, memory primitives that LLVM
/// itself inserts, and functions of the C mathematical library for f64.
bool isAllowedExternal(StringRef name) {
  static const llvm::StringSet<> allowed = {"fovea_parallel_for",
                                            "memcpy",
                                            "memmove",
                                            "memset",
                                            "memcmp",
                                            "bcmp",
                                            "sin",
                                            "cos",
                                            "sincos",
                                            "tan",
                                            "exp",
                                            "exp2",
                                            "log",
                                            "log2",
                                            "log10",
                                            "pow",
                                            "tanh",
                                            "sinh",
                                            "cosh",
                                            "atan",
                                            "atan2",
                                            "cbrt",
                                            "erf",
                                            "log1p",
                                            "expm1",
                                            "fmod",
                                            "floor",
                                            "ceil",
                                            "trunc",
                                            "round",
                                            "rint",
                                            "roundeven",
                                            "nearbyint",
                                            "fma",
                                            "sqrt"};
  return allowed.contains(name);
}

Error checkExternals(const llvm::Module &module) {
  for (const llvm::Function &function : module)
    if (function.isDeclaration() && !function.isIntrinsic() &&
        !function.use_empty() && !isAllowedExternal(function.getName()))
      return makeError("generated code calls '%s', which neither the runtime "
                       "nor the C library provides to kernels",
                       function.getName().str().c_str());
  for (const llvm::GlobalVariable &variable : module.globals())
    if (variable.isDeclaration() && !variable.use_empty())
      return makeError("generated code uses the undefined variable '%s'",
                       variable.getName().str().c_str());
  return Error::success();
}

void initializeBackend() {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeX86AsmParser();
  });
}

Error verify(const llvm::Module &module, const char *when) {
  std::string text;
  llvm::raw_string_ostream os(text);
  if (llvm::verifyModule(module, &os))
    return makeError("the LLVM IR is invalid %s: %s", when, text.c_str());
  return Error::success();
}

/// The module of one instruction set in LLVM IR, its functions marked for it
/// and hidden from every other module except for the two entry points.
Expected<std::unique_ptr<llvm::Module>>
translateIsa(const IsaModule &isa, const KernelInterface &kernel,
             llvm::LLVMContext &context) {
  const Target &target = *isa.target;
  std::unique_ptr<llvm::Module> module =
      mlir::translateModuleToLLVMIR(isa.module, context, kernel.name);
  if (!module)
    return makeError("the module for %s cannot be translated to LLVM IR",
                     target.isa.str().c_str());
  if (Error error = checkExternals(*module))
    return std::move(error);
  std::string body = kernel.name + "__" + target.suffix.str();
  std::string workspace = body + "_workspace";
  for (GlobalValue &value : module->global_values()) {
    if (value.isDeclaration())
      continue;
    if (value.getName() == body || value.getName() == workspace) {
      value.setVisibility(GlobalValue::HiddenVisibility);
    } else {
      value.setLinkage(GlobalValue::InternalLinkage);
      // The names without a suffix are the artifact's own.
      value.setName(value.getName() + "." + target.suffix);
    }
    value.setDSOLocal(true);
  }
  for (llvm::Function &function : *module) {
    if (function.isDeclaration())
      continue;
    if (!target.features.empty())
      function.addFnAttr("target-features", target.features);
    function.setDoesNotThrow();
  }
  if (Error error = verify(*module, "after translation"))
    return std::move(error);
  Expected<std::unique_ptr<llvm::TargetMachine>> machine =
      cpu::createTargetMachine(target.cpu);
  if (!machine)
    return machine.takeError();
  cpu::optimize(*module, **machine);
  return module;
}

/// Writes the descriptor and the entry points into a module that holds the
/// code. Field orders are those of fovea/kernel_abi.h.
class InterfaceBuilder {
public:
  InterfaceBuilder(llvm::Module &module, const KernelInterface &kernel)
      : module(module), kernel(kernel), context(module.getContext()),
        builder(context), ptr(llvm::PointerType::getUnqual(context)),
        i8(builder.getInt8Ty()), i32(builder.getInt32Ty()),
        i64(builder.getInt64Ty()) {}

  Error build(ArrayRef<IsaModule> isas) {
    Expected<Constant *> variants = makeVariants(isas);
    if (!variants)
      return variants.takeError();
    auto *type = llvm::StructType::get(
        context, {i32, i32, ptr, ptr, i32, i32, ptr, ptr, i32, i32, ptr});
    Constant *value = llvm::ConstantStruct::get(
        type,
        {word(FOVEA_ABI_VERSION), word(kernel.args.size()), string(kernel.name),
         makeArgs(), word(kernel.symbols.size()), word(kernel.params.size()),
         makeSymbols(), makeParams(), word(isas.size()), word(0), *variants});
    auto *descriptor = new llvm::GlobalVariable(
        module, type, /*isConstant=*/true, GlobalValue::ExternalLinkage, value,
        kernel.name + "_kernel");
    descriptor->setDSOLocal(true);
    descriptor->setAlignment(llvm::Align(64));
    buildEntry(descriptor);
    buildWorkspace(descriptor);
    return Error::success();
  }

private:
  llvm::Module &module;
  const KernelInterface &kernel;
  llvm::LLVMContext &context;
  llvm::IRBuilder<> builder;
  llvm::PointerType *ptr;
  llvm::Type *i8, *i32, *i64;

  Constant *word(int64_t value) {
    return llvm::ConstantInt::get(i32, value, /*IsSigned=*/true);
  }
  Constant *quad(int64_t value) {
    return llvm::ConstantInt::get(i64, value, /*IsSigned=*/true);
  }
  Constant *byte(uint8_t value) { return llvm::ConstantInt::get(i8, value); }

  Constant *constant(Constant *value, const llvm::Twine &name) {
    auto *global =
        new llvm::GlobalVariable(module, value->getType(), true,
                                 GlobalValue::PrivateLinkage, value, name);
    global->setUnnamedAddr(GlobalValue::UnnamedAddr::Global);
    return global;
  }
  Constant *string(StringRef text) {
    return constant(llvm::ConstantDataArray::getString(context, text), "str");
  }
  Constant *array(llvm::Type *type, ArrayRef<Constant *> values,
                  const llvm::Twine &name) {
    if (values.empty())
      return llvm::ConstantPointerNull::get(ptr);
    return constant(llvm::ConstantArray::get(
                        llvm::ArrayType::get(type, values.size()), values),
                    name);
  }

  Constant *makeArgs() {
    auto *dimsType = llvm::ArrayType::get(i64, FOVEA_MAX_RANK);
    auto *type =
        llvm::StructType::get(context, {ptr, i8, i8, i8, i8, i32, dimsType});
    llvm::SmallVector<Constant *> values;
    for (const TensorArg &arg : kernel.args) {
      llvm::SmallVector<Constant *> dims(FOVEA_MAX_RANK, quad(0));
      for (auto [slot, dim] : llvm::zip(dims, arg.dims))
        slot = quad(dim.symbol < 0 ? dim.extent : -1 - int64_t(dim.symbol));
      values.push_back(llvm::ConstantStruct::get(
          type,
          {string(arg.name), byte(arg.dtype.code), byte(arg.dtype.bits),
           byte(static_cast<uint8_t>(arg.role)), byte(arg.optional),
           word(arg.dims.size()), llvm::ConstantArray::get(dimsType, dims)}));
    }
    return array(type, values, "args");
  }

  Constant *makeSymbols() {
    llvm::SmallVector<Constant *> values;
    for (const std::string &symbol : kernel.symbols)
      values.push_back(string(symbol));
    return array(ptr, values, "symbols");
  }

  Constant *makeParams() {
    auto *type = llvm::StructType::get(context, {ptr, i64, i32, i32});
    llvm::SmallVector<Constant *> values;
    for (const Parameter &param : kernel.params)
      values.push_back(llvm::ConstantStruct::get(
          type, {string(param.name), quad(param.defaultValue.value_or(0)),
                 word(param.defaultValue.has_value()), word(0)}));
    return array(type, values, "params");
  }

  Expected<Constant *> makeVariants(ArrayRef<IsaModule> isas) {
    auto *type = llvm::StructType::get(context, {ptr, i64, ptr, ptr});
    llvm::SmallVector<Constant *> values;
    for (const IsaModule &isa : isas) {
      std::string name = kernel.name + "__" + isa.target->suffix.str();
      llvm::Function *body = module.getFunction(name);
      llvm::Function *workspace = module.getFunction(name + "_workspace");
      if (!body || body->isDeclaration() || !workspace ||
          workspace->isDeclaration())
        return makeError("the module for %s does not define @%s and "
                         "@%s_workspace",
                         isa.target->isa.str().c_str(), name.c_str(),
                         name.c_str());
      if (body->getFunctionType() !=
              llvm::FunctionType::get(i32, {ptr}, false) ||
          workspace->getFunctionType() !=
              llvm::FunctionType::get(i64, {ptr, ptr, i64}, false))
        return makeError("@%s or @%s_workspace has another type than "
                         "fovea/kernel_abi.h says",
                         name.c_str(), name.c_str());
      body->setLinkage(GlobalValue::InternalLinkage);
      workspace->setLinkage(GlobalValue::InternalLinkage);
      values.push_back(llvm::ConstantStruct::get(
          type, {string(isa.target->isa),
                 quad(static_cast<int64_t>(isa.target->runtimeFeatures)), body,
                 workspace}));
    }
    return array(type, values, "variants");
  }

  /// A visible function, positioned at its start.
  llvm::Function *startFunction(llvm::FunctionType *type,
                                const std::string &name) {
    auto *function = llvm::Function::Create(type, GlobalValue::ExternalLinkage,
                                            name, module);
    function->setDoesNotThrow();
    function->setUWTableKind(llvm::UWTableKind::Default);
    builder.SetInsertPoint(
        llvm::BasicBlock::Create(context, "entry", function));
    return function;
  }

  /// Stores the leading `count` arguments of the function to an array.
  llvm::Value *gather(llvm::Function *function, unsigned count,
                      llvm::Type *type) {
    auto *slots = builder.CreateAlloca(llvm::ArrayType::get(type, count));
    for (unsigned i = 0; i != count; ++i)
      builder.CreateStore(function->getArg(i),
                          builder.CreateConstInBoundsGEP1_64(type, slots, i));
    return slots;
  }

  void buildEntry(llvm::GlobalVariable *descriptor) {
    unsigned count = kernel.args.size();
    llvm::SmallVector<llvm::Type *> types(count + 1, ptr);
    llvm::Function *function =
        startFunction(llvm::FunctionType::get(i32, types, false), kernel.name);
    llvm::Value *tensors = gather(function, count, ptr);
    llvm::FunctionCallee invoke = module.getOrInsertFunction(
        "fovea_invoke", llvm::FunctionType::get(i32, {ptr, ptr, ptr}, false));
    builder.CreateRet(builder.CreateCall(
        invoke, {descriptor, tensors, function->getArg(count)}));
  }

  void buildWorkspace(llvm::GlobalVariable *descriptor) {
    unsigned count = kernel.symbols.size();
    llvm::SmallVector<llvm::Type *> types(count, i64);
    types.push_back(ptr);
    llvm::Function *function = startFunction(
        llvm::FunctionType::get(i64, types, false), kernel.name + "_workspace");
    llvm::Value *symbols = gather(function, count, i64);
    llvm::FunctionCallee query = module.getOrInsertFunction(
        "fovea_workspace_size",
        llvm::FunctionType::get(i64, {ptr, ptr, ptr}, false));
    builder.CreateRet(builder.CreateCall(
        query, {descriptor, symbols, function->getArg(count)}));
  }
};

} // namespace

const Target *hostTarget() {
  uint64_t found = fovea_cpu_features();
  for (const Target &target : getTargets())
    if (!(target.runtimeFeatures & ~found))
      return &target;
  return nullptr;
}

Expected<std::unique_ptr<llvm::Module>>
buildKernelModule(ArrayRef<IsaModule> isas, const KernelInterface &kernel,
                  llvm::LLVMContext &context) {
  initializeBackend();
  Expected<std::unique_ptr<llvm::TargetMachine>> machine =
      cpu::createTargetMachine(cpu::baselineCpu);
  if (!machine)
    return machine.takeError();
  auto module = std::make_unique<llvm::Module>(kernel.name, context);
  module->setTargetTriple((*machine)->getTargetTriple());
  module->setDataLayout((*machine)->createDataLayout());
  module->setPICLevel(llvm::PICLevel::BigPIC);
  llvm::Linker linker(*module);
  for (const IsaModule &isa : isas) {
    Expected<std::unique_ptr<llvm::Module>> part =
        translateIsa(isa, kernel, context);
    if (!part)
      return part.takeError();
    if (linker.linkInModule(std::move(*part)))
      return makeError("the modules of '%s' cannot be linked into one",
                       kernel.name.c_str());
  }
  if (Error error = InterfaceBuilder(*module, kernel).build(isas))
    return std::move(error);
  // What a variant for matrix units does on vectors is that of AVX-512.
  cpu::mergeEqualFunctions(*module);
  if (Error error = verify(*module, "after optimisation"))
    return std::move(error);
  return module;
}

} // namespace fovea
