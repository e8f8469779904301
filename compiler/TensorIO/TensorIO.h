// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Tensors in files: NumPy's .npy and .npz and .safetensors, read into aligned
// memory of our own and written to bytes. Readers trust nothing in a file:
// whatever is wrong becomes an error that names the file and the byte. What
// writes the bytes to the disk is the caller's (OutputSet).
//
// bf16, which NumPy lacks, is `<V2` in .npy and .npz, as the ml_dtypes package
// writes it: numpy.load(path).view(ml_dtypes.bfloat16) reads it back. The
// descriptor 'bfloat16' is accepted too.

#ifndef FOVEA_COMPILER_TENSORIO_TENSORIO_H
#define FOVEA_COMPILER_TENSORIO_TENSORIO_H

#include "compiler/Artifact/DType.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/Error.h"

#include <memory>
#include <string>
#include <vector>

namespace fovea {

/// The most dimensions of a tensor in a file (NumPy's own limit of old).
inline constexpr unsigned maxTensorRank = 32;

/// A strided tensor. It owns its bytes, or borrows them if `storage` is null.
struct FileTensor {
  std::string name; // the key in the file; "" in .npy
  DType dtype;
  llvm::SmallVector<int64_t> shape;
  llvm::SmallVector<int64_t> strides; // in elements
  std::shared_ptr<char> storage;
  char *data = nullptr; // element 0

  /// Zeros, row-major, aligned to 64 bytes. An error if the bytes do not fit 63
  /// bits or memory.
  static llvm::Expected<FileTensor> create(llvm::StringRef name, DType dtype,
                                           llvm::ArrayRef<int64_t> shape);

  int64_t rank() const { return static_cast<int64_t>(shape.size()); }
  int64_t numElements() const;
  bool isRowMajor() const;
};

/// Strides of a row-major (or column-major) tensor.
llvm::SmallVector<int64_t> denseStrides(llvm::ArrayRef<int64_t> shape,
                                        bool columnMajor = false);

/// Bytes of a dense tensor; nothing if negative or past 63 bits.
std::optional<int64_t> denseBytes(llvm::ArrayRef<int64_t> shape, DType dtype);

/// "2x3x4"; "scalar" for rank 0.
std::string formatShape(llvm::ArrayRef<int64_t> shape);

/// The elements in row-major order, packed.
std::string packElements(const FileTensor &tensor);

//===----------------------------------------------------------------------===//
// From bytes. `file` is the name in messages; with a `key`, only the tensor of
// that name is read (an error if there is none).
//===----------------------------------------------------------------------===//

llvm::Expected<FileTensor> parseNpy(llvm::StringRef bytes,
                                    llvm::StringRef file);
llvm::Expected<std::vector<FileTensor>>
parseNpz(llvm::StringRef bytes, llvm::StringRef file, llvm::StringRef key = "");
llvm::Expected<std::vector<FileTensor>>
parseSafetensors(llvm::StringRef bytes, llvm::StringRef file,
                 llvm::StringRef key = "");

//===----------------------------------------------------------------------===//
// To bytes
//===----------------------------------------------------------------------===//

llvm::Expected<std::string> encodeNpy(const FileTensor &tensor);
llvm::Expected<std::string>
encodeNpz(llvm::ArrayRef<const FileTensor *> tensors);
llvm::Expected<std::string>
encodeSafetensors(llvm::ArrayRef<const FileTensor *> tensors);

//===----------------------------------------------------------------------===//
// By the suffix of the path
//===----------------------------------------------------------------------===//

enum class TensorFormat { Npy, Npz, Safetensors };
std::optional<TensorFormat> tensorFormatOf(llvm::StringRef path);

/// Reads the file, which must have a known suffix.
llvm::Expected<std::vector<FileTensor>> readTensors(llvm::StringRef path,
                                                    llvm::StringRef key = "");

} // namespace fovea

#endif // FOVEA_COMPILER_TENSORIO_TENSORIO_H
