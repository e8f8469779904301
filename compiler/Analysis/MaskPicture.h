// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception
//
// The mask of one head as a grid of tiles, for `fovea explain`: classes and
// counts of all tiles, a text picture and an SVG. From an expr::Expr and a
// shape; exact but for tiles that the classifier leaves open, which are
// counted.

#ifndef FOVEA_COMPILER_ANALYSIS_MASKPICTURE_H
#define FOVEA_COMPILER_ANALYSIS_MASKPICTURE_H

#include "compiler/Analysis/TileRanges.h"

#include <string>
#include <vector>

namespace fovea::analysis {

/// Rows of query tiles by columns of key tiles; each row as its segments.
struct TileGrid {
  int64_t queryTile = 1, kvTile = 1;
  int64_t rows = 0, columns = 0;
  std::vector<llvm::SmallVector<Segment>> segments;
  /// Tiles of each class, by the number of the TileClass; and how many of the
  /// partial ones are undecided.
  std::array<int64_t, 3> counts = {};
  int64_t undecided = 0;

  int64_t getCount(TileClass tileClass) const {
    return counts[static_cast<unsigned>(tileClass)];
  }
};

/// The grid for the b and h of the environment, which also gives the
/// dimensions, parameters and loads. Tile sizes are at least 1. `loadRange` as
/// in classifyTiles.
TileGrid computeTileGrid(expr::Context &context, expr::Expr mask,
                         int64_t queryTile, int64_t kvTile,
                         const expr::Environment &environment,
                         llvm::function_ref<std::optional<Range>(
                             expr::Expr load, llvm::ArrayRef<Range> indices)>
                             loadRange = nullptr);

struct PictureOptions {
  /// A larger grid is drawn with one cell for a rectangle of tiles: empty
  /// (full) if all of them are, else partial.
  int64_t maxRows = 32, maxColumns = 64;
  /// '#' full, '+' partial, '.' empty instead of block elements.
  bool ascii = false;
};

/// One line for each row of cells, queries downwards and keys to the right,
/// with a newline after each.
std::string drawText(const TileGrid &grid, PictureOptions options = {});

/// A stand-alone SVG document, of the cells that drawText has.
std::string drawSvg(const TileGrid &grid, PictureOptions options = {});

} // namespace fovea::analysis

#endif // FOVEA_COMPILER_ANALYSIS_MASKPICTURE_H
