// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The micro-kernel of attn.partial for tiles of many rows: blocks of keys, each
// with a QK unit, a softmax unit and a PV unit, in vector, scf and memref
// operations. Query rows are the lanes of vectors (q^T [D][L], S [n][L], acc^T
// [E][L]), so that maximum and sum need no horizontal operation and K and V are
// read as stored, one broadcast each. It must not be asked about 16-bit
// operands.
//
// Conventions: lanes come in NV = L / vector vectors, the *parts* of a row;
// Values of a group of keys or columns are ordered by key or column, then part.

#include "compiler/CPU/PartialKernel.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include <limits>

using namespace mlir;
using namespace fovea::attn;
using namespace fovea::cpu;

namespace {

/// Steps of the innermost loops. The accumulators hide the latency; unrolling
/// only thins out loop control.
constexpr int64_t depthUnroll = 4, keyUnroll = 4;

/// Weights that are added up before their sum joins the block's.
constexpr int64_t sumGroup = 8;

/// Independent chains that keep two multiply-add units of latency 4 busy.
constexpr int64_t latencyUnroll = 8;

constexpr double infinity = std::numeric_limits<double>::infinity();

/// One attn.partial and the body of the function made for it.
class RowLanesKernel : PartialKernel {
public:
  RowLanesKernel(PartialOp op, func::FuncOp function);
  void emit();

private:
  // The units, and the groups of keys and columns that they consist of.
  Values emitQK(Value first, Value count);
  Values emitKeyGroup(int64_t keys, Value first, Value row, Values blockMax);
  Values emitRegions(Value first, Value count, Values blockMax);
  Values emitSoftmax(Value count, ValueRange blockMax);
  void emitPV(Value first, Value count, ValueRange alpha);
  void emitColumnGroup(int64_t group, Value column, Value first, Value count,
                       ValueRange alpha);
  Values accumulateColumns(int64_t group, Value column, Value first,
                           Value count, bool readMaskedAsZero);

  // Mask and score regions.
  bool hasRegions() { return !op.getMask().empty() || !op.getScore().empty(); }
  void emitRowIndices();
  Values argumentsAt(Value key, int64_t part);

  // Small operations.
  Value load(Value memref, Values indices, int64_t part) {
    indices.push_back(index(part * width));
    return vector::LoadOp::create(b, loc, vectorType, memref, indices);
  }
  void store(Value value, Value memref, Values indices, int64_t part) {
    indices.push_back(index(part * width));
    vector::StoreOp::create(b, loc, value, memref, indices);
  }
  /// What starts at a row and a column. Elements at constant places in it are
  /// at constant distances, which leaves loops one address to advance.
  Value window(Value memref, Value row, Value column, OpFoldResult rows,
               OpFoldResult columns) {
    OpFoldResult one = b.getIndexAttr(1);
    return memref::SubViewOp::create(b, loc, memref,
                                     ArrayRef<OpFoldResult>{row, column},
                                     ArrayRef<OpFoldResult>{rows, columns},
                                     ArrayRef<OpFoldResult>{one, one});
  }
  Value broadcastElement(Value memref, Value row, Value column) {
    Value element =
        memref::LoadOp::create(b, loc, memref, ValueRange{row, column});
    return vector::BroadcastOp::create(b, loc, vectorType, element);
  }

  /// L, E, D, config: lanes = parts * width.
  int64_t lanes, columns, depth, parts, unroll, block;
  Value scores;
  /// Of each part's lanes: head h and query i, as scalars or vectors of i64.
  SmallVector<std::pair<Value, Value>> rowIndices;
};

} // namespace

/// Keys or columns held in registers: the config's for a full tile; a narrower
/// one fills its registers with more of them, as far as that hides the latency.
static int64_t chooseUnroll(PartialOp op) {
  ConfigAttr config = op.getConfigAttr();
  int64_t accumulators =
      config.getUnroll() * std::max(config.getQueryTile(), op.getTileRows());
  return std::max(config.getUnroll(),
                  std::min(accumulators / op.getTileRows(), latencyUnroll));
}

RowLanesKernel::RowLanesKernel(PartialOp op, func::FuncOp function)
    : PartialKernel(op, function), lanes(op.getTileRows()),
      columns(memrefOf(op.getAcc()).getDimSize(0)),
      depth(memrefOf(op.getQuery()).getDimSize(0)), parts(lanes / width),
      unroll(chooseUnroll(op)), block(config.getKvTile()) {}

void RowLanesKernel::emit() {
  scores = allocateOnStack({block, lanes});
  if (hasRegions())
    emitRowIndices();
  Value keys = memref::DimOp::create(b, loc, get(op.getKey()), 0);
  loop(index(0), keys, block, {}, [&](Value first, const Values &) -> Values {
    Value count = min(sub(keys, first), index(block));
    Values blockMax = emitQK(first, count);
    Values alpha = emitSoftmax(count, blockMax);
    emitPV(first, count, alpha);
    return {};
  });
  func::ReturnOp::create(b, loc);
}

//===----------------------------------------------------------------------===//
// QK: S = scale * K Q^T, the score region, the mask, and the block's maximum
//===----------------------------------------------------------------------===//

/// Scores of keys first + [0, count); returns their maximum.
Values RowLanesKernel::emitQK(Value first, Value count) {
  Values blockMax(parts, math.constant(-infinity));
  blockMax = forEachKeyGroup(count, unroll, blockMax,
                             [&](int64_t keys, Value row, const Values &max) {
                               return emitKeyGroup(keys, first, row, max);
                             });
  return hasRegions() ? emitRegions(first, count, blockMax) : blockMax;
}

Values RowLanesKernel::emitKeyGroup(int64_t keys, Value first, Value row,
                                    Values blockMax) {
  Value query = get(op.getQuery());
  Value group = window(get(op.getKey()), add(first, row), index(0),
                       b.getIndexAttr(keys), b.getIndexAttr(depth));
  auto step = [&](Value d, Values &sums) {
    Values q;
    for (int64_t part = 0; part < parts; ++part)
      q.push_back(load(query, {d}, part));
    for (int64_t u = 0; u < keys; ++u) {
      Value k = broadcastElement(group, index(u), d);
      for (int64_t part = 0; part < parts; ++part) {
        Value &sum = sums[u * parts + part];
        sum = math.fma(k, q[part], sum);
      }
    }
  };
  Values sums(keys * parts, math.constant(0.0));
  int64_t whole = depth - depth % depthUnroll;
  sums = loop(index(0), index(whole), depthUnroll, sums,
              [&](Value d, Values sums) {
                for (int64_t u = 0; u < depthUnroll; ++u)
                  step(add(d, index(u)), sums);
                return sums;
              });
  for (int64_t d = whole; d < depth; ++d)
    step(index(d), sums);

  double scale = op.getScale().convertToDouble();
  for (int64_t u = 0; u < keys; ++u)
    for (int64_t part = 0; part < parts; ++part) {
      Value s = sums[u * parts + part];
      if (scale != 1.0)
        s = math.mul(s, math.constant(scale));
      store(s, scores, {add(row, index(u))}, part);
      if (!hasRegions())
        blockMax[part] = math.maxOrSecond(s, blockMax[part]);
    }
  return blockMax;
}

/// The regions on the block's scores. Apart from the key groups: there the
/// regions would be emitted for every accumulator, with none of the registers
/// left to them.
Values RowLanesKernel::emitRegions(Value first, Value count, Values blockMax) {
  return loop(index(0), count, 1, blockMax, [&](Value row, Values max) {
    for (int64_t part = 0; part < parts; ++part) {
      Values arguments = argumentsAt(add(first, row), part);
      Value s = load(scores, {row}, part);
      if (!op.getScore().empty())
        s = emitScore(s, arguments);
      if (!op.getMask().empty())
        s = math.select(emitMask(arguments), s, math.constant(-infinity));
      store(s, scores, {row}, part);
      max[part] = math.maxOrSecond(s, max[part]);
    }
    return max;
  });
}

//===----------------------------------------------------------------------===//
// Softmax: P = exp(S - max) in place, maximum and sum
//===----------------------------------------------------------------------===//

/// Updates max and sum; returns the factor by which the accumulators shrink.
Values RowLanesKernel::emitSoftmax(Value count, ValueRange blockMax) {
  Value max = get(op.getMax()), sum = get(op.getSum());
  Values alpha, subtrahend;
  for (int64_t part = 0; part < parts; ++part) {
    Value oldMax = load(max, {}, part);
    Value newMax = math.maxOrSecond(blockMax[part], oldMax);
    store(newMax, max, {}, part);
    // Rule M2: a row with no attended key yet subtracts 0, and exp(-inf) = 0.
    Value empty = math.equal(newMax, math.constant(-infinity));
    subtrahend.push_back(math.select(empty, math.constant(0.0), newMax));
    alpha.push_back(math.expNonPositive(math.sub(oldMax, subtrahend.back())));
  }
  // In groups: weights may all be equal, and a long chain would round each time
  // to the same side.
  Values zeros(parts, math.constant(0.0));
  Values sums =
      loop(index(0), count, sumGroup, zeros, [&](Value group, Values sums) {
        Value end = min(add(group, index(sumGroup)), count);
        Values groupSums =
            loop(group, end, 1, zeros, [&](Value row, Values sums) {
              for (int64_t part = 0; part < parts; ++part) {
                Value s = load(scores, {row}, part);
                Value p = math.expNonPositive(math.sub(s, subtrahend[part]));
                store(p, scores, {row}, part);
                sums[part] = math.add(sums[part], p);
              }
              return sums;
            });
        for (int64_t part = 0; part < parts; ++part)
          sums[part] = math.add(sums[part], groupSums[part]);
        return sums;
      });
  for (int64_t part = 0; part < parts; ++part) {
    Value oldSum = load(sum, {}, part);
    store(math.fma(oldSum, alpha[part], sums[part]), sum, {}, part);
  }
  return alpha;
}

//===----------------------------------------------------------------------===//
// PV: acc^T = alpha * acc^T + V^T P
//===----------------------------------------------------------------------===//

void RowLanesKernel::emitPV(Value first, Value count, ValueRange alpha) {
  int64_t rest = columns % unroll, whole = columns - rest;
  loop(index(0), index(whole), unroll, {},
       [&](Value column, const Values &) -> Values {
         emitColumnGroup(unroll, column, first, count, alpha);
         return {};
       });
  if (rest != 0)
    emitColumnGroup(rest, index(whole), first, count, alpha);
}

void RowLanesKernel::emitColumnGroup(int64_t group, Value column, Value first,
                                     Value count, ValueRange alpha) {
  Value acc = get(op.getAcc());
  Values sums = sumsWithoutMaskedKeys(parts, [&](bool readMaskedAsZero) {
    return accumulateColumns(group, column, first, count, readMaskedAsZero);
  });
  for (int64_t u = 0; u < group; ++u) {
    Values at = {add(column, index(u))};
    for (int64_t part = 0; part < parts; ++part)
      store(math.fma(load(acc, at, part), alpha[part], sums[u * parts + part]),
            acc, at, part);
  }
}

/// The block's sums of their own: added to acc at the end, they are rounded to
/// the block's magnitude, not to that of all keys before it.
Values RowLanesKernel::accumulateColumns(int64_t group, Value column,
                                         Value first, Value count,
                                         bool readMaskedAsZero) {
  Value values =
      window(get(op.getValue()), first, column, count, b.getIndexAttr(group));
  Values sums(group * parts, math.constant(0.0));
  auto step = [&](Value row, Values &sums) {
    Values p, attended;
    for (int64_t part = 0; part < parts; ++part) {
      p.push_back(load(scores, {row}, part));
      if (readMaskedAsZero)
        attended.push_back(emitMask(argumentsAt(add(first, row), part)));
    }
    for (int64_t u = 0; u < group; ++u) {
      Value v = broadcastElement(values, row, index(u));
      for (int64_t part = 0; part < parts; ++part) {
        Value read = readMaskedAsZero
                         ? math.select(attended[part], v, math.constant(0.0))
                         : v;
        Value &sum = sums[u * parts + part];
        sum = math.fma(read, p[part], sum);
      }
    }
  };
  Value whole = index(0);
  if (!readMaskedAsZero) { // what is rare need not be fast
    whole = sub(count, arith::RemUIOp::create(b, loc, count, index(keyUnroll)));
    sums = loop(index(0), whole, keyUnroll, sums, [&](Value row, Values sums) {
      for (int64_t u = 0; u < keyUnroll; ++u)
        step(add(row, index(u)), sums);
      return sums;
    });
  }
  return loop(whole, count, 1, sums, [&](Value row, Values sums) {
    step(row, sums);
    return sums;
  });
}

//===----------------------------------------------------------------------===//
// Mask and score regions
//===----------------------------------------------------------------------===//

void RowLanesKernel::emitRowIndices() {
  Value row0 = lanesOf(toI64(get(op.getRow0())));
  for (int64_t part = 0; part < parts; ++part)
    rowIndices.push_back(headAndQuery(add(row0, iota(part * width))));
}

Values RowLanesKernel::argumentsAt(Value key, int64_t part) {
  auto [h, i] = rowIndices[part];
  return regionArguments(h, i, toI64(add(get(op.getJ0()), key)));
}

void fovea::cpu::emitRowLanesKernel(PartialOp op, func::FuncOp function) {
  RowLanesKernel(op, function).emit();
}
