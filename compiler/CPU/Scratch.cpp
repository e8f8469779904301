// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Arrays of scratch tiles (see Scratch.h).

#include "compiler/CPU/Scratch.h"

using namespace mlir;

Value fovea::allocateTiles(OpBuilder &builder, Location loc, Value count,
                           ArrayRef<int64_t> shape, Type element) {
  SmallVector<int64_t> full = {ShapedType::kDynamic};
  llvm::append_range(full, shape);
  return memref::AllocOp::create(builder, loc, MemRefType::get(full, element),
                                 ValueRange(count),
                                 builder.getI64IntegerAttr(64));
}

Value fovea::selectTile(OpBuilder &builder, Location loc, Value tiles,
                        Value index) {
  auto type = cast<MemRefType>(tiles.getType());
  int64_t rank = type.getRank();
  SmallVector<OpFoldResult> offsets(rank, builder.getIndexAttr(0)),
      sizes = {builder.getIndexAttr(1)}, strides(rank, builder.getIndexAttr(1));
  offsets[0] = index;
  for (int64_t d = 1; d < rank; ++d)
    sizes.push_back(
        type.isDynamicDim(d)
            ? OpFoldResult(builder.createOrFold<memref::DimOp>(loc, tiles, d))
            : OpFoldResult(builder.getIndexAttr(type.getDimSize(d))));
  auto reduced = memref::SubViewOp::inferRankReducedResultType(
      type.getShape().drop_front(), type, offsets, sizes, strides);
  return memref::SubViewOp::create(builder, loc, cast<MemRefType>(reduced),
                                   tiles, offsets, sizes, strides);
}
