// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Links objects in memory with the runtime of this program.

#include "compiler/Artifact/LoadedKernel.h"

#include "fovea/kernel_abi.h"

#include "llvm/ExecutionEngine/Orc/ExecutionUtils.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/ExecutionEngine/Orc/MapperJITLinkMemoryManager.h"
#include "llvm/ExecutionEngine/Orc/MemoryMapper.h"
#include "llvm/ExecutionEngine/Orc/ObjectLinkingLayer.h"
#include "llvm/Support/TargetSelect.h"

#include <thread>
#include <vector>

using llvm::Error;
using llvm::Expected;

namespace fovea {

void ContextDeleter::operator()(fovea_context *context) const {
  fovea_context_destroy(context);
}

LoadedKernel::LoadedKernel() = default;
LoadedKernel::~LoadedKernel() = default;

/// One reservation holds all objects of a kernel, which reach each other by 32
/// bits. By default each is mapped for itself, wherever there is room.
static Expected<std::unique_ptr<llvm::orc::ObjectLayer>>
createLinkingLayer(llvm::orc::ExecutionSession &session) {
  constexpr size_t reservedBytes = 16 << 20;
  auto memory = llvm::orc::MapperJITLinkMemoryManager::CreateWithMapper<
      llvm::orc::InProcessMemoryMapper>(reservedBytes);
  if (!memory)
    return memory.takeError();
  return std::make_unique<llvm::orc::ObjectLinkingLayer>(session,
                                                         std::move(*memory));
}

Expected<std::unique_ptr<LoadedKernel>>
LoadedKernel::load(Objects objects, llvm::StringRef kernelName) {
  LLVMInitializeX86TargetInfo();
  LLVMInitializeX86Target();
  LLVMInitializeX86TargetMC();
  Expected<std::unique_ptr<llvm::orc::LLJIT>> jit =
      llvm::orc::LLJITBuilder()
          .setObjectLinkingLayerCreator(createLinkingLayer)
          .create();
  if (!jit)
    return jit.takeError();
  llvm::orc::JITDylib &library = (*jit)->getMainJITDylib();

  // The program exports nothing, so the runtime's functions are given by hand;
  // those of the C library are looked up in the process.
  llvm::orc::SymbolMap runtime;
  auto define = [&](llvm::StringRef name, auto *function) {
    runtime[(*jit)->mangleAndIntern(name)] = {
        llvm::orc::ExecutorAddr::fromPtr(function),
        llvm::JITSymbolFlags::Exported | llvm::JITSymbolFlags::Callable};
  };
  define("fovea_invoke", &fovea_invoke);
  define("fovea_workspace_size", &fovea_workspace_size);
  define("fovea_parallel_for", &fovea_parallel_for);
  if (Error error =
          library.define(llvm::orc::absoluteSymbols(std::move(runtime))))
    return std::move(error);
  auto process = llvm::orc::DynamicLibrarySearchGenerator::GetForCurrentProcess(
      (*jit)->getDataLayout().getGlobalPrefix());
  if (!process)
    return process.takeError();
  library.addGenerator(std::move(*process));

  for (std::unique_ptr<llvm::MemoryBuffer> &object : objects)
    if (Error error = (*jit)->addObjectFile(std::move(object)))
      return std::move(error);
  Expected<llvm::orc::ExecutorAddr> address =
      (*jit)->lookup((kernelName + "_kernel").str());
  if (!address)
    return address.takeError();
  std::unique_ptr<LoadedKernel> loaded(new LoadedKernel());
  loaded->kernel = address->toPtr<const fovea_kernel *>();
  loaded->jit = std::move(*jit);
  return loaded;
}

static void runOnThreads(void *, int64_t count, fovea_task_fn run, void *task) {
  std::vector<std::thread> threads;
  for (int64_t index = 1; index < count; ++index)
    threads.emplace_back(run, task, index);
  run(task, 0);
  for (std::thread &thread : threads)
    thread.join();
}

ContextPtr createEagerContext(int64_t threads) {
  fovea_context *context = nullptr;
  fovea_context_create_with_host(threads, runOnThreads, nullptr, &context);
  return ContextPtr(context);
}

} // namespace fovea
