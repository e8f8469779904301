// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Code generation is most of the time of a compilation, and LLVM does it on one
// thread per context. So the functions of a module are dealt to parts, and each
// part goes, as bitcode, to a context of its own. What is left to do is done
// function by function (CodeGen.h), so that the code is the same however many
// parts there are.

#include "compiler/Artifact/ObjectCode.h"

#include "compiler/CPU/CodeGen.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Bitcode/BitcodeReader.h"
#include "llvm/Bitcode/BitcodeWriter.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/Object/ArchiveWriter.h"
#include "llvm/Support/SmallVectorMemoryBuffer.h"
#include "llvm/Support/ThreadPool.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Transforms/Utils/Cloning.h"

#include <algorithm>
#include <optional>

using llvm::Expected;
using llvm::GlobalValue;
using llvm::MemoryBuffer;

namespace fovea {
namespace {

/// Instructions of LLVM IR that are worth a part: what is the same for every
/// part, and joining them, costs less than a tenth of compiling these.
constexpr unsigned instructionsPerPart = 2000;

Expected<std::unique_ptr<MemoryBuffer>> emit(llvm::Module &module,
                                             bool asAssembly) {
  Expected<std::unique_ptr<llvm::TargetMachine>> machine =
      cpu::createTargetMachine(cpu::baselineCpu);
  if (!machine)
    return machine.takeError();
  Expected<llvm::SmallVector<char, 0>> bytes =
      cpu::emitCode(module, **machine, asAssembly);
  if (!bytes)
    return bytes.takeError();
  return std::make_unique<llvm::SmallVectorMemoryBuffer>(
      std::move(*bytes), module.getName(), /*RequiresNullTerminator=*/false);
}

/// Deals functions to parts, the largest first, each to what is the smallest
/// part then. The entries, which are small, and what they address directly, the
/// descriptor, go to the first.
llvm::DenseMap<const GlobalValue *, unsigned>
dealFunctions(const llvm::Module &module, unsigned limit, unsigned &parts) {
  llvm::SmallVector<std::pair<unsigned, const llvm::Function *>> functions;
  unsigned total = 0;
  for (const llvm::Function &function : module)
    if (function.hasLocalLinkage()) {
      functions.push_back({function.getInstructionCount(), &function});
      total += functions.back().first;
    }
  parts = std::clamp(total / instructionsPerPart, 1u, limit);
  // Names make the order of equals the module's own.
  llvm::sort(functions, [](const auto &a, const auto &b) {
    return a.first != b.first ? a.first > b.first
                              : a.second->getName() < b.second->getName();
  });
  llvm::DenseMap<const GlobalValue *, unsigned> partOf;
  llvm::SmallVector<unsigned> sizes(parts);
  for (auto [size, function] : functions) {
    auto smallest = llvm::min_element(sizes);
    *smallest += size;
    partOf[function] = smallest - sizes.begin();
  }
  return partOf;
}

/// A copy of what a part defines. What parts refer to in each other is visible
/// to the linker, and to it alone.
std::unique_ptr<llvm::Module>
copyPart(const llvm::Module &module, unsigned part,
         const llvm::DenseMap<const GlobalValue *, unsigned> &partOf) {
  llvm::ValueToValueMapTy values;
  std::unique_ptr<llvm::Module> copy =
      llvm::CloneModule(module, values, [&](const GlobalValue *value) {
        return partOf.lookup(value) == part; // variables: the first part
      });
  for (const GlobalValue &original : module.global_values()) {
    auto *value = llvm::cast<GlobalValue>(values.lookup(&original));
    if (!original.hasLocalLinkage())
      continue;
    // Functions bear the kernel's name; constants may not.
    if (!original.getName().starts_with(module.getName()))
      value->setName(module.getName() + "." + original.getName());
    value->setLinkage(GlobalValue::ExternalLinkage);
    value->setVisibility(GlobalValue::HiddenVisibility);
    value->setDSOLocal(true);
  }
  for (llvm::Function &function : llvm::make_early_inc_range(*copy))
    if (function.isDeclaration() && function.use_empty())
      function.eraseFromParent();
  return copy;
}

llvm::SmallString<0> toBitcode(const llvm::Module &module) {
  llvm::SmallString<0> bitcode;
  llvm::raw_svector_ostream stream(bitcode);
  llvm::WriteBitcodeToFile(module, stream);
  return bitcode;
}

Expected<std::unique_ptr<MemoryBuffer>> compilePart(llvm::StringRef bitcode,
                                                    llvm::StringRef name) {
  llvm::LLVMContext context;
  Expected<std::unique_ptr<llvm::Module>> module =
      llvm::parseBitcodeFile(llvm::MemoryBufferRef(bitcode, name), context);
  if (!module)
    return module.takeError();
  return emit(**module, /*asAssembly=*/false);
}

} // namespace

Expected<std::unique_ptr<MemoryBuffer>>
emitAssembly(const llvm::Module &module) {
  return emit(*llvm::CloneModule(module), /*asAssembly=*/true);
}

Expected<Objects> emitObjects(const llvm::Module &module, unsigned limit) {
  unsigned parts = 0;
  llvm::DenseMap<const GlobalValue *, unsigned> partOf =
      dealFunctions(module, limit, parts);
  llvm::SmallVector<std::optional<Expected<std::unique_ptr<MemoryBuffer>>>>
      results(parts);
  if (parts == 1) {
    results[0].emplace(emit(*llvm::CloneModule(module), /*asAssembly=*/false));
  } else {
    llvm::DefaultThreadPool threads(llvm::hardware_concurrency(parts));
    for (unsigned part = 0; part != parts; ++part)
      threads.async([&results, part, name = module.getName(),
                     bitcode = toBitcode(*copyPart(module, part, partOf))] {
        results[part].emplace(compilePart(bitcode, name));
      });
    threads.wait();
  }
  Objects objects;
  llvm::Error error = llvm::Error::success();
  for (auto &result : results) {
    if (*result)
      objects.push_back(std::move(**result));
    else
      error = llvm::joinErrors(std::move(error), result->takeError());
  }
  if (error)
    return std::move(error);
  return std::move(objects);
}

Expected<std::unique_ptr<MemoryBuffer>>
makeArchive(llvm::MemoryBufferRef object, llvm::StringRef memberName) {
  llvm::NewArchiveMember member(
      llvm::MemoryBufferRef(object.getBuffer(), memberName));
  return llvm::writeArchiveToBuffer(member,
                                    llvm::SymtabWritingMode::NormalSymtab,
                                    llvm::object::Archive::K_GNU,
                                    /*Deterministic=*/true, /*Thin=*/false);
}

} // namespace fovea
