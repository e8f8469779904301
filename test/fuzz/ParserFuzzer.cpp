// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// libFuzzer's entry point on one parser, FOVEA_FUZZ_PARSER of Parsers.h. Built
// once per parser, with the option FOVEA_FUZZERS only.

#include "test/fuzz/Parsers.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
  fovea::fuzz::FOVEA_FUZZ_PARSER(
      llvm::StringRef(reinterpret_cast<const char *>(data), size));
  return 0;
}
