// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// What a mask says about KV tiles, as code: bounds of the tiles worth visiting
// and the class of each, for one query tile.

#ifndef FOVEA_COMPILER_CPU_TILECLASSES_H
#define FOVEA_COMPILER_CPU_TILECLASSES_H

#include "dialects/attn/IR/AttnOps.h"

#include <functional>

namespace fovea {

/// Empty tiles need no visit, full ones no mask, partial ones both.
enum class TileClass : int64_t { Empty = 0, Full = 1, Partial = 2 };

/// The values that a mask region sees for a query tile (index, inclusive).
struct QueryTileBox {
  mlir::Value b, iLo, iHi, hLo, hHi;
  mlir::Value batches, queries, keys, heads, kvHeads, width;
};

struct TileClasses {
  mlir::Value lo, hi; ///< tiles outside [lo, hi) are empty (index)
  /// The class (i64, a TileClass) of one tile in [lo, hi).
  std::function<mlir::Value(mlir::OpBuilder &, mlir::Location,
                            mlir::Value tile)>
      classOf;
};

/// Emits the bounds at the builder's insertion point; `classOf` emits at its
/// own.
TileClasses emitTileClasses(mlir::OpBuilder &builder, attn::AttentionOp op,
                            const QueryTileBox &box, int64_t kvTile);

} // namespace fovea

#endif // FOVEA_COMPILER_CPU_TILECLASSES_H
