// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// What the lowerings of row operations share: loops over rows and over the
// vectors of a row, loads and stores that convert, and the choice between
// vectors and single elements by a row's stride. Everything works on memrefs of
// floats; the width of a row (the last dimension) is static.

#ifndef FOVEA_COMPILER_CPU_ROWS_H
#define FOVEA_COMPILER_CPU_ROWS_H

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace fovea::cpu {

inline mlir::MemRefType memrefOf(mlir::Value value) {
  return mlir::cast<mlir::MemRefType>(value.getType());
}

mlir::Value createIndex(mlir::ImplicitLocOpBuilder &b, int64_t value);

/// `element` for one lane, otherwise a vector of them.
mlir::Type getLaneType(mlir::FloatType element, int64_t lanes);

/// `value`, a float or a vector of floats, rounded once to `element`. No
/// conversion that comes out of here needs a library call on x86-64-v3.
mlir::Value convertFloat(mlir::OpBuilder &b, mlir::Location loc,
                         mlir::Value value, mlir::FloatType element);

/// The float or, along the last dimension, the vector at `indices`, converted
/// to `type`. A vector needs a unit inner stride.
mlir::Value loadConverted(mlir::OpBuilder &b, mlir::Location loc,
                          mlir::Type type, mlir::Value memref,
                          mlir::ValueRange indices);

/// Stores a float or, along the last dimension, a vector in memref's type.
void storeConverted(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value,
                    mlir::Value memref, mlir::ValueRange indices);

/// for index in [lower, upper) by step: body(index).
void forEachIndex(mlir::ImplicitLocOpBuilder &b, mlir::Value lower,
                  mlir::Value upper, int64_t step,
                  llvm::function_ref<void(mlir::Value)> body);

/// Nested loops over the dimensions [first, last) of `memref`; body gets one
/// index for each.
void forEachRow(mlir::ImplicitLocOpBuilder &b, mlir::Value memref,
                int64_t first, int64_t last,
                llvm::function_ref<void(mlir::ValueRange)> body);

/// [0, count) in pieces of `lanes` (fewer if count is smaller) and a remainder:
/// body(offset, lanes) for each, in a loop if there are several.
void forEachVector(mlir::ImplicitLocOpBuilder &b, int64_t count, int64_t lanes,
                   llvm::function_ref<void(mlir::Value, int64_t)> body);

/// Calls body with `memrefs` typed as having a unit inner stride, and with
/// `vectorLanes`, where that holds; otherwise with the memrefs as they are and
/// one lane. Strides known at run time only are tested there, and body is
/// called for both branches.
void forEachStrideCase(
    mlir::ImplicitLocOpBuilder &b, mlir::ValueRange memrefs,
    int64_t vectorLanes,
    llvm::function_ref<void(mlir::ValueRange, int64_t)> body);

/// Lowers every `Op` under `root` by `lower(b, op)` in front of it, and erases
/// it. Refuses operations on tensors.
template <typename Op>
mlir::LogicalResult lowerOperations(
    mlir::Operation *root,
    llvm::function_ref<mlir::LogicalResult(mlir::ImplicitLocOpBuilder &, Op)>
        lower) {
  llvm::SmallVector<Op> ops;
  root->walk([&](Op op) { ops.push_back(op); });
  for (Op op : ops) {
    if (llvm::any_of(op->getOperandTypes(),
                     llvm::IsaPred<mlir::RankedTensorType>))
      return op.emitOpError("must be on memrefs here; bufferize first");
    mlir::ImplicitLocOpBuilder b(op.getLoc(), op);
    if (mlir::failed(lower(b, op)))
      return mlir::failure();
    op->erase();
  }
  return mlir::success();
}

} // namespace fovea::cpu

#endif // FOVEA_COMPILER_CPU_ROWS_H
