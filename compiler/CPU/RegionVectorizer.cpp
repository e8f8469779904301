// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Mask and score regions on the lanes of a vector. See RegionVectorizer.h.

#include "compiler/CPU/RegionVectorizer.h"
#include "dialects/attn/IR/AttnOps.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace fovea::attn;

Value fovea::cpu::broadcastToLanes(OpBuilder &b, Location loc, Value value,
                                   int64_t width) {
  if (isa<VectorType>(value.getType()))
    return value;
  return vector::BroadcastOp::create(
      b, loc, VectorType::get({width}, value.getType()), value);
}

/// Reads one element of a captured memref. Indices are clamped, so that a wrong
/// one reads a wrong element but never memory outside.
static Value loadElement(OpBuilder &b, Location loc, Value memref,
                         ValueRange indices, Type resultType) {
  Value zero = arith::ConstantIndexOp::create(b, loc, 0);
  Value one = arith::ConstantIndexOp::create(b, loc, 1);
  SmallVector<Value> clamped;
  for (auto [dim, index] : llvm::enumerate(indices)) {
    Value i = arith::IndexCastOp::create(b, loc, b.getIndexType(), index);
    Value size = memref::DimOp::create(b, loc, memref, int64_t(dim));
    i = arith::MinSIOp::create(b, loc, i,
                               arith::SubIOp::create(b, loc, size, one));
    clamped.push_back(arith::MaxSIOp::create(b, loc, i, zero));
  }
  Value element = memref::LoadOp::create(b, loc, memref, clamped);
  Type type = element.getType();
  if (type == resultType)
    return element;
  if (isa<IntegerType>(type))
    return arith::ExtSIOp::create(b, loc, resultType, element);
  if (type.getIntOrFloatBitWidth() > resultType.getIntOrFloatBitWidth())
    return arith::TruncFOp::create(b, loc, resultType, element);
  return arith::ExtFOp::create(b, loc, resultType, element);
}

static Value emitElement(OpBuilder &b, ElementOp op, ValueRange indices,
                         Value memref, int64_t width) {
  Location loc = op.getLoc();
  Type type = op.getType();
  if (llvm::none_of(indices.getTypes(), llvm::IsaPred<VectorType>))
    return loadElement(b, loc, memref, indices, type);
  auto vectorType = VectorType::get({width}, type);
  SmallVector<Value> elements;
  for (int64_t lane = 0; lane < width; ++lane) {
    SmallVector<Value> laneIndices;
    for (Value index : indices)
      laneIndices.push_back(
          isa<VectorType>(index.getType())
              ? Value(vector::ExtractOp::create(b, loc, index, lane))
              : index);
    elements.push_back(loadElement(b, loc, memref, laneIndices, type));
  }
  return vector::FromElementsOp::create(b, loc, vectorType, elements);
}

Value fovea::cpu::emitRegionOnLanes(OpBuilder &b, Location loc, Region &region,
                                    ValueRange arguments, int64_t width) {
  IRMapping map;
  Block &block = region.front();
  map.map(block.getArguments(), arguments);
  for (Operation &op : block.without_terminator()) {
    SmallVector<Value> operands = llvm::map_to_vector(
        op.getOperands(), [&](Value operand) { return map.lookup(operand); });
    if (auto element = dyn_cast<ElementOp>(op)) {
      map.map(element.getResult(),
              emitElement(b, element, ValueRange(operands).drop_front(),
                          operands.front(), width));
      continue;
    }
    bool onLanes = llvm::any_of(operands, [](Value operand) {
      return isa<VectorType>(operand.getType());
    });
    Operation *clone = b.clone(op, map);
    map.map(op.getResults(), clone->getResults());
    if (!onLanes)
      continue;
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(clone);
    for (OpOperand &operand : clone->getOpOperands())
      operand.set(broadcastToLanes(b, loc, operand.get(), width));
    for (OpResult result : clone->getResults())
      result.setType(VectorType::get({width}, result.getType()));
  }
  auto yield = cast<YieldOp>(block.getTerminator());
  return broadcastToLanes(b, loc, map.lookup(yield.getValue()), width);
}
