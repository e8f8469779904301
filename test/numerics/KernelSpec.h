// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// What a kernel of the value tests computes, and its text at the attn phase.

#ifndef FOVEA_TEST_NUMERICS_KERNELSPEC_H
#define FOVEA_TEST_NUMERICS_KERNELSPEC_H

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace fovea::numerics {

using Random = std::mt19937_64;

inline int64_t drawBetween(Random &random, int64_t low, int64_t high) {
  return std::uniform_int_distribution<int64_t>(low, high)(random);
}
/// True once in `n` times.
inline bool drawOneIn(Random &random, int64_t n) {
  return drawBetween(random, 1, n) == 1;
}
template <typename Range> auto drawFrom(Random &random, const Range &range) {
  return *(std::begin(range) + drawBetween(random, 0, std::size(range) - 1));
}

/// An integer parameter and the values that calls give it.
struct Parameter {
  std::string name;
  int64_t low, high;
};

/// A mask in the expression language.
struct Mask {
  std::string text; ///< empty: none
  std::vector<Parameter> params = {};
  std::string tensor = {}; ///< "len", "keep" or "allowed": the tensor it reads
  bool seesBatch = false;  ///< other than through "len" and "keep"
};

/// RoPE, whose query offset is N - M, or the tokens already in the cache. The
/// length of a scaling is that of the batch row, if it has one.
struct Rope {
  std::string style;
  int64_t width;            ///< rotary_dim
  std::string scaling;      ///< the attribute's parameters; empty: none
  bool needsLength = false; ///< the scaling looks at the key length
  bool explicitPositions = false;
};

struct Argument {
  std::string name;
  std::vector<std::string> dims; ///< symbols and numbers
  std::string element;           ///< "f32", "i32", ...
  enum Role { Input, Output, InOut } role = Input;
  bool optional = false;

  /// Its extents in a call with these symbols.
  llvm::SmallVector<int64_t>
  getShape(const std::map<std::string, int64_t> &symbols) const;
};

struct KernelSpec {
  std::string dtype;
  int64_t heads, kvHeads, width, valueWidth;
  Mask mask;
  std::string score; ///< empty: none; "slope" is an f32 tensor over heads
  bool lengths = false, sinks = false, lse = false, norm = false;
  bool headsFirst = false; ///< tensors are [B, H, M, D] in the program
  std::optional<Rope> rope;
  bool cache = false;  ///< new keys and values go to a cache first
  bool bf16x6 = false; ///< the precision of products

  std::vector<Argument> getArguments() const;
  std::vector<std::string> getSymbols() const;
  /// The kernel function @kernel in a module.
  std::string getText() const;
  /// A line that tells the spec.
  std::string describe() const;
};

/// The spec number `index`: what matters most goes round with the index, the
/// rest is drawn.
KernelSpec drawSpec(Random &random, int64_t index);

} // namespace fovea::numerics

#endif // FOVEA_TEST_NUMERICS_KERNELSPEC_H
