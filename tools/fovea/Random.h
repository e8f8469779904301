// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Draws of test data: the same numbers from a seed on every machine.

#ifndef FOVEA_TOOLS_FOVEA_RANDOM_H
#define FOVEA_TOOLS_FOVEA_RANDOM_H

#include <cstdint>
#include <iterator>
#include <random>

namespace fovea {

/// A generator whose numbers are the same everywhere, which those of the
/// standard's distributions are not.
class Random {
public:
  explicit Random(uint64_t seed) : engine(seed) {}

  /// In [lo, hi].
  int64_t between(int64_t lo, int64_t hi) {
    return lo + static_cast<int64_t>(engine() % uint64_t(hi - lo + 1));
  }
  bool oneIn(int64_t n) { return between(1, n) == 1; }
  double uniform() { return static_cast<double>(engine() >> 11) * 0x1p-53; }
  /// Standard normal, nearly: enough for test data.
  double normal() {
    double sum = -6;
    for (int i = 0; i != 12; ++i)
      sum += uniform();
    return sum;
  }

  template <typename Range> auto from(const Range &range) {
    return *(std::begin(range) + between(0, std::size(range) - 1));
  }

private:
  std::mt19937_64 engine;
};

} // namespace fovea

#endif // FOVEA_TOOLS_FOVEA_RANDOM_H
