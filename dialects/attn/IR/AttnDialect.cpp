// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The attn dialect and its attributes: registration and verification.

#include "dialects/attn/IR/AttnOps.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace fovea::attn;

#include "dialects/attn/IR/AttnDialect.cpp.inc"
#include "dialects/attn/IR/AttnEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/attn/IR/AttnAttrs.cpp.inc"

void AttnDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/attn/IR/AttnAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/attn/IR/AttnOps.cpp.inc"
      >();
}

LogicalResult RopeScalingAttr::verify(
    function_ref<InFlightDiagnostic()> emitError, RopeScalingKind kind,
    APFloat factor, int64_t originalLength, APFloat betaFast, APFloat betaSlow,
    bool truncate, APFloat lowFreqFactor, APFloat highFreqFactor,
    APFloat attentionFactor, DenseF64ArrayAttr shortFactor,
    DenseF64ArrayAttr longFactor) {
  const APFloat zero(0.0), one(1.0);
  auto name = stringifyRopeScalingKind(kind);
  bool usesOriginal = kind != RopeScalingKind::Linear;
  if (usesOriginal && originalLength <= 0)
    return emitError() << name
                       << " scaling needs original_length > 0 (rule P1)";
  if (kind != RopeScalingKind::LongRope && !(factor >= one))
    return emitError() << name << " scaling needs factor >= 1 (rule P1)";
  if (kind == RopeScalingKind::Yarn &&
      !(betaFast > betaSlow && betaSlow > zero))
    return emitError()
           << "yarn scaling needs beta_fast > beta_slow > 0 (rule P1)";
  if (kind == RopeScalingKind::Llama3 &&
      !(highFreqFactor > lowFreqFactor && lowFreqFactor > zero))
    return emitError() << "llama3 scaling needs high_freq_factor > "
                          "low_freq_factor > 0 (rule P1)";
  bool usesTables = kind == RopeScalingKind::LongRope;
  if (usesTables != (shortFactor && longFactor) ||
      (usesTables && (shortFactor.size() != longFactor.size())))
    return emitError() << "longrope scaling, and no other, needs short_factor "
                          "and long_factor of one length (rule P1)";
  if (usesTables)
    for (auto list : {shortFactor, longFactor})
      for (double value : list.asArrayRef())
        if (!(value > 0))
          return emitError() << "longrope factors must be positive (rule P1)";
  if (attentionFactor < zero)
    return emitError() << "attention_factor must not be negative (rule P1)";

  bool isYarn = kind == RopeScalingKind::Yarn,
       isLlama3 = kind == RopeScalingKind::Llama3;
  const std::tuple<StringRef, bool, bool> parameters[] = {
      {"original_length", originalLength != 0, usesOriginal},
      {"beta_fast", !betaFast.isZero(), isYarn},
      {"beta_slow", !betaSlow.isZero(), isYarn},
      {"truncate = false", !truncate, isYarn},
      {"low_freq_factor", !lowFreqFactor.isZero(), isLlama3},
      {"high_freq_factor", !highFreqFactor.isZero(), isLlama3},
      {"attention_factor", !attentionFactor.isZero(), isYarn || usesTables}};
  for (auto [parameter, given, used] : parameters)
    if (given && !used)
      return emitError() << name << " scaling takes no " << parameter
                         << " (rule P1)";
  for (const APFloat &value : {factor, betaFast, betaSlow, lowFreqFactor,
                               highFreqFactor, attentionFactor})
    if (!value.isFinite())
      return emitError() << "scaling parameters must be finite (rule P1)";
  return success();
}

LogicalResult ConfigAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                 int64_t queryTile, int64_t narrowQueryTile,
                                 int64_t kvTile, int64_t vector, int64_t unroll,
                                 int64_t kvSplit, int64_t matrixRows,
                                 int64_t kvChunk, int64_t chunkTiles,
                                 int64_t kvWalk) {
  // Tiles become straight-line vector code, so their sizes bound its size.
  auto inRange = [](int64_t value, int64_t most) {
    return value >= 1 && value <= most;
  };
  if (!inRange(vector, 64) || !llvm::isPowerOf2_64(vector))
    return emitError()
           << "vector must be a power of two of at most 64 elements";
  if (!inRange(queryTile, 256) || queryTile % vector != 0)
    return emitError()
           << "query_tile must be a multiple of vector, at most 256";
  if (!inRange(narrowQueryTile, queryTile))
    return emitError() << "narrow_query_tile must be in [1, query_tile]";
  if (!inRange(kvTile, 4096) || !inRange(unroll, 32))
    return emitError() << "kv_tile must be in [1, 4096], unroll in [1, 32]";
  if (kvSplit < kvTile || kvSplit % kvTile != 0)
    return emitError() << "kv_split must be a multiple of kv_tile";
  if (matrixRows != 0 && (!inRange(matrixRows, 256) || matrixRows % vector))
    return emitError()
           << "matrix_rows must be 0 or a multiple of vector, at most 256";
  if (kvChunk < 0 || kvChunk % kvTile != 0)
    return emitError() << "kv_chunk must be 0 or a multiple of kv_tile";
  if (!inRange(chunkTiles, 256))
    return emitError() << "chunk_tiles must be in [1, 256]";
  if (kvWalk < 0 || kvWalk > kvTile)
    return emitError() << "kv_walk must be in [0, kv_tile]";
  return success();
}
