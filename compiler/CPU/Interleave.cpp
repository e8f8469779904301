// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// attn-cpu-interleave: the parts of cpu.interleave, straight-line code of
// independent work, become one sequence of operations in the block around it.
// The order is made from what operations cost: the part that has done the
// smaller share of its cycles goes next, so that matrix units and vector units
// are busy side by side from the first to the last operation. It must not be
// asked whether the parts are independent: cpu.interleave says that they are.

#include "compiler/CPU/Passes.h"
#include "dialects/cpu/IR/CpuOps.h"

#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace fovea::cpu;

namespace fovea {
#define GEN_PASS_DEF_INTERLEAVE
#include "compiler/CPU/Passes.h.inc"
} // namespace fovea

/// Cycles for which an operation keeps its unit busy. While tiles are
/// multiplied, one vector operation per cycle goes beside them.
static int64_t costOf(Operation *op) {
  return llvm::TypeSwitch<Operation *, int64_t>(op)
      .Case<amx::TileMulFOp, amx::TileStoreOp>([](auto) { return 16; })
      .Case<amx::TileLoadOp>([](auto) { return 8; })
      .Case<arith::ConstantOp>([](auto) { return 0; })
      .Default([](Operation *op) {
        auto isVector = llvm::IsaPred<VectorType>;
        return llvm::any_of(op->getOperandTypes(), isVector) ||
               llvm::any_of(op->getResultTypes(), isVector);
      });
}

namespace {

/// What is left of a part.
struct Part {
  Block *block;
  int64_t total = 0, done = 0;

  explicit Part(Region &region) : block(&region.front()) {
    for (Operation &op : *block)
      total += costOf(&op);
  }
  /// Whether this part has done a smaller share than `other`.
  bool isBehind(const Part &other) const {
    return done * other.total < other.done * total;
  }
  /// Moves the next operation that costs something, and those before it that do
  /// not, to the end of what lies before `point`.
  void advance(Operation *point) {
    for (int64_t cost = 0; cost == 0 && !block->empty();) {
      Operation &op = block->front();
      done += cost = costOf(&op);
      op.moveBefore(point);
    }
  }
};

struct InterleavePass : fovea::impl::InterleaveBase<InterleavePass> {
  using InterleaveBase::InterleaveBase;

  void runOnOperation() override {
    SmallVector<InterleaveOp> ops;
    getOperation().walk([&](InterleaveOp op) { ops.push_back(op); });
    for (InterleaveOp op : ops)
      interleave(op);
  }

  void interleave(InterleaveOp op) {
    auto parts = llvm::map_to_vector(
        op.getParts(), [](Region &region) { return Part(region); });
    if (explain) {
      InFlightDiagnostic remark = op.emitRemark("parts of ");
      llvm::interleave(
          parts, [&](const Part &part) { remark << part.total; },
          [&] { remark << " and "; });
      remark << " cycles, interleaved";
    }
    while (true) {
      Part *next = nullptr;
      for (Part &part : parts)
        if (!part.block->empty() && (!next || part.isBehind(*next)))
          next = &part;
      if (!next)
        break;
      next->advance(op);
    }
    op.erase();
  }
};

} // namespace
