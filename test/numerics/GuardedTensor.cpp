// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Tensors between guard pages (see GuardedTensor.h).

#include "test/numerics/GuardedTensor.h"

#include "llvm/Support/ErrorHandling.h"
#include "llvm/Support/MathExtras.h"

#include <cstring>
#include <sys/mman.h>

using namespace fovea;
using namespace fovea::numerics;
using llvm::ArrayRef;

static constexpr int64_t pageBytes = 4096;
static constexpr uint8_t gap = 0xFF;

GuardedMemory::GuardedMemory(int64_t bytes, Flush flush) : bytes(bytes) {
  int64_t inner = llvm::alignTo(std::max<int64_t>(bytes, 1), pageBytes);
  mapped = inner + 2 * pageBytes;
  void *pages = mmap(nullptr, mapped, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED)
    llvm::report_fatal_error("mmap failed");
  mapping = static_cast<uint8_t *>(pages);
  if (mprotect(mapping + pageBytes, inner, PROT_READ | PROT_WRITE))
    llvm::report_fatal_error("mprotect failed");
  std::memset(mapping + pageBytes, gap, inner);
  start = mapping + pageBytes + (flush == Flush::End ? inner - bytes : 0);
}

GuardedMemory::GuardedMemory(GuardedMemory &&other) noexcept
    : mapping(std::exchange(other.mapping, nullptr)), start(other.start),
      mapped(other.mapped), bytes(other.bytes) {}

GuardedMemory::~GuardedMemory() {
  if (mapping)
    munmap(mapping, mapped);
}

void GuardedMemory::protect() {
  if (mprotect(mapping + pageBytes, mapped - 2 * pageBytes, PROT_READ))
    llvm::report_fatal_error("mprotect failed");
}

/// Elements before and after the first one that the indices reach.
static std::pair<int64_t, int64_t> getReach(ArrayRef<int64_t> shape,
                                            ArrayRef<int64_t> strides) {
  int64_t below = 0, above = 0;
  for (auto [extent, stride] : llvm::zip_equal(shape, strides)) {
    if (extent == 0)
      return {0, -1};
    (stride < 0 ? below : above) += (extent - 1) * stride;
  }
  return {-below, above};
}

static int64_t getSpan(ArrayRef<int64_t> shape, ArrayRef<int64_t> strides) {
  auto [below, above] = getReach(shape, strides);
  return below + above + 1;
}

GuardedTensor::GuardedTensor(ArrayRef<int64_t> shape, ArrayRef<int64_t> strides,
                             mlir::Type elementType, Flush flush)
    : shape(shape), strides(strides), elementType(elementType),
      elementSize(*reference::elementBytes(elementType)),
      below(getReach(shape, strides).first),
      memory(getSpan(shape, strides) * elementSize, flush) {}

uint8_t *GuardedTensor::origin() const {
  return memory.data() + below * elementSize;
}

void GuardedTensor::write(const reference::Tensor &tensor) {
  llvm::cantFail(reference::store(tensor, origin(), strides));
}

reference::Tensor GuardedTensor::read() const {
  return llvm::cantFail(reference::load(origin(), shape, strides, elementType));
}

bool GuardedTensor::areGapsIntact() const {
  std::vector<bool> reached(memory.size());
  reference::forEachIndex(shape, [&](ArrayRef<int64_t> index) {
    int64_t element = below;
    for (auto [at, stride] : llvm::zip_equal(index, strides))
      element += at * stride;
    for (int64_t byte = 0; byte < elementSize; ++byte)
      reached[element * elementSize + byte] = true;
  });
  for (auto [byte, isReached] : llvm::zip_equal(bytes(), reached))
    if (!isReached && byte != gap)
      return false;
  return true;
}

void GuardedTensor::restore(ArrayRef<uint8_t> saved) {
  llvm::copy(saved, memory.data());
}

DLTensor GuardedTensor::view(std::optional<int64_t> row) {
  viewShape = shape;
  uint8_t *data = origin();
  if (row) {
    viewShape[0] = 1;
    data += *row * strides[0] * elementSize;
  }
  // Codes of DLPack; bool has been one since version 1.0.
  constexpr uint8_t boolean = 6;
  uint8_t code = elementType.isBF16()       ? uint8_t(kDLBfloat)
                 : elementType.isInteger(1) ? boolean
                 : elementType.isInteger()  ? uint8_t(kDLInt)
                                            : uint8_t(kDLFloat);
  return {data,
          {kDLCPU, 0},
          int32_t(viewShape.size()),
          {code, uint8_t(8 * elementSize), 1},
          viewShape.data(),
          strides.data(),
          0};
}
