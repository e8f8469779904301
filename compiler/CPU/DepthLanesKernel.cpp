// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The micro-kernel of attn.partial for few rows (decode): what takes the time
// is reading K and V once, so they are read as vectors along d and e, in their
// own type, and converted in registers. From q [L][D], k [n][D], v [n][E], acc
// [L][E], max [L] and sum [L] to vector, scf and memref operations. Only the
// rows that exist are computed, in blocks that divide the group. Memory is kept
// busy by prefetches of the rows that the operation says are next, in their
// order: QK fetches those of V, and PV those of K, as many as it has keys.
//
// Pairs. Of two vectors of bf16 the even and the odd elements are converted, by
// one operation each, as they are the halves of the words in memory. That is
// the order of rows of q and acc that are unzipped (attn.partial).
//
// Units of a block of rows: QK, sums over lanes that are reduced to scores S
// [rows][keys]; softmax with keys in the lanes, where mask and score regions
// see vectors of j; PV, columns in the lanes. It must not be asked about
// operands without unit inner stride.

#include "compiler/CPU/PartialKernel.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include <limits>
#include <numeric>

using namespace mlir;
using namespace fovea::attn;
using namespace fovea::cpu;

namespace {

/// Independent chains that keep two multiply-add units of latency 4 busy.
constexpr int64_t chains = 8;

/// Bytes of what a prefetch brings.
constexpr int64_t cacheLine = 64;

/// Keys of a block for each of its rows. The fewer rows, the less there is to
/// do with a block while the next one is fetched, and the sooner it should be
/// used: rows of K and V at a distance of a power of two share few sets of a
/// cache.
constexpr int64_t keysPerRow = 16;

constexpr double infinity = std::numeric_limits<double>::infinity();

int64_t elementsOfLine(Value memref) {
  return cacheLine * 8 / memrefOf(memref).getElementTypeBitWidth();
}

class DepthLanesKernel : PartialKernel {
public:
  DepthLanesKernel(PartialOp op, func::FuncOp function);
  void emit();

private:
  // `rows` are those of one block, as indices into q, acc, max and sum; keys
  // are first + [0, count).
  void emitBlock(const Values &rows, Value first, Value count);
  void emitQK(const Values &rows, Value first, Value count);
  void emitKeyGroup(int64_t keys, const Values &rows, Value first, Value key);
  void emitDepthTail(const Values &rows, Value first, Value count);
  void emitPrefetch(Value memref, Value row, Value column);
  void emitNextKeys(Value first, Value unit, int64_t lines);
  void emitSoftmax(Value firstRow, Value first, Value count);
  void emitPV(const Values &rows, Value first, Value count);
  void emitColumns(FloatBuilder &lanes, int64_t step, int64_t vectors,
                   const Values &rows, Value column, Value first, Value count,
                   function_ref<void(Value)> meanwhile);

  // Vectors in pairs.
  Values loadVectors(Value memref, Value row, Value column, int64_t count,
                     bool inPairs);
  void forEachRunOfDepth(function_ref<void(int64_t, int64_t, int64_t)> visit);

  Values reduceToLanes(ArrayRef<Value> sums);
  Value reduce(Value vector, function_ref<Value(Value, Value)> combine);
  Value load(Type type, Value memref, ValueRange indices) {
    return loadConverted(b, loc, type, memref, indices);
  }
  void store(Value value, Value memref, ValueRange indices) {
    storeConverted(b, loc, value, memref, indices);
  }
  Value broadcast(Value scalar, Type type) {
    return type == compute ? scalar
                           : vector::BroadcastOp::create(b, loc, type, scalar);
  }

  int64_t linesOfKey() {
    return llvm::divideCeil(depth, elementsOfLine(get(op.getKey())));
  }
  Value div(Value x, int64_t y) {
    return arith::DivUIOp::create(b, loc, x, index(y));
  }
  Value rem(Value x, int64_t y) {
    return arith::RemUIOp::create(b, loc, x, index(y));
  }

  int64_t depth, columns, rowBlock, block, keyGroup;
  FloatBuilder scalar;
  Value scores;   // [rowBlock][block, rounded up to vectors]
  Value attended; // the same, 1 or 0, if there is a mask
  Value alpha;    // [rowBlock], by which the accumulators shrink
};

} // namespace

/// As many rows as K and V vectors in registers can serve at once; a divisor of
/// the group, so that blocks are whole, and of the tile, so that they lie in
/// it.
static int64_t chooseRowBlock(int64_t group, int64_t tileRows) {
  int64_t common = std::gcd(group, tileRows);
  int64_t rows = std::min<int64_t>(common, 7);
  while (common % rows != 0)
    --rows;
  return rows;
}

int64_t fovea::cpu::keysOfDepthLanesBlock(int64_t group, int64_t tileRows,
                                          int64_t kvTile) {
  return std::min(kvTile, keysPerRow * chooseRowBlock(group, tileRows));
}

DepthLanesKernel::DepthLanesKernel(PartialOp op, func::FuncOp function)
    : PartialKernel(op, function), depth(memrefOf(op.getQuery()).getDimSize(1)),
      columns(memrefOf(op.getAcc()).getDimSize(1)),
      rowBlock(chooseRowBlock(op.getGroup(), op.getTileRows())),
      block(keysOfDepthLanesBlock(op.getGroup(), op.getTileRows(),
                                  config.getKvTile())),
      keyGroup(std::max<int64_t>(chains / rowBlock, 1)),
      scalar(b, loc, compute) {}

void DepthLanesKernel::emit() {
  int64_t padded = llvm::alignTo(block, width);
  scores = allocateOnStack({rowBlock, padded});
  if (!op.getMask().empty())
    attended = allocateOnStack({rowBlock, padded});
  alpha = allocateOnStack({rowBlock});
  Value rows = sub(mul(get(op.getExtents()[1]), index(op.getGroup())),
                   get(op.getRow0()));
  rows = min(rows, index(op.getTileRows()));
  Value keys = memref::DimOp::create(b, loc, get(op.getKey()), 0);
  loop(index(0), keys, block, {}, [&](Value first, const Values &) -> Values {
    Value count = min(sub(keys, first), index(block));
    loop(index(0), rows, rowBlock, {},
         [&](Value row, const Values &) -> Values {
           Values blockRows;
           for (int64_t r = 0; r < rowBlock; ++r)
             blockRows.push_back(add(row, index(r)));
           emitBlock(blockRows, first, count);
           return {};
         });
    return {};
  });
  func::ReturnOp::create(b, loc);
}

void DepthLanesKernel::emitBlock(const Values &rows, Value first, Value count) {
  emitQK(rows, first, count);
  if (depth % width != 0)
    emitDepthTail(rows, first, count);
  emitSoftmax(rows.front(), first, count);
  emitPV(rows, first, count);
}

//===----------------------------------------------------------------------===//
// QK: S = Q K^T
//===----------------------------------------------------------------------===//

/// Scores of keys first + [0, count), still without scale.
void DepthLanesKernel::emitQK(const Values &rows, Value first, Value count) {
  forEachKeyGroup(count, keyGroup, {},
                  [&](int64_t keys, Value key, const Values &) -> Values {
                    emitKeyGroup(keys, rows, first, key);
                    return {};
                  });
}

void DepthLanesKernel::emitKeyGroup(int64_t keys, const Values &rows,
                                    Value first, Value key) {
  Value keyRows = get(op.getKey());
  Values keyIndex;
  for (int64_t u = 0; u < keys; ++u) {
    keyIndex.push_back(add(add(first, key), index(u)));
    if (Value next = op.getNextValue())
      for (int64_t x = 0; x < columns; x += elementsOfLine(next))
        emitPrefetch(get(next), keyIndex.back(), index(x));
  }
  // Sums are ordered by row, then key.
  Values sums(rowBlock * keys, math.constant(0.0));
  auto accumulate = [&](int64_t from, int64_t to, int64_t vectors) {
    sums = loop(index(from), index(to), vectors * width, sums,
                [&](Value d, Values sums) {
                  SmallVector<Values> k;
                  for (int64_t u = 0; u < keys; ++u)
                    k.push_back(loadVectors(keyRows, keyIndex[u], d, vectors,
                                            /*inPairs=*/vectors == 2));
                  for (int64_t x = 0; x < vectors; ++x)
                    for (int64_t r = 0; r < rowBlock; ++r) {
                      Value q = load(vectorType, get(op.getQuery()),
                                     {rows[r], add(d, index(x * width))});
                      for (int64_t u = 0; u < keys; ++u)
                        sums[r * keys + u] =
                            math.fma(q, k[u][x], sums[r * keys + u]);
                    }
                  return sums;
                });
  };
  forEachRunOfDepth(accumulate);
  Values lanes = reduceToLanes(sums);
  auto piece = VectorType::get({keys}, compute);
  for (int64_t r = 0; r < rowBlock; ++r) {
    // A row's scores may straddle two vectors of sums.
    Values elements;
    for (int64_t u = 0; u < keys; ++u)
      elements.push_back(vector::ExtractOp::create(
          b, loc, lanes[(r * keys + u) / width], (r * keys + u) % width));
    Value row = vector::FromElementsOp::create(b, loc, piece, elements);
    vector::StoreOp::create(b, loc, row, scores, ValueRange{index(r), key});
  }
}

//===----------------------------------------------------------------------===//
// Vectors in pairs
//===----------------------------------------------------------------------===//

/// `count` vectors from a place on; in pairs, the even elements of each two and
/// then the odd ones.
Values DepthLanesKernel::loadVectors(Value memref, Value row, Value column,
                                     int64_t count, bool inPairs) {
  Values vectors;
  if (!inPairs) {
    for (int64_t x = 0; x < count; ++x)
      vectors.push_back(
          load(vectorType, memref, {row, add(column, index(x * width))}));
    return vectors;
  }
  auto words = VectorType::get({2 * width}, b.getBF16Type());
  for (int64_t x = 0; x < count; x += 2) {
    Value bits = vector::BitCastOp::create(
        b, loc, cast<VectorType>(math.getIntType()),
        load(words, memref, {row, add(column, index(x * width))}));
    vectors.push_back(math.fromBits(
        arith::ShLIOp::create(b, loc, bits, math.intConstant(16))));
    vectors.push_back(math.fromBits(
        arith::AndIOp::create(b, loc, bits, math.intConstant(0xffff0000))));
  }
  return vectors;
}

/// Whole vectors of d: visit(from, to, vectors that are loaded at once).
void DepthLanesKernel::forEachRunOfDepth(
    function_ref<void(int64_t, int64_t, int64_t)> visit) {
  int64_t inPairs = op.hasUnzippedQuery() ? depth - depth % (2 * width) : 0;
  if (inPairs != 0)
    visit(0, inPairs, 2);
  if (inPairs + width <= depth)
    visit(inPairs, depth - depth % width, 1);
}

/// Lane i % width of vector i / width is the sum over the lanes of sums[i].
/// Vectors are joined in pairs: each takes half of the lanes of both, first
/// inside 128 bits, where shuffles are cheap, then across.
Values DepthLanesKernel::reduceToLanes(ArrayRef<Value> sums) {
  Values results;
  int64_t bits = compute.getWidth(), chunk = std::min(128 / bits, width);
  for (size_t from = 0; from < sums.size(); from += width) {
    Values level(sums.slice(from, std::min<size_t>(width, sums.size() - from)));
    auto join = [&](int64_t grain, int64_t span) {
      // Of every `span` lanes: the even grains of both, and the odd ones.
      SmallVector<int64_t> even, odd;
      for (int64_t lane = 0; lane < width; lane += span)
        for (int64_t source : {int64_t(0), width})
          for (int64_t g = 0; g < span; g += 2 * grain)
            for (int64_t x = 0; x < grain; ++x) {
              even.push_back(source + lane + g + x);
              odd.push_back(source + lane + g + grain + x);
            }
      Values next;
      for (size_t i = 0; i < level.size(); i += 2) {
        Value a = level[i], other = level[std::min(i + 1, level.size() - 1)];
        next.push_back(
            math.add(vector::ShuffleOp::create(b, loc, a, other, even),
                     vector::ShuffleOp::create(b, loc, a, other, odd)));
      }
      level = next;
    };
    for (int64_t n = 1; n < chunk; n *= 2)
      join(1, chunk);
    for (int64_t n = chunk; n < width; n *= 2)
      join(chunk, width);
    results.push_back(level.front());
  }
  return results;
}

/// The elements of d that fill no vector.
void DepthLanesKernel::emitDepthTail(const Values &rows, Value first,
                                     Value count) {
  loop(index(0), count, 1, {}, [&](Value key, const Values &) -> Values {
    Value keyRow = add(first, key);
    for (int64_t r = 0; r < rowBlock; ++r) {
      Value sum = load(compute, scores, {index(r), key});
      for (int64_t d = depth - depth % width; d < depth; ++d)
        sum = scalar.fma(load(compute, get(op.getQuery()), {rows[r], index(d)}),
                         load(compute, get(op.getKey()), {keyRow, index(d)}),
                         sum);
      store(sum, scores, {index(r), key});
    }
    return {};
  });
}

/// The line of an element, which may lie beyond the memory: a prefetch does not
/// fault. It goes to the second-level cache, as both products' data together
/// are more than the first level holds.
void DepthLanesKernel::emitPrefetch(Value memref, Value row, Value column) {
  memref::PrefetchOp::create(b, loc, memref, ValueRange{row, column},
                             /*isWrite=*/false, /*localityHint=*/2,
                             /*isDataCache=*/true);
}

//===----------------------------------------------------------------------===//
// Softmax: scale, score, mask, P = exp(S - max) in place, maximum and sum
//===----------------------------------------------------------------------===//

Value DepthLanesKernel::reduce(Value vector,
                               function_ref<Value(Value, Value)> combine) {
  for (int64_t half = width / 2; half >= 1; half /= 2) {
    SmallVector<int64_t> lanes;
    for (int64_t lane = 0; lane < width; ++lane)
      lanes.push_back((lane + half) % width);
    vector = combine(vector,
                     vector::ShuffleOp::create(b, loc, vector, vector, lanes));
  }
  return vector::ExtractOp::create(b, loc, vector, 0);
}

/// Updates max, sum and alpha of the block of rows from `firstRow` on.
void DepthLanesKernel::emitSoftmax(Value firstRow, Value first, Value count) {
  Value max = get(op.getMax()), sum = get(op.getSum());
  double scale = op.getScale().convertToDouble();
  loop(
      index(0), index(rowBlock), 1, {}, [&](Value r, const Values &) -> Values {
        Value row = add(firstRow, r);
        auto [h, i] = headAndQuery(toI64(add(get(op.getRow0()), row)));
        Values blockMax = {math.constant(-infinity)};
        blockMax =
            loop(index(0), count, width, blockMax, [&](Value key, Values best) {
              Value s = load(vectorType, scores, {r, key});
              if (scale != 1.0)
                s = math.mul(s, math.constant(scale));
              Value offsets = add(lanesOf(toI64(key)), iota(0));
              Value exists =
                  arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt,
                                        offsets, lanesOf(toI64(count)));
              if (!op.getScore().empty() || !op.getMask().empty()) {
                Value j =
                    add(lanesOf(toI64(add(get(op.getJ0()), first))), offsets);
                Values arguments = regionArguments(h, i, j);
                if (!op.getScore().empty())
                  s = emitScore(s, arguments);
                if (!op.getMask().empty()) {
                  Value mask = emitMask(arguments);
                  exists = arith::AndIOp::create(b, loc, exists, mask);
                  store(math.select(exists, math.constant(1.0),
                                    math.constant(0.0)),
                        attended, {r, key});
                }
              }
              s = math.select(exists, s, math.constant(-infinity));
              store(s, scores, {r, key});
              return Values{math.maxOrSecond(s, best.front())};
            });
        Value tileMax = reduce(blockMax.front(), [&](Value x, Value y) {
          return math.maxOrSecond(x, y);
        });
        Value oldMax = load(compute, max, {row});
        Value newMax = scalar.maxOrSecond(tileMax, oldMax);
        store(newMax, max, {row});
        // Rule M2: a row with no attended key yet subtracts 0, and exp(-inf) =
        // 0.
        Value empty = scalar.equal(newMax, scalar.constant(-infinity));
        Value subtrahend = scalar.select(empty, scalar.constant(0.0), newMax);
        Value shrink = scalar.expNonPositive(scalar.sub(oldMax, subtrahend));
        store(shrink, alpha, {r});

        Value base = broadcast(subtrahend, vectorType);
        Values sums = {math.constant(0.0)};
        sums = loop(index(0), count, width, sums, [&](Value key, Values sums) {
          Value s = load(vectorType, scores, {r, key});
          Value p = math.expNonPositive(math.sub(s, base));
          store(p, scores, {r, key});
          return Values{math.add(sums.front(), p)};
        });
        Value tileSum = reduce(
            sums.front(), [&](Value x, Value y) { return math.add(x, y); });
        store(scalar.fma(load(compute, sum, {row}), shrink, tileSum), sum,
              {row});
        return {};
      });
}

//===----------------------------------------------------------------------===//
// PV: acc = alpha * acc + P V
//===----------------------------------------------------------------------===//

void DepthLanesKernel::emitPV(const Values &rows, Value first, Value count) {
  // Vectors in whole runs, where columns are unzipped, and what is left.
  int64_t grain = op.hasUnzippedAcc() ? 2 : 1;
  int64_t whole = columns / width, inRuns = whole / grain * grain;
  int64_t wanted = std::max<int64_t>(llvm::divideCeil(chains, rowBlock), 2);
  int64_t vectors = std::min<int64_t>(inRuns, llvm::alignTo(wanted, grain));
  int64_t done = 0;
  // Steps of this many vectors; of each `period` steps the first fetches the
  // next `lines` lines of K for each key.
  auto emitSteps = [&](int64_t vectors, int64_t steps, int64_t period,
                       int64_t lines) {
    if (steps == 0)
      return;
    int64_t step = vectors * width, span = step * period;
    loop(index(done), index(done + steps * step), span, {},
         [&](Value column, const Values &) -> Values {
           Value begun = mul(div(column, span), count);
           for (int64_t x = 0; x < period; ++x)
             emitColumns(math, width, vectors, rows,
                         add(column, index(x * step)), first, count,
                         [&](Value key) {
                           if (x == 0)
                             emitNextKeys(first, add(begun, key), lines);
                         });
           return {};
         });
    done += steps * step;
  };
  if (inRuns != 0) {
    // Evenly over the steps.
    int64_t steps = inRuns / vectors, toFetch = linesOfKey();
    int64_t period = std::max<int64_t>(steps / toFetch, 1);
    int64_t lines = llvm::divideCeil(toFetch, steps);
    int64_t fetching = std::min<int64_t>(
        steps / period * period, llvm::divideCeil(toFetch, lines) * period);
    emitSteps(vectors, fetching, period, lines);
    emitSteps(vectors, steps - fetching, 1, 0);
    emitSteps(inRuns % vectors, inRuns % vectors != 0, 1, 0);
  }
  emitSteps(1, whole - inRuns, 1, 0);
  loop(index(whole * width), index(columns), 1, {},
       [&](Value column, const Values &) -> Values {
         emitColumns(scalar, 1, 1, rows, column, first, count, [](Value) {});
         return {};
       });
}

/// Fetches lines [unit * lines, (unit + 1) * lines) of the next keys, counted
/// from row `first` on, row after row.
void DepthLanesKernel::emitNextKeys(Value first, Value unit, int64_t lines) {
  if (!op.getNextKey())
    return;
  Value next = get(op.getNextKey());
  for (int64_t x = 0; x < lines; ++x) {
    Value line = add(mul(unit, index(lines)), index(x));
    Value column = mul(rem(line, linesOfKey()), index(elementsOfLine(next)));
    emitPrefetch(next, add(first, div(line, linesOfKey())), column);
  }
}

/// `vectors` groups of `step` columns from `column` on, of the type of `lanes`;
/// `meanwhile` emits what is done beside each key.
void DepthLanesKernel::emitColumns(FloatBuilder &lanes, int64_t step,
                                   int64_t vectors, const Values &rows,
                                   Value column, Value first, Value count,
                                   function_ref<void(Value)> meanwhile) {
  Type type = lanes.getType();
  Value acc = get(op.getAcc()), value = get(op.getValue());
  Values at;
  for (int64_t x = 0; x < vectors; ++x)
    at.push_back(add(column, index(x * step)));
  // The block's sums of their own: added to acc at the end, they are rounded to
  // the block's magnitude, not to that of all keys before it.
  auto accumulate = [&](bool readMaskedAsZero) {
    Values zeros(rowBlock * vectors, lanes.constant(0.0));
    return loop(index(0), count, 1, zeros, [&](Value key, Values sums) {
      meanwhile(key);
      Value row = add(first, key);
      Values v = step == width
                     ? loadVectors(value, row, at.front(), vectors,
                                   op.hasUnzippedAcc() && vectors % 2 == 0)
                     : Values{load(type, value, {row, at.front()})};
      for (int64_t r = 0; r < rowBlock; ++r) {
        auto element = [&](Value memref) {
          return broadcast(load(compute, memref, {index(r), key}), type);
        };
        Value p = element(scores), isRead;
        if (readMaskedAsZero)
          isRead = lanes.less(lanes.constant(0.0), element(attended));
        for (int64_t x = 0; x < vectors; ++x) {
          Value read =
              isRead ? lanes.select(isRead, v[x], lanes.constant(0.0)) : v[x];
          Value &sum = sums[r * vectors + x];
          sum = lanes.fma(p, read, sum);
        }
      }
      return sums;
    });
  };
  Values sums = sumsWithoutMaskedKeys(2, accumulate);
  for (int64_t r = 0; r < rowBlock; ++r)
    for (int64_t x = 0; x < vectors; ++x) {
      Values indices = {rows[r], at[x]};
      store(lanes.fma(load(type, acc, indices),
                      broadcast(load(compute, alpha, {index(r)}), type),
                      sums[r * vectors + x]),
            acc, indices);
    }
}

void fovea::cpu::emitDepthLanesKernel(PartialOp op, func::FuncOp function) {
  DepthLanesKernel(op, function).emit();
}
