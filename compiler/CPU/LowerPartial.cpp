// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// attn-cpu-lower-partial: attn.partial on memref tiles becomes a call of a
// private function that holds the micro-kernel: blocks of keys, each with a QK
// unit, a softmax unit and a PV unit, in vector, scf and memref operations.
// Query rows are the lanes of vectors (q^T [D][L], S [n][L], acc^T [E][L]), so
// that maximum and sum need no horizontal operation and K and V are read as
// stored, one broadcast each. The kernel is a function so that its scratch lies
// in its own stack frame and its registers do not depend on its caller. It must
// not be asked about tensors, other layouts or 16-bit operands; it says so.
//
// Conventions: lanes come in NV = L / vector vectors, the *parts* of a row;
// Values of a group of keys or columns are ordered by key or column, then part.

#include "compiler/CPU/Passes.h"
#include "compiler/CPU/RegionVectorizer.h"
#include "compiler/CPU/Rows.h"
#include "compiler/CPU/VectorMath.h"
#include "dialects/attn/IR/AttnOps.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/SymbolTable.h"

#include <limits>

using namespace mlir;
using namespace fovea::attn;
using namespace fovea::cpu;

namespace fovea {
#define GEN_PASS_DEF_LOWERPARTIAL
#include "compiler/CPU/Passes.h.inc"
} // namespace fovea

namespace {

using Values = SmallVector<Value>;

/// Steps of the innermost loops. The accumulators hide the latency; unrolling
/// only thins out loop control.
constexpr int64_t depthUnroll = 4, keyUnroll = 4;

/// Independent chains that keep two multiply-add units of latency 4 busy.
constexpr int64_t latencyUnroll = 8;

constexpr double infinity = std::numeric_limits<double>::infinity();

/// One attn.partial and the body of the function made for it.
class Kernel {
public:
  Kernel(PartialOp op, func::FuncOp function);
  void emit();

private:
  // The units, and the groups of keys and columns that they consist of.
  Values emitQK(Value first, Value count);
  Values emitKeyGroup(int64_t keys, Value first, Value row, Values blockMax);
  Values emitSoftmax(Value count, ValueRange blockMax);
  void emitPV(Value first, Value count, ValueRange alpha);
  void emitColumnGroup(int64_t group, Value column, Value first, Value count,
                       ValueRange alpha);
  Values accumulateColumns(int64_t group, Value column, Value first,
                           Value count, bool readMaskedAsZero);
  Value anyNotFinite(ValueRange values);

  // Mask and score regions.
  void emitRowIndices();
  Values regionArguments(Value key, int64_t part);
  Value emitMask(Value key, int64_t part) {
    return emitRegionOnLanes(b, loc, op.getMask(), regionArguments(key, part),
                             width);
  }
  Value emitScore(Value s, Value key, int64_t part);

  // Small operations.
  Value get(Value operand) { return map.lookup(operand); }
  Value index(int64_t value) {
    return arith::ConstantIndexOp::create(b, loc, value);
  }
  Value add(Value x, Value y) { return arith::AddIOp::create(b, loc, x, y); }
  Value sub(Value x, Value y) { return arith::SubIOp::create(b, loc, x, y); }
  Value mul(Value x, Value y) { return arith::MulIOp::create(b, loc, x, y); }
  Value min(Value x, Value y) { return arith::MinSIOp::create(b, loc, x, y); }
  Value toI64(Value x) {
    return arith::IndexCastOp::create(b, loc, b.getI64Type(), x);
  }
  Value i64(int64_t value) {
    return arith::ConstantOp::create(b, loc, b.getI64IntegerAttr(value));
  }
  Value load(Value memref, Values indices, int64_t part) {
    indices.push_back(index(part * width));
    return vector::LoadOp::create(b, loc, vectorType, memref, indices);
  }
  void store(Value value, Value memref, Values indices, int64_t part) {
    indices.push_back(index(part * width));
    vector::StoreOp::create(b, loc, value, memref, indices);
  }
  Value broadcastElement(Value memref, Value row, Value column) {
    Value element =
        memref::LoadOp::create(b, loc, memref, ValueRange{row, column});
    return vector::BroadcastOp::create(b, loc, vectorType, element);
  }
  /// for (iv = from; iv < to; iv += step) carried = body(iv, carried)
  Values loop(Value from, Value to, int64_t step, const Values &carried,
              function_ref<Values(Value, Values)> body);

  PartialOp op;
  OpBuilder b;
  Location loc;
  IRMapping map;
  /// L, E, D, config: lanes = parts * width.
  int64_t lanes, columns, depth, width, parts, unroll, block;
  VectorType vectorType;
  FloatBuilder math;
  Value scores;
  /// Of each part's lanes: head h and query i, as scalars or vectors of i64.
  SmallVector<std::pair<Value, Value>> rowIndices;
  Values problem;
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

Kernel::Kernel(PartialOp op, func::FuncOp function)
    : op(op), b(OpBuilder::atBlockEnd(&function.front())), loc(op.getLoc()),
      lanes(op.getTileRows()), columns(memrefOf(op.getAcc()).getDimSize(0)),
      depth(memrefOf(op.getQuery()).getDimSize(0)),
      width(op.getConfigAttr().getVector()), parts(lanes / width),
      unroll(chooseUnroll(op)), block(op.getConfigAttr().getKvTile()),
      vectorType(
          VectorType::get({width}, memrefOf(op.getAcc()).getElementType())),
      math(b, loc, vectorType) {
  map.map(op->getOperands(), function.getArguments());
}

Values Kernel::loop(Value from, Value to, int64_t step, const Values &carried,
                    function_ref<Values(Value, Values)> body) {
  auto loop =
      scf::ForOp::create(b, loc, from, to, index(step), carried,
                         [](OpBuilder &, Location, Value, ValueRange) {});
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  Values results = body(loop.getInductionVar(),
                        llvm::to_vector_of<Value>(loop.getRegionIterArgs()));
  scf::YieldOp::create(b, loc, results);
  return llvm::to_vector_of<Value>(loop.getResults());
}

void Kernel::emit() {
  scores = memref::AllocaOp::create(
      b, loc, MemRefType::get({block, lanes}, vectorType.getElementType()),
      b.getI64IntegerAttr(64));
  if (!op.getMask().empty() || !op.getScore().empty())
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
Values Kernel::emitQK(Value first, Value count) {
  // With at least one full group the last one overlaps its predecessor (the
  // same scores are computed again, to the same bits); with fewer keys, one by
  // one.
  Value enough = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sge, count,
                                       index(unroll));
  Value grouped = arith::SelectOp::create(b, loc, enough, count, index(0));
  Value lastGroup = sub(count, index(unroll));
  Values blockMax(parts, math.constant(-infinity));
  blockMax =
      loop(index(0), grouped, unroll, blockMax, [&](Value row, Values max) {
        return emitKeyGroup(unroll, first, min(row, lastGroup), max);
      });
  return loop(grouped, count, 1, blockMax, [&](Value row, Values max) {
    return emitKeyGroup(1, first, row, max);
  });
}

Values Kernel::emitKeyGroup(int64_t keys, Value first, Value row,
                            Values blockMax) {
  Value query = get(op.getQuery()), key = get(op.getKey());
  Values rows, keyRows;
  for (int64_t u = 0; u < keys; ++u) {
    rows.push_back(add(row, index(u)));
    keyRows.push_back(add(first, rows.back()));
  }
  auto step = [&](Value d, Values &sums) {
    Values q;
    for (int64_t part = 0; part < parts; ++part)
      q.push_back(load(query, {d}, part));
    for (int64_t u = 0; u < keys; ++u) {
      Value k = broadcastElement(key, keyRows[u], d);
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
      if (!op.getScore().empty())
        s = emitScore(s, keyRows[u], part);
      if (!op.getMask().empty())
        s = math.select(emitMask(keyRows[u], part), s,
                        math.constant(-infinity));
      store(s, scores, {rows[u]}, part);
      blockMax[part] = math.maxOrSecond(s, blockMax[part]);
    }
  return blockMax;
}

//===----------------------------------------------------------------------===//
// Softmax: P = exp(S - max) in place, maximum and sum
//===----------------------------------------------------------------------===//

/// Updates max and sum; returns the factor by which the accumulators shrink.
Values Kernel::emitSoftmax(Value count, ValueRange blockMax) {
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
  Values sums(parts, math.constant(0.0));
  sums = loop(index(0), count, 1, sums, [&](Value row, Values sums) {
    for (int64_t part = 0; part < parts; ++part) {
      Value s = load(scores, {row}, part);
      Value p = math.expNonPositive(math.sub(s, subtrahend[part]));
      store(p, scores, {row}, part);
      sums[part] = math.add(sums[part], p);
    }
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

void Kernel::emitPV(Value first, Value count, ValueRange alpha) {
  int64_t rest = columns % unroll, whole = columns - rest;
  loop(index(0), index(whole), unroll, {},
       [&](Value column, const Values &) -> Values {
         emitColumnGroup(unroll, column, first, count, alpha);
         return {};
       });
  if (rest != 0)
    emitColumnGroup(rest, index(whole), first, count, alpha);
}

void Kernel::emitColumnGroup(int64_t group, Value column, Value first,
                             Value count, ValueRange alpha) {
  Value acc = get(op.getAcc());
  Values sums = accumulateColumns(group, column, first, count, false);
  if (!op.getMask().empty()) {
    // Rule M1: 0 * NaN or 0 * Inf of a masked key may be in the sums. That
    // shows in them, and only then is the group done again without reading
    // masked keys.
    auto redo = scf::IfOp::create(b, loc, ValueRange(sums).getTypes(),
                                  anyNotFinite(sums), /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(redo.elseBlock());
    scf::YieldOp::create(b, loc, sums);
    b.setInsertionPointToStart(redo.thenBlock());
    Values again = accumulateColumns(group, column, first, count, true);
    scf::YieldOp::create(b, loc, again);
    b.setInsertionPointAfter(redo);
    sums = llvm::to_vector_of<Value>(redo.getResults());
  }
  for (int64_t u = 0; u < group; ++u) {
    Values at = {add(column, index(u))};
    for (int64_t part = 0; part < parts; ++part)
      store(math.fma(load(acc, at, part), alpha[part], sums[u * parts + part]),
            acc, at, part);
  }
}

/// The block's sums of their own: added to acc at the end, they are rounded to
/// the block's magnitude, not to that of all keys before it.
Values Kernel::accumulateColumns(int64_t group, Value column, Value first,
                                 Value count, bool readMaskedAsZero) {
  Value value = get(op.getValue());
  Values sums(group * parts, math.constant(0.0));
  auto step = [&](Value row, Values &sums) {
    Value key = add(first, row);
    Values p, attended;
    for (int64_t part = 0; part < parts; ++part) {
      p.push_back(load(scores, {row}, part));
      if (readMaskedAsZero)
        attended.push_back(emitMask(key, part));
    }
    for (int64_t u = 0; u < group; ++u) {
      Value v = broadcastElement(value, key, add(column, index(u)));
      for (int64_t part = 0; part < parts; ++part) {
        Value read = readMaskedAsZero
                         ? math.select(attended[part], v, math.constant(0.0))
                         : v;
        Value &sum = sums[u * parts + part];
        sum = math.fma(read, p[part], sum);
      }
    }
  };
  Value whole =
      sub(count, arith::RemUIOp::create(b, loc, count, index(keyUnroll)));
  sums = loop(index(0), whole, keyUnroll, sums, [&](Value row, Values sums) {
    for (int64_t u = 0; u < keyUnroll; ++u)
      step(add(row, index(u)), sums);
    return sums;
  });
  return loop(whole, count, 1, sums, [&](Value row, Values sums) {
    step(row, sums);
    return sums;
  });
}

/// Whether any lane of any value is NaN or infinite: x * 0 is then NaN.
Value Kernel::anyNotFinite(ValueRange values) {
  Value zero = math.constant(0.0);
  Values probes(parts, zero);
  for (auto [position, value] : llvm::enumerate(values)) {
    Value &probe = probes[position % parts];
    probe = math.fma(value, zero, probe);
  }
  Value probe = probes.front();
  for (Value other : ArrayRef(probes).drop_front())
    probe = math.add(probe, other);
  Value isNaN =
      arith::CmpFOp::create(b, loc, arith::CmpFPredicate::UNO, probe, probe);
  return vector::ReductionOp::create(b, loc, vector::CombiningKind::OR, isNaN);
}

//===----------------------------------------------------------------------===//
// Mask and score regions
//===----------------------------------------------------------------------===//

/// Folded row r = row0 + lane is query i = r floordiv group of head
/// h = g * group + r mod group; lanes past the last row repeat it.
void Kernel::emitRowIndices() {
  int64_t group = op.getGroup();
  ValueRange extents(op.getExtents());
  Value batches = toI64(get(extents[0])), m = toI64(get(extents[1])),
        n = toI64(get(extents[2]));
  problem = {
      batches,   i64(group * op.getKvHeads()), i64(op.getKvHeads()), m, n,
      i64(depth)};
  Value lastRow = sub(mul(m, i64(group)), i64(1));
  Value row0 = toI64(get(op.getRow0())), g = toI64(get(op.getG()));
  auto lanesOf = [&](Value value) {
    return broadcastToLanes(b, loc, value, width);
  };
  auto indexVector = VectorType::get({width}, b.getI64Type());
  for (int64_t part = 0; part < parts; ++part) {
    auto offsets =
        llvm::to_vector(llvm::seq<int64_t>(part * width, (part + 1) * width));
    Value lane = arith::ConstantOp::create(
        b, loc,
        DenseElementsAttr::get(indexVector, ArrayRef<int64_t>(offsets)));
    Value row = min(add(lanesOf(row0), lane), lanesOf(lastRow));
    if (group == 1) {
      rowIndices.push_back({g, row});
      continue;
    }
    // Rows are not negative, so unsigned division is floor division.
    Value query = arith::DivUIOp::create(b, loc, row, lanesOf(i64(group)));
    Value inGroup = sub(row, mul(query, lanesOf(i64(group))));
    rowIndices.push_back({add(lanesOf(mul(g, i64(group))), inGroup), query});
  }
}

Values Kernel::regionArguments(Value key, int64_t part) {
  Value j = toI64(add(get(op.getJ0()), key));
  auto [h, i] = rowIndices[part];
  Values arguments = {toI64(get(op.getB())), h, i, j};
  llvm::append_range(arguments, problem);
  for (Value capture : op.getCaptures())
    arguments.push_back(get(capture));
  return arguments;
}

Value Kernel::emitScore(Value s, Value key, int64_t part) {
  Values arguments = regionArguments(key, part);
  arguments.insert(arguments.begin(), s);
  return emitRegionOnLanes(b, loc, op.getScore(), arguments, width);
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

/// The form that the kernel is written for; anything else is reported.
static LogicalResult checkForm(PartialOp op) {
  if (!isa<MemRefType>(op.getQuery().getType()))
    return op.emitOpError("must be on memrefs here; bufferize first");
  ConfigAttr config = op.getConfigAttr();
  if (!config)
    return op.emitOpError("needs a config to be lowered");
  MLIRContext *ctx = op.getContext();
  AffineExpr m, n, d, e;
  bindDims(ctx, m, n, d, e);
  const AffineMap expected[] = {
      AffineMap::get(4, 0, {d, m}, ctx), AffineMap::get(4, 0, {n, d}, ctx),
      AffineMap::get(4, 0, {n, e}, ctx), AffineMap::get(4, 0, {e, m}, ctx)};
  if (!llvm::equal(op.getMaps(), expected))
    return op.emitOpError(
        "must have q and acc transposed, (d, m) and (e, m), and "
        "k and v as (n, d) and (n, e)");
  Type compute = memrefOf(op.getAcc()).getElementType();
  for (Value operand : {op.getQuery(), op.getKey(), op.getValue()})
    if (memrefOf(operand).getElementType() != compute)
      return op.emitOpError() << "needs q, k and v converted to " << compute;
  for (Value operand : {op.getQuery(), op.getAcc(), op.getMax(), op.getSum()})
    if (!memrefOf(operand).hasStaticShape() ||
        !memrefOf(operand).isLastDimUnitStride())
      return op.emitOpError(
          "needs q, acc, max and sum of static shape with unit inner stride");
  if (op.getTileRows() % config.getVector() != 0)
    return op.emitOpError() << "has " << op.getTileRows()
                            << " rows, not a multiple of the config's vector ("
                            << config.getVector() << ")";
  return success();
}

/// Key and value tiles of any origin have one type, rows at a dynamic distance,
/// so that kernels which differ in nothing else can be shared
/// (duplicate-function-elimination).
static void relaxRowStride(OpOperand &operand) {
  auto type = cast<MemRefType>(operand.get().getType());
  SmallVector<int64_t> strides;
  int64_t offset;
  if (failed(type.getStridesAndOffset(strides, offset)) || strides.back() != 1)
    return;
  auto relaxed = MemRefType::get(
      {ShapedType::kDynamic, type.getDimSize(1)}, type.getElementType(),
      StridedLayoutAttr::get(type.getContext(), ShapedType::kDynamic,
                             {ShapedType::kDynamic, 1}));
  if (relaxed == type)
    return;
  OpBuilder b(operand.getOwner());
  operand.set(memref::CastOp::create(b, operand.getOwner()->getLoc(), relaxed,
                                     operand.get()));
}

/// A private function for the kernel of `op`, with one argument per operand.
static func::FuncOp createKernelFunction(PartialOp op, SymbolTable &symbols) {
  OpBuilder b(op.getContext());
  auto parent = op->getParentOfType<FunctionOpInterface>();
  std::string name = (parent.getName() + "__partial").str();
  auto type = b.getFunctionType(op->getOperandTypes(), {});
  auto function = func::FuncOp::create(b, op.getLoc(), name, type);
  function.setPrivate();
  function->setAttr(
      "llvm.linkage",
      LLVM::LinkageAttr::get(op.getContext(), LLVM::Linkage::Internal));
  function->setAttr("passthrough", b.getStrArrayAttr({"noinline"}));
  symbols.insert(function, Block::iterator(parent));
  function.addEntryBlock();
  return function;
}

namespace {

struct LowerPartialPass : fovea::impl::LowerPartialBase<LowerPartialPass> {
  void runOnOperation() override {
    SmallVector<PartialOp> partials;
    getOperation().walk([&](PartialOp op) { partials.push_back(op); });
    SymbolTable symbols(getOperation());
    for (PartialOp op : partials) {
      if (failed(checkForm(op)))
        return signalPassFailure();
      relaxRowStride(op.getKeyMutable());
      relaxRowStride(op.getValueMutable());
      func::FuncOp function = createKernelFunction(op, symbols);
      Kernel(op, function).emit();
      OpBuilder b(op);
      func::CallOp::create(b, op.getLoc(), function, op->getOperands());
      op.erase();
    }
  }
};

} // namespace
