// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Scratch memory of a kernel: arrays of tiles, one per worker (or per item),
// allocated in the entry block for attn-cpu-plan-workspace to lay out.

#ifndef FOVEA_COMPILER_CPU_SCRATCH_H
#define FOVEA_COMPILER_CPU_SCRATCH_H

#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace fovea {

/// `count` tiles of the given shape, on a cache line.
mlir::Value allocateTiles(mlir::OpBuilder &builder, mlir::Location loc,
                          mlir::Value count, llvm::ArrayRef<int64_t> shape,
                          mlir::Type element);

/// Tile `index` of an array of tiles: the first dimension is dropped.
mlir::Value selectTile(mlir::OpBuilder &builder, mlir::Location loc,
                       mlir::Value tiles, mlir::Value index);

} // namespace fovea

#endif // FOVEA_COMPILER_CPU_SCRATCH_H
