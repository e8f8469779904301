// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// TilingInterface of the attn dialect.
//
// attn.attention: the parallel loops are (b, g, r, m), that is batch, kv head,
// query head in the group and query row. A tile is again an attn.attention, on
// slices, with `origin` and `extents` telling its regions where it sits. A tile
// takes whole groups, or part of one group; anything else is no attention on
// regular slices and is refused. Keys are not tiled here: that needs the
// partial form.
//
// attn.rope and attn.rms_norm: every dimension but the last is a parallel loop,
// so that a row operation is pulled into the loop that reads its rows.

#include "dialects/attn/IR/AttnOps.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace fovea::attn;

namespace {
enum ParallelLoop : unsigned { LoopB, LoopG, LoopR, LoopM, NumParallelLoops };
} // namespace

static OpFoldResult dimOf(OpBuilder &b, Location loc, Value value,
                          int64_t dim) {
  auto type = cast<ShapedType>(value.getType());
  if (!type.isDynamicDim(dim))
    return b.getIndexAttr(type.getDimSize(dim));
  if (isa<RankedTensorType>(type))
    return b.createOrFold<tensor::DimOp>(loc, value, dim);
  return b.createOrFold<memref::DimOp>(loc, value, dim);
}

static Value slice(OpBuilder &b, Location loc, Value value,
                   ArrayRef<OpFoldResult> offsets,
                   ArrayRef<OpFoldResult> sizes) {
  SmallVector<OpFoldResult> strides(offsets.size(), b.getIndexAttr(1));
  if (isa<RankedTensorType>(value.getType()))
    return tensor::ExtractSliceOp::create(b, loc, value, offsets, sizes,
                                          strides);
  return memref::SubViewOp::create(b, loc, value, offsets, sizes, strides);
}

/// The extents of the loops (b, g, r, m).
static SmallVector<OpFoldResult> loopExtents(AttentionOp op, OpBuilder &b) {
  AffineMap map = op.getMaps()[0];
  auto extent = [&](unsigned dim) {
    for (auto [position, expr] : llvm::enumerate(map.getResults()))
      if (expr.isFunctionOfDim(dim))
        return dimOf(b, op.getLoc(), op.getQuery(), position);
    llvm_unreachable("the verifier checked that q uses every loop");
  };
  return {extent(0), b.getIndexAttr(op.getKvHeads()),
          b.getIndexAttr(op.getGroupSize()), extent(3)};
}

SmallVector<utils::IteratorType> AttentionOp::getLoopIteratorTypes() {
  return SmallVector<utils::IteratorType>(NumParallelLoops,
                                          utils::IteratorType::parallel);
}

SmallVector<Range> AttentionOp::getIterationDomain(OpBuilder &b) {
  SmallVector<Range> domain;
  for (OpFoldResult extent : loopExtents(*this, b))
    domain.push_back({b.getIndexAttr(0), extent, b.getIndexAttr(1)});
  return domain;
}

/// Where a tile lies in the operand that `map` indexes. Dimensions that are not
/// tiled (keys, widths) are taken whole.
static void tilePosition(AttentionOp op, OpBuilder &b, Value operand,
                         AffineMap map, ArrayRef<OpFoldResult> offsets,
                         ArrayRef<OpFoldResult> sizes,
                         SmallVectorImpl<OpFoldResult> &sliceOffsets,
                         SmallVectorImpl<OpFoldResult> &sliceSizes) {
  Location loc = op.getLoc();
  AffineExpr x, y;
  bindDims(op.getContext(), x, y);
  for (auto [position, expr] : llvm::enumerate(map.getResults())) {
    if (expr.isFunctionOfDim(2)) { // head of a query-side operand: g * R + r
      sliceOffsets.push_back(affine::makeComposedFoldedAffineApply(
          b, loc, x * op.getGroupSize() + y, {offsets[LoopG], offsets[LoopR]}));
      sliceSizes.push_back(affine::makeComposedFoldedAffineApply(
          b, loc, x * y, {sizes[LoopG], sizes[LoopR]}));
      continue;
    }
    std::optional<unsigned> loop;
    if (expr.isFunctionOfDim(0))
      loop = LoopB;
    else if (expr.isFunctionOfDim(1))
      loop = LoopG;
    else if (expr.isFunctionOfDim(3))
      loop = LoopM;
    sliceOffsets.push_back(loop ? offsets[*loop]
                                : OpFoldResult(b.getIndexAttr(0)));
    sliceSizes.push_back(loop ? sizes[*loop]
                              : dimOf(b, loc, operand, position));
  }
}

FailureOr<TilingResult>
AttentionOp::getTiledImplementation(OpBuilder &b,
                                    ArrayRef<OpFoldResult> offsets,
                                    ArrayRef<OpFoldResult> sizes) {
  std::optional<int64_t> kvHeads = getConstantIntValue(sizes[LoopG]);
  std::optional<int64_t> group = getConstantIntValue(sizes[LoopR]);
  if (!kvHeads || !group || (*group != getGroupSize() && *kvHeads != 1))
    return emitOpError(
        "a tile must take whole groups of query heads, or part of "
        "one group, of constant size (rule S1)");
  Location loc = getLoc();
  SmallVector<AffineMap> maps = getMaps();
  SmallVector<Operation *> slices;
  auto sliced = [&](Value operand, AffineMap map) -> Value {
    SmallVector<OpFoldResult> at, extent;
    tilePosition(*this, b, operand, map, offsets, sizes, at, extent);
    Value tile = slice(b, loc, operand, at, extent);
    slices.push_back(tile.getDefiningOp());
    return tile;
  };
  Value query = sliced(getQuery(), maps[0]), key = sliced(getKey(), maps[1]),
        value = sliced(getValue(), maps[2]);
  SmallVector<Value> outputs;
  for (auto [output, map] :
       llvm::zip_equal(getOutputs(), ArrayRef(maps).drop_front(3)))
    outputs.push_back(sliced(output, map));

  AffineExpr x, y, z;
  bindDims(getContext(), x, y, z);
  OpFoldResult head = affine::makeComposedFoldedAffineApply(
      b, loc, x * getGroupSize() + y, {offsets[LoopG], offsets[LoopR]});
  Value lengths = getLengths(), sinks = getSinks();
  if (lengths)
    lengths = slice(b, loc, lengths, offsets[LoopB], sizes[LoopB]);
  if (sinks)
    sinks = slice(b, loc, sinks, head,
                  OpFoldResult(b.getIndexAttr(*kvHeads * *group)));

  // The regions of the tile still speak of the whole problem.
  SmallVector<OpFoldResult> start = {offsets[LoopB], head, offsets[LoopM],
                                     b.getIndexAttr(0)};
  SmallVector<Value> origin, extents(getExtents());
  for (auto [index, offset] : llvm::enumerate(start)) {
    OpFoldResult total = offset;
    if (!getOrigin().empty())
      total = affine::makeComposedFoldedAffineApply(
          b, loc, x + y, {offset, OpFoldResult(getOrigin()[index])});
    origin.push_back(getValueOrCreateConstantIndexOp(b, loc, total));
  }
  if (extents.empty()) {
    SmallVector<OpFoldResult> loops = loopExtents(*this, b);
    unsigned keyDim = 0;
    for (auto [position, expr] : llvm::enumerate(maps[1].getResults()))
      if (expr.isFunctionOfDim(4))
        keyDim = position;
    for (OpFoldResult extent :
         {loops[LoopB], OpFoldResult(b.getIndexAttr(getQueryHeads())),
          OpFoldResult(b.getIndexAttr(getKvHeads())), loops[LoopM],
          dimOf(b, loc, getKey(), keyDim)})
      extents.push_back(getValueOrCreateConstantIndexOp(b, loc, extent));
  }

  ArrayAttr tiledMaps;
  if (getIndexingMaps()) {
    // Same layouts, with the head expression of the tile's group.
    AffineExpr g = getAffineDimExpr(1, getContext()),
               r = getAffineDimExpr(2, getContext());
    SmallVector<AffineMap> list;
    for (AffineMap map : maps) {
      SmallVector<AffineExpr> exprs(map.getResults());
      for (AffineExpr &expr : exprs)
        if (expr.isFunctionOfDim(2))
          expr = g * *group + r;
      list.push_back(AffineMap::get(7, 0, exprs, getContext()));
    }
    tiledMaps = b.getAffineMapArrayAttr(list);
  }
  SmallVector<Type> resultTypes;
  for (Value output : outputs)
    if (isa<RankedTensorType>(output.getType()))
      resultTypes.push_back(output.getType());
  auto tiled = AttentionOp::create(
      b, loc, resultTypes, query, key, value, lengths, sinks, origin, extents,
      getCaptures(), outputs, b.getF64FloatAttr(getScaleOrDefault()),
      getPrecisionAttr(), tiledMaps, getCaptureNamesAttr(), getConfigAttr());
  IRMapping mapping;
  getScore().cloneInto(&tiled.getScore(), mapping);
  getMask().cloneInto(&tiled.getMask(), mapping);
  return TilingResult{{tiled}, SmallVector<Value>(tiled->getResults()), slices};
}

LogicalResult AttentionOp::getResultTilePosition(
    OpBuilder &b, unsigned resultNumber, ArrayRef<OpFoldResult> offsets,
    ArrayRef<OpFoldResult> sizes, SmallVector<OpFoldResult> &resultOffsets,
    SmallVector<OpFoldResult> &resultSizes) {
  tilePosition(*this, b, getOutputs()[resultNumber],
               getMaps()[3 + resultNumber], offsets, sizes, resultOffsets,
               resultSizes);
  return success();
}

//===----------------------------------------------------------------------===//
// Row operations
//===----------------------------------------------------------------------===//

template <typename Op> static unsigned rowLoops(Op op) {
  return cast<ShapedType>(op.getInput().getType()).getRank() - 1;
}

template <typename Op>
static SmallVector<Range> rowDomain(Op op, OpBuilder &b) {
  SmallVector<Range> domain;
  for (unsigned loop = 0; loop < rowLoops(op); ++loop)
    domain.push_back({b.getIndexAttr(0),
                      dimOf(b, op.getLoc(), op.getInput(), loop),
                      b.getIndexAttr(1)});
  return domain;
}

/// Offsets and sizes of the loops, with the whole last dimension behind them.
template <typename Op>
static void rowTilePosition(Op op, OpBuilder &b, ArrayRef<OpFoldResult> offsets,
                            ArrayRef<OpFoldResult> sizes,
                            SmallVectorImpl<OpFoldResult> &resultOffsets,
                            SmallVectorImpl<OpFoldResult> &resultSizes) {
  resultOffsets.assign(offsets.begin(), offsets.end());
  resultSizes.assign(sizes.begin(), sizes.end());
  resultOffsets.push_back(b.getIndexAttr(0));
  resultSizes.push_back(dimOf(b, op.getLoc(), op.getInput(), rowLoops(op)));
}

/// The tile of a row operation: itself on slices of input and output.
template <typename Op>
static TilingResult tileRows(Op op, OpBuilder &b,
                             ArrayRef<OpFoldResult> offsets,
                             ArrayRef<OpFoldResult> sizes) {
  SmallVector<OpFoldResult> at, extent;
  rowTilePosition(op, b, offsets, sizes, at, extent);
  Value input = slice(b, op.getLoc(), op.getInput(), at, extent);
  // An operation may work in place: one value, two slices.
  Value output = slice(b, op.getLoc(), op.getOutput(), at, extent);
  Operation *tiled = b.clone(*op);
  auto tiledOp = cast<Op>(tiled);
  tiledOp.getInputMutable().assign(input);
  tiledOp.getOutputMutable().assign(output);
  if (tiled->getNumResults() == 1)
    tiled->getResult(0).setType(output.getType());
  return TilingResult{{tiled},
                      SmallVector<Value>(tiled->getResults()),
                      {input.getDefiningOp(), output.getDefiningOp()}};
}

/// A consumer wants a tile of the result: rows as asked, if it takes them
/// whole.
template <typename Op>
static FailureOr<TilingResult> generateRows(Op op, OpBuilder &b,
                                            ArrayRef<OpFoldResult> offsets,
                                            ArrayRef<OpFoldResult> sizes) {
  int64_t width = cast<ShapedType>(op.getInput().getType()).getShape().back();
  if (!isConstantIntValue(offsets.back(), 0) ||
      !isConstantIntValue(sizes.back(), width))
    return failure();
  return op.getTiledImplementation(b, offsets.drop_back(), sizes.drop_back());
}

#define FOVEA_ROW_TILING(OP)                                                   \
  SmallVector<utils::IteratorType> OP::getLoopIteratorTypes() {                \
    return SmallVector<utils::IteratorType>(rowLoops(*this),                   \
                                            utils::IteratorType::parallel);    \
  }                                                                            \
  SmallVector<Range> OP::getIterationDomain(OpBuilder &b) {                    \
    return rowDomain(*this, b);                                                \
  }                                                                            \
  LogicalResult OP::getResultTilePosition(                                     \
      OpBuilder &b, unsigned, ArrayRef<OpFoldResult> offsets,                  \
      ArrayRef<OpFoldResult> sizes, SmallVector<OpFoldResult> &resultOffsets,  \
      SmallVector<OpFoldResult> &resultSizes) {                                \
    rowTilePosition(*this, b, offsets, sizes, resultOffsets, resultSizes);     \
    return success();                                                          \
  }                                                                            \
  FailureOr<TilingResult> OP::generateResultTileValue(                         \
      OpBuilder &b, unsigned, ArrayRef<OpFoldResult> offsets,                  \
      ArrayRef<OpFoldResult> sizes) {                                          \
    return generateRows(*this, b, offsets, sizes);                             \
  }
FOVEA_ROW_TILING(RopeOp)
FOVEA_ROW_TILING(RmsNormOp)
#undef FOVEA_ROW_TILING

FailureOr<TilingResult>
RmsNormOp::getTiledImplementation(OpBuilder &b, ArrayRef<OpFoldResult> offsets,
                                  ArrayRef<OpFoldResult> sizes) {
  return tileRows(*this, b, offsets, sizes);
}

/// Where the rows of a tile at `offsets` start: the offset of the whole,
/// further by the tile's first row. Null for position 0.
static FailureOr<Value> tileOffset(RopeOp op, OpBuilder &b,
                                   ArrayRef<OpFoldResult> offsets,
                                   ArrayRef<OpFoldResult> sizes) {
  Location loc = op.getLoc();
  OpFoldResult row = offsets[1];
  Value offset = op.getOffset();
  bool perBatch = offset && isa<ShapedType>(offset.getType());
  if (isConstantIntValue(row, 0))
    return perBatch ? slice(b, loc, offset, offsets[0], sizes[0]) : offset;
  if (perBatch) {
    if (!isConstantIntValue(sizes[0], 1))
      return op.emitOpError("with an offset per batch row, a tile must take "
                            "all rows, or rows of one batch (rule P1)");
    Value batch = getValueOrCreateConstantIndexOp(b, loc, offsets[0]);
    offset = isa<RankedTensorType>(offset.getType())
                 ? Value(tensor::ExtractOp::create(b, loc, offset, batch))
                 : Value(memref::LoadOp::create(b, loc, offset, batch));
    if (!offset.getType().isInteger(64))
      offset = arith::ExtSIOp::create(b, loc, b.getI64Type(), offset);
  }
  Value start = arith::IndexCastOp::create(
      b, loc, b.getI64Type(), getValueOrCreateConstantIndexOp(b, loc, row));
  return offset ? Value(arith::AddIOp::create(b, loc, offset, start)) : start;
}

FailureOr<TilingResult>
RopeOp::getTiledImplementation(OpBuilder &b, ArrayRef<OpFoldResult> offsets,
                               ArrayRef<OpFoldResult> sizes) {
  Value positions = getPositions(), offset, length = getLength();
  if (positions) {
    unsigned rank = cast<ShapedType>(positions.getType()).getRank();
    positions = slice(b, getLoc(), positions, offsets.take_front(rank),
                      sizes.take_front(rank));
  } else {
    FailureOr<Value> start = tileOffset(*this, b, offsets, sizes);
    if (failed(start))
      return failure();
    offset = *start;
  }
  if (length && isa<ShapedType>(length.getType()))
    length = slice(b, getLoc(), length, offsets[0], sizes[0]);
  TilingResult result = tileRows(*this, b, offsets, sizes);
  auto tiled = cast<RopeOp>(result.tiledOps.front());
  if (positions)
    tiled.getPositionsMutable().assign(positions);
  if (offset)
    tiled.getOffsetMutable().assign(offset);
  if (length)
    tiled.getLengthMutable().assign(length);
  return result;
}
