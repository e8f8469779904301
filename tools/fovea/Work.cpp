// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Counting on masks: see Work.h.

#include "tools/fovea/Work.h"

#include "dialects/attn/IR/ExprRegion.h"

using fovea::expr::Var;

namespace fovea {

AttentionWork::AttentionWork(Compilation &compilation, const KernelCall &call)
    : call(call), batches(call.extent("B")), rows(call.extent("M")),
      keys(call.extent("N")) {
  if (const TensorArg *past = call.kernel.findArg("past"))
    keys = call.assumedValue(past - call.kernel.args.data()) + rows;
  compilation.source().walk([&](attn::AttentionOp found) { op = found; });
  if (op)
    mask = attn::getMaskExpr(context, op);
  for (auto [param, value] : llvm::zip(call.kernel.params, call.params))
    params[param.name] = value.value_or(0);
}

analysis::TileGrid AttentionWork::grid(int64_t tileRows, int64_t tileKeys,
                                       int64_t b, int64_t h) {
  auto assumed = [&](expr::Expr load, llvm::ArrayRef<int64_t>) {
    const TensorArg *arg = call.kernel.findArg(load.getName());
    return std::optional<expr::Value>(expr::Value::ofInt(
        arg ? call.assumedValue(arg - call.kernel.args.data()) : keys));
  };
  expr::Environment environment;
  environment.params = &params;
  environment.load = assumed;
  environment[Var::b] = b;
  environment[Var::h] = h;
  environment[Var::B] = batches;
  environment[Var::H] = op.getQueryHeads();
  environment[Var::G] = op.getKvHeads();
  environment[Var::M] = rows;
  environment[Var::N] = keys;
  environment[Var::D] = op.getQkWidth();
  return analysis::computeTileGrid(context, *mask, tileRows, tileKeys,
                                   environment);
}

double AttentionWork::attendedPairs() {
  double heads = static_cast<double>(op.getQueryHeads());
  if (!mask)
    return static_cast<double>(batches) * heads * rows * keys;
  // Tiles of one pair. Batch rows and heads that the mask does not tell apart
  // are counted once.
  int64_t differentRows = mask->uses(Var::b) ? batches : batches != 0;
  int64_t differentHeads = mask->uses(Var::h) ? op.getQueryHeads() : 1;
  double pairs = 0;
  for (int64_t b = 0; b < differentRows; ++b)
    for (int64_t h = 0; h < differentHeads; ++h) {
      analysis::TileGrid counted = grid(1, 1, b, h);
      pairs += counted.getCount(analysis::TileClass::Full) +
               counted.getCount(analysis::TileClass::Partial);
    }
  if (!differentRows)
    return 0;
  return pairs * batches / differentRows * heads / differentHeads;
}

double AttentionWork::operations(double pairs) {
  return 2 * pairs * (op.getQkWidth() + op.getValueWidth());
}

} // namespace fovea
