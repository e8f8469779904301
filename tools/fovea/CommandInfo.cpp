// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// fovea targets, doctor and spec: what there is, and whether it works here.

#include "tools/fovea/Commands.h"
#include "tools/fovea/Compilation.h"

#include "compiler/Artifact/Linker.h"
#include "compiler/Frontend/Spec.h"
#include "fovea/runtime.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/TargetParser/Host.h"

#include <thread>

using llvm::Expected;
using llvm::StringRef;

namespace fovea {

int runTargets(const CommandLine &) {
  uint64_t found = fovea_cpu_features();
  llvm::outs() << llvm::left_justify("target", 16)
               << llvm::left_justify("this machine", 14) << "needs\n";
  for (const Target &target : getTargets())
    llvm::outs() << llvm::left_justify(("cpu:" + target.isa).str(), 16)
                 << llvm::left_justify(
                        target.runtimeFeatures & ~found ? "no" : "yes", 14)
                 << formatFeatures(target.runtimeFeatures) << "\n";
  return ExitSuccess;
}

int runDoctor(const CommandLine &) {
  bool good = true;
  auto line = [&](bool isGood, StringRef what, const llvm::Twine &text) {
    llvm::outs() << (isGood ? "  ok    " : "  FAIL  ")
                 << llvm::left_justify(what, 18) << text << "\n";
    good &= isGood;
  };
  auto check = [&](StringRef what, Expected<std::string> result) {
    if (result)
      line(true, what, *result);
    else
      line(false, what, llvm::toString(result.takeError()));
  };
  line(true, "compiler", compilerVersion());
  line(true, "runtime", fovea_version());
  line(true, "processor",
       llvm::sys::getHostCPUName() + ", " +
           llvm::Twine(std::thread::hardware_concurrency()) + " threads");
  const Target *host = hostTarget();
  line(host, "instruction set",
       host ? host->isa + " (found: " + formatFeatures(fovea_cpu_features()) +
                  ")"
            : llvm::Twine("none that kernels can be compiled for; kernels can "
                          "be compiled here for other machines"));
  check("linker", findLinker(""));
  check("static runtime", findRuntimeLibrary(RuntimeLinkage::Static));
  check("shared runtime", findRuntimeLibrary(RuntimeLinkage::Shared));
  llvm::outs() << (good ? "everything is there\n"
                        : "something is missing, see FAIL above\n");
  return good ? ExitSuccess : ExitBadInput;
}

int runSpec(const CommandLine &line) {
  if (!line.schema)
    return fail(ExitUsage, "spec: say what to print: --schema");
  frontend::printSchema(llvm::outs(), line.markdown
                                          ? frontend::SchemaFormat::Markdown
                                          : frontend::SchemaFormat::Text);
  return ExitSuccess;
}

} // namespace fovea
