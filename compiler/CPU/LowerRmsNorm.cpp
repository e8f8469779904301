// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// attn-cpu-lower-rms-norm: attn.rms_norm on memrefs of any rank, in place or
// not, becomes loops over rows: a sum of squares in vectors, then the scaling.
// Arithmetic is in f32, or f64 for f64 data. It must not be asked about
// tensors.

#include "compiler/CPU/Passes.h"
#include "compiler/CPU/Rows.h"
#include "compiler/CPU/VectorMath.h"
#include "dialects/attn/IR/AttnOps.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include "llvm/ADT/bit.h"

using namespace mlir;
using namespace fovea::attn;
using namespace fovea::cpu;

namespace fovea {
#define GEN_PASS_DEF_LOWERRMSNORM
#include "compiler/CPU/Passes.h.inc"
} // namespace fovea

/// Vectors summed side by side, to hide the latency of fused multiply-add.
static constexpr int64_t parallelSums = 4;

namespace {

/// Rows of `input` normalised into `output`, `lanes` elements at a time.
class RmsNormEmitter {
public:
  RmsNormEmitter(ImplicitLocOpBuilder &b, RmsNormOp op, ValueRange memrefs,
                 int64_t lanes)
      : b(b), op(op), input(memrefs[0]), output(memrefs[1]),
        weight(memrefs.size() > 2 ? memrefs[2] : Value()),
        width(memrefOf(input).getShape().back()),
        lanes(std::min<int64_t>(lanes, llvm::bit_floor(uint64_t(width)))),
        compute(getComputeType(memrefOf(input).getElementType())) {}

  void emitRow(ValueRange row) {
    FloatBuilder math(b, b.getLoc(), compute);
    Value mean = math.div(emitSumOfSquares(row), math.constant(double(width)));
    Value root = math::SqrtOp::create(
        b, math.add(mean, math.constant(op.getEps().convertToDouble())));
    Value scale = math.div(math.constant(1.0), root);
    forEachVector(b, width, lanes, [&](Value offset, int64_t lanes) {
      emitScaled(row, scale, offset, lanes);
    });
  }

private:
  Value load(Type type, ValueRange row, Value offset) {
    SmallVector<Value> indices(row);
    indices.push_back(offset);
    return loadConverted(b, b.getLoc(), type, input, indices);
  }

  Value emitSumOfSquares(ValueRange row) {
    int64_t step = lanes;
    if (lanes > 1)
      while (step < lanes * parallelSums && 2 * step <= width)
        step *= 2;
    Type type = getLaneType(compute, step);
    FloatBuilder math(b, b.getLoc(), type);
    int64_t whole = width - width % step;
    auto loop = scf::ForOp::create(b, createIndex(b, 0), createIndex(b, whole),
                                   createIndex(b, step), math.constant(0.0));
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(loop.getBody());
      Value x = load(type, row, loop.getInductionVar());
      scf::YieldOp::create(b, math.fma(x, x, loop.getRegionIterArg(0)));
    }
    Value sum = loop.getResult(0);
    if (whole != width) {
      // The remainder joins the first lanes.
      Value rest = load(VectorType::get({width - whole}, compute), row,
                        createIndex(b, whole));
      Value x = vector::InsertStridedSliceOp::create(
          b, rest, math.constant(0.0), ArrayRef<int64_t>{0},
          ArrayRef<int64_t>{1});
      sum = math.fma(x, x, sum);
    }
    // In halves: a vector.reduction would add one lane after the other.
    for (; step > 1; step /= 2) {
      auto half = [&](int64_t from) -> Value {
        return vector::ExtractStridedSliceOp::create(
            b, sum, ArrayRef<int64_t>{from}, ArrayRef<int64_t>{step / 2},
            ArrayRef<int64_t>{1});
      };
      Value low = half(0), high = half(step / 2);
      sum = arith::AddFOp::create(b, low, high);
    }
    if (isa<VectorType>(sum.getType()))
      sum = vector::ExtractOp::create(b, sum, 0);
    return sum;
  }

  void emitScaled(ValueRange row, Value scale, Value offset, int64_t lanes) {
    Type type = getLaneType(compute, lanes);
    FloatBuilder math(b, b.getLoc(), type);
    if (lanes > 1)
      scale = vector::BroadcastOp::create(b, type, scale);
    Value result = math.mul(load(type, row, offset), scale);
    if (weight) {
      Value factor = loadConverted(b, b.getLoc(), type, weight, offset);
      if (op.getUnitOffset())
        factor = math.add(factor, math.constant(1.0));
      result = math.mul(result, factor);
    }
    SmallVector<Value> indices(row);
    indices.push_back(offset);
    storeConverted(b, b.getLoc(), result, output, indices);
  }

  ImplicitLocOpBuilder &b;
  RmsNormOp op;
  Value input, output, weight;
  int64_t width, lanes;
  FloatType compute;
};

struct LowerRmsNormPass : fovea::impl::LowerRmsNormBase<LowerRmsNormPass> {
  using LowerRmsNormBase::LowerRmsNormBase;

  LogicalResult lower(ImplicitLocOpBuilder &b, RmsNormOp op) {
    MemRefType type = memrefOf(op.getInput());
    SmallVector<Value> memrefs = {op.getInput(), op.getOutput()};
    if (op.getWeight())
      memrefs.push_back(op.getWeight());
    int64_t lanes =
        vectorBits / getComputeType(type.getElementType()).getWidth();
    forEachStrideCase(
        b, memrefs, lanes, [&](ValueRange memrefs, int64_t lanes) {
          RmsNormEmitter emitter(b, op, memrefs, lanes);
          forEachRow(b, memrefs[0], 0, type.getRank() - 1,
                     [&](ValueRange row) { emitter.emitRow(row); });
        });
    return success();
  }

  void runOnOperation() override {
    if (failed(lowerOperations<RmsNormOp>(
            getOperation(), [&](auto &b, auto op) { return lower(b, op); })))
      signalPassFailure();
  }
};

} // namespace
