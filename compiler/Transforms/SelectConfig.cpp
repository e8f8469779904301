// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Chooses #attn.config for every attn.attention, on tensors or memrefs, from
// the vector width, the number of vector registers and the matrix units. The
// choice depends on widths, types and the row operations in front, never on
// lengths: one artifact serves them all. Attentions that have a configuration
// keep it.

#include "compiler/Transforms/Passes.h"
#include "dialects/attn/IR/AttnOps.h"

#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace fovea;
using namespace fovea::attn;

namespace fovea {
#define GEN_PASS_DEF_SELECTCONFIG
#include "compiler/Transforms/Passes.h.inc"
} // namespace fovea

namespace {
struct SelectConfig : fovea::impl::SelectConfigBase<SelectConfig> {
  using SelectConfigBase::SelectConfigBase;

  void runOnOperation() override {
    getOperation()->walk([&](AttentionOp op) {
      if (op.getConfigAttr())
        return;
      ConfigAttr config = select(op);
      op.setConfigAttr(config);
      if (explain)
        op.emitRemark() << "config " << config << ": " << vectorBits.getValue()
                        << "-bit vectors, " << registers.getValue()
                        << " registers";
      if (explain && (matrixRows != 0 || op.getPrecision() != Precision::Full))
        explainMatrixUnits(op);
    });
  }

  void explainMatrixUnits(AttentionOp op) {
    if (std::string reason = noMatrixUnits(op); !reason.empty()) {
      InFlightDiagnostic remark = op.emitRemark()
                                  << "no matrix units: " << reason;
      if (op.getPrecision() != Precision::Full)
        remark << "; products are of f32";
      return;
    }
    op.emitRemark() << "matrix units: for more than "
                    << op.getConfigAttr().getQueryTile()
                    << " folded query rows";
    int64_t terms = op.getMatrixTerms();
    bool query = isRowOpResult(op.getQuery()), key = isRowOpResult(op.getKey());
    if (terms < 3 && (query || key))
      op.emitRemark() << "matrix units: "
                      << (query && key ? "q and k are"
                          : query      ? "q is"
                                       : "k is")
                      << (terms == 1 ? " rounded to bf16"
                                     : " rounded to sums of two bf16")
                      << " behind norms and RoPE";
    if (terms > 1)
      op.emitRemark() << "matrix units: "
                      << (terms == 2 ? "f16 as sums of two bf16, in three "
                                       "products of four"
                                     : "f32 as sums of three bf16, in six "
                                       "products of nine");
  }

  /// Why matrix units do not serve `op`; empty if they do.
  std::string noMatrixUnits(AttentionOp op) {
    if (matrixRows == 0)
      return "the target has none";
    Type element = getElementTypeOrSelf(op.getQuery());
    if (getElementTypeOrSelf(op.getKey()) != element ||
        getElementTypeOrSelf(op.getValue()) != element)
      return "q, k and v differ in type";
    int64_t terms = op.getMatrixTerms();
    if (terms == 0)
      return "they multiply bf16, f16 as sums of two, and f32 as sums of three "
             "where precision is bf16x6";
    if (isRowOpResult(op.getValue()))
      return "v is computed in f32 by a norm or RoPE";
    // A step is straight-line code, as long as the heads are wide and there are
    // products of terms. In cycles for 16 scores, it takes 1/32 of the padded
    // widths for each product and, for f16 and f32, at least 11 and 14 for the
    // softmax beside them; vectors take 0.6 of the widths, and 4.5 for a
    // softmax that has them alone.
    static constexpr struct {
      int64_t least, most;
    } served[] = {{1, 512}, {16, 320}, {24, 320}};
    auto [least, most] = served[terms - 1];
    int64_t widths = op.getQkWidth() + op.getValueWidth();
    if (widths > most)
      return "the heads are wider than " + std::to_string(most) + " together";
    if (widths < least)
      return "the heads are narrower than " + std::to_string(least) +
             " together, where vectors are as fast";
    return "";
  }

  ConfigAttr select(AttentionOp op) {
    int64_t bits = op.getComputeType().getWidth();
    int64_t vector = vectorBits / bits;
    // Query rows in three vectors, so that a broadcast key element serves three
    // multiply-adds; the accumulators (unroll * 3), a row of Q and a broadcast
    // must fit the registers.
    int64_t vectors = 3;
    int64_t unroll = std::min<int64_t>((registers - 1 - vectors) / vectors, 8);
    // The grain of mask skipping, and small enough that K and V of a tile stay
    // in the second-level cache beside the query tile.
    int64_t width = op.getQkWidth() + op.getValueWidth(), kvTile = 64;
    while (kvTile > 16 && kvTile * width * bits / 8 > (int64_t(256) << 10))
      kvTile /= 2;
    // Long enough that merging is cheap, short enough to feed threads.
    int64_t kvSplit = 16 * kvTile;
    // Whole queries of a group, up to what a decode with a few tokens ahead
    // needs; groups beyond a full tile have no use for a narrow one.
    int64_t queryTile = vectors * vector, group = op.getGroupSize();
    int64_t narrow =
        std::min(std::max<int64_t>(group, 8 - 8 % group), queryTile);
    int64_t rows = noMatrixUnits(op).empty() ? matrixRows : 0;
    // Of the second-level cache, packed K and V of a chunk take half, queries
    // and states of the tiles that visit it most of the rest.
    int64_t bytes = bits / 8;
    if (rows != 0)
      bytes = 2 * op.getMatrixTerms();
    int64_t kvChunk = cacheBytes / 2 / (bytes * width * kvTile) * kvTile;
    int64_t tileBytes =
        (rows != 0 ? rows : queryTile) *
        (bytes * op.getQkWidth() + bits / 8 * op.getValueWidth());
    int64_t chunkTiles = cacheBytes / 8 * 3 / tileBytes;
    // With room for one tile, each visits all keys at once.
    if (kvChunk == 0 || chunkTiles < 2) {
      kvChunk = 0;
      chunkTiles = 1;
    }
    // Steps of a decode's walk: K and V of one, for all heads, and of the next,
    // which is fetched meanwhile, take half of the cache.
    int64_t keyBytes =
        op.getKvHeads() * width *
        getElementTypeOrSelf(op.getKey()).getIntOrFloatBitWidth() / 8;
    int64_t kvWalk = llvm::bit_floor(uint64_t(cacheBytes / 4 / keyBytes));
    kvWalk = std::min(std::max(kvWalk, vector), kvTile);
    return ConfigAttr::get(op.getContext(), queryTile, narrow, kvTile, vector,
                           unroll, kvSplit, rows, kvChunk,
                           std::min<int64_t>(chunkTiles, 32), kvWalk);
  }
};
} // namespace
