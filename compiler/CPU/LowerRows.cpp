// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// attn-cpu-lower-rows: attn.gather_rows and attn.scatter_rows on memrefs become
// loops of loads and stores with conversion, cpu.split loops of loads, a store
// for each term, and what a term leaves to the next, and cpu.unzip loops of
// shuffles of two vectors. Any strides and, for
// the copies, any two float types; vectors where both rows have a unit inner
// stride (tested at run time if need be), single elements elsewhere. It must
// not be asked about tensors.

#include "compiler/CPU/Passes.h"
#include "compiler/CPU/Rows.h"
#include "compiler/CPU/VectorMath.h"
#include "dialects/attn/IR/AttnOps.h"
#include "dialects/cpu/IR/CpuOps.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include <limits>

using namespace mlir;
using namespace fovea::attn;
using namespace fovea::cpu;

namespace fovea {
#define GEN_PASS_DEF_LOWERROWS
#include "compiler/CPU/Passes.h.inc"
} // namespace fovea

/// `whole` with its dimensions in the order b, h, i and (if it has one) d.
static Value inRowOrder(ImplicitLocOpBuilder &b, Value whole, AffineMap map) {
  SmallVector<unsigned> order(map.getNumResults());
  for (auto [position, expr] : llvm::enumerate(map.getResults()))
    order[cast<AffineDimExpr>(expr).getPosition()] = position;
  auto permutation = AffineMap::getPermutationMap(order, b.getContext());
  if (permutation.isIdentity())
    return whole;
  return memref::TransposeOp::create(b, whole, AffineMapAttr::get(permutation));
}

/// The index (b, h, i) of tile row `l`: folded row r = row0 + l is index
/// i = r floordiv group of head h = g * group + r mod group.
template <typename Op>
static SmallVector<Value> emitRowIndex(ImplicitLocOpBuilder &b, Op op,
                                       Value l) {
  Value row = arith::AddIOp::create(b, op.getRow0(), l), head = op.getG();
  if (op.getGroup() != 1) {
    Value group = createIndex(b, op.getGroup());
    Value member = arith::RemUIOp::create(b, row, group);
    row = arith::DivUIOp::create(b, row, group);
    head =
        arith::AddIOp::create(b, arith::MulIOp::create(b, head, group), member);
  }
  return {op.getB(), head, row};
}

/// The rows of `tile` that the whole tensor has: [0, rows), at most all.
static Value emitRowCount(ImplicitLocOpBuilder &b, Value rows, Value tile) {
  Value zero = createIndex(b, 0);
  Value all = b.createOrFold<memref::DimOp>(tile, 0);
  return arith::MaxSIOp::create(b, arith::MinSIOp::create(b, rows, all), zero);
}

static SmallVector<Value> append(ValueRange indices, Value last) {
  SmallVector<Value> result(indices);
  result.push_back(last);
  return result;
}

/// dest[destIndex...] = source[sourceIndex...] for a row of `width` elements,
/// or for one element if width is 0. The wider type is the tile's, so `lanes`
/// counts its elements.
static void emitCopy(ImplicitLocOpBuilder &b, Value source,
                     ValueRange sourceIndex, Value dest, ValueRange destIndex,
                     int64_t width, int64_t lanes) {
  auto element = cast<FloatType>(memrefOf(source).getElementType());
  if (width == 0) {
    Value value = loadConverted(b, b.getLoc(), element, source, sourceIndex);
    storeConverted(b, b.getLoc(), value, dest, destIndex);
    return;
  }
  forEachVector(b, width, lanes, [&](Value offset, int64_t lanes) {
    Value value = loadConverted(b, b.getLoc(), getLaneType(element, lanes),
                                source, append(sourceIndex, offset));
    storeConverted(b, b.getLoc(), value, dest, append(destIndex, offset));
  });
}

static void emitZero(ImplicitLocOpBuilder &b, Value tile, Value row,
                     int64_t width, int64_t lanes) {
  auto element = cast<FloatType>(memrefOf(tile).getElementType());
  auto store = [&](int64_t lanes, ValueRange indices) {
    Value zero = arith::ConstantOp::create(
        b, b.getZeroAttr(getLaneType(element, lanes)));
    storeConverted(b, b.getLoc(), zero, tile, indices);
  };
  if (width == 0)
    return store(1, row);
  forEachVector(b, width, lanes, [&](Value offset, int64_t lanes) {
    store(lanes, {row, offset});
  });
}

/// Stores the terms of the float or vector `rest` at [row][0, 1, ...][offset].
static void emitTerms(ImplicitLocOpBuilder &b, SplitOp op, Value rest,
                      Value terms, Value row, Value offset) {
  FloatBuilder math(b, b.getLoc(), rest.getType());
  auto narrow = cast<FloatType>(memrefOf(terms).getElementType());
  auto wide = cast<FloatType>(getElementTypeOrSelf(rest.getType()));
  if (op.getInfinity())
    for (double sign : {1.0, -1.0}) {
      Value infinity =
          math.constant(sign * std::numeric_limits<double>::infinity());
      Value number = math.constant(sign * op.getInfinity()->convertToDouble());
      rest = math.select(math.equal(rest, infinity), number, rest);
    }
  // What rounding would make infinite begins with the largest number.
  Value largest = math.constant(
      APFloat::getLargest(narrow.getFloatSemantics()).convertToDouble());
  Value least = math.neg(largest);
  Value first = math.select(math.less(largest, rest), largest, rest);
  first = math.select(math.less(first, least), least, first);
  if (!op.getInfinity())
    first = math.select(math.equal(math.sub(rest, rest), math.constant(0.0)),
                        first, rest);
  int64_t count = memrefOf(terms).getDimSize(1);
  for (int64_t term = 0; term < count; ++term) {
    Value rounded =
        convertFloat(b, b.getLoc(), term == 0 ? first : rest, narrow);
    storeConverted(b, b.getLoc(), rounded, terms,
                   {row, createIndex(b, term), offset});
    if (term + 1 == count)
      break;
    rest = math.sub(rest, convertFloat(b, b.getLoc(), rounded, wide));
    // Nothing is left of what is not finite.
    rest = math.select(math.equal(rest, rest), rest, math.constant(0.0));
  }
}

/// Elements of a row, 0 for a tile [l]; failure if not known.
static FailureOr<int64_t> getRowWidth(Operation *op, Value tile) {
  MemRefType type = memrefOf(tile);
  if (type.getRank() == 1)
    return 0;
  if (type.isDynamicDim(1))
    return op->emitOpError("needs a tile of static width");
  return type.getDimSize(1);
}

namespace {

struct LowerRowsPass : fovea::impl::LowerRowsBase<LowerRowsPass> {
  using LowerRowsBase::LowerRowsBase;

  /// forEachStrideCase with the tile's vectors; nothing to choose for [l].
  void forEachCase(ImplicitLocOpBuilder &b, ValueRange memrefs, Value tile,
                   function_ref<void(ValueRange, int64_t)> body) {
    if (memrefOf(tile).getRank() == 1)
      return body(memrefs, 1);
    forEachStrideCase(
        b, memrefs, vectorBits / memrefOf(tile).getElementTypeBitWidth(), body);
  }

  /// The same pairs of elements in one direction or the other; a gather clears
  /// the rows that the whole tensor lacks.
  template <typename Op> LogicalResult lower(ImplicitLocOpBuilder &b, Op op) {
    constexpr bool gathers = std::is_same_v<Op, GatherRowsOp>;
    Value tile = gathers ? op.getDest() : op.getSource();
    FailureOr<int64_t> width = getRowWidth(op, tile);
    if (failed(width))
      return failure();
    Value whole = inRowOrder(b, gathers ? op.getSource() : op.getDest(),
                             op.getTensorMap());
    Value count = emitRowCount(b, op.getRows(), tile);
    forEachCase(b, {whole, tile}, tile, [&](ValueRange views, int64_t lanes) {
      Value whole = views[0], tile = views[1];
      forEachIndex(b, createIndex(b, 0), count, 1, [&](Value l) {
        SmallVector<Value> row = emitRowIndex(b, op, l);
        if (gathers)
          emitCopy(b, whole, row, tile, l, *width, lanes);
        else
          emitCopy(b, tile, l, whole, row, *width, lanes);
      });
      if (!gathers)
        return;
      Value all = b.createOrFold<memref::DimOp>(tile, 0);
      forEachIndex(b, count, all, 1,
                   [&](Value l) { emitZero(b, tile, l, *width, lanes); });
    });
    return success();
  }

  LogicalResult lower(ImplicitLocOpBuilder &b, SplitOp op) {
    auto element = cast<FloatType>(memrefOf(op.getSource()).getElementType());
    forEachCase(b, {op.getSource(), op.getDest()}, op.getSource(),
                [&](ValueRange views, int64_t lanes) {
                  Value source = views[0], terms = views[1];
                  forEachRow(b, source, 0, 1, [&](ValueRange row) {
                    forEachVector(
                        b, memrefOf(source).getDimSize(1), lanes,
                        [&](Value offset, int64_t lanes) {
                          Value value = loadConverted(
                              b, b.getLoc(), getLaneType(element, lanes),
                              source, {row[0], offset});
                          emitTerms(b, op, value, terms, row[0], offset);
                        });
                  });
                });
    return success();
  }

  LogicalResult lower(ImplicitLocOpBuilder &b, UnzipOp op) {
    MemRefType type = op.getTile().getType();
    int64_t lanes = op.getLanes(), run = 2 * lanes;
    auto vector = VectorType::get({lanes}, type.getElementType());
    // Lane l of the result is lane order[l] of the two vectors of a run.
    SmallVector<int64_t> order(run);
    for (int64_t lane = 0; lane < run; ++lane) {
      int64_t unzipped = lane % 2 * lanes + lane / 2;
      order[op.getInverse() ? lane : unzipped] =
          op.getInverse() ? unzipped : lane;
    }
    Value zero = createIndex(b, 0);
    Value end = createIndex(b, type.getDimSize(1) / run * run);
    forEachIndex(b, zero, op.getCount(), 1, [&](Value row) {
      forEachIndex(b, zero, end, run, [&](Value from) {
        Value places[] = {
            from, arith::AddIOp::create(b, from, createIndex(b, lanes))};
        Value loaded[2];
        for (auto [value, at] : llvm::zip_equal(loaded, places))
          value = vector::LoadOp::create(b, vector, op.getTile(),
                                         ValueRange{row, at});
        for (auto [half, at] : llvm::enumerate(places))
          vector::StoreOp::create(
              b,
              vector::ShuffleOp::create(
                  b, loaded[0], loaded[1],
                  ArrayRef(order).slice(half * lanes, lanes)),
              op.getTile(), ValueRange{row, at});
      });
    });
    return success();
  }

  void runOnOperation() override {
    Operation *root = getOperation();
    auto lowerOne = [&](ImplicitLocOpBuilder &b, auto op) {
      return lower(b, op);
    };
    if (failed(lowerOperations<GatherRowsOp>(root, lowerOne)) ||
        failed(lowerOperations<ScatterRowsOp>(root, lowerOne)) ||
        failed(lowerOperations<SplitOp>(root, lowerOne)) ||
        failed(lowerOperations<UnzipOp>(root, lowerOne)))
      signalPassFailure();
  }
};

} // namespace
