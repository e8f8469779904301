// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception
//
// Code for the key tiles that a query tile visits: the closed form of
// compiler/Analysis/TileRanges.h as straight-line arith, and, for masks that it
// does not decide, the interval classifier of compiler/Analysis/Interval.h as a
// private function of the module. From a mask region (or expression) to arith,
// scf, memref and func. It must not be asked to evaluate a mask on elements.
//
// Empty and full are always right. Partial may also mean undecided: the
// evaluation cap was reached, a number passed 2^31, or the mask reads captured
// tensors at places that depend on h, i or j.

#ifndef FOVEA_COMPILER_TRANSFORMS_MASKCODEGEN_H
#define FOVEA_COMPILER_TRANSFORMS_MASKCODEGEN_H

#include "compiler/Analysis/Interval.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Region.h"
#include "mlir/IR/ValueRange.h"
#include "llvm/ADT/StringMap.h"

#include <functional>

namespace fovea {

using analysis::TileClass;

/// What a query tile covers, as values of type index: batch row b, query rows
/// [iLo, iHi] and heads [hLo, hHi], both ends included and never empty; and the
/// dimensions B, M, N, H, G, D. `keys` is the number of keys of this batch row,
/// which is what N means in its mask.
struct MaskBox {
  mlir::Value b, iLo, iHi, hLo, hHi;
  mlir::Value batches, queries, keys, heads, kvHeads, width;
};

struct TileClassifier {
  /// Every tile outside [lo, hi) is empty (index; 0 <= lo and hi <=
  /// ceildiv(keys, kvTile), and lo may be past hi).
  mlir::Value lo, hi;
  /// Emits the class of tile t (index, 0 <= t < ceildiv(keys, kvTile)): an i64
  /// with the number of a TileClass. A tile that crosses the last key, or whose
  /// rows pass the last query, is never full.
  std::function<mlir::Value(mlir::OpBuilder &, mlir::Location, mlir::Value t)>
      classOf;
};

/// Emits at the builder's insertion point, in a function of a module: what is
/// the same for all tiles. `captures` are the values of the captured operands,
/// i64 parameters and tensors or memrefs of any rank, by name. A run over a
/// part of a module must not call this: it may add a function to the module.
TileClassifier emitTileClassifier(mlir::OpBuilder &builder, mlir::Location loc,
                                  expr::Context &context, expr::Expr mask,
                                  const llvm::StringMap<mlir::Value> &captures,
                                  const MaskBox &box, int64_t kvTile);

/// The same from a mask region and the captured operands of its operation with
/// their names. A region that is no expression makes every tile partial; an
/// empty one attends to everything.
TileClassifier emitTileClassifier(mlir::OpBuilder &builder, mlir::Location loc,
                                  mlir::Region &mask, mlir::ValueRange captures,
                                  mlir::ArrayAttr names, const MaskBox &box,
                                  int64_t kvTile);

/// The key (index, at most box.keys) from which on none is attended by the
/// query tile, as far as the closed form tells: within the last tile that the
/// mask does not empty, keys behind it need no work.
mlir::Value emitKeyEnd(mlir::OpBuilder &builder, mlir::Location loc,
                       mlir::Region &mask, mlir::ValueRange captures,
                       mlir::ArrayAttr names, const MaskBox &box);

} // namespace fovea

#endif // FOVEA_COMPILER_TRANSFORMS_MASKCODEGEN_H
