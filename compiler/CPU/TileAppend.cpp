// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// attn.append on memrefs [B, M, G, D] to parallel work items over tiles of
// rows: each item gathers new rows, applies the row operations that produce
// them (RoPE, norms; RowSource.h) and scatters them behind those the cache
// holds (K3). Before anything is written, the call is refused if some batch row
// has no room left. Must run before attn-cpu-tile-attention, and not be asked
// about tensors or about caches of another rank, which attn-cpu-lower-append
// lowers row by row.

#include "compiler/CPU/Passes.h"
#include "compiler/CPU/RowSource.h"
#include "compiler/CPU/Scratch.h"
#include "compiler/CPU/WorkTime.h"
#include "dialects/cpu/IR/CpuOps.h"

using namespace mlir;
using namespace fovea;
using namespace fovea::attn;

namespace fovea {
#define GEN_PASS_DEF_TILEAPPEND
#include "compiler/CPU/Passes.h.inc"
} // namespace fovea

/// Rows of a tile: enough to share the cost of a work item.
static constexpr int64_t tileRows = 32;
/// FOVEA_ERROR_SHAPE of runtime/include/fovea/runtime.h.
static constexpr int32_t shapeStatus = 4;

static Value asIndex(OpBuilder &b, Location loc, Value integer) {
  return arith::IndexCastOp::create(b, loc, b.getIndexType(), integer);
}

/// 0 <= past[b] and past[b] + M <= C for every b.
static void emitCapacityCheck(OpBuilder &b, AppendOp op, Value batches,
                              Value queries, Value capacity) {
  Location loc = op.getLoc();
  auto cst = [&](int64_t v) {
    return arith::ConstantIndexOp::create(b, loc, v);
  };
  Value yes = arith::ConstantIntOp::create(b, loc, 1, 1);
  auto all = scf::ForOp::create(
      b, loc, cst(0), batches, cst(1), ValueRange(yes),
      [&](OpBuilder &body, Location, Value batch, ValueRange sofar) {
        Value past = asIndex(
            body, loc, memref::LoadOp::create(body, loc, op.getPast(), batch));
        Value room = arith::SubIOp::create(body, loc, capacity, queries);
        Value zero = arith::ConstantIndexOp::create(body, loc, 0);
        Value low = arith::CmpIOp::create(body, loc, arith::CmpIPredicate::sge,
                                          past, zero);
        Value high = arith::CmpIOp::create(body, loc, arith::CmpIPredicate::sle,
                                           past, room);
        Value both = arith::AndIOp::create(body, loc, low, high);
        Value next = arith::AndIOp::create(body, loc, sofar[0], both);
        scf::YieldOp::create(body, loc, next);
      });
  cpu::RequireOp::create(b, loc, all.getResult(0),
                         b.getI32IntegerAttr(shapeStatus));
}

static void tileAppend(AppendOp op, IRRewriter &rewriter) {
  Location loc = op.getLoc();
  RowSource source = RowSource::trace(op.getInput(), op);
  rewriter.setInsertionPoint(op);
  auto cst = [&](OpBuilder &b, int64_t v) -> Value {
    return arith::ConstantIndexOp::create(b, loc, v);
  };
  auto dim = [&](Value memref, int64_t d) {
    return rewriter.createOrFold<memref::DimOp>(loc, memref, d);
  };
  auto cacheType = cast<MemRefType>(op.getCache().getType());
  int64_t width = cacheType.getDimSize(3);
  Value batches = dim(source.getSource(), 0),
        queries = dim(source.getSource(), 1), heads = dim(op.getCache(), 2),
        capacity = dim(op.getCache(), 1);
  Value workers =
      cpu::WorkersOp::create(rewriter, loc, rewriter.getIndexType());
  FloatType compute = attn::getComputeType(cacheType.getElementType());
  Value tiles =
      allocateTiles(rewriter, loc, workers, {tileRows, width}, compute);
  Value positionTiles =
      allocateTiles(rewriter, loc, workers, {tileRows}, rewriter.getI64Type());
  emitCapacityCheck(rewriter, op, batches, queries, capacity);

  auto binary = [&]<typename Op>(OpBuilder &b, Value x, Value y) {
    return b.createOrFold<Op>(loc, x, y);
  };
  Value chunks = binary.operator()<arith::CeilDivUIOp>(rewriter, queries,
                                                       cst(rewriter, tileRows));
  Value perBatch = binary.operator()<arith::MulIOp>(rewriter, heads, chunks);
  Value items = binary.operator()<arith::MulIOp>(rewriter, batches, perBatch);
  auto parallel = cpu::ParallelOp::create(
      rewriter, loc, items,
      cst(rewriter, tileRows * width / cpu::elementsPerNanosecond + 1));
  OpBuilder b = OpBuilder::atBlockBegin(&parallel.getBody().front());
  Value batch = arith::DivUIOp::create(b, loc, parallel.getItem(), perBatch);
  Value rest = arith::RemUIOp::create(b, loc, parallel.getItem(), perBatch);
  Value head = arith::DivUIOp::create(b, loc, rest, chunks);
  Value first = arith::MulIOp::create(
      b, loc, arith::RemUIOp::create(b, loc, rest, chunks), cst(b, tileRows));
  Value count = arith::MinSIOp::create(
      b, loc, cst(b, tileRows), arith::SubIOp::create(b, loc, queries, first));

  Value tile = selectTile(b, loc, tiles, parallel.getWorker());
  Value positions = selectTile(b, loc, positionTiles, parallel.getWorker());
  AffineExpr db, dh, di, dd;
  bindDims(b.getContext(), db, dh, di, dd);
  AffineMap map = AffineMap::get(4, 0, {db, di, dh, dd}, b.getContext());
  source.emitTile(b, loc, batch, head, first, count, 1, map, queries, positions,
                  tile);
  Value past =
      asIndex(b, loc, memref::LoadOp::create(b, loc, op.getPast(), batch));
  ScatterRowsOp::create(b, loc, TypeRange(), tile, batch, head,
                        arith::AddIOp::create(b, loc, past, first), count,
                        op.getCache(), b.getI64IntegerAttr(1),
                        AffineMapAttr::get(map));
  rewriter.eraseOp(op);
  RowSource::eraseChains(source, rewriter);
}

namespace {
struct TileAppend : fovea::impl::TileAppendBase<TileAppend> {
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    SmallVector<AppendOp> ops;
    getOperation()->walk([&](AppendOp op) {
      auto type = dyn_cast<MemRefType>(op.getCache().getType());
      if (type && type.getRank() == 4 && !type.isDynamicDim(3))
        ops.push_back(op);
    });
    for (AppendOp op : ops)
      tileAppend(op, rewriter);
  }
};
} // namespace
