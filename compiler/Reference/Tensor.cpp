// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The reference interpreter's tensors: shape arithmetic, loads and stores. See
// Tensor.h.

#include "compiler/Reference/Tensor.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/STLExtras.h"
#include <cstring>

using namespace fovea::reference;
using llvm::ArrayRef;
using llvm::SmallVector;

Tensor Tensor::filled(ArrayRef<int64_t> shape, mlir::Type elementType,
                      double value) {
  int64_t count = 1;
  for (int64_t extent : shape)
    count *= extent;
  return {SmallVector<int64_t>(shape), elementType,
          std::vector<double>(count, value)};
}

SmallVector<int64_t> Tensor::strides() const {
  SmallVector<int64_t> result(shape.size(), 1);
  for (int64_t dim = rank() - 2; dim >= 0; --dim)
    result[dim] = result[dim + 1] * shape[dim + 1];
  return result;
}

int64_t Tensor::offset(ArrayRef<int64_t> indices) const {
  int64_t result = 0;
  for (auto [index, extent] : llvm::zip_equal(indices, shape))
    result = result * extent + index;
  return result;
}

llvm::Error fovea::reference::checkShape(ArrayRef<int64_t> shape) {
  // Zero extents do not excuse the others: the product is taken without them,
  // so that strides stay in range too.
  constexpr int64_t most = int64_t(1) << 60;
  int64_t count = 1;
  for (int64_t extent : shape) {
    if (extent < 0)
      return llvm::createStringError("a tensor cannot have the extent %lld",
                                     static_cast<long long>(extent));
    if (extent > 0 && count > most / extent)
      return llvm::createStringError("a tensor has too many elements");
    count *= std::max<int64_t>(extent, 1);
  }
  return llvm::Error::success();
}

void fovea::reference::forEachIndex(
    ArrayRef<int64_t> shape, llvm::function_ref<void(ArrayRef<int64_t>)> fn) {
  if (llvm::is_contained(shape, 0))
    return;
  SmallVector<int64_t> index(shape.size(), 0);
  for (;;) {
    fn(index);
    int64_t dim = static_cast<int64_t>(shape.size()) - 1;
    while (dim >= 0 && ++index[dim] == shape[dim])
      index[dim--] = 0;
    if (dim < 0)
      return;
  }
}

double fovea::reference::roundTo(mlir::Type elementType, double value) {
  auto type = llvm::dyn_cast<mlir::FloatType>(elementType);
  if (!type || type.isF64())
    return value;
  if (type.isF32())
    return static_cast<float>(value);
  llvm::APFloat number(value);
  bool losesInfo;
  number.convert(type.getFloatSemantics(), llvm::APFloat::rmNearestTiesToEven,
                 &losesInfo);
  number.convert(llvm::APFloat::IEEEdouble(),
                 llvm::APFloat::rmNearestTiesToEven, &losesInfo);
  return number.convertToDouble();
}

std::optional<int64_t> fovea::reference::elementBytes(mlir::Type elementType) {
  if (elementType.isF64() || elementType.isInteger(64))
    return 8;
  if (elementType.isF32() || elementType.isInteger(32))
    return 4;
  if (elementType.isF16() || elementType.isBF16() || elementType.isInteger(16))
    return 2;
  if (elementType.isInteger(8) || elementType.isInteger(1))
    return 1;
  return std::nullopt;
}

template <typename T> static T readAs(const char *at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

template <typename T> static void writeAs(char *at, T value) {
  std::memcpy(at, &value, sizeof(T));
}

static double readElement(const char *at, mlir::Type type) {
  if (type.isF64())
    return readAs<double>(at);
  if (type.isF32())
    return readAs<float>(at);
  if (auto narrow = llvm::dyn_cast<mlir::FloatType>(type)) {
    llvm::APFloat number(narrow.getFloatSemantics(),
                         llvm::APInt(16, readAs<uint16_t>(at)));
    bool losesInfo;
    number.convert(llvm::APFloat::IEEEdouble(),
                   llvm::APFloat::rmNearestTiesToEven, &losesInfo);
    return number.convertToDouble();
  }
  switch (type.getIntOrFloatBitWidth()) {
  case 64:
    return static_cast<double>(readAs<int64_t>(at));
  case 32:
    return readAs<int32_t>(at);
  case 16:
    return readAs<int16_t>(at);
  case 8:
    return readAs<int8_t>(at);
  default:
    return readAs<uint8_t>(at) != 0;
  }
}

static void writeElement(char *at, mlir::Type type, double value) {
  if (type.isF64())
    return writeAs(at, value);
  if (type.isF32())
    return writeAs(at, static_cast<float>(value));
  if (auto narrow = llvm::dyn_cast<mlir::FloatType>(type)) {
    llvm::APFloat number(value);
    bool losesInfo;
    number.convert(narrow.getFloatSemantics(),
                   llvm::APFloat::rmNearestTiesToEven, &losesInfo);
    return writeAs(
        at, static_cast<uint16_t>(number.bitcastToAPInt().getZExtValue()));
  }
  int64_t integer = static_cast<int64_t>(value);
  switch (type.getIntOrFloatBitWidth()) {
  case 64:
    return writeAs(at, integer);
  case 32:
    return writeAs(at, static_cast<int32_t>(integer));
  case 16:
    return writeAs(at, static_cast<int16_t>(integer));
  case 8:
    return writeAs(at, static_cast<int8_t>(integer));
  default:
    return writeAs(at, static_cast<uint8_t>(integer != 0));
  }
}

/// Calls `fn` with every element's position in a dense array and its byte
/// offset in strided memory.
static llvm::Error
forEachElement(ArrayRef<int64_t> shape, ArrayRef<int64_t> strides,
               mlir::Type elementType,
               llvm::function_ref<void(int64_t, int64_t)> fn) {
  std::optional<int64_t> bytes = elementBytes(elementType);
  if (!bytes)
    return llvm::createStringError("the element type is not one that the "
                                   "reference reads from memory");
  if (shape.size() != strides.size())
    return llvm::createStringError("there must be one stride per dimension");
  if (llvm::Error error = checkShape(shape))
    return error;
  int64_t position = 0;
  forEachIndex(shape, [&](ArrayRef<int64_t> index) {
    int64_t offset = 0;
    for (auto [at, stride] : llvm::zip_equal(index, strides))
      offset += at * stride;
    fn(position++, offset * *bytes);
  });
  return llvm::Error::success();
}

llvm::Expected<Tensor> fovea::reference::load(const void *data,
                                              ArrayRef<int64_t> shape,
                                              ArrayRef<int64_t> strides,
                                              mlir::Type elementType) {
  if (llvm::Error error = checkShape(shape))
    return error;
  Tensor tensor = Tensor::filled(shape, elementType, 0.0);
  const char *base = static_cast<const char *>(data);
  bool wide = elementType.isInteger(64), exact = true;
  if (llvm::Error error = forEachElement(
          shape, strides, elementType, [&](int64_t position, int64_t offset) {
            double value = readElement(base + offset, elementType);
            exact &= !wide || std::abs(value) < double(int64_t(1) << 53);
            tensor.data[position] = value;
          }))
    return error;
  if (!exact)
    return llvm::createStringError(
        "an integer is 2^53 or more, which the reference cannot hold exactly");
  return tensor;
}

llvm::Error fovea::reference::store(const Tensor &tensor, void *data,
                                    ArrayRef<int64_t> strides) {
  char *base = static_cast<char *>(data);
  return forEachElement(tensor.shape, strides, tensor.elementType,
                        [&](int64_t position, int64_t offset) {
                          writeElement(base + offset, tensor.elementType,
                                       tensor.data[position]);
                        });
}
