// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// attn-cpu-lower-transpose: linalg.transpose of a two-dimensional memref of
// floats of static shape becomes loops over square blocks transposed in vector
// registers, and elements at the edges; Q^T and packed tiles are made this way.
// So does one of rows and columns of pairs of 16-bit floats, which move as one
// word of 32 bits. Other transposes (tensors, more dimensions, dynamic shapes,
// integers) are left as they are.

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

namespace {
/// A transpose of matrices whose entries are `run` floats side by side.
struct Transposer {
  ImplicitLocOpBuilder &b;
  int64_t run;

  /// The place of an entry's first float.
  Value at(Value start, int64_t index) {
    return arith::AddIOp::create(b, start, createIndex(b, index));
  }
  Value scaled(Value entry) {
    return run == 1 ? entry
                    : arith::MulIOp::create(b, entry, createIndex(b, run));
  }
  void emitBlock(Value source, Value dest, Value row, Value column,
                 int64_t lanes);
  void emitElements(Value source, Value dest, int64_t rowFrom, int64_t rowTo,
                    int64_t columnFrom, int64_t columnTo);
};
} // namespace

/// The block of dest at [column][row] from the one of source at [row][column].
void Transposer::emitBlock(Value source, Value dest, Value row, Value column,
                           int64_t lanes) {
  auto element = cast<FloatType>(memrefOf(source).getElementType());
  Type type = getLaneType(element, lanes * run);
  // Narrow ones as integers: shuffles of vectors of bf16 are taken apart.
  Type entries = type;
  if (element.getWidth() < 32)
    entries =
        VectorType::get({lanes}, b.getIntegerType(element.getWidth() * run));
  auto as = [&](Type wanted, Value vector) -> Value {
    if (type == entries)
      return vector;
    return vector::BitCastOp::create(b, cast<VectorType>(wanted), vector);
  };
  SmallVector<Value> rows;
  for (int64_t index = 0; index < lanes; ++index)
    rows.push_back(
        as(entries, loadConverted(b, b.getLoc(), type, source,
                                  {at(row, index), scaled(column)})));
  rows = transposeInRegisters(b, b.getLoc(), std::move(rows));
  for (auto [index, value] : llvm::enumerate(rows))
    storeConverted(b, b.getLoc(), as(type, value), dest,
                   {at(column, index), scaled(row)});
}

/// Single entries of source in [rowFrom, rowTo) x [columnFrom, columnTo).
void Transposer::emitElements(Value source, Value dest, int64_t rowFrom,
                              int64_t rowTo, int64_t columnFrom,
                              int64_t columnTo) {
  if (rowFrom == rowTo || columnFrom == columnTo)
    return;
  Type type = memrefOf(source).getElementType();
  forEachIndex(
      b, createIndex(b, rowFrom), createIndex(b, rowTo), 1, [&](Value row) {
        forEachIndex(b, createIndex(b, columnFrom), createIndex(b, columnTo), 1,
                     [&](Value column) {
                       for (int64_t part = 0; part < run; ++part) {
                         Value element =
                             loadConverted(b, b.getLoc(), type, source,
                                           {row, at(scaled(column), part)});
                         storeConverted(b, b.getLoc(), element, dest,
                                        {column, at(scaled(row), part)});
                       }
                     });
      });
}

void fovea::cpu::emitTranspose(OpBuilder &builder, Location loc, Value source,
                               Value dest, int64_t vectorBits, int64_t run) {
  ImplicitLocOpBuilder b(loc, builder);
  Transposer transposer{b, run};
  MemRefType type = memrefOf(source);
  int64_t rows = type.getDimSize(0), columns = type.getDimSize(1) / run;
  forEachStrideCase(
      b, {source, dest}, vectorBits / (type.getElementTypeBitWidth() * run),
      [&](ValueRange memrefs, int64_t lanes) {
        Value from = memrefs[0], to = memrefs[1];
        int64_t wholeRows = lanes == 1 ? 0 : rows - rows % lanes;
        int64_t wholeColumns = lanes == 1 ? 0 : columns - columns % lanes;
        if (wholeRows != 0 && wholeColumns != 0)
          forEachVector(b, wholeRows, lanes, [&](Value row, int64_t) {
            forEachVector(b, wholeColumns, lanes, [&](Value column, int64_t) {
              transposer.emitBlock(from, to, row, column, lanes);
            });
          });
        else
          wholeRows = wholeColumns = 0;
        transposer.emitElements(from, to, 0, wholeRows, wholeColumns, columns);
        transposer.emitElements(from, to, wholeRows, rows, 0, columns);
      });
}

/// What `op` moves as one: 1 float or 2 of 16 bits; 0 if it is left alone.
static int64_t getRun(linalg::TransposeOp op) {
  auto input = dyn_cast<MemRefType>(op.getInput().getType());
  auto init = dyn_cast<MemRefType>(op.getInit().getType());
  if (!input || !init || !input.hasStaticShape() || !init.hasStaticShape() ||
      !isa<FloatType>(input.getElementType()))
    return 0;
  if (op.getPermutation() == ArrayRef<int64_t>{1, 0})
    return 1;
  bool arePairs =
      op.getPermutation() == ArrayRef<int64_t>{1, 0, 2} &&
      input.getDimSize(2) == 2 && input.getElementTypeBitWidth() == 16 &&
      input.getElementType() == init.getElementType() &&
      input.areTrailingDimsContiguous(2) && init.areTrailingDimsContiguous(2);
  return arePairs ? 2 : 0;
}

namespace {

struct LowerTransposePass
    : fovea::impl::LowerTransposeBase<LowerTransposePass> {
  using LowerTransposeBase::LowerTransposeBase;

  void runOnOperation() override {
    SmallVector<std::pair<linalg::TransposeOp, int64_t>> ops;
    getOperation()->walk([&](linalg::TransposeOp op) {
      if (int64_t run = getRun(op))
        ops.emplace_back(op, run);
    });
    for (auto [op, run] : ops) {
      OpBuilder b(op);
      auto asMatrix = [&](Value memref) -> Value {
        if (memrefOf(memref).getRank() == 2)
          return memref;
        return memref::CollapseShapeOp::create(
            b, op.getLoc(), memref,
            ArrayRef<ReassociationIndices>{{0}, {1, 2}});
      };
      emitTranspose(b, op.getLoc(), asMatrix(op.getInput()),
                    asMatrix(op.getInit()), vectorBits, run);
      op.erase();
    }
  }
};

} // namespace
