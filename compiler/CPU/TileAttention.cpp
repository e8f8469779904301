// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// attn.attention on memrefs to parallel work items over tiles in the partial
// form. Query rows of one kv head are folded over its group into the lanes of a
// tile; row operations that feed q, k or v are replayed on tiles (RowSource.h).
// Two shapes of work, chosen by the number of folded rows at run time:
//
//   many rows   rounds of kv heads: pack K and V of the round once, in the
//               layout and type that the micro-kernel reads, then one item per
//               (query tiles, head of the round). Where K and V outgrow the
//               second-level cache, several tiles visit a chunk of them in
//               turn, so that it is brought there once for all;
//   few rows    (decode) one item per (batch, some kv heads, part of the keys):
//               the walk goes along the keys, from head to head within a KV
//               tile, so that K and V are read once and, where the heads of a
//               token lie side by side, in the order of memory. The parts,
//               whose borders depend on the key index alone (rule D1), are
//               merged.
//
// A tile of few rows is kept as rows (depth in the lanes of vectors), a larger
// one transposed (rows in the lanes), or, where the configuration has them and
// there are many rows, in the pairs and blocks of matrix units, zeros filling
// the last ones; see PartialKernel.h.
//
// The KV loop runs over segments of equal tile class (compiler/Transforms/
// MaskCodegen.h): empty tiles are never visited, full ones carry no mask.
// Scratch is memref.alloc in the entry block, per worker where written; a later
// pass lays it out in the workspace. Must not be asked about tensors, nor about
// attentions that are tiles themselves (origin).

#include "compiler/CPU/PartialKernel.h"
#include "compiler/CPU/Passes.h"
#include "compiler/CPU/RowSource.h"
#include "compiler/CPU/Scratch.h"
#include "compiler/CPU/WorkTime.h"
#include "compiler/Transforms/MaskCodegen.h"
#include "dialects/attn/IR/AttnOps.h"
#include "dialects/cpu/IR/CpuOps.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"

using namespace mlir;
using namespace fovea;
using namespace fovea::attn;

namespace fovea {
#define GEN_PASS_DEF_TILEATTENTION
#include "compiler/CPU/Passes.h.inc"
} // namespace fovea

namespace {

/// Index arithmetic at a builder's insertion point.
struct Index {
  OpBuilder &builder;
  Location loc;

  Value cst(int64_t value) const {
    return arith::ConstantIndexOp::create(builder, loc, value);
  }
  template <typename Op> Value binary(Value a, Value b) const {
    return builder.createOrFold<Op>(loc, a, b);
  }
  Value add(Value a, Value b) const { return binary<arith::AddIOp>(a, b); }
  Value sub(Value a, Value b) const { return binary<arith::SubIOp>(a, b); }
  Value mul(Value a, Value b) const { return binary<arith::MulIOp>(a, b); }
  Value div(Value a, Value b) const { return binary<arith::DivUIOp>(a, b); }
  Value rem(Value a, Value b) const { return binary<arith::RemUIOp>(a, b); }
  Value min(Value a, Value b) const { return binary<arith::MinSIOp>(a, b); }
  Value max(Value a, Value b) const { return binary<arith::MaxSIOp>(a, b); }
  /// a / b rounded up; a is not negative.
  Value ceilDiv(Value a, int64_t b) const {
    return div(add(a, cst(b - 1)), cst(b));
  }
  Value less(Value a, Value b) const {
    return arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::slt, a, b);
  }
  Value atMost(Value a, Value b) const {
    return arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::sle, a, b);
  }
  Value equal(Value a, Value b) const {
    return arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::eq, a, b);
  }
  Value both(Value a, Value b) const {
    return arith::AndIOp::create(builder, loc, a, b);
  }
  Value select(Value condition, Value a, Value b) const {
    return arith::SelectOp::create(builder, loc, condition, a, b);
  }
  Value dim(Value memref, int64_t d) const {
    return builder.createOrFold<memref::DimOp>(loc, memref, d);
  }
};

/// Maps of the dialect over (b, g, r, m, n, d, e) as maps over (b, h, i, d).
AffineMap rowsMap(AffineMap map, bool querySide) {
  MLIRContext *ctx = map.getContext();
  AffineExpr b, h, i, d;
  bindDims(ctx, b, h, i, d);
  SmallVector<AffineExpr> results;
  for (AffineExpr expr : map.getResults()) {
    if (expr.isFunctionOfDim(0))
      results.push_back(b);
    else if (expr.isFunctionOfDim(1))
      results.push_back(h);
    else if (expr.isFunctionOfDim(querySide ? 3 : 4))
      results.push_back(i);
    else
      results.push_back(d);
  }
  return AffineMap::get(4, 0, results, ctx);
}

int64_t dimensionOf(AffineMap map, unsigned dim) {
  for (auto [position, expr] : llvm::enumerate(map.getResults()))
    if (expr.isFunctionOfDim(dim))
      return position;
  llvm_unreachable("the verifier checked the map");
}

/// Packed K and V of a round that stay in a core's own cache. Short keys are
/// packed for several heads at once, so that a call of microseconds is not cut
/// into a loop per head.
constexpr int64_t cachedBytes = 512 << 10;

/// How a query tile, its state and the keys and values it meets are laid out
/// (PartialKernel.h).
enum class Layout { Rows, Lanes, Matrix };

/// What widths are padded to for matrix units: two tiles of 16 rows of V^T, a
/// row of 32 elements of K.
constexpr int64_t matrixDepth = 32;

/// What an infinite element of q or k counts as where elements are sums of
/// terms: terms of 0 must not meet an infinity. Its products with all numbers
/// of f16, and with those of f32 below 2^27, are finite.
constexpr double infinityInTerms = 0x1p100;

/// The tiling of one attention.
class AttentionTiler {
public:
  AttentionTiler(AttentionOp op, IRRewriter &rewriter)
      : op(op), rewriter(rewriter), loc(op.getLoc()),
        compute(op.getComputeType()), config(op.getConfigAttr()),
        terms(op.getMatrixTerms()), group(op.getGroupSize()),
        kvHeads(op.getKvHeads()), width(op.getQkWidth()),
        valueWidth(op.getValueWidth()), maps(op.getMaps()),
        query(RowSource::trace(op.getQuery(), op)),
        key(RowSource::trace(op.getKey(), op)),
        value(RowSource::trace(op.getValue(), op)) {}

  LogicalResult run();

private:
  /// Scratch and state of one query tile of `size` rows.
  struct Tile {
    int64_t size;
    Value taken; // i1: whether a decode has this many rows
    /// Query tiles that an item holds: of the kv heads that a decode walks
    /// through, else those that visit a chunk of keys one after the other.
    Value itemTiles;
    Layout layout;
    /// Whether K and V are read in vectors of bf16, and so the rows that the
    /// kernel reads, and the accumulators, are unzipped.
    bool unzipsRows = false, unzipsAcc = false;
    // Per worker.
    Value positions, gathered, staged, out, lse, sinks;
    // For each tile that an item holds.
    Value rows;          // what the kernel reads
    Value acc, max, sum; // the state
  };
  /// A query tile's place in the problem.
  struct Place {
    Value b, g, row0, keys; // keys: of this batch row
  };
  using TileBody =
      llvm::function_ref<void(OpBuilder &, Value from, Value to, bool masked)>;

  /// One tile per worker.
  Value scratch(ArrayRef<int64_t> shape, Type element) {
    return allocateTiles(rewriter, loc, workers, shape, element);
  }
  Value slot(OpBuilder &b, Value tiles, Value index) {
    return selectTile(b, loc, tiles, index);
  }
  Tile makeTile(int64_t size, Layout layout);
  Value tilesOfChunk(int64_t size);
  Tile tileOf(OpBuilder &b, const Tile &buffers, Value worker);
  /// Scratch of a KV tile that is read once, per worker.
  struct KeyTile {
    Value key, value, positions;
  };
  KeyTile makeKeyTile(const Tile &tile, Value positions);
  /// K and V of a round of kv heads, and scratch of a worker that packs.
  struct PackedKeys {
    Value key, value;
    Value wideKey, wideValue; // rows in the compute type, where there are any
    Value stagedValue;        // rows of V that are to be transposed
  };
  PackedKeys allocatePacked(Value heads, Value keyTiles, Layout layout);
  void emitPack(OpBuilder &b, const PackedKeys &packed, Value head,
                const Place &place, Value keyTile, Value worker,
                Value positions);
  void emitManyRows(OpBuilder &b, const Tile &buffers, Value packPositions);
  void emitFewRows(OpBuilder &b, const Tile &buffers, const KeyTile &keyTile);
  void emitStart(OpBuilder &b, const Tile &tile, const Place &place);
  Value existingRows(OpBuilder &b, const Tile &tile, const Place &place);
  Value rowsOf(OpBuilder &b, Value buffer, OpFoldResult from,
               OpFoldResult count);
  Value attendingTime(OpBuilder &b, Value queryRows, Value attended);
  Value movingTime(OpBuilder &b, Value elements);
  Value firstColumns(OpBuilder &b, Value buffer, int64_t count);
  void zeroBehind(OpBuilder &b, Value buffer, unsigned dim, int64_t from);
  Value termOf(OpBuilder &b, Value buffer, unsigned dim, int64_t term);
  bool needsWideRows(const RowSource &source) {
    return terms > 1 || source.hasChain();
  }
  void splitRows(OpBuilder &b, Value rows, Value wide,
                 std::optional<double> infinity,
                 llvm::function_ref<void(Value tile, Value staged)> emitTile);
  SmallVector<int64_t> stateShape(const Tile &tile);
  AffineMapAttr stateLayout(const Tile &tile);
  bool maskDependsOnHead();
  void emitQuery(OpBuilder &b, const Tile &tile, const Place &place);
  MaskBox maskBoxOf(OpBuilder &b, const Place &place, int64_t tileRows);
  void emitKvLoop(OpBuilder &b, const Place &place, int64_t tileRows,
                  Value firstKey, Value endKey, TileBody body);
  void emitPartial(OpBuilder &b, const Tile &tile, const Place &place, Value k,
                   Value v, Value nextKey, Value nextValue, Value j0,
                   bool masked);
  void emitFinish(OpBuilder &b, const Tile &tile, const Place &place);
  Value emitKeyTile(OpBuilder &b, const RowSource &source, AffineMap map,
                    const Place &place, Value j0, Value count, Value buffer,
                    Value positions);
  Value viewOfKeys(OpBuilder &b, const RowSource &source, AffineMap map,
                   const Place &place, Value j0, Value count,
                   MemRefType bufferType, Value rowStride = nullptr);
  void unzip(OpBuilder &b, Value buffer, const Tile &tile, const Place &place,
             bool inverse);
  Value keysOf(OpBuilder &b, Value batch);
  void splitHead(OpBuilder &b, Value index, Place &place);

  static bool isReadInBF16(const RowSource &source) {
    return !source.hasChain() &&
           getElementTypeOrSelf(source.getSource()).isBF16();
  }
  static int64_t padded(int64_t elements) {
    return llvm::alignTo(elements, matrixDepth);
  }

  AttentionOp op;
  IRRewriter &rewriter;
  Location loc;
  FloatType compute;
  ConfigAttr config;
  int64_t terms; // of an element on matrix units
  int64_t group, kvHeads, width, valueWidth;
  SmallVector<AffineMap> maps;
  RowSource query, key, value;

  Value batches, queries, keys, rows, workers, headCount; // index, entry block
  Value fewRows;                                          // i1
  Value parts; // of the keys, in a decode
};

AttentionTiler::Tile AttentionTiler::makeTile(int64_t size, Layout layout) {
  Tile tile;
  tile.size = size;
  tile.layout = layout;
  Index ix{rewriter, loc};
  Value narrow = ix.cst(config.getNarrowQueryTile());
  tile.taken = layout == Layout::Rows ? ix.atMost(rows, narrow)
                                      : ix.both(fewRows, ix.less(narrow, rows));
  // At most as many heads as leave two items for each worker. Where the mask
  // empties different tiles for different heads, each walks on its own.
  Value perWorker =
      ix.div(ix.mul(headCount, parts), ix.mul(workers, ix.cst(2)));
  Value most = ix.cst(maskDependsOnHead() ? 1 : kvHeads);
  bool takesManyRows =
      layout == (config.getMatrixRows() ? Layout::Matrix : Layout::Lanes);
  tile.itemTiles =
      ix.select(tile.taken, ix.max(ix.cst(1), ix.min(perWorker, most)),
                takesManyRows ? tilesOfChunk(size) : ix.cst(1));
  tile.positions = scratch({size}, rewriter.getI64Type());
  tile.out = scratch({size, valueWidth}, compute);
  tile.lse = op.hasLse() ? scratch({size}, compute) : Value();
  tile.sinks = op.getSinks() ? scratch({size}, compute) : Value();
  auto ofItem = [&](ArrayRef<int64_t> shape, Type element) {
    return allocateTiles(rewriter, loc, ix.mul(workers, tile.itemTiles), shape,
                         element);
  };
  switch (layout) {
  case Layout::Rows:
    tile.rows = ofItem({size, width}, compute);
    tile.unzipsRows = isReadInBF16(key);
    tile.unzipsAcc = isReadInBF16(value);
    break;
  case Layout::Lanes:
    tile.gathered = scratch({size, width}, compute);
    tile.rows = ofItem({width, size}, compute);
    break;
  case Layout::Matrix:
    tile.gathered =
        scratch({size, terms, padded(width)}, rewriter.getBF16Type());
    if (needsWideRows(query))
      tile.staged = scratch({size, width}, compute);
    tile.rows =
        ofItem({terms, padded(width) / 2, size, 2}, rewriter.getBF16Type());
    break;
  }
  return tile;
}

AttentionTiler::KeyTile AttentionTiler::makeKeyTile(const Tile &tile,
                                                    Value positions) {
  auto buffer = [&](const RowSource &source, int64_t bufferWidth) {
    auto stored = cast<MemRefType>(source.getSource().getType());
    bool converted = tile.layout == Layout::Lanes || source.hasChain();
    return scratch({config.getKvTile(), bufferWidth},
                   converted ? compute : stored.getElementType());
  };
  return {buffer(key, width), buffer(value, valueWidth), positions};
}

/// How many query tiles share what it costs to bring a chunk of keys into the
/// second-level cache: as many as leave four items for each worker, where all
/// keys do not stay in it.
Value AttentionTiler::tilesOfChunk(int64_t size) {
  Index ix{rewriter, loc};
  if (config.getKvChunk() == 0)
    return ix.cst(1);
  Value tiles = ix.mul(ix.ceilDiv(rows, size), ix.min(headCount, workers));
  Value perWorker = ix.div(tiles, ix.mul(workers, ix.cst(4)));
  return ix.select(
      ix.less(ix.cst(config.getLongKeys()), keys),
      ix.max(ix.cst(1), ix.min(perWorker, ix.cst(config.getChunkTiles()))),
      ix.cst(1));
}

AttentionTiler::Tile AttentionTiler::tileOf(OpBuilder &b, const Tile &buffers,
                                            Value worker) {
  Tile tile = buffers;
  for (Value *part : {&tile.positions, &tile.gathered, &tile.staged, &tile.out,
                      &tile.lse, &tile.sinks})
    if (*part)
      *part = slot(b, *part, worker);
  return tile;
}

/// Whether the classes of tiles differ between heads.
bool AttentionTiler::maskDependsOnHead() {
  return !op.getMask().empty() && !op.getMask().getArgument(1).use_empty();
}

/// The keys of a batch row: N, or what `lengths` says, kept within [0, N].
Value AttentionTiler::keysOf(OpBuilder &b, Value batch) {
  if (!op.getLengths())
    return keys;
  Index ix{b, loc};
  Value length = memref::LoadOp::create(b, loc, op.getLengths(), batch);
  length = arith::IndexCastOp::create(b, loc, b.getIndexType(), length);
  return ix.max(ix.cst(0), ix.min(length, keys));
}

/// Batch and kv head from their common index.
void AttentionTiler::splitHead(OpBuilder &b, Value index, Place &place) {
  Index ix{b, loc};
  place.b = ix.div(index, ix.cst(kvHeads));
  place.g = ix.rem(index, ix.cst(kvHeads));
  place.keys = keysOf(b, place.b);
}

/// Rows of a tile that are rows of the problem.
Value AttentionTiler::existingRows(OpBuilder &b, const Tile &tile,
                                   const Place &place) {
  Index ix{b, loc};
  return ix.min(ix.cst(tile.size), ix.sub(rows, place.row0));
}

void AttentionTiler::unzip(OpBuilder &b, Value buffer, const Tile &tile,
                           const Place &place, bool inverse) {
  cpu::UnzipOp::create(b, loc, buffer, existingRows(b, tile, place),
                       config.getVector(), inverse);
}

/// The empty state.
void AttentionTiler::emitStart(OpBuilder &b, const Tile &tile,
                               const Place &place) {
  Value zero = arith::ConstantOp::create(b, loc, b.getFloatAttr(compute, 0.0));
  Value lowest = arith::ConstantOp::create(
      b, loc,
      b.getFloatAttr(compute,
                     APFloat::getInf(compute.getFloatSemantics(), true)));
  Value acc = tile.acc;
  // Of few rows often most do not exist.
  if (tile.layout == Layout::Rows)
    acc = rowsOf(b, acc, b.getIndexAttr(0), existingRows(b, tile, place));
  linalg::FillOp::create(b, loc, zero, acc);
  linalg::FillOp::create(b, loc, lowest, tile.max);
  linalg::FillOp::create(b, loc, zero, tile.sum);
}

/// Gathers the tile's query rows, applies the row operations, transposes.
void AttentionTiler::emitQuery(OpBuilder &b, const Tile &tile,
                               const Place &place) {
  Value count = existingRows(b, tile, place);
  auto emitTile = [&](Value rows, Value staged) {
    query.emitTile(b, loc, place.b, place.g, place.row0, count, group,
                   rowsMap(maps[0], true), queries, tile.positions, rows,
                   staged);
  };
  switch (tile.layout) {
  case Layout::Rows:
    emitTile(tile.rows, Value());
    break;
  case Layout::Lanes:
    emitTile(tile.gathered, Value());
    linalg::TransposeOp::create(b, loc, tile.gathered, tile.rows,
                                ArrayRef<int64_t>{1, 0});
    break;
  case Layout::Matrix:
    splitRows(b, firstColumns(b, tile.gathered, width), tile.staged,
              infinityInTerms, emitTile);
    zeroBehind(b, tile.gathered, 2, width);
    for (int64_t term = 0; term < terms; ++term) {
      Value pairs = memref::ExpandShapeOp::create(
          b, loc, ArrayRef<int64_t>{tile.size, padded(width) / 2, 2},
          termOf(b, tile.gathered, 1, term),
          ArrayRef<ReassociationIndices>{{0}, {1, 2}});
      linalg::TransposeOp::create(b, loc, pairs, termOf(b, tile.rows, 0, term),
                                  ArrayRef<int64_t>{1, 0, 2});
    }
    break;
  }
}

/// What a query tile covers: its rows folded back to i and h.
MaskBox AttentionTiler::maskBoxOf(OpBuilder &b, const Place &place,
                                  int64_t tileRows) {
  Index ix{b, loc};
  Value lastRow =
      ix.sub(ix.min(ix.add(place.row0, ix.cst(tileRows)), rows), ix.cst(1));
  Value groupValue = ix.cst(group);
  MaskBox box;
  box.b = place.b;
  box.iLo = ix.div(place.row0, groupValue);
  box.iHi = ix.div(lastRow, groupValue);
  box.hLo = ix.mul(place.g, groupValue);
  box.hHi = ix.add(box.hLo, ix.cst(group - 1));
  box.batches = batches;
  box.queries = queries;
  box.keys = place.keys;
  box.heads = ix.cst(op.getQueryHeads());
  box.kvHeads = ix.cst(kvHeads);
  box.width = ix.cst(width);
  return box;
}

/// Rows of a tile, in terms [R][T][width]. One term is what `emitTile` writes;
/// more are made of `wide`.
void AttentionTiler::splitRows(
    OpBuilder &b, Value rows, Value wide, std::optional<double> infinity,
    llvm::function_ref<void(Value tile, Value staged)> emitTile) {
  if (terms == 1) {
    emitTile(termOf(b, rows, 1, 0), wide);
    return;
  }
  emitTile(wide, Value());
  cpu::SplitOp::create(b, loc, wide, rows,
                       infinity ? b.getF64FloatAttr(*infinity) : FloatAttr());
}

/// Visits the KV tiles of [firstKey, endKey) that the mask does not empty, in
/// runs of one class. firstKey is a multiple of the KV tile.
void AttentionTiler::emitKvLoop(OpBuilder &b, const Place &place,
                                int64_t tileRows, Value firstKey, Value endKey,
                                TileBody body) {
  Index ix{b, loc};
  Value one = ix.cst(1);
  Value lo = ix.div(firstKey, ix.cst(config.getKvTile()));
  Value hi = ix.ceilDiv(endKey, config.getKvTile());
  if (op.getMask().empty()) {
    body(b, lo, hi, /*masked=*/false);
    return;
  }

  MaskBox box = maskBoxOf(b, place, tileRows);
  TileClassifier classes =
      emitTileClassifier(b, loc, op.getMask(), op.getCaptures(),
                         op.getCaptureNamesAttr(), box, config.getKvTile());
  lo = ix.max(lo, classes.lo);
  hi = ix.min(hi, classes.hi);

  Type index = b.getIndexType();
  scf::WhileOp::create(
      b, loc, TypeRange(index), ValueRange(lo),
      [&](OpBuilder &before, Location, ValueRange args) {
        Value more = Index{before, loc}.less(args[0], hi);
        scf::ConditionOp::create(before, loc, more, args);
      },
      [&](OpBuilder &after, Location, ValueRange args) {
        Value start = args[0];
        Value tileClass = classes.classOf(after, loc, start);
        // The run ends where the class changes.
        auto run = scf::WhileOp::create(
            after, loc, TypeRange(index),
            ValueRange(Index{after, loc}.add(start, one)),
            [&](OpBuilder &before, Location, ValueRange args) {
              Value inside = Index{before, loc}.less(args[0], hi);
              auto same = scf::IfOp::create(
                  before, loc, inside,
                  [&](OpBuilder &then, Location) {
                    Value next = classes.classOf(then, loc, args[0]);
                    Value equal = arith::CmpIOp::create(
                        then, loc, arith::CmpIPredicate::eq, next, tileClass);
                    scf::YieldOp::create(then, loc, equal);
                  },
                  [&](OpBuilder &otherwise, Location) {
                    Value no =
                        arith::ConstantIntOp::create(otherwise, loc, 0, 1);
                    scf::YieldOp::create(otherwise, loc, no);
                  });
              scf::ConditionOp::create(before, loc, same.getResult(0), args);
            },
            [&](OpBuilder &grow, Location, ValueRange args) {
              scf::YieldOp::create(grow, loc,
                                   Index{grow, loc}.add(args[0], one));
            });
        Value end = run.getResult(0);
        auto isClass = [&](OpBuilder &at, TileClass wanted) {
          Value number = arith::ConstantOp::create(
              at, loc, at.getI64IntegerAttr(int64_t(wanted)));
          return arith::CmpIOp::create(at, loc, arith::CmpIPredicate::eq,
                                       tileClass, number);
        };
        scf::IfOp::create(after, loc, isClass(after, TileClass::Full),
                          [&](OpBuilder &full, Location) {
                            body(full, start, end, /*masked=*/false);
                            scf::YieldOp::create(full, loc);
                          });
        scf::IfOp::create(after, loc, isClass(after, TileClass::Partial),
                          [&](OpBuilder &partial, Location) {
                            body(partial, start, end, /*masked=*/true);
                            scf::YieldOp::create(partial, loc);
                          });
        scf::YieldOp::create(after, loc, end);
      });
}

/// Rows like those of `buffer`, any number of them at any distance.
static MemRefType rowsAnywhere(MemRefType buffer) {
  return MemRefType::get(
      {ShapedType::kDynamic, buffer.getDimSize(1)}, buffer.getElementType(),
      StridedLayoutAttr::get(buffer.getContext(), ShapedType::kDynamic,
                             {ShapedType::kDynamic, 1}));
}

void AttentionTiler::emitPartial(OpBuilder &b, const Tile &tile,
                                 const Place &place, Value k, Value v,
                                 Value nextKey, Value nextValue, Value j0,
                                 bool masked) {
  AffineExpr m, n, d, e;
  MLIRContext *ctx = b.getContext();
  bindDims(ctx, m, n, d, e);
  SmallVector<AffineExpr> q = {d, m}, keys = {n, d}, values = {n, e},
                          acc = {e, m};
  if (tile.layout == Layout::Rows) {
    std::swap(q[0], q[1]);
    std::swap(acc[0], acc[1]);
  }
  if (tile.layout == Layout::Matrix) {
    int64_t kvTile = config.getKvTile();
    AffineExpr term = b.getAffineConstantExpr(0);
    q = {term, d.floorDiv(2), m, d % 2};
    keys = {n, term, d};
    values = {n.floorDiv(kvTile), term, e, n % kvTile};
  }
  ArrayAttr layout = b.getAffineMapArrayAttr(
      {AffineMap::get(4, 0, q, ctx), AffineMap::get(4, 0, keys, ctx),
       AffineMap::get(4, 0, values, ctx), AffineMap::get(4, 0, acc, ctx)});
  IntegerAttr unzipped;
  if (tile.unzipsRows || tile.unzipsAcc)
    unzipped = b.getI64IntegerAttr(config.getVector());
  auto partial = PartialOp::create(
      b, loc, TypeRange(), tile.rows, k, v, nextKey, nextValue,
      ValueRange{place.b, place.g, place.row0, j0},
      ValueRange{batches, queries, place.keys}, op.getCaptures(), tile.acc,
      tile.max, tile.sum, b.getF64FloatAttr(op.getScaleOrDefault()),
      b.getI64IntegerAttr(group), b.getI64IntegerAttr(kvHeads), layout,
      op.getCaptureNamesAttr(), unzipped, config);
  IRMapping mapping;
  op.getScore().cloneInto(&partial.getScore(), mapping);
  if (masked)
    op.getMask().cloneInto(&partial.getMask(), mapping);
}

/// O and LSE of the tile, out of its state.
void AttentionTiler::emitFinish(OpBuilder &b, const Tile &tile,
                                const Place &place) {
  Index ix{b, loc};
  Value count = existingRows(b, tile, place);
  if (tile.sinks) {
    Value first = ix.mul(place.g, ix.cst(group));
    scf::ForOp::create(
        b, loc, ix.cst(0), ix.cst(tile.size), ix.cst(1), ValueRange(),
        [&](OpBuilder &body, Location, Value l, ValueRange) {
          Index in{body, loc};
          Value head =
              in.add(first, in.rem(in.add(place.row0, l), in.cst(group)));
          Value sink = memref::LoadOp::create(body, loc, op.getSinks(), head);
          if (sink.getType() != compute)
            sink = arith::ExtFOp::create(body, loc, compute, sink);
          memref::StoreOp::create(body, loc, sink, tile.sinks, l);
          scf::YieldOp::create(body, loc);
        });
  }
  SmallVector<Value> outputs = {tile.out};
  if (tile.lse)
    outputs.push_back(tile.lse);
  Value acc = tile.acc;
  if (tile.unzipsAcc)
    unzip(b, acc, tile, place, /*inverse=*/true);
  if (tile.layout == Layout::Matrix)
    acc = rowsOf(b, acc, b.getIndexAttr(0), b.getIndexAttr(valueWidth));
  FinalizeOp::create(b, loc, TypeRange(), acc, tile.max, tile.sum, tile.sinks,
                     outputs, stateLayout(tile));
  ScatterRowsOp::create(b, loc, TypeRange(), tile.out, place.b, place.g,
                        place.row0, count, op.getOutput(),
                        b.getI64IntegerAttr(group),
                        AffineMapAttr::get(rowsMap(maps[3], true)));
  if (!tile.lse)
    return;
  // A caller may leave LSE out: its address is null then.
  Value address =
      memref::ExtractAlignedPointerAsIndexOp::create(b, loc, op.getLse());
  Value wanted = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne,
                                       address, ix.cst(0));
  scf::IfOp::create(b, loc, wanted, [&](OpBuilder &then, Location) {
    ScatterRowsOp::create(then, loc, TypeRange(), tile.lse, place.b, place.g,
                          place.row0, count, op.getLse(),
                          b.getI64IntegerAttr(group),
                          AffineMapAttr::get(rowsMap(maps[4], true)));
    scf::YieldOp::create(then, loc);
  });
}

/// [from, from + count) of a buffer's first dimension.
Value AttentionTiler::rowsOf(OpBuilder &b, Value buffer, OpFoldResult from,
                             OpFoldResult count) {
  auto type = cast<MemRefType>(buffer.getType());
  SmallVector<OpFoldResult> offsets(type.getRank(), b.getIndexAttr(0)),
      sizes = {count}, strides(type.getRank(), b.getIndexAttr(1));
  offsets[0] = from;
  for (int64_t size : type.getShape().drop_front())
    sizes.push_back(b.getIndexAttr(size));
  return memref::SubViewOp::create(b, loc, buffer, offsets, sizes, strides);
}

/// The first `count` columns, in the last dimension, of a buffer.
Value AttentionTiler::firstColumns(OpBuilder &b, Value buffer, int64_t count) {
  auto type = cast<MemRefType>(buffer.getType());
  int64_t rank = type.getRank();
  if (type.getDimSize(rank - 1) == count)
    return buffer;
  SmallVector<OpFoldResult> offsets(rank, b.getIndexAttr(0)),
      sizes = memref::getMixedSizes(b, loc, buffer),
      strides(rank, b.getIndexAttr(1));
  sizes.back() = b.getIndexAttr(count);
  return memref::SubViewOp::create(b, loc, buffer, offsets, sizes, strides);
}

/// One term of a buffer that holds them in dimension `dim`.
Value AttentionTiler::termOf(OpBuilder &b, Value buffer, unsigned dim,
                             int64_t term) {
  auto type = cast<MemRefType>(buffer.getType());
  int64_t rank = type.getRank();
  SmallVector<OpFoldResult> offsets(rank, b.getIndexAttr(0)),
      sizes = memref::getMixedSizes(b, loc, buffer),
      strides(rank, b.getIndexAttr(1));
  offsets[dim] = b.getIndexAttr(term);
  sizes[dim] = b.getIndexAttr(1);
  SmallVector<int64_t> shape(type.getShape());
  shape.erase(shape.begin() + dim);
  auto reduced = memref::SubViewOp::inferRankReducedResultType(
      shape, type, offsets, sizes, strides);
  return memref::SubViewOp::create(b, loc, cast<MemRefType>(reduced), buffer,
                                   offsets, sizes, strides);
}

/// Zeros at [from, extent) of a dimension of a buffer, if there are any.
void AttentionTiler::zeroBehind(OpBuilder &b, Value buffer, unsigned dim,
                                int64_t from) {
  auto type = cast<MemRefType>(buffer.getType());
  if (type.getDimSize(dim) == from)
    return;
  SmallVector<OpFoldResult> offsets(type.getRank(), b.getIndexAttr(0)), sizes,
      strides(type.getRank(), b.getIndexAttr(1));
  for (int64_t size : type.getShape())
    sizes.push_back(b.getIndexAttr(size));
  offsets[dim] = b.getIndexAttr(from);
  sizes[dim] = b.getIndexAttr(type.getDimSize(dim) - from);
  Value rest =
      memref::SubViewOp::create(b, loc, buffer, offsets, sizes, strides);
  Value zero = arith::ConstantOp::create(
      b, loc, b.getFloatAttr(type.getElementType(), 0.0));
  linalg::FillOp::create(b, loc, zero, rest);
}

/// K and V of `heads` kv heads, of `keyTiles` KV tiles each.
AttentionTiler::PackedKeys
AttentionTiler::allocatePacked(Value heads, Value keyTiles, Layout layout) {
  Index ix{rewriter, loc};
  int64_t kvTile = config.getKvTile();
  auto allocate = [&](Value extent, ArrayRef<int64_t> shape, Type element) {
    SmallVector<int64_t> full(2, ShapedType::kDynamic);
    llvm::append_range(full, shape);
    return memref::AllocOp::create(
               rewriter, loc, MemRefType::get(full, element),
               ValueRange{heads, extent}, rewriter.getI64IntegerAttr(64))
        .getResult();
  };
  Value keyRows = ix.mul(keyTiles, ix.cst(kvTile));
  PackedKeys packed;
  if (layout != Layout::Matrix) {
    packed.key = allocate(keyRows, {width}, compute);
    packed.value = allocate(keyRows, {valueWidth}, compute);
    return packed;
  }
  Type stored = rewriter.getBF16Type();
  packed.key = allocate(keyRows, {terms, padded(width)}, stored);
  packed.value =
      allocate(keyTiles, {terms, padded(valueWidth), kvTile}, stored);
  if (needsWideRows(key))
    packed.wideKey = scratch({kvTile, width}, compute);
  if (needsWideRows(value))
    packed.wideValue = scratch({kvTile, valueWidth}, compute);
  packed.stagedValue = scratch({kvTile, terms, valueWidth}, stored);
  return packed;
}

/// Packs KV tile `keyTile` of the place's kv head, the round's number `head`.
/// Rows behind the last key become zeros.
void AttentionTiler::emitPack(OpBuilder &b, const PackedKeys &packed,
                              Value head, const Place &place, Value keyTile,
                              Value worker, Value positions) {
  Index ix{b, loc};
  int64_t kvTile = config.getKvTile();
  Value j0 = ix.mul(keyTile, ix.cst(kvTile));
  Value count =
      ix.max(ix.cst(0), ix.min(ix.cst(kvTile), ix.sub(place.keys, j0)));
  auto gather = [&](const RowSource &source, AffineMap map, Value tile,
                    Value staged = {}) {
    source.emitTile(b, loc, place.b, place.g, j0, count, 1, rowsMap(map, false),
                    keys, positions, tile, staged);
  };
  auto rowsAt = [&](Value buffer) {
    return rowsOf(b, slot(b, buffer, head), j0, b.getIndexAttr(kvTile));
  };
  auto ownTile = [&](Value tiles) {
    return tiles ? slot(b, tiles, worker) : Value();
  };
  Value keyRows = rowsAt(packed.key);
  if (!packed.stagedValue) {
    gather(key, maps[1], keyRows);
    gather(value, maps[2], rowsAt(packed.value));
    return;
  }
  splitRows(b, firstColumns(b, keyRows, width), ownTile(packed.wideKey),
            infinityInTerms, [&](Value tile, Value staged) {
              gather(key, maps[1], tile, staged);
            });
  zeroBehind(b, keyRows, 2, width);
  // An infinity stays one: it is found by what looks for rule M1.
  Value valueRows = ownTile(packed.stagedValue);
  splitRows(
      b, valueRows, ownTile(packed.wideValue), std::nullopt,
      [&](Value tile, Value staged) { gather(value, maps[2], tile, staged); });
  Value block = slot(b, slot(b, packed.value, head), keyTile);
  for (int64_t term = 0; term < terms; ++term)
    linalg::TransposeOp::create(b, loc, termOf(b, valueRows, 1, term),
                                rowsOf(b, termOf(b, block, 0, term),
                                       b.getIndexAttr(0),
                                       b.getIndexAttr(valueWidth)),
                                ArrayRef<int64_t>{1, 0});
  zeroBehind(b, block, 1, valueWidth);
}

/// Rounds of as many kv heads as there are workers, or as fit into a cache when
/// packed: one loop over their keys packs, the next attends. There are no
/// rounds where `fewRows` holds.
void AttentionTiler::emitManyRows(OpBuilder &b, const Tile &buffers,
                                  Value packPositions) {
  Index ix{b, loc};
  int64_t kvTile = config.getKvTile();
  bool isChunked = config.getKvChunk() != 0;
  Value heads = ix.select(fewRows, ix.cst(0), headCount);
  Value keyTiles = ix.ceilDiv(keys, kvTile);
  int64_t bits = buffers.layout == Layout::Matrix
                     ? 16 * terms
                     : compute.getIntOrFloatBitWidth();
  int64_t tileBytes = kvTile * (width + valueWidth) * bits / 8;
  Value cached =
      ix.div(ix.cst(cachedBytes / tileBytes), ix.max(keyTiles, ix.cst(1)));
  Value roundHeads = ix.min(heads, ix.max(workers, cached));
  Value tiles = ix.ceilDiv(rows, buffers.size);
  // Even of no keys, if that is known now, views are taken: inside something.
  PackedKeys packed =
      allocatePacked(roundHeads, ix.max(keyTiles, ix.cst(1)), buffers.layout);
  Value itemTiles = buffers.itemTiles,
        items = ix.div(ix.add(tiles, ix.sub(itemTiles, ix.cst(1))), itemTiles);
  auto ofItem = [&](ArrayRef<int64_t> shape) {
    return allocateTiles(b, loc, ix.mul(workers, itemTiles), shape, compute);
  };
  Value accs = ofItem(stateShape(buffers)), maxs = ofItem({buffers.size}),
        sums = ofItem({buffers.size});
  auto rounds = scf::ForOp::create(b, loc, ix.cst(0), heads,
                                   ix.max(roundHeads, ix.cst(1)));
  OpBuilder round = OpBuilder::atBlockBegin(rounds.getBody());
  Index in{round, loc};
  Value first = rounds.getInductionVar();
  Value headsNow = in.min(roundHeads, in.sub(heads, first));

  auto pack = cpu::ParallelOp::create(
      round, loc, in.mul(headsNow, keyTiles),
      movingTime(round, in.cst(kvTile * (width + valueWidth))));
  {
    OpBuilder body = OpBuilder::atBlockBegin(&pack.getBody().front());
    Index at{body, loc};
    Value head = at.div(pack.getItem(), keyTiles);
    Place place;
    splitHead(body, at.add(first, head), place);
    emitPack(body, packed, head, place, at.rem(pack.getItem(), keyTiles),
             pack.getWorker(), slot(body, packPositions, pack.getWorker()));
  }

  Value itemTime =
      attendingTime(round, in.mul(itemTiles, in.cst(buffers.size)), keys);
  auto attend =
      cpu::ParallelOp::create(round, loc, in.mul(headsNow, items), itemTime);
  OpBuilder body = OpBuilder::atBlockBegin(&attend.getBody().front());
  Index at{body, loc};
  // Last tiles first: under causal masks they are the longest, and what is
  // dealt out last should be short.
  Value head = at.rem(attend.getItem(), headsNow);
  Value fromEnd = at.div(attend.getItem(), headsNow);
  Value firstTile =
      at.mul(at.sub(at.sub(items, at.cst(1)), fromEnd), itemTiles);
  Value endTile = at.min(at.add(firstTile, itemTiles), tiles);
  Place itemPlace;
  splitHead(body, at.add(first, head), itemPlace);
  Value worker = attend.getWorker();
  Tile workerTile = tileOf(body, buffers, worker);
  auto forEachTile =
      [&](OpBuilder &outer,
          llvm::function_ref<void(OpBuilder &, const Tile &, const Place &)>
              visit) {
        auto visitTile = [&](OpBuilder &inner, Value tileIndex, Value number) {
          Index in{inner, loc};
          Place place = itemPlace;
          place.row0 = in.mul(tileIndex, in.cst(buffers.size));
          Tile tile = workerTile;
          for (auto [part, all] : {std::pair(&tile.rows, buffers.rows),
                                   {&tile.acc, accs},
                                   {&tile.max, maxs},
                                   {&tile.sum, sums}})
            *part = slot(inner, all, number);
          visit(inner, tile, place);
        };
        if (!isChunked)
          return visitTile(outer, firstTile, worker);
        auto loop = scf::ForOp::create(outer, loc, firstTile, endTile,
                                       Index{outer, loc}.cst(1));
        OpBuilder inner = OpBuilder::atBlockBegin(loop.getBody());
        Index in{inner, loc};
        Value tileIndex = loop.getInductionVar();
        visitTile(
            inner, tileIndex,
            in.add(in.mul(worker, itemTiles), in.sub(tileIndex, firstTile)));
      };
  forEachTile(body, [&](OpBuilder &in, const Tile &tile, const Place &place) {
    emitQuery(in, tile, place);
    emitStart(in, tile, place);
  });
  Value headKeys = slot(body, packed.key, head);
  Value headValues = slot(body, packed.value, head);
  auto visitKeys = [&](OpBuilder &in, const Tile &tile, const Place &place,
                       Value firstKey, Value endKey) {
    // Matrix units take whole blocks of keys.
    if (!op.getMask().empty() && tile.layout != Layout::Matrix)
      endKey = Index{in, loc}.min(
          endKey, emitKeyEnd(in, loc, op.getMask(), op.getCaptures(),
                             op.getCaptureNamesAttr(),
                             maskBoxOf(in, place, tile.size)));
    emitKvLoop(
        in, place, tile.size, firstKey, endKey,
        [&](OpBuilder &inner, Value from, Value to, bool masked) {
          Index k{inner, loc};
          Value j0 = k.mul(from, k.cst(kvTile));
          Value end = k.min(k.mul(to, k.cst(kvTile)), endKey);
          Value count = k.sub(end, j0);
          Value keyRows =
              firstColumns(inner, rowsOf(inner, headKeys, j0, count), width);
          // V of matrix units comes in blocks.
          Value valueRows =
              tile.layout == Layout::Matrix
                  ? rowsOf(inner, headValues, from, k.sub(to, from))
                  : rowsOf(inner, headValues, j0, count);
          emitPartial(inner, tile, place, keyRows, valueRows,
                      /*nextKey=*/nullptr, /*nextValue=*/nullptr, j0, masked);
        });
  };
  if (!isChunked) {
    forEachTile(body, [&](OpBuilder &in, const Tile &tile, const Place &place) {
      visitKeys(in, tile, place, at.cst(0), place.keys);
    });
  } else {
    // A tile alone visits them in chunks too: bits must not depend on how many
    // tiles an item holds (rule D1).
    auto chunkLoop = scf::ForOp::create(body, loc, at.cst(0), itemPlace.keys,
                                        at.cst(config.getKvChunk()));
    OpBuilder chunk = OpBuilder::atBlockBegin(chunkLoop.getBody());
    Value firstKey = chunkLoop.getInductionVar();
    Index c{chunk, loc};
    Value endKey =
        c.min(c.add(firstKey, c.cst(config.getKvChunk())), itemPlace.keys);
    forEachTile(chunk,
                [&](OpBuilder &in, const Tile &tile, const Place &place) {
                  visitKeys(in, tile, place, firstKey, endKey);
                });
  }
  forEachTile(body, [&](OpBuilder &in, const Tile &tile, const Place &place) {
    emitFinish(in, tile, place);
  });
}

/// Keys [j0, j0 + count) of the place's kv head as [count][width] of the
/// buffer's type: in place where the memory already is that, otherwise through
/// `buffer`.
Value AttentionTiler::emitKeyTile(OpBuilder &b, const RowSource &source,
                                  AffineMap map, const Place &place, Value j0,
                                  Value count, Value buffer, Value positions) {
  auto bufferType = cast<MemRefType>(buffer.getType());
  auto gather = [&](OpBuilder &at) -> Value {
    source.emitTile(at, loc, place.b, place.g, j0, count, 1, map, keys,
                    positions, buffer);
    return memref::CastOp::create(
        at, loc, rowsAnywhere(bufferType),
        rowsOf(at, buffer, at.getIndexAttr(0), count));
  };
  Value view = viewOfKeys(b, source, map, place, j0, count, bufferType);
  if (!view)
    return gather(b);
  auto strides =
      memref::ExtractStridedMetadataOp::create(b, loc, source.getSource())
          .getStrides();
  Index ix{b, loc};
  Value unit = ix.equal(strides[dimensionOf(map, 3)], ix.cst(1));
  auto choice = scf::IfOp::create(
      b, loc, unit,
      [&](OpBuilder &then, Location) { scf::YieldOp::create(then, loc, view); },
      [&](OpBuilder &otherwise, Location) {
        scf::YieldOp::create(otherwise, loc, gather(otherwise));
      });
  return choice.getResult(0);
}

/// The same keys where they are stored, as if elements of a row lay side by
/// side; nothing where a row must be computed or converted. `rowStride` is the
/// distance of rows if it is not that of keys.
Value AttentionTiler::viewOfKeys(OpBuilder &b, const RowSource &source,
                                 AffineMap map, const Place &place, Value j0,
                                 Value count, MemRefType bufferType,
                                 Value rowStride) {
  Value original = source.getSource();
  if (source.hasChain() ||
      cast<MemRefType>(original.getType()).getElementType() !=
          bufferType.getElementType())
    return nullptr;
  Index ix{b, loc};
  auto metadata = memref::ExtractStridedMetadataOp::create(b, loc, original);
  // Which dimension of the whole tensor each of (b, h, i, d) is.
  auto stride = [&](unsigned dim) {
    return metadata.getStrides()[dimensionOf(map, dim)];
  };
  Value offset = metadata.getOffset();
  for (auto [dim, position] : {std::pair<unsigned, Value>(0, place.b),
                               std::pair<unsigned, Value>(1, place.g),
                               std::pair<unsigned, Value>(2, j0)})
    offset = ix.add(offset, ix.mul(position, stride(dim)));
  return memref::ReinterpretCastOp::create(
      b, loc, rowsAnywhere(bufferType), metadata.getBaseBuffer(),
      OpFoldResult(offset),
      ArrayRef<OpFoldResult>{count, b.getIndexAttr(bufferType.getDimSize(1))},
      ArrayRef<OpFoldResult>{rowStride ? rowStride : stride(2),
                             b.getIndexAttr(1)});
}

/// One item per (batch, some kv heads, part of the keys), and a loop that
/// merges the parts if there are several. There are no items where the number
/// of rows asks for a tile of another size.
void AttentionTiler::emitFewRows(OpBuilder &b, const Tile &buffers,
                                 const KeyTile &keyTile) {
  Index ix{b, loc};
  int64_t kvTile = config.getKvTile(), split = config.getKvSplit();
  // Where the heads of a token lie side by side, the more of them an item walks
  // along, the longer the runs of memory that are read in order. Where the keys
  // of a head do, each head walks on its own.
  auto stridesOf = [&](const RowSource &source, AffineMap map) {
    auto strides =
        memref::ExtractStridedMetadataOp::create(b, loc, source.getSource())
            .getStrides();
    return std::pair<Value, Value>(strides[dimensionOf(map, 1)],
                                   strides[dimensionOf(map, 4)]);
  };
  auto [headStride, keyStride] = stridesOf(key, maps[1]);
  Value sideBySide = ix.less(headStride, keyStride);
  Value itemHeads = ix.select(sideBySide, buffers.itemTiles, ix.cst(1));
  // Keys of a head before the next head; of a single head, whose stride says
  // nothing, the tile, as steps decide about bits.
  bool walks =
      buffers.layout == Layout::Rows && kvHeads > 1 && config.getKvWalk() != 0;
  Value walk = ix.cst(kvTile);
  if (walks)
    walk = ix.select(sideBySide, ix.cst(config.getKvWalk()), walk);
  // What is fetched meanwhile. Where the heads of a token fill it and the item
  // walks along all of them, the keys of the next step lie side by side in
  // memory as well: each head has them fetched from where the one before it
  // stopped, K one head ahead, as it is read before V. Elsewhere, K of the
  // head's own next keys, and V of these.
  struct Fetch {
    Value inOrder; // i1
    Value lead;    // keys
    Value rowStride;
    int64_t headsAhead;
  };
  Value allHeads = ix.both(sideBySide, ix.equal(itemHeads, ix.cst(kvHeads)));
  auto fetchOf = [&](const RowSource &source, AffineMap map, Value ownLead,
                     int64_t headsAhead) {
    auto [headStride, keyStride] = stridesOf(source, map);
    Value inOrder = ix.both(
        allHeads, ix.equal(keyStride, ix.mul(headStride, ix.cst(kvHeads))));
    return Fetch{inOrder, ix.select(inOrder, walk, ownLead),
                 ix.select(inOrder, headStride, keyStride), headsAhead};
  };
  Value block = ix.cst(cpu::keysOfDepthLanesBlock(group, buffers.size, kvTile));
  Fetch keyFetch = fetchOf(key, maps[1], ix.select(sideBySide, walk, block), 1);
  Fetch valueFetch = fetchOf(value, maps[2], ix.cst(0), 0);
  Value heads = ix.select(buffers.taken, headCount, ix.cst(0));
  Value runs = ix.div(ix.add(ix.cst(kvHeads - 1), itemHeads), itemHeads);
  Value items = ix.mul(ix.mul(ix.div(heads, ix.cst(kvHeads)), runs), parts);
  Value single = ix.equal(parts, ix.cst(1));

  // The states of the parts outlive the items that make them. Those of an item
  // lie together.
  auto states = [&](ArrayRef<int64_t> shape) {
    return allocateTiles(b, loc, ix.mul(heads, parts), shape, compute);
  };
  Value accs = states(stateShape(buffers)), maxs = states({buffers.size}),
        sums = states({buffers.size});
  auto stateOf = [&](OpBuilder &at, Tile tile, const Place &place, Value part) {
    Index in{at, loc};
    Value batchPart = in.add(in.mul(place.b, parts), part);
    Value state = in.add(in.mul(batchPart, in.cst(kvHeads)), place.g);
    tile.acc = slot(at, accs, state);
    tile.max = slot(at, maxs, state);
    tile.sum = slot(at, sums, state);
    return tile;
  };

  Value itemKeys = ix.mul(itemHeads, ix.min(keys, ix.cst(config.getKvSplit())));
  Value itemTime =
      ix.add(attendingTime(b, rows, itemKeys),
             movingTime(b, ix.mul(itemKeys, ix.cst(width + valueWidth))));
  auto attend = cpu::ParallelOp::create(b, loc, items, itemTime);
  {
    OpBuilder body = OpBuilder::atBlockBegin(&attend.getBody().front());
    Index at{body, loc};
    Value item = attend.getItem(), worker = attend.getWorker();
    Value part = at.rem(item, parts), run = at.div(item, parts);
    Place first;
    first.b = at.div(run, runs);
    first.g = at.mul(at.rem(run, runs), itemHeads);
    first.row0 = at.cst(0);
    first.keys = keysOf(body, first.b);
    Value endHead = at.min(at.add(first.g, itemHeads), at.cst(kvHeads));
    Tile scratchTile = tileOf(body, buffers, worker);
    auto forEachHead =
        [&](OpBuilder &outer,
            llvm::function_ref<void(OpBuilder &, const Tile &, const Place &)>
                visit) {
          auto loop = scf::ForOp::create(outer, loc, first.g, endHead,
                                         Index{outer, loc}.cst(1));
          OpBuilder inner = OpBuilder::atBlockBegin(loop.getBody());
          Index in{inner, loc};
          Place place = first;
          place.g = loop.getInductionVar();
          Tile tile = stateOf(inner, scratchTile, place, part);
          tile.rows =
              slot(inner, buffers.rows,
                   in.add(in.mul(worker, itemHeads), in.sub(place.g, first.g)));
          visit(inner, tile, place);
        };

    forEachHead(body, [&](OpBuilder &in, const Tile &tile, const Place &place) {
      emitQuery(in, tile, place);
      if (tile.unzipsRows)
        unzip(in, tile.rows, tile, place, /*inverse=*/false);
      emitStart(in, tile, place);
    });
    Value firstKey = at.mul(part, at.cst(split));
    Value endKey = at.min(at.add(firstKey, at.cst(split)), first.keys);
    Value positions = slot(body, keyTile.positions, worker);
    Value keyBuffer = slot(body, keyTile.key, worker),
          valueBuffer = slot(body, keyTile.value, worker);
    // Rows to fetch while a head is at keys j0 + [0, count).
    auto nextRows = [&](OpBuilder &in, const RowSource &source, AffineMap map,
                        const Fetch &fetch, const Place &place, Value j0,
                        Value count, Value buffer) {
      Index h{in, loc};
      Value head = h.add(place.g, h.cst(fetch.headsAhead));
      Place next = place;
      next.g = h.select(fetch.inOrder, h.mul(head, walk), place.g);
      return viewOfKeys(in, source, rowsMap(map, false), next,
                        h.add(j0, fetch.lead), count,
                        cast<MemRefType>(buffer.getType()), fetch.rowStride);
    };
    auto visitKeys = [&](OpBuilder &inner, Value j0, Value count, bool masked) {
      forEachHead(inner, [&](OpBuilder &in, const Tile &tile,
                             const Place &place) {
        Value keyRows = emitKeyTile(in, key, rowsMap(maps[1], false), place, j0,
                                    count, keyBuffer, positions);
        Value valueRows = emitKeyTile(in, value, rowsMap(maps[2], false), place,
                                      j0, count, valueBuffer, positions);
        Value nextKey, nextValue;
        if (tile.layout == Layout::Rows) {
          nextKey =
              nextRows(in, key, maps[1], keyFetch, place, j0, count, keyBuffer);
          nextValue = nextRows(in, value, maps[2], valueFetch, place, j0, count,
                               valueBuffer);
        }
        emitPartial(in, tile, place, keyRows, valueRows, nextKey, nextValue, j0,
                    masked);
      });
    };
    auto visitTile = [&](OpBuilder &inner, Value kvIndex, bool masked) {
      Index k{inner, loc};
      Value from = k.mul(kvIndex, k.cst(kvTile));
      Value to = k.min(k.add(from, k.cst(kvTile)), endKey);
      if (!walks)
        return visitKeys(inner, from, k.sub(to, from), masked);
      auto loop = scf::ForOp::create(inner, loc, from, to, walk);
      OpBuilder step = OpBuilder::atBlockBegin(loop.getBody());
      Index s{step, loc};
      Value j0 = loop.getInductionVar();
      visitKeys(step, j0, s.min(walk, s.sub(to, j0)), masked);
    };
    emitKvLoop(body, first, buffers.size, firstKey, endKey,
               [&](OpBuilder &run, Value from, Value to, bool masked) {
                 auto loop = scf::ForOp::create(run, loc, from, to,
                                                Index{run, loc}.cst(1));
                 OpBuilder inner = OpBuilder::atBlockBegin(loop.getBody());
                 visitTile(inner, loop.getInductionVar(), masked);
               });
    auto alone = scf::IfOp::create(body, loc, single, /*withElseRegion=*/false);
    OpBuilder finish = alone.getThenBodyBuilder();
    forEachHead(finish,
                [&](OpBuilder &in, const Tile &tile, const Place &place) {
                  emitFinish(in, tile, place);
                });
  }

  auto join = cpu::ParallelOp::create(
      b, loc, ix.select(single, ix.cst(0), heads),
      movingTime(b, ix.mul(parts, ix.mul(rows, ix.cst(valueWidth)))));
  OpBuilder body = OpBuilder::atBlockBegin(&join.getBody().front());
  Index at{body, loc};
  Place place;
  splitHead(body, join.getItem(), place);
  place.row0 = at.cst(0);
  Tile tile =
      stateOf(body, tileOf(body, buffers, join.getWorker()), place, at.cst(0));
  auto others = scf::ForOp::create(body, loc, at.cst(1), parts, at.cst(1));
  OpBuilder step = OpBuilder::atBlockBegin(others.getBody());
  Tile other = stateOf(step, tile, place, others.getInductionVar());
  MergeOp::create(step, loc, TypeRange(), other.acc, other.max, other.sum,
                  tile.acc, tile.max, tile.sum, stateLayout(tile));
  emitFinish(body, tile, place);
}

/// Nanoseconds of all query rows in `queryRows` attending to `attended` keys.
Value AttentionTiler::attendingTime(OpBuilder &b, Value queryRows,
                                    Value attended) {
  Index ix{b, loc};
  int64_t rate = cpu::multiplyAddsPerNanosecond(config.getVector());
  return ix.ceilDiv(
      ix.mul(ix.mul(queryRows, attended), ix.cst(width + valueWidth)), rate);
}

/// Nanoseconds of reading elements once.
Value AttentionTiler::movingTime(OpBuilder &b, Value elements) {
  return Index{b, loc}.ceilDiv(elements, cpu::elementsPerNanosecond);
}

SmallVector<int64_t> AttentionTiler::stateShape(const Tile &tile) {
  if (tile.layout == Layout::Rows)
    return {tile.size, valueWidth};
  return {tile.layout == Layout::Matrix ? padded(valueWidth) : valueWidth,
          tile.size};
}

/// The layout of acc over (m, e).
AffineMapAttr AttentionTiler::stateLayout(const Tile &tile) {
  SmallVector<unsigned> order = {0, 1};
  if (tile.layout != Layout::Rows)
    std::swap(order[0], order[1]);
  return AffineMapAttr::get(
      AffineMap::getPermutationMap(order, op.getContext()));
}

LogicalResult AttentionTiler::run() {
  if (!config)
    return op.emitOpError("has no #attn.config; run attn-select-config first");
  if (!op.getOrigin().empty())
    return op.emitOpError("is itself a tile; tile the whole attention");
  if (!isa<MemRefType>(op.getQuery().getType()))
    return op.emitOpError("works on tensors; bufferize first");
  if (config.getMatrixRows())
    for (const RowSource *source : {&query, &key, &value})
      if (terms == 0 || getElementTypeOrSelf(source->getSource()) !=
                            getElementTypeOrSelf(op.getQuery()))
        return op.emitOpError("has matrix_rows in its #attn.config, but q, k "
                              "and v are not of bf16, of f16, or of f32 with "
                              "precision bf16x6");
  if (config.getMatrixRows() && value.hasChain())
    return op.emitOpError("has matrix_rows in its #attn.config, but v is "
                          "computed by a norm or RoPE");
  rewriter.setInsertionPoint(op);
  Index ix{rewriter, loc};
  // Temporaries of row operations vanish; extents come from what is read.
  queries = ix.dim(query.getSource(), dimensionOf(maps[0], 3));
  batches = ix.dim(query.getSource(), dimensionOf(maps[0], 0));
  keys = ix.dim(key.getSource(), dimensionOf(maps[1], 4));
  rows = ix.mul(queries, ix.cst(group));
  // With no query rows there is no tile to speak of, and no work.
  Value anyRows = ix.less(ix.cst(0), rows);
  headCount = ix.select(anyRows, ix.mul(batches, ix.cst(kvHeads)), ix.cst(0));
  workers = cpu::WorkersOp::create(rewriter, loc, rewriter.getIndexType());
  fewRows = ix.atMost(rows, ix.cst(config.getQueryTile()));

  parts = ix.max(ix.cst(1), ix.ceilDiv(keys, config.getKvSplit()));
  Value positions = scratch({config.getKvTile()}, rewriter.getI64Type());
  Tile narrowTile = makeTile(config.getNarrowQueryTile(), Layout::Rows);
  emitFewRows(rewriter, narrowTile, makeKeyTile(narrowTile, positions));
  Tile wideTile = makeTile(config.getQueryTile(), Layout::Lanes);
  emitFewRows(rewriter, wideTile, makeKeyTile(wideTile, positions));
  if (int64_t matrixRows = config.getMatrixRows())
    wideTile = makeTile(matrixRows, Layout::Matrix);
  emitManyRows(rewriter, wideTile, positions);
  rewriter.eraseOp(op);
  RowSource::eraseChains({query, key, value}, rewriter);
  return success();
}

struct TileAttention : fovea::impl::TileAttentionBase<TileAttention> {
  void runOnOperation() override {
    SmallVector<AttentionOp> ops;
    getOperation().walk([&](AttentionOp op) { ops.push_back(op); });
    IRRewriter rewriter(&getContext());
    for (AttentionOp op : ops)
      if (failed(AttentionTiler(op, rewriter).run()))
        return signalPassFailure();
  }
};

} // namespace
