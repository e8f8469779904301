// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// fovea explain: what a mask means and looks like, the work that is left, and
// the choices made for it.

#include "tools/fovea/Calibration.h"
#include "tools/fovea/Commands.h"
#include "tools/fovea/KernelCall.h"
#include "tools/fovea/Work.h"

#include "compiler/Artifact/OutputSet.h"
#include "compiler/Transforms/Passes.h"
#include "dialects/attn/IR/ExprRegion.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/Pass/PassManager.h"

#include "llvm/Support/FormatVariadic.h"

using llvm::Error;
using llvm::Expected;

namespace fovea {
namespace {

/// "1.50 M".
std::string formatCount(double value) {
  static constexpr const char *units[] = {"", " K", " M", " G", " T", " P"};
  size_t unit = 0;
  for (; value >= 1000 && unit + 1 < std::size(units); ++unit)
    value /= 1000;
  return llvm::formatv(unit ? "{0:F2}{1}" : "{0:F0}{1}", value, units[unit])
      .str();
}

/// Collects what the compiler says while it lives.
class DiagnosticCollector {
public:
  explicit DiagnosticCollector(mlir::MLIRContext *context)
      : handler(context, [this](mlir::Diagnostic &diagnostic) {
          bool isRemark =
              diagnostic.getSeverity() == mlir::DiagnosticSeverity::Remark;
          (isRemark ? remarks : refusals).push_back(diagnostic.str());
          return mlir::success();
        }) {}
  std::vector<std::string> remarks, refusals;

private:
  mlir::ScopedDiagnosticHandler handler;
};

class Explainer {
public:
  Explainer(Compilation &compilation, KernelCall &call, const Target &target,
            const CommandLine &line)
      : compilation(compilation), call(call), kernel(call.kernel),
        target(target), line(line), work(compilation, call), os(llvm::outs()) {}

  int run() {
    printInterface();
    if (!work.op) {
      os << "\nThe kernel has no attn.attention.\n";
      return ExitSuccess;
    }
    printExpressions();
    if (!printConfig())
      return compilation.exitCode;
    if (int code = printMask())
      return code;
    printWork();
    return printCode();
  }

private:
  Compilation &compilation;
  KernelCall &call;
  const KernelInterface &kernel;
  const Target &target;
  const CommandLine &line;
  AttentionWork work;
  llvm::raw_ostream &os;
  attn::ConfigAttr config;
  std::optional<analysis::TileGrid> grid;

  void printInterface() {
    os << kernel.name << "\n";
    for (const TensorArg &arg : kernel.args)
      os << "  " << stringifyRole(arg.role) << " " << arg.name << ": "
         << arg.dtype.name << kernel.formatShape(arg)
         << (arg.optional ? ", may be left out" : "") << "\n";
    for (const Parameter &param : kernel.params) {
      os << "  parameter " << param.name;
      if (param.defaultValue)
        os << ", " << *param.defaultValue << " by default";
      os << "\n";
    }
  }

  void printExpressions() {
    os << "\nmask\n";
    if (!work.mask) {
      os << "  not an expression of the language; evaluated for each pair\n";
    } else {
      os << "  by name       "
         << expr::print(work.context, *work.mask, {.sugar = true})
         << "\n  expanded      " << expr::print(work.context, *work.mask)
         << "\n";
    }
    if (!work.op.getScore().empty())
      if (auto score = attn::getScoreExpr(work.context, work.op))
        os << "score\n  " << expr::print(work.context, *score) << "\n";
    os << llvm::formatv("scale\n  {0:F6}\n", work.op.getScaleOrDefault());
  }

  /// The pass that chooses, asked to say why.
  bool printConfig() {
    mlir::OwningOpRef<mlir::ModuleOp> copy = compilation.source().clone();
    DiagnosticCollector collector(copy->getContext());
    mlir::PassManager manager(copy->getContext());
    SelectConfigOptions options = getConfigOptions(target);
    options.explain = true;
    manager.addNestedPass<mlir::func::FuncOp>(createSelectConfig(options));
    if (mlir::failed(manager.run(*copy))) {
      compilation.exitCode =
          failWithReproducer(makeUserError("attn-select-config failed"));
      return false;
    }
    copy->walk([&](attn::AttentionOp op) { config = op.getConfigAttr(); });
    os << "\nconfiguration for " << target.isa << "\n";
    for (const std::string &remark : collector.remarks)
      os << "  " << remark << "\n";
    os << llvm::formatv("  a tile is {0} folded query rows ({1} heads share a "
                        "key) by {2} keys\n",
                        config.getQueryTile(), work.op.getGroupSize(),
                        config.getKvTile());
    if (config.getKvChunk() != 0)
      os << llvm::formatv(
          "  with more than {0} keys, up to {1} tiles visit {2} "
          "keys in turn while a cache holds them\n",
          config.getLongKeys(), config.getChunkTiles(), config.getKvChunk());
    return true;
  }

  /// Query rows of a tile before the group is folded in.
  int64_t tileRows() {
    return std::max<int64_t>(1, config.getQueryTile() / work.op.getGroupSize());
  }

  int printMask() {
    if (!work.mask)
      return ExitSuccess;
    analysis::TileRanges ranges = analysis::computeTileRanges(
        work.context, *work.mask, config.getKvTile());
    os << "\ntiles for ";
    for (auto [name, value] : llvm::zip(kernel.symbols, call.symbols))
      os << name << "=" << *value << " ";
    grid = work.grid(tileRows(), config.getKvTile(), 0, 0);
    os << "(the first batch row and head)\n"
       << llvm::formatv(
              "  {0} empty (skipped), {1} partial (masked), {2} full (no mask "
              "code), of {3} x {4}\n",
              grid->getCount(analysis::TileClass::Empty),
              grid->getCount(analysis::TileClass::Partial),
              grid->getCount(analysis::TileClass::Full), grid->rows,
              grid->columns)
       << (ranges.isExact()
               ? "  bounds: closed form, exact; no tile needs the classifier\n"
               : "  bounds: closed form, and the interval classifier for the "
                 "tiles it leaves open\n");
    if (grid->undecided)
      os << "  undecided: " << grid->undecided
         << " of the partial tiles, kept with their mask\n";
    for (size_t k = 0; k != kernel.args.size(); ++k)
      if (call.isIntegerInput(k))
        os << "  " << kernel.args[k].name << " is taken to be "
           << call.assumedValue(k) << " everywhere; --value "
           << kernel.args[k].name << "=NUMBER says otherwise\n";
    analysis::PictureOptions options;
    options.ascii = line.ascii;
    os << analysis::drawText(*grid, options);
    if (line.svg.empty())
      return ExitSuccess;
    OutputSet files;
    files.add(line.svg, analysis::drawSvg(*grid, options));
    if (Error error = files.commit())
      return fail(ExitBadInput, std::move(error));
    return ExitSuccess;
  }

  /// Keys in some tile that is not skipped.
  int64_t keysRead(int64_t keys) const {
    if (!grid)
      return keys;
    std::vector<bool> read(grid->columns, false);
    for (const auto &row : grid->segments)
      for (const analysis::Segment &segment : row)
        if (segment.tileClass != analysis::TileClass::Empty)
          std::fill(read.begin() + segment.begin, read.begin() + segment.end,
                    true);
    return std::min<int64_t>(keys,
                             llvm::count(read, true) * config.getKvTile());
  }

  void printWork() {
    double pairs = work.attendedPairs();
    double operations = work.operations(pairs);
    double batches = call.extent("B"), rows = call.extent("M");
    int64_t keys = work.keyCount();
    double all = work.operations(batches * work.op.getQueryHeads() * rows *
                                 static_cast<double>(keys));
    double width = work.op.getQkWidth() + work.op.getValueWidth();
    double size = static_cast<double>(kernel.args[0].dtype.bytes());
    double bytes = size * batches * width *
                   (rows * work.op.getQueryHeads() +
                    static_cast<double>(keysRead(keys)) * work.op.getKvHeads());
    os << "\nwork\n"
       << "  operations    " << formatCount(operations) << "FLOP of "
       << formatCount(all) << "FLOP without the mask\n"
       << "  bytes         " << formatCount(bytes)
       << "B at least: Q, O, and the keys and values not skipped, once\n";
    if (bytes <= 0)
      return;
    os << llvm::formatv("  intensity     {0:F2} FLOP/B\n", operations / bytes);
    uint64_t found = fovea_cpu_features();
    if (target.runtimeFeatures & ~found) {
      os << "  no roofline: this machine does not run " << target.isa << "\n";
      return;
    }
    double rate = measureFmaRate(target, kernel.args[0].dtype.bits == 64, 1);
    double bandwidth = measureReadBandwidth(1);
    double compute = operations / rate, memory = bytes / bandwidth;
    os << llvm::formatv(
        "  roofline      an estimate, one thread, from {0}FLOP/s and {1}B/s "
        "measured now:\n                at least {2:F3} ms, bound by {3}\n",
        formatCount(rate), formatCount(bandwidth),
        std::max(compute, memory) * 1e3,
        compute >= memory ? "arithmetic" : "memory");
  }

  /// Whether it compiles, and what a call needs beside its tensors.
  int printCode() {
    std::unique_ptr<LoadedKernel> loaded;
    std::vector<std::string> refusals;
    {
      DiagnosticCollector collector(compilation.source().getContext());
      loaded = compilation.load({&target});
      refusals = std::move(collector.refusals);
    }
    os << "\ncode for " << target.isa << "\n";
    for (const std::string &refusal : refusals)
      os << "  refused: " << refusal << "\n";
    if (!loaded)
      return compilation.exitCode;
    Expected<ContextPtr> context = createContext(1);
    if (!context)
      return fail(ExitBadInput, context.takeError());
    Invocation invoke(loaded->get(), call, context->get());
    size_t bytes = invoke.workspaceSize();
    if (bytes == FOVEA_WORKSPACE_ERROR)
      os << "  workspace     " << fovea_last_error() << "\n";
    else
      os << "  workspace     " << formatCount(static_cast<double>(bytes))
         << "B with one thread\n";
    if (refusals.empty())
      os << "  nothing was refused\n";
    return ExitSuccess;
  }
};

} // namespace

int runExplain(const CommandLine &line) {
  Expected<CallOptions> options = parseCallOptions(line);
  if (!options)
    return fail(ExitUsage, options.takeError());
  Compilation compilation;
  if (!compilation.open(line.input))
    return compilation.exitCode;
  KernelCall call(compilation);
  // Extents that are not given: one sequence of a length that shows a mask.
  for (auto [name, value] : llvm::zip(call.kernel.symbols, call.symbols))
    value = name == "B" ? 1 : 1024;
  for (std::optional<int64_t> &value : call.params)
    value = value.value_or(128);
  if (Error error = call.set(*options))
    return fail(ExitBadInput, std::move(error));
  return Explainer(compilation, call, *options->target, line).run();
}

} // namespace fovea
