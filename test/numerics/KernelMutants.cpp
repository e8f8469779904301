// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Kernels with a fault each, and whether the checks of the numerics test see
// it. A fault is put into the IR of a kernel (Mutation.h); drawn calls must
// show it: by a wrong result, by bits that change, by a touch of a guard page,
// by no end. One that changes nothing, or that does not compile, is an error.
// Each runs in a process of its own. Prints each fault with what showed it.
//
//   --seed=S        other calls
//   --fault=TEXT    only the faults whose name holds the text
//   --spread=N      only N faults, spread evenly over the table

#include "test/numerics/CallRunner.h"
#include "test/numerics/Faults.h"

#include "llvm/Support/FormatVariadic.h"

#include <gtest/gtest.h>

#include <csignal>
#include <cstring>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace fovea;
using namespace fovea::numerics;

namespace {

/// What the reference is slow for comes last.
constexpr CallRunner::CallKind quickFirst[] = {
    CallRunner::FewKeys, CallRunner::Prefill, CallRunner::MoreQueries,
    CallRunner::Nothing, CallRunner::Any,     CallRunner::Decode,
    CallRunner::Long};

/// Drawn calls of each kind: enough without a fault, and at most with one.
constexpr int controlRounds = 2, mostRounds = 8;

/// Seconds of a processor that no round comes near.
constexpr rlim_t secondsOfRound = 3;

struct Outcome {
  enum Kind { Survived, Killed, Error } kind;
  std::string text;
};

/// The first failure of this process, in one line.
std::string describeFailure() {
  const auto &result = ::testing::UnitTest::GetInstance()->ad_hoc_test_result();
  for (int k = 0; k < result.total_part_count(); ++k) {
    const auto &part = result.GetTestPartResult(k);
    if (!part.failed())
      continue;
    llvm::StringRef message = part.message();
    message.consume_front("Failed\n");
    return message.take_until([](char c) { return c == '\n'; }).str();
  }
  return "";
}

/// From here on, SIGXCPU ends what takes much too long.
void limitSeconds() {
  rusage used;
  rlimit limit;
  getrusage(RUSAGE_SELF, &used);
  getrlimit(RLIMIT_CPU, &limit);
  limit.rlim_cur = used.ru_utime.tv_sec + used.ru_stime.tv_sec + secondsOfRound;
  setrlimit(RLIMIT_CPU, &limit);
}

/// In the child: writes a line end once there is code, and at the end what
/// failed.
void runInChild(int out, const MutantSpec &mutant, const Fault *fault,
                uint64_t seed) {
  auto say = [&](const std::string &text) {
    if (write(out, text.data(), text.size()) != ssize_t(text.size()))
      _exit(3);
  };
  int rounds = fault ? mostRounds : controlRounds;
  Random random(seed);
  CallRunner runner(mutant.spec, random);
  Target target = *lookupTarget(mutant.isa);
  target.cacheBytes = mutant.cacheBytes.value_or(target.cacheBytes);
  if (!runner.getModule())
    return say("the spec does not parse");
  std::optional<Intrusion> intrusion;
  if (fault)
    intrusion = Intrusion{fault->phase, createMutatePass(*fault)};
  auto kernel = compileKernel(runner.getModule(), target, std::move(intrusion));
  if (!kernel)
    return say(llvm::toString(kernel.takeError()));
  say("\n");
  int64_t matrixTerms = getMatrixTerms(runner.getModule(), target);
  for (int round = 0; round < rounds && !::testing::Test::HasFailure();
       ++round) {
    limitSeconds();
    runner.run(**kernel, matrixTerms, quickFirst);
  }
  if (::testing::Test::HasFailure())
    say(describeFailure() + " (" + runner.describeCall() + ")");
}

Outcome run(const MutantSpec &mutant, const Fault *fault, uint64_t seed) {
  int ends[2];
  if (pipe(ends) != 0)
    return {Outcome::Error, "no pipe"};
  llvm::outs().flush();
  pid_t child = fork();
  if (child == 0) {
    // A sanitizer would make an exit of it.
    signal(SIGSEGV, SIG_DFL);
    // What a failure prints is told in one line by the parent.
    if (!freopen("/dev/null", "w", stdout) ||
        !freopen("/dev/null", "w", stderr))
      _exit(3);
    runInChild(ends[1], mutant, fault, seed);
    _exit(0);
  }
  close(ends[1]);
  std::string said;
  char buffer[512];
  for (ssize_t count; (count = read(ends[0], buffer, sizeof buffer)) > 0;)
    said.append(buffer, count);
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  llvm::StringRef failure = said;
  if (!failure.consume_front("\n"))
    return {Outcome::Error, said.empty() ? "the compiler crashed" : said};
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU)
    return {Outcome::Killed, "does not end"};
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV)
    return {Outcome::Killed, "touches a guard page"};
  if (WIFSIGNALED(status))
    return {Outcome::Killed, strsignal(WTERMSIG(status))};
  if (WEXITSTATUS(status) != 0)
    return {Outcome::Error, "status " + std::to_string(WEXITSTATUS(status))};
  return {failure.empty() ? Outcome::Survived : Outcome::Killed, failure.str()};
}

} // namespace

int main(int argc, char **argv) {
  ::testing::InitGoogleTest(&argc, argv);
  uint64_t seed = 20260201;
  llvm::StringRef wanted;
  size_t all = getFaults().size(), spread = all;
  for (int arg = 1; arg < argc; ++arg) {
    llvm::StringRef text = argv[arg];
    if (text.consume_front("--seed=") && !text.getAsInteger(10, seed))
      continue;
    if (text.consume_front("--fault=")) {
      wanted = text;
      continue;
    }
    if (text.consume_front("--spread=") && !text.getAsInteger(10, spread))
      continue;
    llvm::errs() << "usage: fovea-kernel-mutants [--seed=S] [--fault=TEXT] "
                    "[--spread=N]\n";
    return 2;
  }
  unsigned wrong = 0, faults = 0, killed = 0;
  for (auto &[name, mutant] : getMutantSuite()) {
    Outcome outcome = run(mutant, nullptr, seed);
    wrong += outcome.kind != Outcome::Survived;
    llvm::outs() << llvm::formatv(
        "{0,-9} {1}: {2}\n", name, mutant.spec.describe(),
        outcome.kind == Outcome::Survived ? "no fault, none seen"
                                          : outcome.text);
  }
  for (auto [index, fault] : llvm::enumerate(getFaults())) {
    bool isTaken = (index + 1) * spread / all != index * spread / all;
    if (!isTaken || !llvm::StringRef(fault.name).contains(wanted))
      continue;
    ++faults;
    Outcome outcome = run(getMutantSuite().at(fault.spec), &fault, seed);
    killed += outcome.kind == Outcome::Killed;
    const char *verdict[] = {"SURVIVED", "", "ERROR: "};
    llvm::outs() << llvm::formatv(
        "{0,-10} {1,-9} {2} | {3}{4}\n", getPhaseName(fault.phase), fault.spec,
        fault.name, verdict[outcome.kind], outcome.text);
  }
  llvm::outs() << faults << " faults, " << killed << " killed\n";
  return wrong != 0 || killed != faults;
}
