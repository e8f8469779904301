// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// A compiled kernel loaded into this process, to be called with fovea_invoke.

#ifndef FOVEA_COMPILER_ARTIFACT_LOADEDKERNEL_H
#define FOVEA_COMPILER_ARTIFACT_LOADEDKERNEL_H

#include "compiler/Artifact/ObjectCode.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <memory>

struct fovea_context;
struct fovea_kernel;
namespace llvm::orc {
class LLJIT;
}

namespace fovea {

struct ContextDeleter {
  void operator()(fovea_context *context) const;
};
using ContextPtr = std::unique_ptr<fovea_context, ContextDeleter>;

class LoadedKernel {
public:
  /// Loads the objects of the kernel of that name. Their calls into the runtime
  /// go to the copy that this program holds.
  static llvm::Expected<std::unique_ptr<LoadedKernel>>
  load(Objects objects, llvm::StringRef kernelName);
  ~LoadedKernel();

  /// The descriptor, which lives as long as this.
  const fovea_kernel *get() const { return kernel; }

private:
  LoadedKernel();
  std::unique_ptr<llvm::orc::LLJIT> jit;
  const fovea_kernel *kernel = nullptr;
};

/// A context that asks `threads` threads, made for each loop, however short it
/// is: for tests of what must not depend on threads. A pool would run most
/// loops of a test alone. Null if there is no memory.
ContextPtr createEagerContext(int64_t threads);

} // namespace fovea

#endif // FOVEA_COMPILER_ARTIFACT_LOADEDKERNEL_H
