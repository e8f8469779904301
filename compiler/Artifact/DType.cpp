// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The table of element types.

#include "compiler/Artifact/DType.h"

#include <dlpack/dlpack.h>

namespace fovea {

static constexpr DType dtypes[] = {
    {"i8", kDLInt, 8},       {"i16", kDLInt, 16},   {"i32", kDLInt, 32},
    {"i64", kDLInt, 64},     {"u8", kDLUInt, 8},    {"u16", kDLUInt, 16},
    {"u32", kDLUInt, 32},    {"u64", kDLUInt, 64},  {"f16", kDLFloat, 16},
    {"f32", kDLFloat, 32},   {"f64", kDLFloat, 64}, {"bf16", kDLBfloat, 16},
    {"bool", dlpackBool, 8},
};

std::optional<DType> lookupDType(llvm::StringRef name) {
  for (const DType &dtype : dtypes)
    if (dtype.name == name)
      return dtype;
  return std::nullopt;
}

std::optional<DType> lookupDType(uint8_t code, uint8_t bits) {
  for (const DType &dtype : dtypes)
    if (dtype.code == code && dtype.bits == bits)
      return dtype;
  return std::nullopt;
}

} // namespace fovea
