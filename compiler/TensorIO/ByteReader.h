// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Private to this library: bounds-checked reading of a file's bytes, with
// errors that name the file and the offset.

#ifndef FOVEA_COMPILER_TENSORIO_BYTES_H
#define FOVEA_COMPILER_TENSORIO_BYTES_H

#include "llvm/ADT/StringRef.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/Error.h"

#include <string>

namespace fovea {

class ByteReader {
public:
  /// `base` is the offset of `bytes` in the file.
  ByteReader(llvm::StringRef bytes, llvm::StringRef file, uint64_t base = 0)
      : bytes(bytes), file(file), base(base) {}

  uint64_t size() const { return bytes.size(); }
  llvm::StringRef all() const { return bytes; }
  llvm::StringRef fileName() const { return file; }

  bool has(uint64_t offset, uint64_t count) const {
    return offset <= bytes.size() && count <= bytes.size() - offset;
  }
  /// The range, which must be there.
  llvm::StringRef slice(uint64_t offset, uint64_t count) const {
    return bytes.substr(offset, count);
  }
  /// A little-endian number, which must be there.
  template <typename T> T get(uint64_t offset) const {
    return llvm::support::endian::read<T, llvm::endianness::little>(
        bytes.data() + offset);
  }

  llvm::Error error(uint64_t offset, const llvm::Twine &message) const {
    return llvm::createStringError(std::errc::invalid_argument, "%s",
                                   (llvm::Twine(file) + ": byte " +
                                    llvm::Twine(base + offset) + ": " + message)
                                       .str()
                                       .c_str());
  }

private:
  llvm::StringRef bytes, file;
  uint64_t base;
};

} // namespace fovea

#endif // FOVEA_COMPILER_TENSORIO_BYTES_H
