// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception
//
// Tile grids, their counts, and the pictures, whole and reduced.

#include "compiler/Analysis/MaskPicture.h"

#include <gtest/gtest.h>

using namespace fovea;
using namespace fovea::analysis;
using expr::Var;

namespace {
class MaskPictureTest : public ::testing::Test {
protected:
  TileGrid makeGrid(llvm::StringRef text, int64_t m, int64_t n,
                    int64_t queryTile, int64_t kvTile) {
    expr::Context context;
    expr::Diagnostic diagnostic;
    expr::Expr mask = expr::parseMask(context, expr::Scope(), text, diagnostic);
    EXPECT_TRUE(bool(mask)) << diagnostic.render(text);
    expr::Environment environment;
    environment[Var::M] = m;
    environment[Var::N] = n;
    return computeTileGrid(context, mask, queryTile, kvTile, environment);
  }
  static constexpr PictureOptions ascii{32, 64, true};
};
} // namespace

TEST_F(MaskPictureTest, CausalAndWindow) {
  EXPECT_EQ(drawText(makeGrid("causal(top_left)", 64, 64, 16, 16), ascii),
            "+...\n#+..\n##+.\n###+\n");
  EXPECT_EQ(drawText(makeGrid("causal(bottom_right)", 32, 64, 16, 16), ascii),
            "##+.\n###+\n");
  EXPECT_EQ(
      drawText(makeGrid("window(16, 0, top_left)", 64, 64, 16, 16), ascii),
      "+...\n++..\n.++.\n..++\n");
  EXPECT_EQ(drawText(makeGrid("causal(top_left)", 32, 32, 16, 16)),
            "\u2592\u00b7\n\u2588\u2592\n");
}

TEST_F(MaskPictureTest, Counts) {
  TileGrid grid = makeGrid("causal(top_left)", 1000, 1000, 64, 32);
  EXPECT_EQ(grid.rows, 16);
  EXPECT_EQ(grid.columns, 32);
  // Row r has 2r full tiles and two that cross the diagonal.
  EXPECT_EQ(grid.getCount(TileClass::Full), 240);
  EXPECT_EQ(grid.getCount(TileClass::Partial), 32);
  EXPECT_EQ(grid.getCount(TileClass::Empty), 240);
  EXPECT_EQ(grid.undecided, 0);
}

TEST_F(MaskPictureTest, ReducesLargeGrids) {
  TileGrid grid = makeGrid("causal(top_left)", 131072, 131072, 64, 64);
  EXPECT_EQ(grid.getCount(TileClass::Full), 2048 * 2047 / 2);
  EXPECT_EQ(drawText(grid, {4, 4, true}), "+...\n#+..\n##+.\n###+\n");
  // A lone tile is not lost.
  EXPECT_EQ(
      drawText(makeGrid("i == 70 and j == 33", 128, 128, 4, 4), {2, 4, true}),
      "....\n.+..\n");
}

TEST_F(MaskPictureTest, EmptyShapes) {
  EXPECT_EQ(drawText(makeGrid("true", 0, 64, 16, 16), ascii), "");
  EXPECT_EQ(drawText(makeGrid("true", 64, 0, 16, 16), ascii), "");
}

TEST_F(MaskPictureTest, Svg) {
  EXPECT_EQ(drawSvg(makeGrid("causal(top_left)", 48, 48, 16, 16)),
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"24\" "
            "height=\"24\" shape-rendering=\"crispEdges\">\n"
            "<rect x=\"0\" y=\"0\" width=\"8\" height=\"8\" "
            "fill=\"#8fb4d9\"/>\n"
            "<rect x=\"8\" y=\"0\" width=\"16\" height=\"8\" "
            "fill=\"#eeeeee\"/>\n"
            "<rect x=\"0\" y=\"8\" width=\"8\" height=\"8\" "
            "fill=\"#1f4e79\"/>\n"
            "<rect x=\"8\" y=\"8\" width=\"8\" height=\"8\" "
            "fill=\"#8fb4d9\"/>\n"
            "<rect x=\"16\" y=\"8\" width=\"8\" height=\"8\" "
            "fill=\"#eeeeee\"/>\n"
            "<rect x=\"0\" y=\"16\" width=\"16\" height=\"8\" "
            "fill=\"#1f4e79\"/>\n"
            "<rect x=\"16\" y=\"16\" width=\"8\" height=\"8\" "
            "fill=\"#8fb4d9\"/>\n"
            "</svg>\n");
}
