// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Tracing and replaying of row operations (see RowSource.h).

#include "compiler/CPU/RowSource.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace fovea;
using namespace fovea::attn;

/// The operation that wrote `buffer` last before `consumer` reads it, if it is
/// a row operation and nothing but the chain and `consumer` reads what it
/// wrote.
static Operation *lastWriter(Value buffer, Operation *consumer) {
  auto alloc = buffer.getDefiningOp<memref::AllocOp>();
  if (!alloc)
    return nullptr;
  Operation *writer = nullptr;
  for (Operation *user : buffer.getUsers()) {
    if (isa<memref::DimOp, memref::DeallocOp>(user) || user == consumer)
      continue;
    if (!isa<RopeOp, RmsNormOp>(user) ||
        user->getBlock() != consumer->getBlock())
      return nullptr;
    // A reader behind the writer would see a temporary that is never filled.
    if (!user->isBeforeInBlock(consumer))
      return nullptr;
    auto dps = cast<DestinationStyleOpInterface>(user);
    if (dps.getDpsInitOperand(0)->get() == buffer) {
      if (!writer || writer->isBeforeInBlock(user))
        writer = user;
    }
  }
  if (!writer)
    return nullptr;
  for (Operation *user : buffer.getUsers())
    if (user != consumer && user != writer && !isa<memref::DimOp>(user) &&
        writer->isBeforeInBlock(user))
      return nullptr;
  return writer;
}

static Value rowInput(Operation *op) {
  return TypeSwitch<Operation *, Value>(op)
      .Case<RopeOp, RmsNormOp>([](auto rowOp) { return rowOp.getInput(); })
      .Default(Value());
}

RowSource RowSource::trace(Value operand, Operation *consumer) {
  RowSource result;
  result.source = operand;
  while (Operation *writer = lastWriter(result.source, consumer)) {
    result.chain.insert(result.chain.begin(), writer);
    result.source = rowInput(writer);
    consumer = writer;
  }
  return result;
}

/// Position of tile row l for `rope`: what its operands say of index i.
static void emitPositions(OpBuilder &builder, Location loc, RopeOp rope,
                          Value b, Value g, Value row0, int64_t group,
                          Value extent, Value positions) {
  auto cst = [&](int64_t value) {
    return arith::ConstantIndexOp::create(builder, loc, value).getResult();
  };
  Type i64 = builder.getI64Type();
  auto toI64 = [&](OpBuilder &ob, Value value) -> Value {
    if (value.getType().isIndex())
      return arith::IndexCastOp::create(ob, loc, i64, value);
    if (value.getType() != i64)
      return arith::ExtSIOp::create(ob, loc, i64, value);
    return value;
  };
  Value base;
  if (Value offset = rope.getOffset()) {
    if (isa<MemRefType>(offset.getType()))
      offset = memref::LoadOp::create(builder, loc, offset, b);
    base = toI64(builder, offset);
  }
  int64_t lanes = cast<MemRefType>(positions.getType()).getDimSize(0);
  Value zero = cst(0), one = cst(1), groupValue = cst(group);
  // Rows beyond the last repeat its position; they are never stored.
  Value last = arith::MaxSIOp::create(
      builder, loc, arith::SubIOp::create(builder, loc, extent, one), zero);
  scf::ForOp::create(
      builder, loc, zero, cst(lanes), one, ValueRange(),
      [&](OpBuilder &body, Location, Value l, ValueRange) {
        Value row = arith::AddIOp::create(body, loc, row0, l);
        Value i = arith::MinSIOp::create(
            body, loc, arith::DivUIOp::create(body, loc, row, groupValue),
            last);
        Value position;
        if (Value explicitPositions = rope.getPositions()) {
          int64_t rank =
              cast<MemRefType>(explicitPositions.getType()).getRank();
          SmallVector<Value> at = {b, i};
          if (rank == 3) {
            Value r = arith::RemUIOp::create(body, loc, row, groupValue);
            at.push_back(arith::AddIOp::create(
                body, loc, arith::MulIOp::create(body, loc, g, groupValue), r));
          }
          at.resize(rank);
          position = toI64(
              body, memref::LoadOp::create(body, loc, explicitPositions, at));
        } else {
          position = toI64(body, i);
          if (base)
            position = arith::AddIOp::create(body, loc, position, base);
        }
        memref::StoreOp::create(body, loc, position, positions, l);
        scf::YieldOp::create(body, loc);
      });
}

void RowSource::emitTile(OpBuilder &builder, Location loc, Value b, Value g,
                         Value row0, Value rows, int64_t group,
                         AffineMap tensorMap, Value extent, Value positions,
                         Value tile) const {
  GatherRowsOp::create(builder, loc, TypeRange(), source, b, g, row0, rows,
                       tile, builder.getI64IntegerAttr(group),
                       AffineMapAttr::get(tensorMap));
  for (Operation *op : chain) {
    if (auto norm = dyn_cast<RmsNormOp>(op)) {
      RmsNormOp::create(builder, loc, TypeRange(), tile, norm.getWeight(), tile,
                        norm.getEpsAttr(), norm.getUnitOffsetAttr());
      continue;
    }
    auto rope = cast<RopeOp>(op);
    emitPositions(builder, loc, rope, b, g, row0, group, extent, positions);
    RopeOp::create(builder, loc, TypeRange(), tile, positions,
                   /*offset=*/Value(), rope.getLength(), tile,
                   rope.getStyleAttr(), rope.getBaseAttr(),
                   rope.getRotaryDimAttr(), rope.getScalingAttr());
  }
}

void RowSource::eraseChain(RewriterBase &rewriter) const {
  for (Operation *op : llvm::reverse(chain)) {
    Value buffer =
        cast<DestinationStyleOpInterface>(op).getDpsInitOperand(0)->get();
    rewriter.eraseOp(op);
    if (Operation *alloc = buffer.getDefiningOp())
      if (isa<memref::AllocOp>(alloc) && buffer.use_empty())
        rewriter.eraseOp(alloc);
  }
}
