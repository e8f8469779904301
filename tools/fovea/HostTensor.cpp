// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Allocation between guard pages, and descriptions.

#include "tools/fovea/HostTensor.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/Process.h"

#include <cstring>
#include <sys/mman.h>

using llvm::ArrayRef;
using llvm::createStringError;
using llvm::Expected;

namespace fovea {

Expected<GuardedMemory> GuardedMemory::allocate(size_t bytes, size_t alignment,
                                                bool flushRight) {
  size_t page = llvm::sys::Process::getPageSizeEstimate();
  size_t inner = llvm::alignTo(std::max<size_t>(bytes, 1), page);
  GuardedMemory result;
  result.mapped = inner + 2 * page;
  result.mapping = mmap(nullptr, result.mapped, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (result.mapping == MAP_FAILED) {
    result.mapping = nullptr;
    return createStringError(std::errc::not_enough_memory,
                             "out of memory for %zu bytes", bytes);
  }
  char *first = static_cast<char *>(result.mapping) + page;
  if (mprotect(first, inner, PROT_READ | PROT_WRITE))
    return createStringError(std::errc::not_enough_memory,
                             "out of memory for %zu bytes", bytes);
  result.begin =
      flushRight ? first + llvm::alignDown(inner - bytes, alignment) : first;
  result.bytes = bytes;
  std::memset(first, 0xff, inner);
  return result;
}

GuardedMemory::~GuardedMemory() {
  if (mapping)
    munmap(mapping, mapped);
}

Expected<HostTensor> HostTensor::create(DType dtype, ArrayRef<int64_t> shape,
                                        ArrayRef<int64_t> strides,
                                        bool flushRight) {
  int64_t last = 0; // the farthest element
  bool empty = llvm::is_contained(shape, 0), overflow = false;
  for (auto [extent, stride] : llvm::zip(shape, strides)) {
    int64_t step;
    if (!empty && (llvm::MulOverflow(extent - 1, stride, step) ||
                   llvm::AddOverflow(last, step, last)))
      overflow = true;
  }
  int64_t bytes;
  if (overflow || last == INT64_MAX ||
      llvm::MulOverflow(empty ? int64_t(0) : last + 1, dtype.bytes(), bytes))
    return createStringError(std::errc::not_enough_memory,
                             "a tensor of %s elements is too large",
                             formatExtents(shape).c_str());
  Expected<GuardedMemory> memory =
      GuardedMemory::allocate(bytes, dtype.bytes(), flushRight);
  if (!memory)
    return memory.takeError();
  HostTensor tensor;
  tensor.type = dtype;
  tensor.extents.assign(shape.begin(), shape.end());
  tensor.steps.assign(strides.begin(), strides.end());
  tensor.memory = std::move(*memory);
  return tensor;
}

Expected<HostTensor> HostTensor::create(DType dtype, ArrayRef<int64_t> shape) {
  int64_t size = 1;
  for (int64_t extent : shape)
    if (llvm::MulOverflow(size, std::max<int64_t>(extent, 1), size))
      return createStringError(std::errc::not_enough_memory,
                               "a tensor of %s elements is too large",
                               formatExtents(shape).c_str());
  return create(dtype, shape, rowMajorStrides(shape));
}

int64_t HostTensor::size() const {
  int64_t count = 1;
  for (int64_t extent : extents)
    count *= extent;
  return count;
}

const DLTensor *HostTensor::describe() {
  description.data = memory.data();
  description.device = {kDLCPU, 0};
  description.ndim = static_cast<int32_t>(extents.size());
  description.dtype = {type.code, type.bits, 1};
  description.shape = extents.data();
  description.strides = steps.data();
  description.byte_offset = 0;
  return &description;
}

llvm::SmallVector<int64_t> rowMajorStrides(ArrayRef<int64_t> shape) {
  llvm::SmallVector<int64_t> strides(shape.size());
  int64_t stride = 1;
  for (size_t i = shape.size(); i-- != 0;) {
    strides[i] = stride;
    stride *= std::max<int64_t>(shape[i], 1);
  }
  return strides;
}

std::string formatExtents(ArrayRef<int64_t> extents) {
  std::string text;
  for (int64_t extent : extents)
    text += (text.empty() ? "" : "x") + std::to_string(extent);
  return text;
}

} // namespace fovea
