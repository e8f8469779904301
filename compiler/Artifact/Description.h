// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The descriptions that go with a kernel's code: its C header and NAME.json.

#ifndef FOVEA_COMPILER_ARTIFACT_DESCRIPTION_H
#define FOVEA_COMPILER_ARTIFACT_DESCRIPTION_H

#include "compiler/Artifact/KernelInterface.h"
#include "compiler/Artifact/KernelModule.h"

#include <string>

namespace fovea {

/// What the descriptions tell beside the interface.
struct ArtifactNotes {
  llvm::SmallVector<const Target *> targets; // the best first
  std::string config; // the printed #attn.config; may be empty
  std::string bound;  // of the error, as a sentence; may be empty
  std::string mask;   // the mask as the spec says it; may be empty
};

/// NAME.h: plain C that C++ accepts too.
std::string makeHeader(const KernelInterface &kernel,
                       const ArtifactNotes &notes);

/// NAME.json.
std::string makeJson(const KernelInterface &kernel, const ArtifactNotes &notes);

/// The names of FOVEA_CPU_* bits, as /proc/cpuinfo has them: "avx2 fma f16c".
std::string formatFeatures(uint64_t features);

/// "fovea 0.1.0 (LLVM 22.1.8)".
std::string compilerVersion();

} // namespace fovea

#endif // FOVEA_COMPILER_ARTIFACT_DESCRIPTION_H
