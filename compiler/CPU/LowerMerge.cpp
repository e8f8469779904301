// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// attn-cpu-lower-merge: attn.merge and attn.finalize on memref states, acc^T
// [E][L] or acc [L][E] with max [L] and sum [L], become vector, scf and memref
// operations. From acc^T a row-major O is written through transpositions in
// registers. O is converted to its element type as it is stored. It must not be
// asked about tensors; it says so.

#include "compiler/CPU/Passes.h"
#include "compiler/CPU/Rows.h"
#include "compiler/CPU/Transpose.h"
#include "compiler/CPU/VectorMath.h"
#include "dialects/attn/IR/AttnOps.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include <limits>
#include <numeric>

using namespace mlir;
using namespace fovea::attn;
using namespace fovea::cpu;

namespace fovea {
#define GEN_PASS_DEF_LOWERMERGE
#include "compiler/CPU/Passes.h.inc"
} // namespace fovea

using Values = SmallVector<Value>;

static constexpr double infinity = std::numeric_limits<double>::infinity();

namespace {

/// A state's rows, taken `width` at a time.
class StateEmitter {
public:
  StateEmitter(Operation *op, Value acc, AffineMap accLayout)
      : b(op), loc(op->getLoc()), transposed(!accLayout.isIdentity()),
        columns(memrefOf(acc).getDimSize(transposed ? 0 : 1)),
        lanes(memrefOf(acc).getDimSize(transposed ? 1 : 0)),
        // 64 bytes at most; a target with shorter vectors splits them.
        longest(64 / (memrefOf(acc).getElementTypeBitWidth() / 8)),
        width(std::gcd(lanes, longest)),
        vectorType(VectorType::get({width}, memrefOf(acc).getElementType())),
        math(b, loc, vectorType) {}

  void emitMerge(MergeOp op);
  void emitFinalize(FinalizeOp op);

private:
  Value index(int64_t value) {
    return arith::ConstantIndexOp::create(b, loc, value);
  }
  Value load(Value memref, Values indices, Value lane) {
    indices.push_back(lane);
    return vector::LoadOp::create(b, loc, vectorType, memref, indices);
  }
  void store(Value value, Value memref, Values indices, Value lane) {
    indices.push_back(lane);
    vector::StoreOp::create(b, loc, value, memref, indices);
  }
  Value add(Value value, int64_t constant) {
    return arith::AddIOp::create(b, loc, value, index(constant));
  }
  void forEach(int64_t from, int64_t to, int64_t step,
               function_ref<void(Value)> body) {
    if (from == to)
      return;
    scf::ForOp::create(b, loc, index(from), index(to), index(step),
                       ValueRange(),
                       [&](OpBuilder &, Location, Value value, ValueRange) {
                         OpBuilder::InsertionGuard guard(b);
                         b.setInsertionPointToStart(value.getParentBlock());
                         body(value);
                         scf::YieldOp::create(b, loc);
                       });
  }
  /// m, or 0 for a row without keys, so that m - m is never NaN (rule M2).
  Value subtrahend(Value max) {
    return math.select(math.equal(max, math.constant(-infinity)),
                       math.constant(0.0), max);
  }
  void storeTile(Value acc, Value output, Value lane,
                 function_ref<Value(Value)> normalise);

  /// A vector of acc, and what holds for its elements of a vector over rows.
  struct Piece {
    Values indices;
    VectorType type;
    int64_t row; // of the vector's rows, which all elements belong to; or -1
  };
  /// Every piece of acc of the rows [lane, lane + width).
  void forEachPiece(Value lane, function_ref<void(const Piece &)> body);
  Value spread(Value rows, const Piece &piece);
  Value loadPiece(Value acc, const Piece &piece) {
    return vector::LoadOp::create(b, loc, piece.type, acc, piece.indices);
  }

  OpBuilder b;
  Location loc;
  bool transposed;
  int64_t columns, lanes, longest, width;
  VectorType vectorType;
  FloatBuilder math;
};

} // namespace

void StateEmitter::forEachPiece(Value lane,
                                function_ref<void(const Piece &)> body) {
  if (transposed) {
    forEach(0, columns, 1,
            [&](Value column) { body({{column, lane}, vectorType, -1}); });
    return;
  }
  ImplicitLocOpBuilder implicit(loc, b);
  for (int64_t row = 0; row < width; ++row)
    forEachVector(implicit, columns, longest, [&](Value column, int64_t count) {
      OpBuilder::InsertionGuard guard(b);
      b.restoreInsertionPoint(implicit.saveInsertionPoint());
      body({{add(lane, row), column},
            VectorType::get({count}, vectorType.getElementType()),
            row});
    });
}

Value StateEmitter::spread(Value rows, const Piece &piece) {
  if (piece.row < 0)
    return rows;
  return vector::BroadcastOp::create(
      b, loc,
      piece.type.cloneWith(std::nullopt,
                           cast<VectorType>(rows.getType()).getElementType()),
      vector::ExtractOp::create(b, loc, rows, piece.row));
}

void StateEmitter::emitMerge(MergeOp op) {
  forEach(0, lanes, width, [&](Value lane) {
    Value max = load(op.getMax(), {}, lane),
          otherMax = load(op.getOtherMax(), {}, lane);
    Value newMax = math.maxOrSecond(otherMax, max);
    Value base = subtrahend(newMax);
    Value weight = math.expNonPositive(math.sub(max, base));
    Value otherWeight = math.expNonPositive(math.sub(otherMax, base));
    store(newMax, op.getMax(), {}, lane);
    Value sum = load(op.getSum(), {}, lane),
          otherSum = load(op.getOtherSum(), {}, lane);
    store(math.fma(sum, weight, math.mul(otherSum, otherWeight)), op.getSum(),
          {}, lane);
    forEachPiece(lane, [&](const Piece &piece) {
      FloatBuilder on(b, loc, piece.type);
      Value merged =
          on.fma(loadPiece(op.getAcc(), piece), spread(weight, piece),
                 on.mul(loadPiece(op.getOtherAcc(), piece),
                        spread(otherWeight, piece)));
      vector::StoreOp::create(b, loc, merged, op.getAcc(), piece.indices);
    });
  });
}

/// output[lane + l][e] = normalise(acc[e][lane + l]) for all e, l in [0,
/// width).
void StateEmitter::storeTile(Value acc, Value output, Value lane,
                             function_ref<Value(Value)> normalise) {
  SmallVector<int64_t> strides;
  int64_t offset;
  if (failed(memrefOf(output).getStridesAndOffset(strides, offset)))
    strides.assign(2, ShapedType::kDynamic);
  auto normalised = [&](Value column) {
    return normalise(load(acc, {column}, lane));
  };
  if (strides[0] == 1) {
    auto swapped =
        AffineMap::getPermutationMap(ArrayRef<unsigned>{1, 0}, b.getContext());
    Value columnMajor = memref::TransposeOp::create(
        b, loc, output, AffineMapAttr::get(swapped));
    forEach(0, columns, 1, [&](Value column) {
      storeConverted(b, loc, normalised(column), columnMajor, {column, lane});
    });
    return;
  }
  int64_t whole = strides[1] == 1 ? columns - columns % width : 0;
  forEach(0, whole, width, [&](Value column) {
    Values rows;
    for (int64_t u = 0; u < width; ++u)
      rows.push_back(normalised(add(column, u)));
    for (auto [l, row] : llvm::enumerate(transposeInRegisters(b, loc, rows)))
      storeConverted(b, loc, row, output, {add(lane, l), column});
  });
  forEach(whole, columns, 1, [&](Value column) {
    Value rows = normalised(column);
    for (int64_t l = 0; l < width; ++l)
      storeConverted(b, loc, vector::ExtractOp::create(b, loc, rows, l), output,
                     {add(lane, l), column});
  });
}

void StateEmitter::emitFinalize(FinalizeOp op) {
  ValueRange outputs(op.getOutputs());
  forEach(0, lanes, width, [&](Value lane) {
    Value max = load(op.getMax(), {}, lane), sum = load(op.getSum(), {}, lane);
    Value weight;
    if (Value sinks = op.getSinks()) {
      // Rule M7: a sink joins the denominator.
      Value sink = load(sinks, {}, lane);
      Value newMax = math.maxOrSecond(sink, max);
      Value base = subtrahend(newMax);
      weight = math.expNonPositive(math.sub(max, base));
      sum = math.fma(sum, weight, math.expNonPositive(math.sub(sink, base)));
      max = newMax;
    }
    // Rule M2: a row without keys is 0 and its LSE -inf.
    Value zero = math.constant(0.0), empty = math.equal(sum, zero);
    Value divisor = math.select(empty, math.constant(1.0), sum);
    if (transposed)
      storeTile(op.getAcc(), outputs[0], lane, [&](Value acc) {
        if (weight)
          acc = math.mul(acc, weight);
        return math.select(empty, zero, math.div(acc, divisor));
      });
    else
      forEachPiece(lane, [&](const Piece &piece) {
        FloatBuilder on(b, loc, piece.type);
        Value acc = loadPiece(op.getAcc(), piece);
        if (weight)
          acc = on.mul(acc, spread(weight, piece));
        storeConverted(b, loc,
                       on.select(spread(empty, piece), on.constant(0.0),
                                 on.div(acc, spread(divisor, piece))),
                       outputs[0], piece.indices);
      });
    if (outputs.size() == 2) {
      Value lse = math.add(max, math.log(divisor));
      store(math.select(empty, math.constant(-infinity), lse), outputs[1], {},
            lane);
    }
  });
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

/// acc, max [L] and sum [L], static, with unit inner stride.
static LogicalResult checkState(Operation *op, ValueRange state) {
  for (Value operand : state)
    if (!isa<MemRefType>(operand.getType()))
      return op->emitOpError("must be on memrefs here; bufferize first");
  for (Value operand : state)
    if (!memrefOf(operand).hasStaticShape() ||
        !memrefOf(operand).isLastDimUnitStride())
      return op->emitOpError(
          "needs a state of static shape with unit inner stride");
  return success();
}

namespace {

struct LowerMergePass : fovea::impl::LowerMergeBase<LowerMergePass> {
  LogicalResult lower(MergeOp op) {
    if (failed(checkState(op, {op.getAcc(), op.getMax(), op.getSum(),
                               op.getOtherAcc(), op.getOtherMax(),
                               op.getOtherSum()})))
      return failure();
    StateEmitter(op, op.getAcc(), op.getAccLayout()).emitMerge(op);
    return success();
  }

  LogicalResult lower(FinalizeOp op) {
    SmallVector<Value> state = {op.getAcc(), op.getMax(), op.getSum()};
    if (op.getSinks())
      state.push_back(op.getSinks());
    if (op.getOutputs().size() == 2)
      state.push_back(op.getOutputs()[1]);
    if (failed(checkState(op, state)))
      return failure();
    Value output = op.getOutputs()[0];
    if (op.getAccLayout().isIdentity() &&
        !memrefOf(output).isLastDimUnitStride())
      return op.emitOpError(
          "needs an output with unit inner stride for acc as (m, e)");
    StateEmitter(op, op.getAcc(), op.getAccLayout()).emitFinalize(op);
    return success();
  }

  void runOnOperation() override {
    SmallVector<Operation *> ops;
    getOperation()->walk([&](Operation *op) {
      if (isa<MergeOp, FinalizeOp>(op))
        ops.push_back(op);
    });
    for (Operation *op : ops) {
      auto merge = dyn_cast<MergeOp>(op);
      if (failed(merge ? lower(merge) : lower(cast<FinalizeOp>(op))))
        return signalPassFailure();
      op->erase();
    }
  }
};

} // namespace
