// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Drawn specs as YAML text, which goes through the front end like a user's, and
// how to make one simpler: a failure is shrunk by taking away what it does not
// need. Nothing here knows why a kernel failed.

#ifndef FOVEA_TOOLS_FOVEA_DRAWNSPEC_H
#define FOVEA_TOOLS_FOVEA_DRAWNSPEC_H

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace fovea {

/// A node of a mask: text with $0, $1, ... for the operands. A node may stand
/// in for another of the same type.
struct DrawnExpr {
  enum Type { Bool, Int } type = Bool;
  std::string format;
  std::vector<DrawnExpr> operands = {};

  std::string text() const;
  /// Each expression that has an operand in the place of a node.
  std::vector<DrawnExpr> simpler() const;
};

struct DrawnSpec {
  std::string dtype = "f32";
  int64_t queryHeads = 1, kvHeads = 1, qkWidth = 1, valueWidth = 1;
  std::optional<DrawnExpr> mask;
  /// The other keys with their values as YAML, those within mappings by their
  /// path: {"rope.style", "neox"}. A spec may do without each of them, and
  /// without all of a mapping.
  std::map<std::string, std::string> keys;

  std::string text() const;
};

/// The spec that `seed` gives number `kernel`.
DrawnSpec drawSpec(uint64_t seed, int64_t kernel);

/// A spec and the extents of the symbols in a call of it.
struct DrawnCall {
  DrawnSpec spec;
  std::map<std::string, int64_t> extents;
};

/// Simpler calls than this one, the boldest steps first.
std::vector<DrawnCall> simplify(const DrawnCall &call);

/// Takes simpler calls for as long as one `fails`, which may change it (say
/// which extents it was run with), at most `tries` times.
DrawnCall shrink(DrawnCall call, unsigned tries,
                 llvm::function_ref<bool(DrawnCall &)> fails);

} // namespace fovea

#endif // FOVEA_TOOLS_FOVEA_DRAWNSPEC_H
