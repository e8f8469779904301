// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Folds and canonicalisation of the attn dialect: regions that change nothing
// go, captures that are not read or are given twice go, casts are folded into
// the operations that read their results, and a merge with an empty state is
// the other state. A mask that is constantly false stays: that every row is
// empty is for the tiling to see (rule M2), not a reason to drop the operation.

#include "dialects/attn/IR/AttnOps.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace fovea::attn;

//===----------------------------------------------------------------------===//
// Casts
//===----------------------------------------------------------------------===//

// Memref casts are folded by the operations themselves. Tensor casts are folded
// by the tensor dialect for any operation in destination-passing style, except
// for those with regions, see below.
#define FOVEA_FOLD(OP)                                                         \
  LogicalResult OP::fold(FoldAdaptor, SmallVectorImpl<OpFoldResult> &) {       \
    return memref::foldMemRefCast(*this);                                      \
  }
FOVEA_FOLD(AttentionOp)
FOVEA_FOLD(RopeOp)
FOVEA_FOLD(RmsNormOp)
FOVEA_FOLD(AppendOp)
FOVEA_FOLD(PartialOp)
FOVEA_FOLD(MergeOp)
FOVEA_FOLD(FinalizeOp)
FOVEA_FOLD(GatherRowsOp)
FOVEA_FOLD(ScatterRowsOp)
#undef FOVEA_FOLD

//===----------------------------------------------------------------------===//
// Regions and captures
//===----------------------------------------------------------------------===//

namespace {
/// The tensor dialect's own pattern clones the operation, and cloning an empty
/// region that way crashes in MLIR 22; this one, which moves the regions, comes
/// first.
template <typename Op> struct FoldTensorCasts : OpRewritePattern<Op> {
  FoldTensorCasts(MLIRContext *ctx)
      : OpRewritePattern<Op>(ctx, /*benefit=*/2) {}

  LogicalResult matchAndRewrite(Op op,
                                PatternRewriter &rewriter) const override {
    if (!tensor::hasFoldableTensorCastOperand(op))
      return failure();
    SmallVector<Type> types(op->getResultTypes());
    SmallVector<Value> operands =
        tensor::getUpdatedOperandsAfterCastOpFolding(op, types);
    OperationState state(op.getLoc(), op->getName(), operands, types,
                         llvm::to_vector(op->getDiscardableAttrs()));
    state.propertiesAttr = op->getPropertiesAsAttribute();
    for (unsigned i = 0; i < op->getNumRegions(); ++i)
      state.addRegion();
    Operation *folded = rewriter.create(state);
    for (auto [from, to] :
         llvm::zip_equal(op->getRegions(), folded->getRegions()))
      rewriter.inlineRegionBefore(from, to, to.end());
    SmallVector<Value> results;
    for (auto [before, after] :
         llvm::zip_equal(op->getResults(), folded->getResults()))
      results.push_back(
          before.getType() == after.getType()
              ? Value(after)
              : Value(tensor::CastOp::create(rewriter, op.getLoc(),
                                             before.getType(), after)));
    rewriter.replaceOp(op, results);
    return success();
  }
};

/// After a cast was folded into a capture, the regions still take the type from
/// before.
template <typename Op> struct RefineCaptureTypes : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;

  LogicalResult matchAndRewrite(Op op,
                                PatternRewriter &rewriter) const override {
    SmallVector<std::pair<BlockArgument, Type>> stale;
    for (Region &region : op->getRegions()) {
      if (region.empty())
        continue;
      auto args = region.getArguments().take_back(op.getCaptures().size());
      for (auto [arg, capture] : llvm::zip_equal(args, op.getCaptures()))
        if (arg.getType() != capture.getType())
          stale.push_back({arg, capture.getType()});
    }
    if (stale.empty())
      return failure();
    rewriter.modifyOpInPlace(op, [&] {
      for (auto [arg, type] : stale)
        arg.setType(type);
    });
    return success();
  }
};

/// Captures that no region reads go; one given twice is passed once.
template <typename Op> struct RemoveCaptures : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;

  LogicalResult matchAndRewrite(Op op,
                                PatternRewriter &rewriter) const override {
    SmallVector<Region *> regions;
    for (Region &region : op->getRegions())
      if (!region.empty())
        regions.push_back(&region);
    auto argument = [&](Region *region, unsigned index) {
      return region->getArguments().take_back(op.getCaptures().size())[index];
    };
    for (unsigned index = 0; index < op.getCaptures().size(); ++index) {
      auto earlier = op.getCaptures().take_front(index);
      unsigned first =
          llvm::find(earlier, op.getCaptures()[index]) - earlier.begin();
      bool isUnused = llvm::all_of(regions, [&](Region *region) {
        return argument(region, index).use_empty();
      });
      if (first == index && !isUnused)
        continue;
      rewriter.modifyOpInPlace(op, [&] {
        for (Region *region : regions) {
          BlockArgument arg = argument(region, index);
          rewriter.replaceAllUsesWith(arg, argument(region, first));
          region->eraseArgument(arg.getArgNumber());
        }
        op.getCapturesMutable().erase(index);
        if (ArrayAttr names = op.getCaptureNamesAttr()) {
          SmallVector<Attribute> rest(names.getValue());
          rest.erase(rest.begin() + index);
          op.setCaptureNamesAttr(rest.empty() ? ArrayAttr()
                                              : rewriter.getArrayAttr(rest));
        }
      });
      return success();
    }
    return failure();
  }
};

/// A mask that is true everywhere and a score that yields what it got are the
/// same as none.
template <typename Op> struct DropTrivialRegions : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;

  LogicalResult matchAndRewrite(Op op,
                                PatternRewriter &rewriter) const override {
    auto yielded = [](Region &region) {
      return cast<YieldOp>(region.front().getTerminator()).getValue();
    };
    Region &score = op.getScore(), &mask = op.getMask();
    bool plainScore = !score.empty() && yielded(score) == score.getArgument(0);
    bool fullMask = !mask.empty() && matchPattern(yielded(mask), m_One());
    if (!plainScore && !fullMask)
      return failure();
    rewriter.modifyOpInPlace(op, [&] {
      if (plainScore)
        rewriter.eraseBlock(&score.front());
      if (fullMask)
        rewriter.eraseBlock(&mask.front());
    });
    return success();
  }
};
} // namespace

template <typename Op>
static void addRegionPatterns(RewritePatternSet &patterns) {
  patterns.add<FoldTensorCasts<Op>, RefineCaptureTypes<Op>, RemoveCaptures<Op>,
               DropTrivialRegions<Op>>(patterns.getContext());
}
void AttentionOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                              MLIRContext *) {
  addRegionPatterns<AttentionOp>(patterns);
}
void PartialOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                            MLIRContext *) {
  addRegionPatterns<PartialOp>(patterns);
}

//===----------------------------------------------------------------------===//
// attn.merge
//===----------------------------------------------------------------------===//

/// A state whose maxima are -inf holds no key.
static bool isEmptyState(Value max) {
  if (auto fill = max.getDefiningOp<linalg::FillOp>())
    return matchPattern(fill.value(), m_NegInfFloat());
  return matchPattern(max, m_NegInfFloat());
}

namespace {
struct MergeWithEmpty : OpRewritePattern<MergeOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(MergeOp op,
                                PatternRewriter &rewriter) const override {
    if (op.getResults().empty())
      return failure();
    SmallVector<Value> state = {op.getAcc(), op.getMax(), op.getSum()},
                       other = {op.getOtherAcc(), op.getOtherMax(),
                                op.getOtherSum()};
    for (const auto &[empty, kept] :
         {std::pair(op.getOtherMax(), state), std::pair(op.getMax(), other)}) {
      if (!isEmptyState(empty) ||
          !llvm::equal(ValueRange(kept).getTypes(), op.getResultTypes()))
        continue;
      rewriter.replaceOp(op, kept);
      return success();
    }
    return failure();
  }
};
} // namespace

void MergeOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                          MLIRContext *ctx) {
  patterns.add<MergeWithEmpty>(ctx);
}
