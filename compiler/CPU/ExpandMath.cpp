// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// attn-cpu-expand-math: math.exp, exp2, log, log2, tanh, sin and cos of floats
// or vectors of floats become arith operations and math.fma (VectorMath.h),
// because an unexpanded function would become one library call per lane. It
// must not be asked about tensors, nor about functions outside this list: those
// are left as they are.

#include "compiler/CPU/Passes.h"
#include "compiler/CPU/VectorMath.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/TypeUtilities.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"

using namespace mlir;
using namespace fovea::cpu;

namespace fovea {
#define GEN_PASS_DEF_EXPANDMATH
#include "compiler/CPU/Passes.h.inc"
} // namespace fovea

namespace {

template <typename Op, Value (FloatBuilder::*function)(Value)>
struct ExpandFunction : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;

  LogicalResult matchAndRewrite(Op op,
                                PatternRewriter &rewriter) const override {
    Type type = op.getType();
    auto element = dyn_cast<FloatType>(getElementTypeOrSelf(type));
    if (isa<TensorType>(type) || !element || element.getWidth() > 64)
      return failure();
    Location loc = op.getLoc();
    Value x = op.getOperand();
    Type compute = type;
    if (element.getWidth() < 32) {
      compute = rewriter.getF32Type();
      if (auto vector = dyn_cast<VectorType>(type))
        compute = vector.cloneWith(std::nullopt, compute);
      x = arith::ExtFOp::create(rewriter, loc, compute, x);
    }
    FloatBuilder builder(rewriter, loc, compute);
    Value result = (builder.*function)(x);
    if (compute != type)
      result = arith::TruncFOp::create(rewriter, loc, type, result);
    rewriter.replaceOp(op, result);
    return success();
  }
};

struct ExpandMathPass : fovea::impl::ExpandMathBase<ExpandMathPass> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<ExpandFunction<math::ExpOp, &FloatBuilder::exp>,
                 ExpandFunction<math::Exp2Op, &FloatBuilder::exp2>,
                 ExpandFunction<math::LogOp, &FloatBuilder::log>,
                 ExpandFunction<math::Log2Op, &FloatBuilder::log2>,
                 ExpandFunction<math::TanhOp, &FloatBuilder::tanh>,
                 ExpandFunction<math::SinOp, &FloatBuilder::sin>,
                 ExpandFunction<math::CosOp, &FloatBuilder::cos>>(
        &getContext());
    walkAndApplyPatterns(getOperation(), std::move(patterns));
  }
};

} // namespace
