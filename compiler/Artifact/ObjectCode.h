// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// From the LLVM module that KernelModule.h builds to assembly or to objects. A
// large module becomes several objects, compiled side by side on the
// processor's cores; what is in which depends on the module alone. Linker.h
// makes one of them.

#ifndef FOVEA_COMPILER_ARTIFACT_OBJECTCODE_H
#define FOVEA_COMPILER_ARTIFACT_OBJECTCODE_H

#include "llvm/ADT/SmallVector.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/MemoryBuffer.h"

#include <memory>

namespace fovea {

/// Objects that are linked together, or loaded together.
using Objects = llvm::SmallVector<std::unique_ptr<llvm::MemoryBuffer>>;

/// The code of the whole module as text.
llvm::Expected<std::unique_ptr<llvm::MemoryBuffer>>
emitAssembly(const llvm::Module &module);

/// More would be small ones.
inline constexpr unsigned maxObjects = 16;

/// The code of the module in at most `limit` objects, which refer to each
/// other.
llvm::Expected<Objects> emitObjects(const llvm::Module &module,
                                    unsigned limit = maxObjects);

/// An archive whose one member is the object.
llvm::Expected<std::unique_ptr<llvm::MemoryBuffer>>
makeArchive(llvm::MemoryBufferRef object, llvm::StringRef memberName);

} // namespace fovea

#endif // FOVEA_COMPILER_ARTIFACT_OBJECTCODE_H
