// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

#include "tools/fovea/Commands.h"
namespace fovea {
int runRun(const CommandLine &) { return 2; }
int runExplain(const CommandLine &) { return 2; }
int runBench(const CommandLine &) { return 2; }
} // namespace fovea
