// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// attn-cpu-lower-transpose: linalg.transpose of a two-dimensional memref of
// floats of static shape becomes loops over square blocks transposed in vector
// registers, and elements at the edges; Q^T and packed tiles are made this way.
// Other transposes (tensors, more dimensions, dynamic shapes, integers) are
// left as they are.

#include "compiler/CPU/Passes.h"
#include "compiler/CPU/Rows.h"
#include "compiler/CPU/Transpose.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace fovea::cpu;

namespace fovea {
#define GEN_PASS_DEF_LOWERTRANSPOSE
#include "compiler/CPU/Passes.h.inc"
} // namespace fovea

SmallVector<Value> fovea::cpu::transposeInRegisters(OpBuilder &b, Location loc,
                                                    SmallVector<Value> rows) {
  int64_t n = rows.size();
  // log2(n) stages that exchange off-diagonal blocks, two shuffles per pair of
  // rows.
  for (int64_t distance = n / 2; distance > 0; distance /= 2) {
    SmallVector<int64_t> low, high;
    for (int64_t lane = 0; lane < n; ++lane) {
      bool upper = lane & distance;
      low.push_back(upper ? n + lane - distance : lane);
      high.push_back(upper ? n + lane : lane + distance);
    }
    for (int64_t row = 0; row < n; ++row) {
      if (row & distance)
        continue;
      Value first = rows[row], second = rows[row + distance];
      rows[row] = vector::ShuffleOp::create(b, loc, first, second, low);
      rows[row + distance] =
          vector::ShuffleOp::create(b, loc, first, second, high);
    }
  }
  return rows;
}

/// The block of dest at [column][row] from the one of source at [row][column].
static void emitBlock(ImplicitLocOpBuilder &b, Value source, Value dest,
                      Value row, Value column, int64_t lanes) {
  auto at = [&](Value start, int64_t index) -> Value {
    return arith::AddIOp::create(b, start, createIndex(b, index));
  };
  Type type =
      getLaneType(cast<FloatType>(memrefOf(source).getElementType()), lanes);
  SmallVector<Value> rows;
  for (int64_t index = 0; index < lanes; ++index)
    rows.push_back(
        loadConverted(b, b.getLoc(), type, source, {at(row, index), column}));
  rows = transposeInRegisters(b, b.getLoc(), std::move(rows));
  for (auto [index, value] : llvm::enumerate(rows))
    storeConverted(b, b.getLoc(), value, dest, {at(column, index), row});
}

/// Single elements of source in [rowFrom, rowTo) x [columnFrom, columnTo).
static void emitElements(ImplicitLocOpBuilder &b, Value source, Value dest,
                         int64_t rowFrom, int64_t rowTo, int64_t columnFrom,
                         int64_t columnTo) {
  if (rowFrom == rowTo || columnFrom == columnTo)
    return;
  Type type = memrefOf(source).getElementType();
  forEachIndex(
      b, createIndex(b, rowFrom), createIndex(b, rowTo), 1, [&](Value row) {
        forEachIndex(
            b, createIndex(b, columnFrom), createIndex(b, columnTo), 1,
            [&](Value column) {
              Value element =
                  loadConverted(b, b.getLoc(), type, source, {row, column});
              storeConverted(b, b.getLoc(), element, dest, {column, row});
            });
      });
}

void fovea::cpu::emitTranspose(OpBuilder &builder, Location loc, Value source,
                               Value dest, int64_t vectorBits) {
  ImplicitLocOpBuilder b(loc, builder);
  MemRefType type = memrefOf(source);
  int64_t rows = type.getDimSize(0), columns = type.getDimSize(1);
  forEachStrideCase(
      b, {source, dest}, vectorBits / type.getElementTypeBitWidth(),
      [&](ValueRange memrefs, int64_t lanes) {
        Value from = memrefs[0], to = memrefs[1];
        int64_t wholeRows = lanes == 1 ? 0 : rows - rows % lanes;
        int64_t wholeColumns = lanes == 1 ? 0 : columns - columns % lanes;
        if (wholeRows != 0 && wholeColumns != 0)
          forEachVector(b, wholeRows, lanes, [&](Value row, int64_t) {
            forEachVector(b, wholeColumns, lanes, [&](Value column, int64_t) {
              emitBlock(b, from, to, row, column, lanes);
            });
          });
        else
          wholeRows = wholeColumns = 0;
        emitElements(b, from, to, 0, wholeRows, wholeColumns, columns);
        emitElements(b, from, to, wholeRows, rows, 0, columns);
      });
}

static bool isTileTranspose(linalg::TransposeOp op) {
  auto input = dyn_cast<MemRefType>(op.getInput().getType());
  auto init = dyn_cast<MemRefType>(op.getInit().getType());
  return input && init && input.getRank() == 2 && input.hasStaticShape() &&
         init.hasStaticShape() && isa<FloatType>(input.getElementType()) &&
         op.getPermutation() == ArrayRef<int64_t>{1, 0};
}

namespace {

struct LowerTransposePass
    : fovea::impl::LowerTransposeBase<LowerTransposePass> {
  using LowerTransposeBase::LowerTransposeBase;

  void runOnOperation() override {
    SmallVector<linalg::TransposeOp> ops;
    getOperation()->walk([&](linalg::TransposeOp op) {
      if (isTileTranspose(op))
        ops.push_back(op);
    });
    for (linalg::TransposeOp op : ops) {
      OpBuilder b(op);
      emitTranspose(b, op.getLoc(), op.getInput(), op.getInit(), vectorBits);
      op.erase();
    }
  }
};

} // namespace
