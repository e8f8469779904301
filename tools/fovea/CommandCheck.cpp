// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// fovea check: the compiled kernel of a spec, or of drawn ones, against the f64
// reference on drawn calls (CheckedCall.h).

#include "tools/fovea/CheckedCall.h"
#include "tools/fovea/Commands.h"
#include "tools/fovea/Compilation.h"
#include "tools/fovea/Fuzz.h"

#include "fovea/kernel_abi.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/Process.h"

using namespace mlir;
using llvm::Expected;

namespace fovea {

/// The calls of one spec.
static int checkSpec(const CommandLine &line,
                     ArrayRef<const Target *> targets) {
  Expected<CallOptions> fixed = parseCallValues(line);
  if (!fixed)
    return fail(ExitUsage, fixed.takeError());
  Compilation compilation;
  if (!compilation.open(line.input))
    return compilation.exitCode;
  // Here for its checks of the names.
  if (llvm::Error error = KernelCall(compilation).set(*fixed))
    return fail(ExitUsage, std::move(error));
  std::string flags;
  for (const std::string &text : line.targets)
    flags += " --target " + text;
  if (!line.shape.empty())
    flags += " --shape " + llvm::join(line.shape, ",");
  if (!line.params.empty())
    flags += " --param " + llvm::join(line.params, ",");
  bool isTerminal = llvm::sys::Process::StandardErrIsDisplayed();

  double worst = 0;
  int64_t failures = 0, first = 0, end = line.cases ? line.cases : 100;
  if (line.onlyCase >= 0) {
    first = line.onlyCase;
    end = first + 1;
  }
  for (const Target *target : targets) {
    std::unique_ptr<LoadedKernel> loaded = compilation.load(target);
    if (!loaded)
      return compilation.exitCode;
    CallChecker checker(compilation, loaded->get(), line.seed, *fixed,
                        line.limit);
    for (int64_t number = first; number != end; ++number) {
      std::string reproducer =
          ("fovea check " + line.input + flags + " --seed " +
           llvm::Twine(line.seed) + " --case " + llvm::Twine(number))
              .str();
      noteForReproducer(reproducer);
      Expected<double> share = checker.run(number);
      if (share) {
        worst = std::max(worst, *share);
      } else {
        ++failures;
        llvm::errs() << (isTerminal ? "\r" : "") << "case " << number << " ("
                     << target->isa
                     << "): " << llvm::toString(share.takeError())
                     << "\n  again: " << reproducer << "\n";
      }
      if (isTerminal && number % 10 == 9)
        llvm::errs() << "\r" << target->isa << ": " << number + 1 - first
                     << " of " << end - first << " cases";
    }
    if (isTerminal)
      llvm::errs() << "\r\033[K";
    llvm::outs() << compilation.kernel().name << " for " << target->isa << ": "
                 << end - first << " cases, " << failures
                 << " failed; largest error of the others "
                 << llvm::format("%.3f", worst) << " of the bound\n";
  }
  return failures ? ExitBadInput : ExitSuccess;
}

int runCheck(const CommandLine &line) {
  if (line.fuzz != line.input.empty())
    return fail(ExitUsage, line.fuzz ? "--fuzz draws its specs: leave out '" +
                                           llvm::Twine(line.input) + "'"
                                     : "a spec is needed, or --fuzz");
  if (!line.fuzz && (line.minutes > 0 || line.onlyKernel >= 0))
    return fail(ExitUsage, "--minutes and --kernel go with --fuzz");
  if (line.fuzz && !(line.shape.empty() && line.params.empty()))
    return fail(ExitUsage, "--shape and --param go with a spec");
  if (line.fuzz && line.onlyCase >= 0 && line.onlyKernel < 0)
    return fail(ExitUsage, "--case needs the --kernel that it is of");
  std::vector<std::string> texts = line.targets;
  // Drawn specs go through all that this machine runs.
  if (texts.empty() && !line.fuzz)
    texts.push_back("cpu:host");
  Expected<SmallVector<const Target *>> targets = parseTargets(texts);
  if (!targets)
    return fail(ExitUsage, targets.takeError());
  auto isForeign = [](const Target *target) {
    return (target->runtimeFeatures & ~fovea_cpu_features()) != 0;
  };
  if (texts.empty())
    llvm::erase_if(*targets, isForeign);
  for (const Target *target : *targets)
    if (isForeign(target))
      return fail(ExitBadInput, "this machine does not run " + target->isa);
  if (targets->empty())
    return fail(ExitBadInput,
                "this machine runs none of the supported instruction sets");
  return line.fuzz ? runFuzz(line, *targets) : checkSpec(line, *targets);
}

} // namespace fovea
