// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception
//
// Closed-form tile ranges, and ranges with the classifier, against brute force
// over every pair of drawn masks, sizes and tile shapes: no attended pair is
// ever skipped, full tiles are full, and what is marked exact is exact.

#include "compiler/Analysis/TileRanges.h"
#include "test/unit/Analysis/MaskDrawer.h"

#include <gtest/gtest.h>

#include <cstdio>

using namespace fovea;
using namespace fovea::analysis;
using expr::Expr;
using expr::Var;

namespace {
struct Counts {
  int64_t masks = 0, maps = 0, tiles = 0, decided = 0, undecidedByCap = 0;
};

class TileRangesTest : public ::testing::Test {
protected:
  Expr parse(const std::string &text) {
    expr::Scope scope;
    scope.addParam("p");
    scope.addTensor("len", expr::Type::Int, 1);
    expr::Diagnostic diagnostic;
    Expr mask = expr::parseMask(context, scope, text, diagnostic);
    EXPECT_TRUE(bool(mask)) << diagnostic.render(text);
    return mask ? mask : context.getBool(false);
  }

  /// Compares all tiles of one query tile; returns false after a mismatch.
  bool check(const std::string &text, Expr mask, const TileRanges &ranges,
             const QueryTile &tile, int64_t m, int64_t n, int64_t p,
             int64_t length, unsigned cap) {
    llvm::StringMap<int64_t> params{{"p", p}};
    auto loadPoint =
        [&](Expr, llvm::ArrayRef<int64_t>) -> std::optional<expr::Value> {
      return expr::Value::ofInt(length);
    };
    auto loadRange = [&](Expr, llvm::ArrayRef<Range>) -> std::optional<Range> {
      return Range::point(length);
    };
    expr::Environment environment;
    environment.params = &params;
    environment.load = loadPoint;
    environment[Var::M] = m;
    environment[Var::N] = n;
    auto closed = getSegments(ranges, tile, environment);
    auto all = classifyTiles(mask, ranges, tile, environment, loadRange, cap);
    int64_t size = ranges.tileSize, count = (n + size - 1) / size;
    for (auto *segments : {&closed, &all}) {
      int64_t at = 0;
      for (const Segment &segment : *segments) {
        EXPECT_EQ(segment.begin, at);
        at = segment.end;
        for (int64_t t = segment.begin; t < segment.end; ++t) {
          int64_t attended = 0, masked = 0;
          for (int64_t h = tile.hLo; h <= tile.hHi; ++h)
            for (int64_t i = tile.iLo; i <= tile.iHi; ++i)
              for (int64_t j = t * size; j < (t + 1) * size; ++j) {
                environment[Var::h] = h;
                environment[Var::i] = i;
                environment[Var::j] = j;
                bool in = i < m && j < n &&
                          expr::evaluate(mask, environment)->integer;
                ++(in ? attended : masked);
              }
          TileClass truth = !attended ? TileClass::Empty
                            : masked  ? TileClass::Partial
                                      : TileClass::Full;
          bool wrong = segment.decided
                           ? segment.tileClass != truth
                           : segment.tileClass != TileClass::Partial;
          if (wrong) {
            ADD_FAILURE() << text << "\n  M " << m << " N " << n << " p " << p
                          << " len " << length << " rows " << tile.iLo << ".."
                          << tile.iHi << " heads " << tile.hLo << ".."
                          << tile.hHi << " size " << size << " tile " << t
                          << ": " << getTileClassName(segment.tileClass).str()
                          << ", is " << getTileClassName(truth).str()
                          << (segments == &closed ? " (closed form)" : "");
            return false;
          }
          if (segments == &closed) {
            ++counts.tiles;
            counts.decided += segment.decided;
          } else {
            counts.undecidedByCap += !segment.decided;
          }
        }
      }
      EXPECT_EQ(at, count);
    }
    ++counts.maps;
    return true;
  }

  /// Draws sizes and tiles for a mask.
  void checkDrawn(const std::string &text, int draws, unsigned cap) {
    ++counts.masks;
    Expr mask = parse(text);
    TileRanges ranges;
    for (int k = 0; k < draws; ++k) {
      static const int64_t sizes[] = {4, 7, 16, 32, 64, 128};
      if (k % 4 == 0)
        ranges = computeTileRanges(context, mask, sizes[drawer.draw(0, 5)]);
      int64_t m = drawer.draw(1, 150), n = drawer.draw(0, 150);
      QueryTile tile;
      tile.iLo = drawer.draw(0, m - 1);
      tile.iHi = tile.iLo + sizes[drawer.draw(0, 3)] - 1;
      if (drawer.draw(0, 3))
        tile.iHi = std::min(tile.iHi, m - 1);
      if (mask.uses(Var::h)) {
        tile.hLo = drawer.draw(0, 2);
        tile.hHi = tile.hLo + drawer.draw(0, 2);
      }
      if (!check(text, mask, ranges, tile, m, n, drawer.draw(-20, 60),
                 drawer.draw(0, n), cap))
        return;
    }
  }

  void report(const char *what) {
    std::printf("%s: %lld masks, %lld query tiles, %lld tiles, 0 mismatches "
                "wanted; closed form decides %.1f %%, %lld left open by the "
                "cap\n",
                what, (long long)counts.masks, (long long)counts.maps,
                (long long)counts.tiles,
                100.0 * counts.decided / std::max<int64_t>(counts.tiles, 1),
                (long long)counts.undecidedByCap);
  }

  expr::Context context;
  test::MaskDrawer drawer{11};
  Counts counts;
};
} // namespace

// The masks of the design whose ranges are exact, so that no classifier runs.
TEST_F(TileRangesTest, CommonMasksAreExact) {
  for (const char *text : {"true",
                           "false",
                           "causal(top_left)",
                           "causal(bottom_right)",
                           "causal(offset(p))",
                           "window(16, 0, bottom_right)",
                           "window(9, 5, top_left)",
                           "window(-1, 7, offset(p))",
                           "window(p, 3, top_left)",
                           "prefix(p)",
                           "j < len[b]",
                           "causal(bottom_right) and window(31, 0)",
                           "causal(top_left) and j < len[b]",
                           "prefix(20) or causal(top_left)",
                           "global(4) or window(16, 16, top_left)",
                           "j <= i - 3 * h",
                           "abs(i - j) <= 12 or j < 4",
                           "i >= 5 and j >= 9",
                           "where(N > M, j <= i, j < p)",
                           "max(i - j, j - i) < 6"}) {
    Expr mask = parse(text);
    for (int64_t size : {16, 64})
      EXPECT_TRUE(computeTileRanges(context, mask, size).isExact()) << text;
    checkDrawn(text, 60, 64);
  }
  EXPECT_EQ(counts.decided, counts.tiles);
  report("exact masks");
}

// Divisions do not cost exactness where every quotient is hit.
TEST_F(TileRangesTest, DivisionsOfOneSideAreExact) {
  for (const char *text :
       {"i // 8 <= 3", "j // 5 >= 4 and j // 5 < 9", "i // 4 > j"}) {
    EXPECT_TRUE(computeTileRanges(context, parse(text), 64).isExact()) << text;
    checkDrawn(text, 60, 100000);
  }
}

TEST_F(TileRangesTest, DrawnMasksAgainstBruteForce) {
  for (int atoms = 1; atoms <= 4; ++atoms)
    for (int k = 0; k < 120; ++k) {
      checkDrawn(drawer.drawMask(atoms), 12, 1000000);
      if (HasFailure())
        return;
    }
  EXPECT_EQ(counts.undecidedByCap, 0);
  report("drawn masks, no cap");
}

// With the default cap nothing is missed either; few tiles stay open.
TEST_F(TileRangesTest, DefaultCapIsSoundAndRarelyReached) {
  for (int k = 0; k < 160; ++k)
    checkDrawn(drawer.drawMask(1 + k % 4), 12, defaultClassifierCap);
  EXPECT_LT(counts.undecidedByCap * 50, counts.tiles);
  report("drawn masks, default cap");
}

TEST_F(TileRangesTest, BudgetsAreKept) {
  // Divisions in divisions, many disjuncts, and large coefficients: all fall
  // back to wide ranges.
  std::string nested = "i";
  for (int k = 2; k < 14; ++k)
    nested = "(" + nested + " + j) // " + std::to_string(k) + " % 50";
  checkDrawn(nested + " < 3", 8, 1000000);
  std::string many = "i // 3 == j // 5";
  for (int k = 1; k < 40; ++k)
    many += std::string(k % 2 ? " and" : " or") +
            " abs(i - j) != " + std::to_string(k);
  checkDrawn(many, 8, 1000000);
  checkDrawn("1099511627776 * (i - j) >= 0 and i < 2", 2, 64);
}

// Sizes past 2^31, and forms that would overflow: undecided, never wrong.
TEST_F(TileRangesTest, HugeSymbolsAreUndecided) {
  Expr mask = parse("causal(offset(p))");
  TileRanges ranges = computeTileRanges(context, mask, 64);
  for (int64_t p : {std::numeric_limits<int64_t>::max(),
                    std::numeric_limits<int64_t>::min(), int64_t(1) << 32}) {
    llvm::StringMap<int64_t> params{{"p", p}};
    expr::Environment environment;
    environment.params = &params;
    environment[Var::M] = 100;
    environment[Var::N] = 100;
    auto segments = getSegments(ranges, {0, 63, 0, 0}, environment);
    ASSERT_EQ(segments.size(), 1u);
    EXPECT_FALSE(segments[0].decided);
    EXPECT_EQ(segments[0].tileClass, TileClass::Partial);
  }
}
