// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception
//
// Three-valued interval evaluation of a mask over a box of heads, queries and
// keys, and the classifier built on it, which halves boxes that stay undecided.
// From an expr::Expr to {empty, full, partial}; no IR. It must not be asked for
// anything about floats.
//
// Soundness: an interval holds every value that the expression takes on the
// box; where an exact bound leaves 64 bits the interval becomes all 64-bit
// integers, which also holds what wrapping code computes. Hence a box is called
// empty (full) only if the mask is false (true) at each of its points.

#ifndef FOVEA_COMPILER_ANALYSIS_INTERVAL_H
#define FOVEA_COMPILER_ANALYSIS_INTERVAL_H

#include "dialects/attn/Expr/Expr.h"

#include <limits>

namespace fovea::analysis {

/// A closed, non-empty range of integers.
struct Range {
  int64_t lo = std::numeric_limits<int64_t>::min();
  int64_t hi = std::numeric_limits<int64_t>::max();

  static Range all() { return {}; }
  static Range point(int64_t value) { return {value, value}; }
  bool isPoint() const { return lo == hi; }
  bool operator==(const Range &other) const {
    return lo == other.lo && hi == other.hi;
  }
};

/// The truth of a condition over a box.
enum class Truth : uint8_t { False, True, Maybe };

/// Values of everything an expression may use, as ranges.
struct RangeEnvironment {
  std::array<Range, expr::numIndexVars> vars;
  const llvm::StringMap<int64_t> *params = nullptr;
  /// The values that a load takes while its indices stay in their ranges (Bool
  /// as 0 and 1); nothing when unknown.
  llvm::function_ref<std::optional<Range>(expr::Expr load,
                                          llvm::ArrayRef<Range> indices)>
      load = nullptr;

  Range &operator[](expr::Var var) { return vars[static_cast<unsigned>(var)]; }
  Range operator[](expr::Var var) const {
    return vars[static_cast<unsigned>(var)];
  }
};

Range evaluateRange(expr::Expr expr, const RangeEnvironment &environment);
Truth evaluateTruth(expr::Expr expr, const RangeEnvironment &environment);

enum class TileClass : uint8_t { Empty = 0, Full = 1, Partial = 2 };
llvm::StringRef getTileClassName(TileClass tileClass);

inline constexpr unsigned defaultClassifierCap = 64;

/// The class of the box that `environment` gives to h, i and j, in at most
/// `cap` evaluations. Empty and full are always right; partial is right too
/// unless the cap was reached or a load stayed unknown (`decided` says which).
TileClass classify(expr::Expr mask, const RangeEnvironment &environment,
                   unsigned cap = defaultClassifierCap,
                   bool *decided = nullptr);

} // namespace fovea::analysis

#endif // FOVEA_COMPILER_ANALYSIS_INTERVAL_H
