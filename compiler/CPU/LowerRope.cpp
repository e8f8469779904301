// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// attn-cpu-lower-rope: attn.rope on memrefs of any rank, in place or not,
// becomes loops that rotate pairs of elements (rule P1), vectors over the
// frequencies. Frequencies are f64 constants of the module; angle = position *
// frequency, its cosine and sine are f64, rounded to the compute type for the
// rotation. It must not be asked about tensors.
//
// Cosines and sines stay in registers, so no scratch memory is needed: where
// each row has its own position (a tile [L, D]), a vector of frequencies is
// taken through all rows. Folded rows of one query share a position and its
// cosines. The next position is reached, in f64, by a turn of one frequency,
// which is far less work than a cosine and a sine; what rounding adds on the
// way is below 2^-43 (see maxSteps), so f64 data take the angle each time.
// Elsewhere the cosines of a position serve all its heads.

#include "compiler/CPU/Passes.h"
#include "compiler/CPU/Rows.h"
#include "compiler/CPU/VectorMath.h"
#include "dialects/attn/IR/AttnOps.h"
#include "dialects/attn/IR/Rope.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/SymbolTable.h"

using namespace mlir;
using namespace fovea::attn;
using namespace fovea::cpu;

namespace fovea {
#define GEN_PASS_DEF_LOWERROPE
#include "compiler/CPU/Passes.h.inc"
} // namespace fovea

/// Turns by one position before the angle is taken again, at the multiples of
/// this: each turn adds at most 3 roundings of 2^-53.
static constexpr int64_t maxSteps = 256;

namespace {

bool isDynamic(RopeScalingAttr scaling) {
  return scaling && scaling.getKind() == RopeScalingKind::Dynamic;
}

/// The constants that `op` needs, as rows of one table:
///   no scaling, linear, yarn, llama3: the frequencies;
///   longrope: those of the short factors, those of the long ones;
///   dynamic: the frequencies up to the original length L, then the exponents e
///     that make them f * ratio^e, with
///     ratio = factor * max(length, L) / L - (factor - 1).
/// Behind rows that are frequencies as they are come their cosines, then their
/// sines.
DenseElementsAttr makeTable(RopeOp op, double &magnitude) {
  RopeScalingAttr scaling = op.getScalingAttr();
  auto compute = [&](int64_t length) {
    return computeRopeFrequencies(
        op.getRotaryWidth(), op.getBase().convertToDouble(), scaling, length);
  };
  RopeFrequencies first = compute(0);
  magnitude = first.magnitude;
  SmallVector<double> values = first.inverse;
  int64_t frequencies = first.inverse.size();
  if (ropeDependsOnLength(scaling)) {
    if (scaling.getKind() == RopeScalingKind::LongRope)
      llvm::append_range(values,
                         compute(scaling.getOriginalLength() + 1).inverse);
    else
      for (int64_t k = 0; k < frequencies; ++k)
        values.push_back(k == 0 ? 0.0 : -double(k) / double(frequencies - 1));
  }
  if (!isDynamic(scaling)) {
    SmallVector<double> angles = values;
    for (double angle : angles)
      values.push_back(std::cos(angle));
    for (double angle : angles)
      values.push_back(std::sin(angle));
  }
  Builder b(op.getContext());
  auto type = RankedTensorType::get(
      {int64_t(values.size()) / frequencies, frequencies}, b.getF64Type());
  return DenseElementsAttr::get(type, ArrayRef(values));
}

/// One attn.rope on memrefs whose rows are taken `lanes` frequencies at a time.
class RopeEmitter {
public:
  RopeEmitter(ImplicitLocOpBuilder &b, RopeOp op, Value table, double magnitude,
              ValueRange memrefs, int64_t lanes)
      : b(b), op(op), table(table), magnitude(magnitude), input(memrefs[0]),
        output(memrefs[1]), lanes(lanes), rank(memrefOf(input).getRank()),
        frequencies(op.getRotaryWidth() / 2),
        compute(getComputeType(memrefOf(input).getElementType())) {}

  void emit();

private:
  struct Pair {
    Value first, second;
  };
  using Body = function_ref<void(Value offset, int64_t lanes)>;

  bool isNeox() { return op.getStyle() == RopeStyle::Neox; }
  Value i64(int64_t value) {
    return arith::ConstantOp::create(b, b.getI64IntegerAttr(value));
  }
  Value toI64(Value value) {
    if (value.getType().isIndex())
      return arith::IndexCastOp::create(b, b.getI64Type(), value);
    if (value.getType().isInteger(64))
      return value;
    return arith::ExtSIOp::create(b, b.getI64Type(), value);
  }
  static SmallVector<Value> at(ValueRange row, Value column) {
    SmallVector<Value> result(row);
    result.push_back(column);
    return result;
  }
  Value plus(Value x, int64_t y) {
    return arith::AddIOp::create(b, x, createIndex(b, y));
  }

  void emitLengthDependence(ValueRange batch);
  Value emitPosition(ValueRange row);
  Value emitFrequencies(Value offset, int64_t lanes);
  Pair emitRotation(Value position, Value inverse);
  Pair emitNextRotation(Value position, Value last, Pair rotation,
                        Value inverse, Pair turn);
  Pair rounded(Pair rotation);
  void emitRowsOfOnePosition(ValueRange outer);
  void emitRowsWithPositions(ValueRange outer);
  void emitRotatedRow(ValueRange row, Value offset, int64_t lanes,
                      Pair rotation);
  Pair loadPair(ValueRange row, Value offset, int64_t lanes);
  void storePair(Pair pair, ValueRange row, Value offset, int64_t lanes);
  void emitUnrotated();

  ImplicitLocOpBuilder &b;
  RopeOp op;
  Value table;
  double magnitude;
  Value input, output;
  int64_t lanes, rank, frequencies;
  FloatType compute;
  /// Row of the table to read, and for dynamic scaling the logarithm of the
  /// ratio.
  Value tableRow, logRatio;
};

} // namespace

void RopeEmitter::emit() {
  Value positions = op.getPositions();
  int64_t positionRank = positions ? memrefOf(positions).getRank() : 2;
  bool eachRow = positionRank == rank - 1;
  // Frequencies change with the batch row if its length does.
  Value length = op.getLength();
  int64_t batchDims = length && isa<MemRefType>(length.getType()) ? 1 : 0;
  forEachRow(b, input, 0, batchDims, [&](ValueRange batch) {
    emitLengthDependence(batch);
    forEachRow(b, input, batchDims, eachRow ? rank - 2 : positionRank,
               [&](ValueRange inner) {
                 SmallVector<Value> outer(batch);
                 llvm::append_range(outer, inner);
                 if (eachRow)
                   emitRowsWithPositions(outer);
                 else
                   emitRowsOfOnePosition(outer);
               });
  });
  if (op.getInput() != op.getOutput())
    emitUnrotated();
}

/// What the key length (of batch row `batch`, if each has its own) decides.
void RopeEmitter::emitLengthDependence(ValueRange batch) {
  tableRow = createIndex(b, 0);
  RopeScalingAttr scaling = op.getScalingAttr();
  if (!ropeDependsOnLength(scaling))
    return;
  Value length = op.getLength();
  if (!batch.empty())
    length = memref::LoadOp::create(b, length, batch);
  length = toI64(length);
  Value original = i64(scaling.getOriginalLength());
  if (scaling.getKind() == RopeScalingKind::LongRope) {
    Value isLong =
        arith::CmpIOp::create(b, arith::CmpIPredicate::sgt, length, original);
    tableRow = arith::SelectOp::create(b, isLong, createIndex(b, 1), tableRow);
    return;
  }
  FloatBuilder math(b, b.getLoc(), b.getF64Type());
  double factor = scaling.getFactor().convertToDouble();
  length = arith::MaxSIOp::create(b, length, original);
  Value ratio = arith::SIToFPOp::create(b, b.getF64Type(), length);
  ratio = math.div(math.mul(math.constant(factor), ratio),
                   math.constant(double(scaling.getOriginalLength())));
  ratio = math.sub(ratio, math.constant(factor - 1.0));
  logRatio = math::LogOp::create(b, ratio);
}

/// The position of a row given by its leading indices.
Value RopeEmitter::emitPosition(ValueRange row) {
  if (Value positions = op.getPositions())
    return toI64(memref::LoadOp::create(
        b, positions, row.take_front(memrefOf(positions).getRank())));
  Value position = toI64(row[1]);
  if (Value offset = op.getOffset()) {
    if (isa<MemRefType>(offset.getType()))
      offset = memref::LoadOp::create(b, offset, row.front());
    position = arith::AddIOp::create(b, position, toI64(offset));
  }
  return position;
}

Value RopeEmitter::emitFrequencies(Value offset, int64_t lanes) {
  Type type = getLaneType(b.getF64Type(), lanes);
  Value inverse = loadConverted(b, b.getLoc(), type, table, {tableRow, offset});
  if (!logRatio)
    return inverse;
  FloatBuilder math(b, b.getLoc(), type);
  Value exponents =
      loadConverted(b, b.getLoc(), type, table, {createIndex(b, 1), offset});
  Value logs = logRatio;
  if (lanes > 1)
    logs = vector::BroadcastOp::create(b, type, logs);
  Value growth = math::ExpOp::create(b, math.mul(logs, exponents));
  return math.mul(inverse, growth);
}

/// (cosine, sine) of position * inverse in f64, times the attention factor.
RopeEmitter::Pair RopeEmitter::emitRotation(Value position, Value inverse) {
  FloatBuilder math(b, b.getLoc(), inverse.getType());
  Value p = arith::SIToFPOp::create(b, b.getF64Type(), position);
  if (isa<VectorType>(inverse.getType()))
    p = vector::BroadcastOp::create(b, inverse.getType(), p);
  Value angle = math.mul(p, inverse);
  auto finish = [&](Value value) {
    return magnitude == 1.0 ? value : math.mul(value, math.constant(magnitude));
  };
  Value cosine = math::CosOp::create(b, angle);
  Value sine = math::SinOp::create(b, angle);
  return {finish(cosine), finish(sine)};
}

/// The same, from the `rotation` at position `last`.
RopeEmitter::Pair RopeEmitter::emitNextRotation(Value position, Value last,
                                                Pair rotation, Value inverse,
                                                Pair turn) {
  auto compare = [&](arith::CmpIPredicate predicate, Value x, Value y) {
    return arith::CmpIOp::create(b, predicate, x, y).getResult();
  };
  Value isNext = compare(arith::CmpIPredicate::eq, position,
                         arith::AddIOp::create(b, last, i64(1)));
  Value phase = arith::AndIOp::create(b, position, i64(maxSteps - 1));
  Value mayStep = arith::AndIOp::create(
      b, isNext, compare(arith::CmpIPredicate::ne, phase, i64(0)));
  auto branch = scf::IfOp::create(
      b, TypeRange{inverse.getType(), inverse.getType()}, mayStep,
      /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  auto yield = [&](Pair result) {
    scf::YieldOp::create(b, ValueRange{result.first, result.second});
  };
  b.setInsertionPointToStart(branch.thenBlock());
  FloatBuilder math(b, b.getLoc(), inverse.getType());
  auto [cosine, sine] = rotation;
  yield({math.fma(cosine, turn.first, math.neg(math.mul(sine, turn.second))),
         math.fma(sine, turn.first, math.mul(cosine, turn.second))});
  b.setInsertionPointToStart(branch.elseBlock());
  yield(emitRotation(position, inverse));
  return {branch.getResult(0), branch.getResult(1)};
}

/// In the type that rows are rotated in.
RopeEmitter::Pair RopeEmitter::rounded(Pair rotation) {
  return {convertFloat(b, b.getLoc(), rotation.first, compute),
          convertFloat(b, b.getLoc(), rotation.second, compute)};
}

/// All rows below the indices `outer`, which fix the position.
void RopeEmitter::emitRowsOfOnePosition(ValueRange outer) {
  Value position = emitPosition(outer);
  forEachVector(b, frequencies, lanes, [&](Value offset, int64_t lanes) {
    Pair rotation =
        rounded(emitRotation(position, emitFrequencies(offset, lanes)));
    forEachRow(b, input, outer.size(), rank - 1, [&](ValueRange inner) {
      SmallVector<Value> row(outer);
      llvm::append_range(row, inner);
      emitRotatedRow(row, offset, lanes, rotation);
    });
  });
}

/// All rows below the indices `outer`, each with its own position.
void RopeEmitter::emitRowsWithPositions(ValueRange outer) {
  Value rows = b.createOrFold<memref::DimOp>(input, rank - 2);
  bool mayStep = !compute.isF64() && !isDynamic(op.getScalingAttr());
  int64_t tables = memrefOf(table).getDimSize(0) / 3;
  forEachVector(b, frequencies, lanes, [&](Value offset, int64_t lanes) {
    Value inverse = emitFrequencies(offset, lanes);
    FloatBuilder math(b, b.getLoc(), inverse.getType());
    Pair turn;
    if (mayStep) {
      auto load = [&](int64_t row) {
        return loadConverted(b, b.getLoc(), inverse.getType(), table,
                             {plus(tableRow, row), offset});
      };
      turn = {load(tables), load(2 * tables)};
    }
    // What position 0 would give is the start of the loop.
    SmallVector<Value> start = {i64(0), math.constant(magnitude),
                                math.constant(0.0)};
    auto loop = scf::ForOp::create(b, createIndex(b, 0), rows,
                                   createIndex(b, 1), start);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    ValueRange last = loop.getRegionIterArgs();
    SmallVector<Value> row = at(outer, loop.getInductionVar());
    Value position = emitPosition(row);
    Pair before = {last[1], last[2]};
    Value moved =
        arith::CmpIOp::create(b, arith::CmpIPredicate::ne, position, last[0]);
    auto branch = scf::IfOp::create(b, last.drop_front().getTypes(), moved,
                                    /*withElseRegion=*/true);
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(branch.thenBlock());
      Pair rotation =
          mayStep ? emitNextRotation(position, last[0], before, inverse, turn)
                  : emitRotation(position, inverse);
      scf::YieldOp::create(b, ValueRange{rotation.first, rotation.second});
      b.setInsertionPointToStart(branch.elseBlock());
      scf::YieldOp::create(b, last.drop_front());
    }
    Pair rotation = {branch.getResult(0), branch.getResult(1)};
    emitRotatedRow(row, offset, lanes, rounded(rotation));
    scf::YieldOp::create(b,
                         ValueRange{position, rotation.first, rotation.second});
  });
}

void RopeEmitter::emitRotatedRow(ValueRange row, Value offset, int64_t lanes,
                                 Pair rotation) {
  FloatBuilder math(b, b.getLoc(), getLaneType(compute, lanes));
  auto [cosine, sine] = rotation;
  Pair x = loadPair(row, offset, lanes);
  Pair rotated = {math.fma(x.first, cosine, math.neg(math.mul(x.second, sine))),
                  math.fma(x.second, cosine, math.mul(x.first, sine))};
  storePair(rotated, row, offset, lanes);
}

/// The elements that frequencies [offset, offset + lanes) rotate: (k, k + half)
/// in neox style, (2k, 2k + 1) interleaved.
RopeEmitter::Pair RopeEmitter::loadPair(ValueRange row, Value offset,
                                        int64_t lanes) {
  auto load = [&](Value column, int64_t lanes) {
    return loadConverted(b, b.getLoc(), getLaneType(compute, lanes), input,
                         at(row, column));
  };
  if (isNeox())
    return {load(offset, lanes), load(plus(offset, frequencies), lanes)};
  Value column = arith::MulIOp::create(b, offset, createIndex(b, 2));
  if (lanes == 1)
    return {load(column, 1), load(plus(column, 1), 1)};
  Value both = load(column, 2 * lanes);
  auto parts = vector::DeinterleaveOp::create(b, both);
  return {parts.getRes1(), parts.getRes2()};
}

void RopeEmitter::storePair(Pair pair, ValueRange row, Value offset,
                            int64_t lanes) {
  auto store = [&](Value value, Value column) {
    storeConverted(b, b.getLoc(), value, output, at(row, column));
  };
  if (isNeox()) {
    store(pair.first, offset);
    store(pair.second, plus(offset, frequencies));
    return;
  }
  Value column = arith::MulIOp::create(b, offset, createIndex(b, 2));
  if (lanes == 1) {
    store(pair.first, column);
    store(pair.second, plus(column, 1));
    return;
  }
  store(vector::InterleaveOp::create(b, pair.first, pair.second), column);
}

/// Elements from rotary_dim on are copied.
void RopeEmitter::emitUnrotated() {
  int64_t rest = memrefOf(input).getShape().back() - 2 * frequencies;
  if (rest == 0)
    return;
  forEachRow(b, input, 0, rank - 1, [&](ValueRange row) {
    forEachVector(b, rest, lanes, [&](Value offset, int64_t lanes) {
      SmallVector<Value> indices = at(row, plus(offset, 2 * frequencies));
      Value x = loadConverted(b, b.getLoc(), getLaneType(compute, lanes), input,
                              indices);
      storeConverted(b, b.getLoc(), x, output, indices);
    });
  });
}

namespace {

struct LowerRopePass : fovea::impl::LowerRopeBase<LowerRopePass> {
  using LowerRopeBase::LowerRopeBase;

  /// The module's constant with the values `table`, made if need be.
  memref::GlobalOp getGlobal(DenseElementsAttr table) {
    memref::GlobalOp &global = globals[table];
    if (global)
      return global;
    OpBuilder b(&getContext());
    auto type =
        MemRefType::get(table.getType().getShape(), table.getElementType());
    global = memref::GlobalOp::create(
        b, getOperation().getLoc(), "attn_rope_frequencies",
        b.getStringAttr("private"), type, table, /*constant=*/true,
        /*alignment=*/b.getI64IntegerAttr(64));
    // Not in the module yet: of two with one name, insert renames the newcomer.
    SymbolTable(getOperation())
        .insert(global, getOperation().getBody()->begin());
    return global;
  }

  LogicalResult lower(ImplicitLocOpBuilder &b, RopeOp op) {
    double magnitude;
    memref::GlobalOp global = getGlobal(makeTable(op, magnitude));
    Value table =
        memref::GetGlobalOp::create(b, global.getType(), global.getSymName());
    auto element = cast<FloatType>(memrefOf(op.getInput()).getElementType());
    int64_t lanes = vectorBits / getComputeType(element).getWidth();
    forEachStrideCase(
        b, {op.getInput(), op.getOutput()}, lanes,
        [&](ValueRange memrefs, int64_t lanes) {
          RopeEmitter(b, op, table, magnitude, memrefs, lanes).emit();
        });
    return success();
  }

  void runOnOperation() override {
    globals.clear();
    if (failed(lowerOperations<RopeOp>(
            getOperation(), [&](auto &b, auto op) { return lower(b, op); })))
      signalPassFailure();
  }

private:
  DenseMap<Attribute, memref::GlobalOp> globals;
};

} // namespace
