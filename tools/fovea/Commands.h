// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The subcommands of the driver. Each takes its parsed command line and returns
// an ExitCode.

#ifndef FOVEA_TOOLS_FOVEA_COMMANDS_H
#define FOVEA_TOOLS_FOVEA_COMMANDS_H

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace fovea {

/// Options that several commands share.
struct CommandLine {
  std::string input;                // SPEC or FILE.mlir
  std::string output;               // -o
  std::vector<std::string> targets; // --target
  std::vector<std::string> emit;    // --emit
  std::string from, to;             // --compile-from, --compile-to
  std::string linker;               // --linker
  std::string runtime = "static";   // --runtime
  std::vector<std::string> inputs;  // --in
  std::vector<std::string> outputs; // --out
  std::vector<std::string> shape;   // --shape
  std::vector<std::string> params;  // --param
  std::vector<std::string> values;  // --value
  bool verify = false, time = false;
  unsigned cases = 0; // 0: the command's default
  uint64_t seed = 0;
  bool fuzz = false;
  double minutes = 0;
  int64_t onlyKernel = -1, onlyCase = -1; // --kernel, --case
  double limit = 1; // share of the bound from which on a case fails
  unsigned threads = 0;
  unsigned rounds = 15;
  bool json = false;
  bool ascii = false;
  std::string svg; // --svg
  bool schema = false, markdown = false;
};

int runCompile(const CommandLine &line);
int runRun(const CommandLine &line);
int runCheck(const CommandLine &line);
int runExplain(const CommandLine &line);
int runBench(const CommandLine &line);
int runTargets(const CommandLine &line);
int runDoctor(const CommandLine &line);
int runSpec(const CommandLine &line);

} // namespace fovea

#endif // FOVEA_TOOLS_FOVEA_COMMANDS_H
