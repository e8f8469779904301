// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The element types of tensors that cross the C interface: the name that specs
// use for each, and DLPack's code and width.

#ifndef FOVEA_COMPILER_ARTIFACT_DTYPE_H
#define FOVEA_COMPILER_ARTIFACT_DTYPE_H

#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <optional>

namespace fovea {

/// kDLBool, which DLPack has since 1.0 only.
inline constexpr uint8_t dlpackBool = 6;

struct DType {
  llvm::StringRef name; // "bf16"
  uint8_t code = 0;     // DLPack's
  uint8_t bits = 0;     // in memory: 8 for bool

  int64_t bytes() const { return bits / 8; }

  friend bool operator==(const DType &a, const DType &b) {
    return a.code == b.code && a.bits == b.bits;
  }
};

/// The element type of that name, or nothing.
std::optional<DType> lookupDType(llvm::StringRef name);
/// The element type with DLPack's code and width, or nothing.
std::optional<DType> lookupDType(uint8_t code, uint8_t bits);

} // namespace fovea

#endif // FOVEA_COMPILER_ARTIFACT_DTYPE_H
