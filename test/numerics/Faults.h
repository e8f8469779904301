// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The faults that kernels are given on purpose, and the kernels that get them.

#ifndef FOVEA_TEST_NUMERICS_FAULTS_H
#define FOVEA_TEST_NUMERICS_FAULTS_H

#include "test/numerics/KernelSpec.h"
#include "test/numerics/Mutation.h"

#include <optional>

namespace fovea::numerics {

struct MutantSpec {
  KernelSpec spec;
  const char *isa = "x86-64-v3";
  /// The second-level cache, if not that of the ISA.
  std::optional<int64_t> cacheBytes = std::nullopt;
};

const std::map<std::string, MutantSpec> &getMutantSuite();
llvm::ArrayRef<Fault> getFaults();

} // namespace fovea::numerics

#endif // FOVEA_TEST_NUMERICS_FAULTS_H
