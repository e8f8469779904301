// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// fovea check --fuzz: drawn calls of drawn specs.

#ifndef FOVEA_TOOLS_FOVEA_FUZZ_H
#define FOVEA_TOOLS_FOVEA_FUZZ_H

#include "tools/fovea/Commands.h"
#include "tools/fovea/Compilation.h"

namespace fovea {

/// Returns an ExitCode.
int runFuzz(const CommandLine &line, llvm::ArrayRef<const Target *> targets);

} // namespace fovea

#endif // FOVEA_TOOLS_FOVEA_FUZZ_H
