// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception
//
// Closed forms of the key tiles that a query tile needs: for the mask and for
// its negation, a union of ranges of tile numbers t, each the maximum of
// ceildiv(affine, c) to the minimum of floordiv(affine, c) under guards
// affine >= 0. From an expr::Expr and the key tile size to affine forms over
// symbols; no IR. Numbers stay exact and the work is bounded; what does not fit
// (a product of variables, data, a long elimination) makes a range wider and
// unmarked as exact, never wrong.
//
// A query tile holds the rows [iLo, iHi] and heads [hLo, hHi] of one batch b;
// key tile t holds the keys [t * size, (t + 1) * size). Pairs outside i < M,
// j < N do not exist for the question whether a tile is empty, and keep a tile
// from being full. The bounds must be non-empty with iLo >= 0.
//
// Method: negation normal form, disjunctive normal form with a cap, divisions
// by constants as existential integers, Fourier-Motzkin elimination of i, j, h
// and the divisions. A step is exact over the integers where, for each pair of
// a lower bound with coefficient a and an upper bound with coefficient c, a or
// c is 1, or the bounds are always at least (a - 1)(c - 1) apart (the dark
// shadow of Pugh, "The Omega test", 1991).

#ifndef FOVEA_COMPILER_ANALYSIS_TILERANGES_H
#define FOVEA_COMPILER_ANALYSIS_TILERANGES_H

#include "compiler/Analysis/Interval.h"

namespace fovea::analysis {

/// constant + sum of coefficient * symbol.
struct AffineForm {
  llvm::SmallVector<int64_t, 8> coefficients;
  int64_t constant = 0;
};

/// Of a lower bound: t >= ceildiv(form, divisor); of an upper one: t <=
/// floordiv(form, divisor). The divisor is positive.
struct TileBound {
  AffineForm form;
  int64_t divisor = 1;
};

/// One range of tiles: max of the lower bounds to min of the upper bounds, if
/// every guard is >= 0. Exact: each tile in it does hold a pair.
struct TileDisjunct {
  llvm::SmallVector<TileBound, 4> lower, upper;
  llvm::SmallVector<AffineForm, 2> guards;
  bool exact = true;
};

struct TileRanges {
  /// The symbols of every affine form: the bounds of the query tile, then
  /// `symbols`, expressions that use none of h, i, j.
  enum Symbol : unsigned { ILo, IHi, HLo, HHi, NumTileSymbols };
  llvm::SmallVector<expr::Expr, 8> symbols;
  int64_t tileSize = 1;
  /// Together: a superset of the tiles that hold an attended pair.
  llvm::SmallVector<TileDisjunct, 2> positive;
  /// Together: a superset of the tiles that hold a pair that is not attended,
  /// pairs out of bounds included.
  llvm::SmallVector<TileDisjunct, 2> negative;

  /// Every range is exact: no tile needs the classifier.
  bool isExact() const;
};

/// The closed form speaks only where every symbol is this small, so that 64-bit
/// arithmetic on its forms cannot overflow; elsewhere every tile is undecided.
inline constexpr int64_t maxSymbolMagnitude = int64_t(1) << 31;

/// Limits of the work (deterministic, so no clock): conjunctions of the normal
/// form, divisions and rows in one elimination, and row combinations in all.
struct TileRangeBudget {
  unsigned conjuncts = 64;
  unsigned divisions = 8;
  unsigned rows = 200;
  unsigned combinations = 40000;
};

/// tileSize >= 1. The context is written to.
TileRanges computeTileRanges(expr::Context &context, expr::Expr mask,
                             int64_t tileSize, TileRangeBudget budget = {});

/// The rows and heads of a query tile.
struct QueryTile {
  int64_t iLo = 0, iHi = 0, hLo = 0, hHi = 0;
};

/// Tiles [begin, end) of one class. `decided` false: empty, full or partial,
/// only the classifier can tell (tileClass is then Partial, which is sound).
struct Segment {
  int64_t begin = 0, end = 0;
  TileClass tileClass = TileClass::Partial;
  bool decided = true;
};

/// The segments of all key tiles [0, ceildiv(N, tileSize)), in order, by closed
/// form alone. The environment gives b, the dimensions, parameters and loads.
llvm::SmallVector<Segment> getSegments(const TileRanges &ranges,
                                       const QueryTile &tile,
                                       const expr::Environment &environment);

/// The same with the classifier run on every undecided tile: neighbouring tiles
/// of one class are one segment. `load` gives the ranges of loads (else any
/// load that is not a symbol is unknown).
llvm::SmallVector<Segment> classifyTiles(
    expr::Expr mask, const TileRanges &ranges, const QueryTile &tile,
    const expr::Environment &environment,
    llvm::function_ref<std::optional<Range>(expr::Expr load,
                                            llvm::ArrayRef<Range> indices)>
        load = nullptr,
    unsigned cap = defaultClassifierCap);

} // namespace fovea::analysis

#endif // FOVEA_COMPILER_ANALYSIS_TILERANGES_H
