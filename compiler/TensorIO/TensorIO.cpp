// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// What the file formats share: tensors in memory, and the choice of a format.

#include "compiler/TensorIO/TensorIO.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/MemoryBuffer.h"

#include <cstdlib>
#include <cstring>

using llvm::ArrayRef;
using llvm::Expected;
using llvm::SmallVector;
using llvm::StringRef;

namespace fovea {

SmallVector<int64_t> denseStrides(ArrayRef<int64_t> shape, bool columnMajor) {
  SmallVector<int64_t> strides(shape.size(), 1);
  int64_t step = 1;
  for (size_t k = 0; k != shape.size(); ++k) {
    size_t dim = columnMajor ? k : shape.size() - 1 - k;
    strides[dim] = step;
    // With an extent of 0 no element is ever reached.
    step *= std::max<int64_t>(shape[dim], 1);
  }
  return strides;
}

std::optional<int64_t> denseBytes(ArrayRef<int64_t> shape, DType dtype) {
  int64_t bytes = dtype.bytes();
  // Extents of 0 do not excuse the others: strides must fit as well.
  for (int64_t extent : shape)
    if (extent < 0 ||
        llvm::MulOverflow(bytes, std::max<int64_t>(extent, 1), bytes))
      return std::nullopt;
  return llvm::is_contained(shape, 0) ? 0 : bytes;
}

std::string formatShape(ArrayRef<int64_t> shape) {
  if (shape.empty())
    return "scalar";
  std::string text;
  for (int64_t extent : shape)
    text += (text.empty() ? "" : "x") + std::to_string(extent);
  return text;
}

Expected<FileTensor> FileTensor::create(StringRef name, DType dtype,
                                        ArrayRef<int64_t> shape) {
  constexpr int64_t alignment = 64;
  std::optional<int64_t> bytes = denseBytes(shape, dtype);
  char *memory = nullptr;
  if (bytes && *bytes <= INT64_MAX - alignment)
    memory = static_cast<char *>(std::aligned_alloc(
        alignment, llvm::alignTo(std::max<int64_t>(*bytes, 1), alignment)));
  if (!memory)
    return llvm::createStringError(
        std::errc::not_enough_memory, "no memory for '%s', %s of %s",
        name.str().c_str(), formatShape(shape).c_str(), dtype.name.data());
  std::memset(memory, 0, *bytes);
  FileTensor tensor;
  tensor.name = name.str();
  tensor.dtype = dtype;
  tensor.shape.assign(shape.begin(), shape.end());
  tensor.strides = denseStrides(shape);
  tensor.storage = std::shared_ptr<char>(memory, std::free);
  tensor.data = memory;
  return tensor;
}

int64_t FileTensor::numElements() const {
  int64_t count = 1;
  for (int64_t extent : shape)
    count *= extent;
  return count;
}

bool FileTensor::isRowMajor() const {
  SmallVector<int64_t> dense = denseStrides(shape);
  for (auto [extent, stride, expected] : llvm::zip(shape, strides, dense))
    if (extent > 1 && stride != expected)
      return false;
  return true;
}

std::string packElements(const FileTensor &tensor) {
  int64_t size = tensor.dtype.bytes(), count = tensor.numElements();
  if (tensor.isRowMajor())
    return std::string(tensor.data, count * size);
  std::string packed(count * size, '\0');
  SmallVector<int64_t> index(tensor.shape.size(), 0);
  int64_t offset = 0;
  for (int64_t k = 0; k < count; ++k) {
    std::memcpy(packed.data() + k * size, tensor.data + offset * size, size);
    for (int64_t dim = tensor.rank() - 1; dim >= 0; --dim) {
      offset += tensor.strides[dim];
      if (++index[dim] < tensor.shape[dim])
        break;
      offset -= tensor.strides[dim] * tensor.shape[dim];
      index[dim] = 0;
    }
  }
  return packed;
}

std::optional<TensorFormat> tensorFormatOf(StringRef path) {
  if (path.ends_with(".npy"))
    return TensorFormat::Npy;
  if (path.ends_with(".npz"))
    return TensorFormat::Npz;
  if (path.ends_with(".safetensors"))
    return TensorFormat::Safetensors;
  return std::nullopt;
}

Expected<std::vector<FileTensor>> readTensors(StringRef path, StringRef key) {
  auto failure = [&](const llvm::Twine &why) {
    return llvm::createStringError(
        std::errc::invalid_argument, "%s",
        ("cannot read '" + path + "': " + why).str().c_str());
  };
  std::optional<TensorFormat> format = tensorFormatOf(path);
  if (!format)
    return failure("the name must end in .npy, .npz or .safetensors");
  if (llvm::sys::fs::is_directory(path))
    return failure("it is a folder");
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false,
                                            /*RequiresNullTerminator=*/false);
  if (!buffer)
    return failure(buffer.getError().message());
  StringRef bytes = (*buffer)->getBuffer();
  switch (*format) {
  case TensorFormat::Npz:
    return parseNpz(bytes, path, key);
  case TensorFormat::Safetensors:
    return parseSafetensors(bytes, path, key);
  case TensorFormat::Npy:
    break;
  }
  if (!key.empty())
    return failure("a .npy file has no tensor names, but '" + key +
                   "' is asked for");
  Expected<FileTensor> tensor = parseNpy(bytes, path);
  if (!tensor)
    return tensor.takeError();
  return std::vector<FileTensor>{std::move(*tensor)};
}

} // namespace fovea
