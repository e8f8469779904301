// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// From the objects of a kernel to one object or to a shared library, by the
// system's linker.

#ifndef FOVEA_COMPILER_ARTIFACT_LINKER_H
#define FOVEA_COMPILER_ARTIFACT_LINKER_H

#include "compiler/Artifact/ObjectCode.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/MemoryBuffer.h"

#include <memory>
#include <string>

namespace fovea {

/// How a shared library gets the runtime.
enum class RuntimeLinkage {
  Static, // a copy inside, its functions exported: nothing else is needed
  Shared, // libfovea_runtime.so, found again through the run path
};

/// The program that links: `wanted`, or else the first C compiler or linker
/// found. An error that says what to install if there is none.
llvm::Expected<std::string> findLinker(llvm::StringRef wanted);

/// The runtime library for the linkage: beside the driver, in ../lib or the
/// installation's library folder.
llvm::Expected<std::string> findRuntimeLibrary(RuntimeLinkage linkage);

/// The contents of NAME.o: the objects as one, in which what they share with
/// each other is local.
llvm::Expected<std::unique_ptr<llvm::MemoryBuffer>>
linkObject(const Objects &objects, llvm::StringRef kernelName,
           llvm::StringRef wantedLinker);

/// The contents of NAME.so, with the runtime inside or named as a dependency.
llvm::Expected<std::unique_ptr<llvm::MemoryBuffer>>
linkSharedLibrary(const Objects &objects, llvm::StringRef kernelName,
                  RuntimeLinkage linkage, llvm::StringRef wantedLinker);

} // namespace fovea

#endif // FOVEA_COMPILER_ARTIFACT_LINKER_H
