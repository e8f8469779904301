// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Tensors in memory of their own pages, with a page on either side that faults.
// Every byte that no index reaches is 0xFF: a NaN to whoever reads it as a
// float, and a witness if it is written.

#ifndef FOVEA_TEST_NUMERICS_GUARDEDTENSOR_H
#define FOVEA_TEST_NUMERICS_GUARDEDTENSOR_H

#include "compiler/Reference/Tensor.h"

#include <dlpack/dlpack.h>

namespace fovea::numerics {

/// Which guard page the memory touches.
enum class Flush { Start, End };

/// Read and write memory between two pages that fault.
class GuardedMemory {
public:
  GuardedMemory(int64_t bytes, Flush flush);
  GuardedMemory(GuardedMemory &&other) noexcept;
  GuardedMemory &operator=(GuardedMemory &&other) = delete;
  ~GuardedMemory();

  uint8_t *data() const { return start; }
  int64_t size() const { return bytes; }
  /// From here on a write faults.
  void protect();

private:
  uint8_t *mapping = nullptr, *start = nullptr;
  int64_t mapped = 0, bytes = 0;
};

class GuardedTensor {
public:
  GuardedTensor(llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<int64_t> strides,
                mlir::Type elementType, Flush flush);

  /// Rounds to the element type. Where strides of 0 make elements one, the last
  /// is kept: read() tells what is there.
  void write(const reference::Tensor &tensor);
  reference::Tensor read() const;
  void protect() { memory.protect(); }
  bool areGapsIntact() const;

  /// Everything, gaps included.
  llvm::ArrayRef<uint8_t> bytes() const {
    return {memory.data(), size_t(memory.size())};
  }
  /// Sets everything to what bytes() was.
  void restore(llvm::ArrayRef<uint8_t> saved);

  llvm::ArrayRef<int64_t> getShape() const { return shape; }
  llvm::ArrayRef<int64_t> getStrides() const { return strides; }
  /// A view for a call; with `row`, of that index of the first dimension alone.
  DLTensor view(std::optional<int64_t> row = std::nullopt);

private:
  uint8_t *origin() const;

  llvm::SmallVector<int64_t> shape, strides;
  mlir::Type elementType;
  int64_t elementSize, below; ///< `below`: elements before index 0, ..., 0
  GuardedMemory memory;
  llvm::SmallVector<int64_t> viewShape;
};

} // namespace fovea::numerics

#endif // FOVEA_TEST_NUMERICS_GUARDEDTENSOR_H
