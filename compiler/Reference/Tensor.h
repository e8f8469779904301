// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The tensors of the reference interpreter: numbers in f64 whatever the element
// type, so that nothing is rounded on the way (rule R2), with loading from and
// storing to strided memory of the real type. Slow and plain on purpose.

#ifndef FOVEA_COMPILER_REFERENCE_TENSOR_H
#define FOVEA_COMPILER_REFERENCE_TENSOR_H

#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/Error.h"
#include <vector>

namespace fovea::reference {

/// A dense row-major array. `elementType` is what the program says the elements
/// are; it matters for loading, storing and for what attn.append writes.
struct Tensor {
  llvm::SmallVector<int64_t> shape;
  mlir::Type elementType;
  std::vector<double> data;

  /// Of this shape, every element `value`. The shape must be one that
  /// checkShape accepts.
  static Tensor filled(llvm::ArrayRef<int64_t> shape, mlir::Type elementType,
                       double value);

  int64_t rank() const { return static_cast<int64_t>(shape.size()); }
  int64_t size() const { return static_cast<int64_t>(data.size()); }
  /// Elements to step over for one step in each dimension.
  llvm::SmallVector<int64_t> strides() const;
  /// The position of an element in `data`.
  int64_t offset(llvm::ArrayRef<int64_t> indices) const;
  double &at(llvm::ArrayRef<int64_t> indices) { return data[offset(indices)]; }
  double at(llvm::ArrayRef<int64_t> indices) const {
    return data[offset(indices)];
  }
};

/// No negative extent, and few enough elements that their bytes fit 63 bits.
llvm::Error checkShape(llvm::ArrayRef<int64_t> shape);

/// Calls `fn` with every index of a shape, the last dimension fastest.
void forEachIndex(llvm::ArrayRef<int64_t> shape,
                  llvm::function_ref<void(llvm::ArrayRef<int64_t>)> fn);

/// `value` rounded to the nearest number of `elementType`, ties to even;
/// integers and f64 are kept as they are.
double roundTo(mlir::Type elementType, double value);

/// Bytes of one element in memory; nothing for types that are not loaded: all
/// but f64, f32, f16, bf16, i64, i32, i16, i8 and i1 (a byte).
std::optional<int64_t> elementBytes(mlir::Type elementType);

/// The array that lies at `data`. Strides are in elements; any stride will do.
/// Integers from 2^53 on may be no f64 numbers and are refused.
llvm::Expected<Tensor> load(const void *data, llvm::ArrayRef<int64_t> shape,
                            llvm::ArrayRef<int64_t> strides,
                            mlir::Type elementType);

/// Writes the array in its element type, with the one rounding (rule R2).
llvm::Error store(const Tensor &tensor, void *data,
                  llvm::ArrayRef<int64_t> strides);

} // namespace fovea::reference

#endif // FOVEA_COMPILER_REFERENCE_TENSOR_H
