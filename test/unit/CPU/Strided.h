// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Tensors of any strides for the tests of row operations, in every float type,
// with a canary in all memory that no index reaches.

#ifndef FOVEA_TEST_UNIT_CPU_STRIDED_H
#define FOVEA_TEST_UNIT_CPU_STRIDED_H

#include "test/unit/CPU/Jit.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <functional>
#include <random>
#include <string>
#include <vector>

namespace fovea::test {

/// bf16, rounded to nearest even from f64 in one step.
struct BFloat {
  uint16_t bits = 0;
  BFloat() = default;
  BFloat(double x) {
    if (x != 0 && std::isfinite(x)) {
      int exponent;
      std::frexp(x, &exponent);
      double unit = std::ldexp(1.0, std::max(exponent - 8, -133));
      x = std::nearbyint(x / unit) * unit;
    }
    bits = std::bit_cast<uint32_t>(float(x)) >> 16;
  }
  operator double() const { return std::bit_cast<float>(uint32_t(bits) << 16); }
};

template <typename T> const char *typeName();
template <> inline const char *typeName<float>() { return "f32"; }
template <> inline const char *typeName<double>() { return "f64"; }
template <> inline const char *typeName<_Float16>() { return "f16"; }
template <> inline const char *typeName<BFloat>() { return "bf16"; }

/// memref<SHAPExT, strided<[?, ...], offset: ?>>; SHAPE as "?x3x8".
inline std::string stridedType(const std::string &shape, const char *type) {
  std::string strides = "?";
  for (char c : shape)
    if (c == 'x')
      strides += ", ?";
  return "memref<" + shape + "x" + type + ", strided<[" + strides +
         "], offset: ?>>";
}

template <typename T, int rank> class Strided {
public:
  using Index = std::array<int64_t, rank>;
  static constexpr double canary = 77;

  Strided(Index sizes, Index strides) : sizes(sizes) {
    int64_t last = offset;
    for (int d = 0; d < rank; ++d)
      last += std::max<int64_t>(sizes[d] - 1, 0) * strides[d];
    data.assign(last + 1 + offset, T(canary));
    ref.allocated = ref.aligned = data.data();
    ref.offset = offset;
    std::copy(sizes.begin(), sizes.end(), ref.sizes);
    std::copy(strides.begin(), strides.end(), ref.strides);
  }
  Strided(const Strided &other) { *this = other; }
  Strided &operator=(const Strided &other) {
    data = other.data;
    ref = other.ref;
    sizes = other.sizes;
    ref.allocated = ref.aligned = data.data();
    return *this;
  }

  T &operator[](Index index) { return data[linear(index)]; }
  MemRef<T, rank> *operator&() { return &ref; }

  void forEach(std::function<void(Index)> body) {
    Index index{};
    for (int64_t size : sizes)
      if (size == 0)
        return;
    while (true) {
      body(index);
      int d = rank - 1;
      while (d >= 0 && ++index[d] == sizes[d])
        index[d--] = 0;
      if (d < 0)
        return;
    }
  }
  void fill(std::function<double()> value) {
    forEach([&](Index index) { (*this)[index] = T(value()); });
  }
  /// Memory that no index reaches is as it was.
  void expectCanaries() {
    std::vector<bool> reached(data.size());
    forEach([&](Index index) { reached[linear(index)] = true; });
    for (size_t x = 0; x < data.size(); ++x)
      if (!reached[x])
        EXPECT_EQ(double(data[x]), canary) << "written beside the tensor";
  }

private:
  int64_t linear(Index index) {
    int64_t result = offset;
    for (int d = 0; d < rank; ++d)
      result += index[d] * ref.strides[d];
    return result;
  }
  static constexpr int64_t offset = 3;
  std::vector<T> data;
  MemRef<T, rank> ref;
  Index sizes{};
};

/// The code calls nothing but functions of its own module.
inline void expectNoLibraryCalls(Jit &jit) {
  const std::string &assembly = jit.getAssembly();
  const std::string call = "callq\t";
  for (size_t at = assembly.find(call); at != std::string::npos;
       at = assembly.find(call, at + 1)) {
    size_t begin = at + call.size();
    std::string callee =
        assembly.substr(begin, assembly.find_first_of("@\n", begin) - begin);
    EXPECT_NE(assembly.find("\n" + callee + ":"), std::string::npos)
        << "the code calls " << callee;
  }
}

/// Equal, or both NaN.
inline void expectSame(double got, double want, const char *what) {
  if (std::isnan(want))
    EXPECT_TRUE(std::isnan(got)) << what;
  else
    EXPECT_EQ(got, want) << what;
}

/// Numbers that rounding gets wrong if it rounds twice, and ordinary ones.
class Numbers {
public:
  double operator()() {
    static const double special[] = {0.0,
                                     -0.0,
                                     1 + 0x1p-8 + 0x1p-40,
                                     -1 - 0x1p-8 - 0x1p-40,
                                     1e30,
                                     -1e-20,
                                     1 + 0x1p-11 + 0x1p-40,
                                     1 + 0x1p-8 - 0x1p-40,
                                     INFINITY,
                                     -INFINITY,
                                     NAN,
                                     0x1.ffp15,
                                     65520,
                                     3.5e38,
                                     3.2 + 0x1p-8};
    if (random() % 8 == 0)
      return special[random() % std::size(special)];
    return std::uniform_real_distribution<double>(-4, 4)(random);
  }

private:
  std::mt19937 random{11};
};

} // namespace fovea::test

#endif // FOVEA_TEST_UNIT_CPU_STRIDED_H
