// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The micro-kernel of attn.partial for matrix units (AMX): keys in units of 64,
// each with scores S^T = K Q^T, a softmax, and a product O^T += V^T P^T, in amx
// tiles, vectors and cpu.interleave. Query rows are the lanes of vectors, as in
// RowLanesKernel.cpp, so that maximum and sum need no horizontal operation and
// the weights of two keys, side by side, are the pairs that the tile product
// reads. It must not be asked about operands other than bf16.
//
// Terms. An element is the sum of T terms of bf16, each what those before it
// leave, 2^-8 of them at most: bf16 itself, f16 in two terms, f32 in three.
// Products of two sums are made of the tile products of terms l and r with
// l + r < T; the others are as small as what T terms leave out of a number.
// Weights are split into terms as they are packed. Tile products of one term
// are added to acc one by one; those of three, where each rounding of acc would
// be as large as all that the terms leave out, make the product of a unit
// first.
//
// The pipeline. Step s works on three units at once: the product of unit s - 2,
// the softmax of unit s - 1 and the scores of unit s. They share no memory that
// one of them writes (scores and weights lie in two buffers each, taken in
// turn), so in the steady state they are the two parts of a cpu.interleave:
// tile operations in one, vectors in the other. The first and last steps, and
// what rule M1 asks for, run them one after the other, in loops.
//
// The reference. Weights are exp(s - reference); the reference of a row is the
// maximum at some earlier unit, raised to the current one when scores have
// risen by more than `slack` above it, which shrinks what was accumulated. At
// the end the state is made relative to the maximum itself.
//
// Masks and scores. Where the kernel has a mask or a score region, a loop makes
// the scores of a unit final in front of its softmax; so the steady step is the
// same code for all masks and scores.

#include "compiler/CPU/PartialKernel.h"
#include "dialects/cpu/IR/CpuOps.h"

#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include <limits>

using namespace mlir;
using namespace fovea::attn;
using namespace fovea::cpu;

namespace {

/// Rows of a tile, and bf16 elements of its rows.
constexpr int64_t tileRows = 16, tileDepth = 32;

/// Tiles of a result that are computed together, in each direction: a tile read
/// serves two products, and four results with their operands fit the registers.
constexpr int64_t blockTiles = 2;

/// Weights that are added up before their sum joins the unit's.
constexpr int64_t sumGroup = 8;

/// Independent chains of maxima: the latency of one is 4.
constexpr int64_t maxChains = 4;

/// How far, in powers of two, scores may rise above a row's reference.
constexpr double slack = 8;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double log2E = 1.44269504088896340736;

/// One attn.partial and the body of the function made for it.
class MatrixKernel : PartialKernel {
public:
  MatrixKernel(PartialOp op, func::FuncOp function);
  void emit();

private:
  /// How a part of a step is emitted.
  enum class Form { Loops, StraightLine };

  void emitStep(Value step, Value units, Value keys);
  void emitEdits(Value unit, Value keys);
  void emitScores(Form form, Value unit);
  void emitSoftmax(Form form, Value unit);
  Value packPairs(Value even, Value odd);
  Value roundToTerm(Value x);
  void emitProduct(Form form, Value unit);
  void emitProductOfVectors(Value unit);
  void emitAddition();
  Value emitIsFinite(Value unit);
  void emitRescale();
  void emitFinish();

  // Tiles.
  using TileAt = function_ref<Value(int64_t, int64_t)>;
  using TermAt = function_ref<Value(int64_t, int64_t, int64_t)>;
  void emitBlock(int64_t steps, TileAt start, TermAt left, TermAt right,
                 Value memref, function_ref<Values(int64_t, int64_t)> indices);
  /// What emitBlock has put off, at the end of a run of blocks.
  void flushStores();
  Value loadTile(Type type, Value memref, ValueRange indices,
                 bool streams = false, Value stride = Value());

  // Small operations.
  Values repeat(Form form, int64_t count, int64_t step, const Values &carried,
                function_ref<Values(Value, Values)> body);
  void ifThen(Value condition, function_ref<void()> body);
  Value compare(arith::CmpIPredicate predicate, Value x, Value y) {
    return arith::CmpIOp::create(b, loc, predicate, x, y);
  }
  Value any(Value lanes) {
    return vector::ReductionOp::create(b, loc, vector::CombiningKind::OR,
                                       lanes);
  }
  Value load(Value memref, Values indices, int64_t part) {
    indices.push_back(index(part * width));
    return vector::LoadOp::create(b, loc, vectorType, memref, indices);
  }
  void store(Value value, Value memref, Values indices, int64_t part) {
    indices.push_back(index(part * width));
    vector::StoreOp::create(b, loc, value, memref, indices);
  }
  /// The buffer that a unit's scores and weights lie in.
  Value bufferOf(Value unit) {
    return arith::AndIOp::create(b, loc, unit, index(1));
  }

  /// Rows, their vectors, columns of V and depth, both padded to whole blocks,
  /// terms of an element.
  int64_t lanes, parts, columns, depth, unitKeys, terms;
  /// What a score in the buffer is multiplied by.
  double factor;
  bool edited;
  Value scores;      // [2][keys][rows]
  Value weights;     // [2][terms][parts][keys / 2][lanes, 2], bf16
  Value references;  // [rows]
  Value shrinks;     // [rows]: the factor of what was accumulated before
  Value unitProduct; // [columns][rows], if it is not made in acc
  /// Stores of finished result tiles, put off until their registers are needed.
  SmallVector<std::function<void()>, blockTiles * blockTiles> pending;
  VectorType pairsType;
  Type operandTile, resultTile;
  /// Of each part's lanes: head h and query i.
  SmallVector<std::pair<Value, Value>> rowIndices;
};

} // namespace

MatrixKernel::MatrixKernel(PartialOp op, func::FuncOp function)
    : PartialKernel(op, function), lanes(op.getTileRows()),
      parts(lanes / width), columns(memrefOf(op.getAcc()).getDimSize(0)),
      depth(2 * memrefOf(op.getQuery()).getDimSize(1)),
      unitKeys(memrefOf(op.getValue()).getDimSize(3)),
      terms(memrefOf(op.getQuery()).getDimSize(0)),
      pending(blockTiles * blockTiles),
      pairsType(VectorType::get({2 * width}, b.getBF16Type())),
      operandTile(amx::TileType::get({tileRows, tileDepth}, b.getBF16Type())),
      resultTile(amx::TileType::get({tileRows, tileRows}, compute)) {
  double scale = op.getScale().convertToDouble();
  // The largest score is that of the largest product.
  edited = !op.getMask().empty() || !op.getScore().empty() || scale <= 0;
  factor = edited ? 1.0 : scale;
}

void MatrixKernel::emit() {
  scores = allocateOnStack({2, unitKeys, lanes});
  weights = memref::AllocaOp::create(
      b, loc,
      MemRefType::get({2, terms, parts, unitKeys / 2, 2 * width},
                      b.getBF16Type()),
      b.getI64IntegerAttr(64));
  references = allocateOnStack({lanes});
  shrinks = allocateOnStack({lanes});
  if (terms > 2)
    unitProduct = allocateOnStack({columns, lanes});
  for (int64_t part = 0; part < parts; ++part)
    store(load(get(op.getMax()), {}, part), references, {}, part);
  if (!op.getMask().empty() || !op.getScore().empty()) {
    Value row0 = lanesOf(toI64(get(op.getRow0())));
    for (int64_t part = 0; part < parts; ++part)
      rowIndices.push_back(headAndQuery(add(row0, iota(part * width))));
  }
  Value keys = memref::DimOp::create(b, loc, get(op.getKey()), 0);
  Value units = arith::DivUIOp::create(b, loc, add(keys, index(unitKeys - 1)),
                                       index(unitKeys));
  loop(index(0), add(units, index(2)), 1, {},
       [&](Value step, const Values &) -> Values {
         emitStep(step, units, keys);
         return {};
       });
  emitFinish();
  func::ReturnOp::create(b, loc);
}

Values MatrixKernel::repeat(Form form, int64_t count, int64_t step,
                            const Values &carried,
                            function_ref<Values(Value, Values)> body) {
  if (form == Form::Loops)
    return loop(index(0), index(count), step, carried, body);
  Values values = carried;
  for (int64_t i = 0; i < count; i += step)
    values = body(index(i), values);
  return values;
}

void MatrixKernel::ifThen(Value condition, function_ref<void()> body) {
  auto op = scf::IfOp::create(b, loc, condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(op.thenBlock());
  body();
}

//===----------------------------------------------------------------------===//
// The pipeline
//===----------------------------------------------------------------------===//

void MatrixKernel::emitStep(Value step, Value units, Value keys) {
  using Predicate = arith::CmpIPredicate;
  Value product = sub(step, index(2)), softmax = sub(step, index(1));
  Value hasProduct = compare(Predicate::uge, step, index(2));
  Value hasScores = compare(Predicate::ult, step, units);
  // Unsigned: false for the first step, too.
  Value hasSoftmax = compare(Predicate::ult, softmax, units);
  ifThen(hasSoftmax, [&] { emitEdits(softmax, keys); });

  // Rule M1: in a tile product a masked key's NaN or infinity would meet its
  // weight of zero.
  Value tilesServe = hasProduct;
  if (!op.getMask().empty()) {
    auto test = scf::IfOp::create(b, loc, TypeRange(b.getI1Type()), hasProduct,
                                  /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(test.thenBlock());
    Value isFinite = emitIsFinite(product);
    scf::YieldOp::create(b, loc, isFinite);
    b.setInsertionPointToStart(test.elseBlock());
    scf::YieldOp::create(b, loc, hasProduct);
    tilesServe = test.getResult(0);
  }
  Value isSteady = arith::AndIOp::create(b, loc, tilesServe, hasScores);
  auto choice = scf::IfOp::create(b, loc, isSteady, /*withElseRegion=*/true);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(choice.thenBlock());
    auto interleave = InterleaveOp::create(b, loc, /*partsCount=*/2);
    b.createBlock(&interleave.getParts()[0]);
    emitProduct(Form::StraightLine, product);
    // Not put off into the scores: their tiles would take a register more than
    // there are.
    flushStores();
    emitScores(Form::StraightLine, step);
    flushStores();
    b.createBlock(&interleave.getParts()[1]);
    emitSoftmax(Form::StraightLine, softmax);

    b.setInsertionPointToStart(choice.elseBlock());
    ifThen(tilesServe, [&] { emitProduct(Form::Loops, product); });
    if (!op.getMask().empty()) {
      Value left = arith::XOrIOp::create(b, loc, tilesServe, hasProduct);
      ifThen(left, [&] { emitProductOfVectors(product); });
    }
    ifThen(hasSoftmax, [&] { emitSoftmax(Form::Loops, softmax); });
    ifThen(hasScores, [&] { emitScores(Form::Loops, step); });
  }
  if (unitProduct)
    ifThen(hasProduct, [&] { emitAddition(); });
  ifThen(hasSoftmax, [&] {
    Value shrunk;
    for (int64_t part = 0; part < parts; ++part) {
      Value some = math.less(load(shrinks, {}, part), math.constant(1.0));
      shrunk = part == 0 ? some : arith::OrIOp::create(b, loc, shrunk, some);
    }
    ifThen(any(shrunk), [&] { emitRescale(); });
  });
}

/// acc += unitProduct
void MatrixKernel::emitAddition() {
  Value acc = get(op.getAcc());
  loop(index(0), index(columns), 1, {},
       [&](Value column, const Values &) -> Values {
         for (int64_t part = 0; part < parts; ++part)
           store(math.add(load(acc, {column}, part),
                          load(unitProduct, {column}, part)),
                 acc, {column}, part);
         return {};
       });
}

/// acc *= shrinks
void MatrixKernel::emitRescale() {
  Value acc = get(op.getAcc());
  Values by;
  for (int64_t part = 0; part < parts; ++part)
    by.push_back(load(shrinks, {}, part));
  loop(index(0), index(columns), 1, {},
       [&](Value column, const Values &) -> Values {
         for (int64_t part = 0; part < parts; ++part)
           store(math.mul(load(acc, {column}, part), by[part]), acc, {column},
                 part);
         return {};
       });
}

/// Makes the state relative to the maximum.
void MatrixKernel::emitFinish() {
  Value anyBelow;
  for (int64_t part = 0; part < parts; ++part) {
    Value max = load(get(op.getMax()), {}, part),
          reference = load(references, {}, part);
    Value isBelow = math.less(reference, max);
    Value shrink =
        math.exp2ByScale(math.sub(math.mul(reference, math.constant(log2E)),
                                  math.mul(max, math.constant(log2E))));
    shrink = math.select(isBelow, shrink, math.constant(1.0));
    store(shrink, shrinks, {}, part);
    Value sum = get(op.getSum());
    store(math.mul(load(sum, {}, part), shrink), sum, {}, part);
    anyBelow =
        part == 0 ? isBelow : arith::OrIOp::create(b, loc, anyBelow, isBelow);
  }
  ifThen(any(anyBelow), [&] { emitRescale(); });
}

//===----------------------------------------------------------------------===//
// Scores: S^T = K Q^T
//===----------------------------------------------------------------------===//

Value MatrixKernel::loadTile(Type type, Value memref, ValueRange indices,
                             bool streams, Value stride) {
  auto load = amx::TileLoadOp::create(b, loc, type, memref, indices, stride);
  // K, V and acc would evict from the first-level cache what is used again.
  if (streams)
    load->setDiscardableAttr(getStreamAttrName(), b.getUnitAttr());
  return load;
}

/// A block of result tiles (row, part), the sums of `steps` products on top of
/// `start`, for `memref`. A tile product behind a tile store waits for it; so
/// the stores of a block come just before its registers are used again. Of the
/// products of terms the smallest come first, those of one right term one after
/// the other.
void MatrixKernel::emitBlock(int64_t steps, TileAt start, TermAt left,
                             TermAt right, Value memref,
                             function_ref<Values(int64_t, int64_t)> indices) {
  Values sums(blockTiles * blockTiles), rightTiles(blockTiles);
  auto emitProducts = [&](int64_t step, int64_t leftTerm, int64_t rightTerm,
                          bool isNewRight) {
    for (int64_t row = 0; row < blockTiles; ++row) {
      Value leftTile = left(row, step, leftTerm);
      for (int64_t part = 0; part < blockTiles; ++part) {
        Value &sum = sums[row * blockTiles + part];
        if (row == 0 && isNewRight)
          rightTiles[part] = right(part, step, rightTerm);
        if (!sum) {
          if (auto &store = pending[row * blockTiles + part])
            store();
          sum = start(row, part);
        }
        sum = amx::TileMulFOp::create(b, loc, resultTile, leftTile,
                                      rightTiles[part], sum);
      }
    }
  };
  for (int64_t step = 0; step < steps; ++step)
    for (int64_t rightTerm = terms - 1; rightTerm >= 0; --rightTerm)
      for (int64_t leftTerm = terms - 1 - rightTerm; leftTerm >= 0; --leftTerm)
        emitProducts(step, leftTerm, rightTerm,
                     /*isNewRight=*/leftTerm == terms - 1 - rightTerm);
  for (int64_t row = 0; row < blockTiles; ++row)
    for (int64_t part = 0; part < blockTiles; ++part) {
      int64_t slot = row * blockTiles + part;
      pending[slot] = [this, memref, at = indices(row, part),
                       sum = sums[slot]] {
        amx::TileStoreOp::create(b, loc, memref, at, sum);
      };
    }
}

void MatrixKernel::flushStores() {
  for (std::function<void()> &store : pending) {
    if (store)
      store();
    store = nullptr;
  }
}

void MatrixKernel::emitScores(Form form, Value unit) {
  Value query = get(op.getQuery()), key = get(op.getKey());
  Value buffer = bufferOf(unit), first = mul(unit, index(unitKeys));
  Value pairStride = index(2 * lanes);
  Value keyStride =
      index(memrefOf(op.getKey()).getStridesAndOffset().first.front());
  repeat(form, unitKeys, blockTiles * tileRows, {},
         [&](Value row, const Values &) -> Values {
           auto rowOf = [&](int64_t tile) {
             return add(row, index(tile * tileRows));
           };
           emitBlock(
               depth / tileDepth,
               [&](int64_t, int64_t) -> Value {
                 return amx::TileZeroOp::create(b, loc, resultTile);
               },
               [&](int64_t tile, int64_t step, int64_t term) {
                 return loadTile(operandTile, key,
                                 {add(first, rowOf(tile)), index(term),
                                  index(step * tileDepth)},
                                 /*streams=*/true, keyStride);
               },
               [&](int64_t part, int64_t step, int64_t term) {
                 return loadTile(operandTile, query,
                                 {index(term), index(step * tileDepth / 2),
                                  index(part * tileRows), index(0)},
                                 /*streams=*/false, pairStride);
               },
               scores,
               [&](int64_t tile, int64_t part) -> Values {
                 return {buffer, rowOf(tile), index(part * tileRows)};
               });
           if (form == Form::Loops)
             flushStores();
           return {};
         });
}

/// What the tiles leave to do before the softmax: scale, score and mask, and
/// -inf for the keys that the last unit lacks.
void MatrixKernel::emitEdits(Value unit, Value keys) {
  Value buffer = bufferOf(unit), first = mul(unit, index(unitKeys));
  Value count = min(sub(keys, first), index(unitKeys));
  if (edited)
    loop(index(0), count, 1, {}, [&](Value row, const Values &) -> Values {
      Value j = toI64(add(get(op.getJ0()), add(first, row)));
      for (int64_t part = 0; part < parts; ++part) {
        Values arguments;
        if (!rowIndices.empty()) {
          auto [h, i] = rowIndices[part];
          arguments = regionArguments(h, i, j);
        }
        Value s = math.mul(load(scores, {buffer, row}, part),
                           math.constant(op.getScale().convertToDouble()));
        if (!op.getScore().empty())
          s = emitScore(s, arguments);
        if (!op.getMask().empty())
          s = math.select(emitMask(arguments), s, math.constant(-infinity));
        store(s, scores, {buffer, row}, part);
      }
      return {};
    });
  loop(count, index(unitKeys), 1, {}, [&](Value row, const Values &) -> Values {
    for (int64_t part = 0; part < parts; ++part)
      store(math.constant(-infinity), scores, {buffer, row}, part);
    return {};
  });
}

//===----------------------------------------------------------------------===//
// Softmax: maximum, reference, weights and their sum
//===----------------------------------------------------------------------===//

void MatrixKernel::emitSoftmax(Form form, Value unit) {
  Value buffer = bufferOf(unit);
  Values maxima = repeat(
      form, unitKeys, maxChains,
      Values(maxChains * parts, math.constant(-infinity)),
      [&](Value row, Values in) {
        for (int64_t chain = 0; chain < maxChains; ++chain)
          for (int64_t part = 0; part < parts; ++part) {
            Value &max = in[chain * parts + part];
            max = math.maxOrSecond(
                load(scores, {buffer, add(row, index(chain))}, part), max);
          }
        return in;
      });
  Value maxMemory = get(op.getMax()), sumMemory = get(op.getSum());
  Values subtrahends, shrink;
  for (int64_t part = 0; part < parts; ++part) {
    Value top = maxima[part];
    for (int64_t chain = 1; chain < maxChains; ++chain)
      top = math.maxOrSecond(maxima[chain * parts + part], top);
    if (factor != 1.0)
      top = math.mul(top, math.constant(factor));
    store(math.maxOrSecond(top, load(maxMemory, {}, part)), maxMemory, {},
          part);

    // Everything below is in powers of two. One multiplication makes the base
    // of a reference, so that equal references have equal bases in every call.
    Value old = load(references, {}, part);
    Value oldBase = math.mul(old, math.constant(log2E));
    Value rises = math.less(math.add(oldBase, math.constant(slack)),
                            math.mul(top, math.constant(log2E)));
    Value reference = math.select(rises, top, old);
    store(reference, references, {}, part);
    // Rule M2: a row with no attended key yet subtracts 0, and 2^-inf = 0.
    Value isEmpty = math.equal(reference, math.constant(-infinity));
    Value base = math.select(isEmpty, math.constant(0.0),
                             math.mul(reference, math.constant(log2E)));
    subtrahends.push_back(math.neg(base));
    shrink.push_back(math.select(
        rises, math.exp2ByScale(math.sub(oldBase, base)), math.constant(1.0)));
    store(shrink[part], shrinks, {}, part);
  }

  Value exponent = math.constant(factor * log2E);
  // Vector arithmetic is what limits a step of one term: weights are as good as
  // their rounding asks, and LSE's bound takes. Three terms hold all of f32.
  auto weightOf = [&](Value row, int64_t part) {
    Value x = math.fma(load(scores, {buffer, row}, part), exponent,
                       subtrahends[part]);
    return terms < 3 ? math.exp2ByScaleRoughly(x) : math.exp2ByScale(x);
  };
  // In groups: weights may all be equal, and a long chain would round each time
  // to the same side.
  Values sums = repeat(
      form, unitKeys, sumGroup, Values(parts, math.constant(0.0)),
      [&](Value group, Values sums) {
        Values groupSums(parts);
        for (int64_t key = 0; key < sumGroup; key += 2) {
          Value row = add(group, index(key));
          Value pair = arith::DivUIOp::create(b, loc, row, index(2));
          for (int64_t part = 0; part < parts; ++part) {
            Value even = weightOf(row, part),
                  odd = weightOf(add(row, index(1)), part);
            Value both = math.add(even, odd);
            groupSums[part] = key == 0 ? both : math.add(groupSums[part], both);
            for (int64_t term = 0; term < terms; ++term) {
              vector::StoreOp::create(
                  b, loc, packPairs(even, odd), weights,
                  ValueRange{buffer, index(term), index(part), pair, index(0)});
              if (term + 1 == terms)
                break;
              even = math.sub(even, roundToTerm(even));
              odd = math.sub(odd, roundToTerm(odd));
            }
          }
        }
        for (int64_t part = 0; part < parts; ++part)
          sums[part] = math.add(sums[part], groupSums[part]);
        return sums;
      });
  for (int64_t part = 0; part < parts; ++part)
    store(math.fma(load(sumMemory, {}, part), shrink[part], sums[part]),
          sumMemory, {}, part);
}

/// What the pairs below make of x, in f32.
Value MatrixKernel::roundToTerm(Value x) {
  Value bits = add(math.toBits(x), math.intConstant(0x8000));
  return math.fromBits(
      arith::AndIOp::create(b, loc, bits, math.intConstant(0xffff0000)));
}

/// bf16 pairs (even, odd) of weights, rounded to nearest, ties away from zero:
/// weights are finite and not negative, or NaN, as is then their sum; what is
/// left of them for another term is finite.
Value MatrixKernel::packPairs(Value even, Value odd) {
  Value half = math.intConstant(0x8000);
  Value low = arith::ShRUIOp::create(b, loc, add(math.toBits(even), half),
                                     math.intConstant(16));
  Value high = arith::AndIOp::create(b, loc, add(math.toBits(odd), half),
                                     math.intConstant(0xffff0000));
  return vector::BitCastOp::create(b, loc, pairsType,
                                   arith::OrIOp::create(b, loc, low, high));
}

//===----------------------------------------------------------------------===//
// Product: acc^T += V^T P^T, or unitProduct^T = V^T P^T
//===----------------------------------------------------------------------===//

void MatrixKernel::emitProduct(Form form, Value unit) {
  Value result = unitProduct ? unitProduct : get(op.getAcc());
  Value value = get(op.getValue()), buffer = bufferOf(unit);
  repeat(form, columns, blockTiles * tileRows, {},
         [&](Value column, const Values &) -> Values {
           auto columnOf = [&](int64_t tile) {
             return add(column, index(tile * tileRows));
           };
           auto resultAt = [&](int64_t tile, int64_t part) -> Values {
             return {columnOf(tile), index(part * tileRows)};
           };
           emitBlock(
               unitKeys / tileDepth,
               [&](int64_t tile, int64_t part) -> Value {
                 if (unitProduct)
                   return amx::TileZeroOp::create(b, loc, resultTile);
                 return loadTile(resultTile, result, resultAt(tile, part),
                                 /*streams=*/true);
               },
               [&](int64_t tile, int64_t step, int64_t term) {
                 return loadTile(operandTile, value,
                                 {unit, index(term), columnOf(tile),
                                  index(step * tileDepth)},
                                 /*streams=*/true);
               },
               [&](int64_t part, int64_t step, int64_t term) {
                 return loadTile(operandTile, weights,
                                 {buffer, index(term), index(part),
                                  index(step * tileDepth / 2), index(0)});
               },
               result, resultAt);
           if (form == Form::Loops)
             flushStores();
           return {};
         });
}

/// i1: whether V of the unit has no NaN and no infinity, which the first terms
/// show.
Value MatrixKernel::emitIsFinite(Value unit) {
  auto stored = VectorType::get({tileDepth}, b.getBF16Type()),
       bits = VectorType::get({tileDepth}, b.getI16Type());
  auto constant = [&](int64_t value) -> Value {
    return arith::ConstantOp::create(
        b, loc,
        SplatElementsAttr::get(bits, b.getIntegerAttr(b.getI16Type(), value)));
  };
  Value exponent = constant(0x7f80);
  Value largest =
      loop(index(0), index(columns), 1, {constant(0)},
           [&](Value column, Values in) {
             for (int64_t key = 0; key < unitKeys; key += tileDepth) {
               Value v = vector::LoadOp::create(
                   b, loc, stored, get(op.getValue()),
                   ValueRange{unit, index(0), column, index(key)});
               v = arith::AndIOp::create(
                   b, loc, vector::BitCastOp::create(b, loc, bits, v),
                   exponent);
               in[0] = arith::MaxUIOp::create(b, loc, in[0], v);
             }
             return in;
           })
          .front();
  Value isNot = any(compare(arith::CmpIPredicate::eq, largest, exponent));
  return arith::XOrIOp::create(b, loc, isNot,
                               arith::ConstantIntOp::create(b, loc, 1, 1));
}

/// The same product on vectors, in which a weight of zero reads nothing.
void MatrixKernel::emitProductOfVectors(Value unit) {
  Value result = unitProduct ? unitProduct : get(op.getAcc());
  Value value = get(op.getValue()), buffer = bufferOf(unit);
  Value zero = math.constant(0.0);
  auto addKey = [&](Value sum, Value p, Value v) -> Value {
    Value read = math.select(math.equal(p, zero), zero, v);
    return math.fma(p, read, sum);
  };
  // The smallest first: no sum is rounded, nor passes the range.
  auto sumOfTerms = [&](function_ref<Value(int64_t)> termAt) {
    Value sum = termAt(terms - 1);
    for (int64_t term = terms - 2; term >= 0; --term)
      sum = math.add(sum, termAt(term));
    return sum;
  };
  loop(index(0), index(columns), 1, {},
       [&](Value column, const Values &) -> Values {
         Values sums;
         for (int64_t part = 0; part < parts; ++part)
           sums.push_back(unitProduct ? zero : load(result, {column}, part));
         sums = loop(
             index(0), index(unitKeys / 2), 1, sums,
             [&](Value pair, Values sums) {
               auto valueOf = [&](int64_t key) {
                 Value at = add(mul(pair, index(2)), index(key));
                 return sumOfTerms([&](int64_t term) {
                   Value v = memref::LoadOp::create(
                       b, loc, value,
                       ValueRange{unit, index(term), column, at});
                   return lanesOf(convertFloat(b, loc, v, compute));
                 });
               };
               Value even = valueOf(0), odd = valueOf(1);
               for (int64_t part = 0; part < parts; ++part) {
                 auto pairOf = [&](int64_t term) -> Value {
                   Value both = vector::LoadOp::create(
                       b, loc, pairsType, weights,
                       ValueRange{buffer, index(term), index(part), pair,
                                  index(0)});
                   return vector::BitCastOp::create(
                       b, loc, cast<VectorType>(math.getIntType()), both);
                 };
                 Value low = sumOfTerms([&](int64_t term) {
                   return math.fromBits(arith::ShLIOp::create(
                       b, loc, pairOf(term), math.intConstant(16)));
                 });
                 Value high = sumOfTerms([&](int64_t term) {
                   return math.fromBits(arith::AndIOp::create(
                       b, loc, pairOf(term), math.intConstant(0xffff0000)));
                 });
                 sums[part] = addKey(addKey(sums[part], low, even), high, odd);
               }
               return sums;
             });
         for (int64_t part = 0; part < parts; ++part)
           store(sums[part], result, {column}, part);
         return {};
       });
}

void fovea::cpu::emitMatrixKernel(PartialOp op, func::FuncOp function) {
  MatrixKernel(op, function).emit();
}
