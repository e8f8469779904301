// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Tensors in memory as a kernel's caller holds them: any strides, pages that
// must not be touched at both ends, and the DLTensor that describes them.

#ifndef FOVEA_TOOLS_FOVEA_HOSTTENSOR_H
#define FOVEA_TOOLS_FOVEA_HOSTTENSOR_H

#include "compiler/Artifact/DType.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/Error.h"

#include <dlpack/dlpack.h>

#include <cstddef>
#include <memory>

namespace fovea {

/// Memory with an inaccessible page before and after it.
class GuardedMemory {
public:
  /// The bytes end at the page after them if `flushRight`, else they begin at
  /// the page before; up to `alignment`. Each byte is 0xff, which is NaN in
  /// every float type.
  static llvm::Expected<GuardedMemory> allocate(size_t bytes, size_t alignment,
                                                bool flushRight);
  GuardedMemory() = default;
  GuardedMemory(GuardedMemory &&other) noexcept { swap(other); }
  GuardedMemory &operator=(GuardedMemory &&other) noexcept {
    swap(other);
    return *this;
  }
  ~GuardedMemory();

  char *data() const { return begin; }
  size_t size() const { return bytes; }

private:
  void swap(GuardedMemory &other) noexcept {
    std::swap(mapping, other.mapping);
    std::swap(mapped, other.mapped);
    std::swap(begin, other.begin);
    std::swap(bytes, other.bytes);
  }
  void *mapping = nullptr;
  size_t mapped = 0;
  char *begin = nullptr;
  size_t bytes = 0;
};

/// A strided tensor that owns its memory.
class HostTensor {
public:
  /// `strides` are not negative; elements may share memory (stride 0). An error
  /// if the size passes 63 bits or memory is out.
  static llvm::Expected<HostTensor> create(DType dtype,
                                           llvm::ArrayRef<int64_t> shape,
                                           llvm::ArrayRef<int64_t> strides,
                                           bool flushRight = true);
  /// Row-major.
  static llvm::Expected<HostTensor> create(DType dtype,
                                           llvm::ArrayRef<int64_t> shape);

  DType dtype() const { return type; }
  llvm::ArrayRef<int64_t> shape() const { return extents; }
  llvm::ArrayRef<int64_t> strides() const { return steps; }
  /// Elements, counted once for each index.
  int64_t size() const;
  char *data() const { return memory.data(); }
  size_t bytes() const { return memory.size(); }

  /// Valid until this is moved or changed.
  const DLTensor *describe();

private:
  DType type;
  llvm::SmallVector<int64_t> extents, steps;
  GuardedMemory memory;
  DLTensor description = {nullptr, {kDLCPU, 0}, 0, {}, nullptr, nullptr, 0};
};

/// The strides of row-major order. Extents of 0 count as 1.
llvm::SmallVector<int64_t> rowMajorStrides(llvm::ArrayRef<int64_t> shape);

/// "2x3x4".
std::string formatExtents(llvm::ArrayRef<int64_t> extents);

} // namespace fovea

#endif // FOVEA_TOOLS_FOVEA_HOSTTENSOR_H
