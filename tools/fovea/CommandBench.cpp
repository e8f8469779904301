// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// fovea bench: the time of a kernel beside what the machine can do, measured in
// turns so that both see the same clock and the same neighbours.

#include "tools/fovea/Calibration.h"
#include "tools/fovea/Commands.h"
#include "tools/fovea/KernelCall.h"
#include "tools/fovea/Work.h"

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"

#include <chrono>

using llvm::Error;
using llvm::Expected;

namespace fovea {
namespace {

using Clock = std::chrono::steady_clock;

double median(std::vector<double> values) {
  llvm::sort(values);
  size_t half = values.size() / 2;
  return values.size() % 2 ? values[half]
                           : (values[half - 1] + values[half]) / 2;
}

struct Measurement {
  std::vector<double> seconds; // of one call, by rounds
  std::vector<double> shares;  // of the rate calibrated in the same round
  std::vector<double> rates;   // calibrated
};

Expected<Measurement> measure(Invocation &invoke, const Target &target,
                              bool isDouble, int64_t threads, double operations,
                              unsigned rounds) {
  // A round lasts long enough for the clock's grain.
  constexpr double roundSeconds = 0.02;
  auto timeCalls = [&](int64_t count) -> Expected<double> {
    Clock::time_point begin = Clock::now();
    for (int64_t k = 0; k < count; ++k)
      if (Error error = invoke())
        return std::move(error);
    return std::chrono::duration<double>(Clock::now() - begin).count() / count;
  };
  // The first call touches the memory.
  Expected<double> warm = timeCalls(1);
  if (warm)
    warm = timeCalls(1);
  if (!warm)
    return warm.takeError();
  int64_t calls = std::max<int64_t>(
      1, static_cast<int64_t>(roundSeconds / std::max(*warm, 1e-9)));
  Measurement result;
  for (unsigned round = 0; round < rounds; ++round) {
    double rate = measureFmaRate(target, isDouble, threads);
    Expected<double> seconds = timeCalls(calls);
    if (!seconds)
      return seconds.takeError();
    result.rates.push_back(rate);
    result.seconds.push_back(*seconds);
    result.shares.push_back(operations / *seconds / rate);
  }
  return result;
}

} // namespace

int runBench(const CommandLine &line) {
  Expected<CallOptions> options = parseCallOptions(line);
  if (!options)
    return fail(ExitUsage, options.takeError());
  if (!line.rounds)
    return fail(ExitUsage, "--rounds: at least one round is needed");
  Compilation compilation;
  if (!compilation.open(line.input))
    return compilation.exitCode;
  KernelCall call(compilation);
  auto prepare = [&]() -> Error {
    if (Error error = call.set(*options))
      return error;
    if (Error error = call.checkComplete())
      return error;
    for (size_t k = 0; k != call.kernel.args.size(); ++k)
      if (Error error = call.isIntegerInput(k)
                            ? call.makeFilled(k, call.assumedValue(k))
                            : call.makeRandom(k, k + 1))
        return error;
    return Error::success();
  };
  if (Error error = prepare())
    return fail(ExitBadInput, std::move(error));
  AttentionWork work(compilation, call);
  if (!work.op)
    return fail(ExitBadInput, "the kernel has no attn.attention to time");

  std::unique_ptr<LoadedKernel> kernel = compilation.load({options->target});
  if (!kernel)
    return compilation.exitCode;
  Expected<ContextPtr> context = createContext(line.threads);
  if (!context)
    return fail(ExitBadInput, context.takeError());
  Invocation invoke(kernel->get(), call, context->get());
  int64_t threads = fovea_context_threads(context->get());
  bool isDouble = call.kernel.args[0].dtype.bits == 64;
  double operations = work.operations(work.attendedPairs());
  Expected<Measurement> measured = measure(invoke, *options->target, isDouble,
                                           threads, operations, line.rounds);
  if (!measured)
    return fail(ExitBadInput, measured.takeError());

  double seconds = median(measured->seconds), rate = median(measured->rates),
         share = median(measured->shares);
  double best = *llvm::min_element(measured->seconds);
  llvm::raw_ostream &os = llvm::outs();
  if (line.json) {
    llvm::json::OStream json(os, /*IndentSize=*/2);
    json.object([&] {
      json.attribute("kernel", call.kernel.name);
      json.attribute("isa", options->target->isa);
      json.attribute("threads", threads);
      json.attributeObject("shape", [&] {
        for (auto [name, value] : llvm::zip(call.kernel.symbols, call.symbols))
          json.attribute(name, *value);
      });
      json.attributeObject("values", [&] {
        for (size_t k = 0; k != call.kernel.args.size(); ++k)
          if (call.isIntegerInput(k))
            json.attribute(call.kernel.args[k].name, call.assumedValue(k));
      });
      json.attribute("rounds", static_cast<int64_t>(line.rounds));
      json.attribute("median_seconds", seconds);
      json.attribute("least_seconds", best);
      json.attribute("operations", operations);
      json.attribute("operations_per_second", operations / seconds);
      json.attribute("fma_operations_per_second", rate);
      json.attribute("share_of_fma_rate", share);
      json.attribute("workspace_bytes",
                     static_cast<int64_t>(invoke.workspaceSize()));
    });
    os << "\n";
    return ExitSuccess;
  }
  os << call.kernel.name << " on " << options->target->isa << ", " << threads
     << (threads == 1 ? " thread" : " threads");
  for (auto [name, value] : llvm::zip(call.kernel.symbols, call.symbols))
    os << ", " << name << "=" << *value;
  for (size_t k = 0; k != call.kernel.args.size(); ++k)
    if (call.isIntegerInput(k))
      os << ", " << call.kernel.args[k].name << "=" << call.assumedValue(k);
  os << llvm::formatv(
      "\n  time         {0:F4} ms, median of {1} rounds; least {2:F4} ms\n"
      "  work         {3:F3} GFLOP in the two products, masked pairs left out\n"
      "  rate         {4:F1} GFLOP/s\n"
      "  FMA rate     {5:F1} GFLOP/s, calibrated in the same rounds\n"
      "  share        {6:F1} %\n"
      "  workspace    {7} bytes\n",
      seconds * 1e3, line.rounds, best * 1e3, operations * 1e-9,
      operations / seconds * 1e-9, rate * 1e-9, share * 100,
      invoke.workspaceSize());
  return ExitSuccess;
}

} // namespace fovea
