// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// See PartialKernel.h.

#include "compiler/CPU/PartialKernel.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace fovea::attn;
using namespace fovea::cpu;

PartialKernel::PartialKernel(PartialOp op, func::FuncOp function)
    : op(op), b(OpBuilder::atBlockEnd(&function.front())), loc(op.getLoc()),
      config(op.getConfigAttr()),
      compute(cast<FloatType>(memrefOf(op.getAcc()).getElementType())),
      width(config.getVector()), vectorType(VectorType::get({width}, compute)),
      math(b, loc, vectorType) {
  map.map(op->getOperands(), function.getArguments());
}

Value PartialKernel::index(int64_t value) {
  return arith::ConstantIndexOp::create(b, loc, value);
}
Value PartialKernel::add(Value x, Value y) {
  return arith::AddIOp::create(b, loc, x, y);
}
Value PartialKernel::sub(Value x, Value y) {
  return arith::SubIOp::create(b, loc, x, y);
}
Value PartialKernel::mul(Value x, Value y) {
  return arith::MulIOp::create(b, loc, x, y);
}
Value PartialKernel::min(Value x, Value y) {
  return arith::MinSIOp::create(b, loc, x, y);
}
Value PartialKernel::toI64(Value x) {
  return arith::IndexCastOp::create(b, loc, b.getI64Type(), x);
}
Value PartialKernel::i64(int64_t value) {
  return arith::ConstantOp::create(b, loc, b.getI64IntegerAttr(value));
}

Value PartialKernel::allocateOnStack(ArrayRef<int64_t> shape) {
  return memref::AllocaOp::create(b, loc, MemRefType::get(shape, compute),
                                  b.getI64IntegerAttr(64));
}

Values PartialKernel::loop(Value from, Value to, int64_t step,
                           const Values &carried,
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

std::pair<Value, Value> PartialKernel::headAndQuery(Value row) {
  int64_t group = op.getGroup();
  auto like = [&](Value value) {
    return isa<VectorType>(row.getType()) ? lanesOf(value) : value;
  };
  Value m = toI64(get(op.getExtents()[1])), g = toI64(get(op.getG()));
  row = min(row, like(sub(mul(m, i64(group)), i64(1))));
  if (group == 1)
    return {g, row};
  // Rows are not negative, so unsigned division is floor division.
  Value query = arith::DivUIOp::create(b, loc, row, like(i64(group)));
  Value inGroup = sub(row, mul(query, like(i64(group))));
  return {add(like(mul(g, i64(group))), inGroup), query};
}

Values PartialKernel::regionArguments(Value h, Value i, Value j) {
  auto extents = op.getExtents();
  int64_t depth = memrefOf(op.getKey()).getShape().back();
  Values arguments = {toI64(get(op.getB())),
                      h,
                      i,
                      j,
                      toI64(get(extents[0])),
                      i64(op.getGroup() * op.getKvHeads()),
                      i64(op.getKvHeads()),
                      toI64(get(extents[1])),
                      toI64(get(extents[2])),
                      i64(depth)};
  for (Value capture : op.getCaptures())
    arguments.push_back(get(capture));
  return arguments;
}

Value PartialKernel::emitMask(ValueRange arguments) {
  return emitRegionOnLanes(b, loc, op.getMask(), arguments, width);
}

Value PartialKernel::emitScore(Value s, Values arguments) {
  arguments.insert(arguments.begin(), s);
  return emitRegionOnLanes(b, loc, op.getScore(), arguments, width);
}

Value PartialKernel::iota(int64_t from) {
  auto values = llvm::to_vector(llvm::seq<int64_t>(from, from + width));
  return arith::ConstantOp::create(
      b, loc,
      DenseElementsAttr::get(VectorType::get({width}, b.getI64Type()),
                             ArrayRef<int64_t>(values)));
}

Values PartialKernel::forEachKeyGroup(
    Value count, int64_t group, Values carried,
    function_ref<Values(int64_t, Value, Values)> body) {
  Value enough = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sge, count,
                                       index(group));
  Value grouped = arith::SelectOp::create(b, loc, enough, count, index(0));
  Value lastGroup = sub(count, index(group));
  carried = loop(index(0), grouped, group, carried, [&](Value key, Values in) {
    return body(group, min(key, lastGroup), in);
  });
  if (group == 1)
    return carried;
  return loop(grouped, count, 1, carried,
              [&](Value key, Values in) { return body(1, key, in); });
}

Values
PartialKernel::sumsWithoutMaskedKeys(int64_t chains,
                                     function_ref<Values(bool)> accumulate) {
  Values sums = accumulate(/*readMaskedAsZero=*/false);
  if (op.getMask().empty())
    return sums;
  Values probed =
      llvm::map_to_vector(sums, [&](Value sum) { return lanesOf(sum); });
  auto redo = scf::IfOp::create(b, loc, ValueRange(sums).getTypes(),
                                anyNotFinite(probed, chains),
                                /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(redo.elseBlock());
  scf::YieldOp::create(b, loc, sums);
  b.setInsertionPointToStart(redo.thenBlock());
  Values again = accumulate(/*readMaskedAsZero=*/true);
  scf::YieldOp::create(b, loc, again);
  return llvm::to_vector_of<Value>(redo.getResults());
}

/// i1: whether any lane of any vector is NaN or infinite, for x * 0 is NaN
/// then.
Value PartialKernel::anyNotFinite(ValueRange values, int64_t chains) {
  Value zero = math.constant(0.0);
  Values probes(chains, zero);
  for (auto [position, value] : llvm::enumerate(values)) {
    Value &probe = probes[position % chains];
    probe = math.fma(value, zero, probe);
  }
  Value probe = probes.front();
  for (Value other : ArrayRef(probes).drop_front())
    probe = math.add(probe, other);
  Value isNaN =
      arith::CmpFOp::create(b, loc, arith::CmpFPredicate::UNO, probe, probe);
  return vector::ReductionOp::create(b, loc, vector::CombiningKind::OR, isNaN);
}
