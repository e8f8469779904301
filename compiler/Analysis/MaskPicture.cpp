// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception
//
// Tile grids and their pictures (see MaskPicture.h).

#include "compiler/Analysis/MaskPicture.h"

#include "llvm/Support/raw_ostream.h"

#include <algorithm>

using namespace fovea;
using namespace fovea::analysis;
using expr::Expr;
using expr::Var;

TileGrid fovea::analysis::computeTileGrid(
    expr::Context &context, Expr mask, int64_t queryTile, int64_t kvTile,
    const expr::Environment &environment,
    llvm::function_ref<std::optional<Range>(Expr load,
                                            llvm::ArrayRef<Range> indices)>
        loadRange) {
  int64_t m = environment[Var::M], n = environment[Var::N];
  auto count = [](int64_t extent, int64_t tile) {
    return extent <= 0 ? 0 : (extent - 1) / tile + 1;
  };
  TileGrid grid;
  grid.queryTile = queryTile;
  grid.kvTile = kvTile;
  grid.rows = count(m, queryTile);
  grid.columns = count(n, kvTile);
  TileRanges ranges = computeTileRanges(context, mask, kvTile);
  for (int64_t row = 0; row < grid.rows; ++row) {
    QueryTile tile;
    tile.iLo = row * queryTile;
    tile.iHi = tile.iLo + std::min(queryTile, m - tile.iLo) - 1;
    tile.hLo = tile.hHi = environment[Var::h];
    grid.segments.push_back(
        classifyTiles(mask, ranges, tile, environment, loadRange));
    for (const Segment &segment : grid.segments.back()) {
      int64_t length = segment.end - segment.begin;
      grid.counts[static_cast<unsigned>(segment.tileClass)] += length;
      if (!segment.decided)
        grid.undecided += length;
    }
  }
  return grid;
}

namespace {
/// The grid reduced to at most the number of cells asked for.
struct Cells {
  int64_t rows = 0, columns = 0;
  std::vector<TileClass> classes;

  Cells(const TileGrid &grid, const PictureOptions &options)
      : rows(std::min(grid.rows, std::max<int64_t>(options.maxRows, 1))),
        columns(
            std::min(grid.columns, std::max<int64_t>(options.maxColumns, 1))) {
    // What each cell has seen: bit k for class k.
    std::vector<uint8_t> seen(rows * columns, 0);
    for (int64_t row = 0; row < grid.rows; ++row) {
      uint8_t *cells = seen.data() + row * rows / grid.rows * columns;
      for (const Segment &segment : grid.segments[row]) {
        int64_t first = segment.begin * columns / grid.columns;
        int64_t last = (segment.end - 1) * columns / grid.columns;
        for (int64_t column = first; column <= last; ++column)
          cells[column] |= 1u << static_cast<unsigned>(segment.tileClass);
      }
    }
    for (uint8_t bits : seen)
      classes.push_back(bits == 1   ? TileClass::Empty
                        : bits == 2 ? TileClass::Full
                                    : TileClass::Partial);
  }
};
} // namespace

std::string fovea::analysis::drawText(const TileGrid &grid,
                                      PictureOptions options) {
  static constexpr llvm::StringLiteral ascii[] = {".", "#", "+"};
  static constexpr llvm::StringLiteral blocks[] = {"\u00b7", "\u2588",
                                                   "\u2592"};
  Cells cells(grid, options);
  std::string text;
  for (int64_t k = 0; k < cells.rows * cells.columns; ++k) {
    unsigned tileClass = static_cast<unsigned>(cells.classes[k]);
    text += options.ascii ? ascii[tileClass] : blocks[tileClass];
    if ((k + 1) % cells.columns == 0)
      text += "\n";
  }
  return text;
}

std::string fovea::analysis::drawSvg(const TileGrid &grid,
                                     PictureOptions options) {
  constexpr int64_t side = 8;
  static constexpr llvm::StringLiteral colours[] = {"#eeeeee", "#1f4e79",
                                                    "#8fb4d9"};
  Cells cells(grid, options);
  std::string text;
  llvm::raw_string_ostream os(text);
  os << "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\""
     << cells.columns * side << "\" height=\"" << cells.rows * side
     << "\" shape-rendering=\"crispEdges\">\n";
  // One rectangle for each run of cells of a class.
  for (int64_t row = 0; row < cells.rows; ++row)
    for (int64_t begin = 0, end; begin < cells.columns; begin = end) {
      TileClass tileClass = cells.classes[row * cells.columns + begin];
      for (end = begin + 1;
           end < cells.columns &&
           cells.classes[row * cells.columns + end] == tileClass;)
        ++end;
      os << "<rect x=\"" << begin * side << "\" y=\"" << row * side
         << "\" width=\"" << (end - begin) * side << "\" height=\"" << side
         << "\" fill=\"" << colours[static_cast<unsigned>(tileClass)]
         << "\"/>\n";
    }
  os << "</svg>\n";
  return text;
}
