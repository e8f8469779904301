// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Tracing and replaying of row operations (see RowSource.h).

#include "compiler/CPU/RowSource.h"

#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace fovea;
using namespace fovea::attn;

/// The operation that wrote `buffer` last before `consumer` reads it, if it is
/// a row operation and nothing but `consumer` and what follows it in the chain,
/// `replayed`, reads what it wrote. A chain may pass through one buffer.
static Operation *lastWriter(Value buffer, Operation *consumer,
                             ArrayRef<Operation *> replayed) {
  auto alloc = buffer.getDefiningOp<memref::AllocOp>();
  if (!alloc)
    return nullptr;
  Operation *writer = nullptr;
  for (Operation *user : buffer.getUsers()) {
    if (isa<memref::DimOp, memref::DeallocOp>(user) || user == consumer ||
        llvm::is_contained(replayed, user))
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
        !llvm::is_contained(replayed, user) && writer->isBeforeInBlock(user))
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
  SmallVector<Operation *> replayed;
  while (Operation *writer = lastWriter(result.source, consumer, replayed)) {
    result.chain.insert(result.chain.begin(), writer);
    result.source = rowInput(writer);
    replayed.push_back(consumer);
    consumer = writer;
  }
  return result;
}

static Value toI64(OpBuilder &builder, Location loc, Value integer) {
  Type i64 = builder.getI64Type();
  if (integer.getType().isIndex())
    return arith::IndexCastOp::create(builder, loc, i64, integer);
  if (integer.getType() != i64)
    return arith::ExtSIOp::create(builder, loc, i64, integer);
  return integer;
}

/// `integer`, which may hold one per batch row, for batch row `b` as i64.
static Value ofBatchRow(OpBuilder &builder, Location loc, Value integer,
                        Value b) {
  if (isa<MemRefType>(integer.getType()))
    integer = memref::LoadOp::create(builder, loc, integer, b);
  return toI64(builder, loc, integer);
}

/// Position of tile row l for `rope`: what its operands say of index i.
static void emitPositions(OpBuilder &builder, Location loc, RopeOp rope,
                          Value b, Value g, Value row0, int64_t group,
                          Value extent, Value positions) {
  auto cst = [&](int64_t value) {
    return arith::ConstantIndexOp::create(builder, loc, value).getResult();
  };
  Value base;
  if (Value offset = rope.getOffset())
    base = ofBatchRow(builder, loc, offset, b);
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
          position =
              toI64(body, loc,
                    memref::LoadOp::create(body, loc, explicitPositions, at));
        } else {
          position = toI64(body, loc, i);
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
                         Value tile, Value staged) const {
  if (!staged || chain.empty())
    staged = tile;
  GatherRowsOp::create(builder, loc, TypeRange(), source, b, g, row0, rows,
                       staged, builder.getI64IntegerAttr(group),
                       AffineMapAttr::get(tensorMap));
  for (Operation *op : chain) {
    Value result = op == chain.back() ? tile : staged;
    if (auto norm = dyn_cast<RmsNormOp>(op)) {
      RmsNormOp::create(builder, loc, TypeRange(), staged, norm.getWeight(),
                        result, norm.getEpsAttr(), norm.getUnitOffsetAttr());
      continue;
    }
    auto rope = cast<RopeOp>(op);
    emitPositions(builder, loc, rope, b, g, row0, group, extent, positions);
    Value length = rope.getLength();
    if (length)
      length = ofBatchRow(builder, loc, length, b);
    RopeOp::create(builder, loc, TypeRange(), staged, positions,
                   /*offset=*/Value(), length, result, rope.getStyleAttr(),
                   rope.getBaseAttr(), rope.getRotaryDimAttr(),
                   rope.getScalingAttr());
  }
}

void RowSource::eraseChains(ArrayRef<RowSource> sources,
                            RewriterBase &rewriter) {
  llvm::SetVector<Operation *> ops;
  for (const RowSource &source : sources)
    ops.insert_range(source.chain);
  for (Operation *op : llvm::reverse(ops)) {
    Value buffer =
        cast<DestinationStyleOpInterface>(op).getDpsInitOperand(0)->get();
    rewriter.eraseOp(op);
    if (Operation *alloc = buffer.getDefiningOp())
      if (isa<memref::AllocOp>(alloc) && buffer.use_empty())
        rewriter.eraseOp(alloc);
  }
}
