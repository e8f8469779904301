// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Mask and score regions on the lanes of a vector: the scalar body of a region
// of attn.partial is emitted once for a whole vector of query rows. Only what
// depends on the row becomes a vector; what depends on the key alone stays
// scalar.

#ifndef FOVEA_COMPILER_CPU_REGIONVECTORIZER_H
#define FOVEA_COMPILER_CPU_REGIONVECTORIZER_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/Region.h"

namespace fovea::cpu {

/// `value` itself if it is a vector, else in every lane of vector<width x
/// type>.
mlir::Value broadcastToLanes(mlir::OpBuilder &b, mlir::Location loc,
                             mlir::Value value, int64_t width);

/// Emits the body of `region` with `arguments` for its block's, each of the
/// argument's type or a vector<width x type> of it, and returns the yielded
/// value as a vector. The body holds element-wise operations and attn.element.
mlir::Value emitRegionOnLanes(mlir::OpBuilder &b, mlir::Location loc,
                              mlir::Region &region, mlir::ValueRange arguments,
                              int64_t width);

} // namespace fovea::cpu

#endif // FOVEA_COMPILER_CPU_REGIONVECTORIZER_H
