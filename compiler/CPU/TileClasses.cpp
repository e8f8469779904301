// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Tile classes of a mask region (see TileClasses.h).

#include "compiler/CPU/TileClasses.h"

using namespace mlir;
using namespace fovea;

TileClasses fovea::emitTileClasses(OpBuilder &builder, attn::AttentionOp op,
                                   const QueryTileBox &box, int64_t kvTile) {
  Location loc = op.getLoc();
  TileClasses classes;
  classes.lo = arith::ConstantIndexOp::create(builder, loc, 0);
  classes.hi = arith::CeilDivSIOp::create(
      builder, loc, box.keys,
      arith::ConstantIndexOp::create(builder, loc, kvTile));
  classes.classOf = [](OpBuilder &at, Location loc, Value) -> Value {
    return arith::ConstantOp::create(
        at, loc, at.getI64IntegerAttr(int64_t(TileClass::Partial)));
  };
  return classes;
}
