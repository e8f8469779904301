// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// fovea check --fuzz: specs are drawn, compiled for each instruction set and
// called as `fovea check SPEC` does. Each kernel has a process of its own, so
// that one that crashes or hangs is reported and shrunk like one that is wrong.

#include "tools/fovea/Fuzz.h"
#include "tools/fovea/CheckedCall.h"
#include "tools/fovea/DrawnSpec.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/Process.h"

#include <chrono>
#include <cstdio>
#include <cstring>
#include <new>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

using llvm::StringRef;

namespace fovea {
namespace {

/// Calls of one kernel. Kernel K has those numbered from K times this on.
constexpr int64_t callsPerKernel = 20;
/// A kernel is compiled and called within this, or hangs.
constexpr unsigned secondsPerKernel = 300;
/// Kernels that shrinking a failure may compile, calls it may make of each, and
/// how long it begins others.
constexpr unsigned triesToShrink = 300, callsToShrink = 4,
                   secondsToShrink = 240;

constexpr const char *symbolNames[] = {"B", "M", "N", "C"};

enum class Outcome : uint8_t { Good, Refused, NotCompiled, BadCall, Crashed };

/// What a kernel's process leaves, in memory that it shares with this one.
struct Record {
  Outcome outcome = Outcome::Crashed; // unless it says otherwise
  int64_t number = -1;                // of the call begun last
  int64_t good = 0;                   // calls before it
  double worst = 0;                   // share of theirs
  /// Of the symbols in that call; -1 where there is none.
  int64_t extents[std::size(symbolNames)] = {-1, -1, -1, -1};
};

/// A record and what the process said.
struct Result {
  Record record;
  std::string log;
};

std::string formatSpec(const DrawnSpec &spec, StringRef indent) {
  std::string lines, text = spec.text();
  for (StringRef line : llvm::split(StringRef(text).rtrim(), '\n'))
    lines += (indent + line + "\n").str();
  return lines;
}

std::string describe(const Result &result) {
  static constexpr const char *what[] = {"", "the front end refuses the spec",
                                         "the spec does not compile",
                                         "a call fails", "a crash"};
  return what[static_cast<int>(result.record.outcome)] + std::string(": ") +
         StringRef(result.log).trim().str();
}

class Fuzzer {
public:
  Fuzzer(const CommandLine &line, llvm::ArrayRef<const Target *> targets)
      : line(line), targets(targets) {}
  int run();

private:
  const CommandLine &line;
  llvm::ArrayRef<const Target *> targets;
  bool isTerminal = llvm::sys::Process::StandardErrIsDisplayed();
  std::chrono::steady_clock::time_point begin =
      std::chrono::steady_clock::now();
  int64_t kernels = 0, cases = 0, failures = 0;
  std::map<std::string, double> worst; // by dtype

  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() -
                                         begin)
        .count();
  }
  void runChild(const DrawnCall &call, const Target &target, int64_t first,
                int64_t count, Record &record) const;
  llvm::Expected<Result> runKernel(const DrawnCall &call, const Target &target,
                                   int64_t first, int64_t count) const;
  llvm::Error checkKernel(int64_t kernel, const Target &target, int64_t first,
                          int64_t count);
  void report(int64_t kernel, const Target &target, const Result &failure);
  void reportShrunk(const Target &target, const DrawnSpec &spec,
                    const Result &failure) const;
  void showProgress() const;
  void clearProgress() const {
    if (isTerminal)
      llvm::errs() << "\r\033[K";
  }
};

/// In the kernel's process: all that it says goes to stderr.
void Fuzzer::runChild(const DrawnCall &call, const Target &target,
                      int64_t first, int64_t count, Record &record) const {
  Compilation compilation;
  record.outcome = Outcome::Refused;
  if (!compilation.open(
          llvm::MemoryBuffer::getMemBufferCopy(call.spec.text(), "drawn.yaml")))
    return;
  record.outcome = Outcome::Crashed;
  std::unique_ptr<LoadedKernel> loaded = compilation.load(&target);
  if (!loaded) {
    record.outcome = Outcome::NotCompiled;
    return;
  }
  const std::vector<std::string> &symbols = compilation.kernel().symbols;
  CallOptions fixed;
  for (const auto &[name, extent] : call.extents)
    if (llvm::is_contained(symbols, name))
      fixed.extents[name] = extent;
  CallChecker checker(compilation, loaded->get(), line.seed, fixed, line.limit);
  for (record.number = first; record.number != first + count; ++record.number) {
    llvm::Expected<double> share = checker.run(record.number);
    for (auto [name, extent] : llvm::zip(symbolNames, record.extents)) {
      auto it = llvm::find(symbols, name);
      extent =
          it == symbols.end() ? -1 : checker.extents()[it - symbols.begin()];
    }
    if (!share) {
      record.outcome = Outcome::BadCall;
      llvm::errs() << llvm::toString(share.takeError()) << "\n";
      return;
    }
    ++record.good;
    record.worst = std::max(record.worst, *share);
  }
  record.outcome = Outcome::Good;
}

/// Compiles the spec and makes calls of it until one fails.
llvm::Expected<Result> Fuzzer::runKernel(const DrawnCall &call,
                                         const Target &target, int64_t first,
                                         int64_t count) const {
  void *shared = mmap(nullptr, sizeof(Record), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  std::unique_ptr<std::FILE, int (*)(std::FILE *)> log(std::tmpfile(),
                                                       std::fclose);
  auto failure = [&](const char *what) {
    return llvm::createStringError(std::errc::resource_unavailable_try_again,
                                   "%s: %s", what, std::strerror(errno));
  };
  if (shared == MAP_FAILED || !log)
    return failure("cannot share memory or a file with a process");
  auto *record = new (shared) Record;
  pid_t child = fork();
  if (child < 0)
    return failure("cannot start a process");
  if (child == 0) {
    leaveCrashesToParent();
    dup2(fileno(log.get()), STDERR_FILENO);
    alarm(secondsPerKernel);
    runChild(call, target, first, count, *record);
    _exit(ExitSuccess);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR)
    ;
  Result result{*record, ""};
  munmap(shared, sizeof(Record));
  if (std::fseek(log.get(), 0, SEEK_SET) != 0)
    return failure("cannot read what a process said");
  char buffer[4096];
  while (size_t bytes = std::fread(buffer, 1, sizeof(buffer), log.get()))
    result.log.append(buffer, bytes);
  if (WIFSIGNALED(status)) {
    result.record.outcome = Outcome::Crashed;
    result.log += WTERMSIG(status) == SIGALRM
                      ? "gave no answer in " +
                            std::to_string(secondsPerKernel) + " seconds"
                      : std::string("the process was killed: ") +
                            strsignal(WTERMSIG(status));
  } else if (WEXITSTATUS(status) != ExitSuccess) {
    result.record.outcome = Outcome::Crashed;
  }
  return result;
}

void Fuzzer::report(int64_t kernel, const Target &target,
                    const Result &failure) {
  clearProgress();
  llvm::errs() << "kernel " << kernel << " (" << target.isa << "), "
               << describe(failure) << "\n  again: fovea check --fuzz --seed "
               << line.seed << " --kernel " << kernel;
  if (failure.record.number >= 0)
    llvm::errs() << " --case " << failure.record.number;
  llvm::errs() << " --target cpu:" << target.isa << "\n";
}

void Fuzzer::reportShrunk(const Target &target, const DrawnSpec &spec,
                          const Result &failure) const {
  auto takeExtents = [](DrawnCall &call, const Record &record) {
    call.extents.clear();
    for (auto [name, extent] : llvm::zip(symbolNames, record.extents))
      if (extent >= 0)
        call.extents[name] = extent;
  };
  DrawnCall call{spec, {}};
  takeExtents(call, failure.record);
  Result last = failure;
  // A spec with less in it draws other tensors: some calls are tried.
  bool hasCall = failure.record.number >= 0;
  double end = seconds() + secondsToShrink;
  DrawnCall least = shrink(call, triesToShrink, [&](DrawnCall &simpler) {
    if (seconds() > end)
      return false;
    llvm::Expected<Result> result =
        runKernel(simpler, target, std::max<int64_t>(last.record.number, 0),
                  hasCall ? callsToShrink : 0);
    if (!result) {
      llvm::consumeError(result.takeError());
      return false;
    }
    if (result->record.outcome != failure.record.outcome)
      return false;
    // A cache holds the new tokens, however small it was to be.
    DrawnCall ran = simpler;
    takeExtents(ran, result->record);
    for (const auto &[name, extent] : ran.extents)
      if (auto it = simpler.extents.find(name);
          it != simpler.extents.end() && it->second != extent)
        return false;
    simpler = std::move(ran);
    last = std::move(*result);
    return true;
  });
  llvm::errs() << "  the spec:\n"
               << formatSpec(spec, "    ") << "  shrunk to shrunk.yaml:\n"
               << formatSpec(least.spec, "    ")
               << "  again: fovea check shrunk.yaml --seed " << line.seed;
  if (hasCall)
    llvm::errs() << " --case " << last.record.number;
  StringRef separator = " --shape ";
  for (const auto &[name, extent] : least.extents) {
    llvm::errs() << separator << name << "=" << extent;
    separator = ",";
  }
  llvm::errs() << " --target cpu:" << target.isa << "\n  " << describe(last)
               << "\n";
}

llvm::Error Fuzzer::checkKernel(int64_t kernel, const Target &target,
                                int64_t first, int64_t count) {
  DrawnSpec spec = drawSpec(line.seed, kernel);
  std::optional<Result> failure;
  for (int64_t next = first; next != first + count;) {
    llvm::Expected<Result> result =
        runKernel({spec, {}}, target, next, first + count - next);
    if (!result)
      return result.takeError();
    const Record &record = result->record;
    cases += record.good;
    double &share = worst[spec.dtype];
    share = std::max(share, record.worst);
    if (record.outcome == Outcome::Good)
      break;
    ++failures;
    ++cases;
    report(kernel, target, *result);
    next = record.number + 1;
    // Without a call, the others would end like this one.
    bool isEnd = record.number < 0;
    if (!failure)
      failure = std::move(*result);
    if (isEnd)
      break;
  }
  // A kernel's failures mostly have one cause.
  if (failure)
    reportShrunk(target, spec, *failure);
  return llvm::Error::success();
}

void Fuzzer::showProgress() const {
  if (!isTerminal)
    return;
  double largest = 0;
  for (const auto &entry : worst)
    largest = std::max(largest, entry.second);
  llvm::errs() << "\r" << kernels << " kernels, " << cases << " cases, "
               << failures << " failed; largest error "
               << llvm::format("%.3f of the bound; %.0f cases/s", largest,
                               static_cast<double>(cases) / seconds())
               << "\033[K";
}

int Fuzzer::run() {
  int64_t limit = line.cases;
  if (limit == 0)
    limit = line.minutes > 0 ? INT64_MAX : 100;
  llvm::outs() << "seed " << line.seed << "\n";
  llvm::outs().flush();
  int64_t first = std::max<int64_t>(line.onlyKernel, 0);
  for (int64_t kernel = first; cases < limit; ++kernel) {
    for (const Target *target : targets) {
      int64_t call = kernel * callsPerKernel,
              count = std::min(callsPerKernel, limit - cases);
      if (line.onlyCase >= 0) {
        call = line.onlyCase;
        count = 1;
      }
      if (llvm::Error error = checkKernel(kernel, *target, call, count))
        return fail(ExitBadInput, std::move(error));
      showProgress();
      if (cases >= limit)
        break;
    }
    ++kernels;
    if (line.onlyKernel >= 0 ||
        (line.minutes > 0 && seconds() > 60 * line.minutes))
      break;
  }
  clearProgress();
  llvm::outs() << kernels << " kernels, " << cases << " cases, " << failures
               << " failed; largest error of the others as a share of the "
                  "bound:";
  for (const auto &[dtype, share] : worst)
    llvm::outs() << " " << dtype << " " << llvm::format("%.3f", share);
  llvm::outs() << "\n";
  return failures ? ExitBadInput : ExitSuccess;
}

} // namespace

int runFuzz(const CommandLine &line, llvm::ArrayRef<const Target *> targets) {
  return Fuzzer(line, targets).run();
}

} // namespace fovea
