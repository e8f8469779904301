// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The expansions of math functions, run on this machine: exp2 over every float,
// the others over dense samples, against double (or long double) references.

#include "test/unit/CPU/Jit.h"

#include <gtest/gtest.h>

#include <atomic>
#include <bit>
#include <cmath>
#include <limits>
#include <thread>
#include <vector>

using namespace fovea::test;

namespace {

/// A loop that applies `function` to vectors of `lanes` elements of `type`.
std::string loopOver(const std::string &function, const std::string &type,
                     int lanes) {
  std::string vector = "vector<" + std::to_string(lanes) + "x" + type + ">";
  std::string memref = "memref<?x" + type + ">";
  return "func.func @apply(%x: " + memref + ", %y: " + memref +
         ") attributes {llvm.emit_c_interface} {\n"
         "  %c0 = arith.constant 0 : index\n"
         "  %step = arith.constant " +
         std::to_string(lanes) +
         " : index\n"
         "  %n = memref.dim %x, %c0 : " +
         memref +
         "\n"
         "  scf.for %i = %c0 to %n step %step {\n"
         "    %a = vector.load %x[%i] : " +
         memref + ", " + vector +
         "\n"
         "    %b = math." +
         function + " %a : " + vector +
         "\n"
         "    vector.store %b, %y[%i] : " +
         memref + ", " + vector +
         "\n"
         "  }\n  return\n}\n";
}

template <typename T> std::vector<T> apply(Jit &jit, std::vector<T> &x) {
  std::vector<T> y(x.size());
  auto in = memref(x.data(), x.size()), out = memref(y.data(), y.size());
  jit.call("apply", &in, &out);
  return y;
}

/// Units in the last place of T at `reference`.
template <typename T> double ulp(long double reference) {
  int exponent = reference == 0 ? std::numeric_limits<T>::min_exponent
                                : std::ilogb(reference) + 1;
  exponent = std::max(exponent, std::numeric_limits<T>::min_exponent);
  return std::ldexp(1.0, exponent - std::numeric_limits<T>::digits);
}

/// Worst error in ulp; NaN and infinities must agree exactly.
template <typename T, typename Reference>
double worstUlp(Jit &jit, std::vector<T> &x, Reference reference) {
  std::vector<T> y = apply(jit, x);
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    long double want = reference((long double)x[i]);
    if (std::isnan(want) || std::isinf(T(want))) {
      bool same = std::isnan(want) ? std::isnan(y[i]) : y[i] == T(want);
      EXPECT_TRUE(same) << "at " << x[i] << ": " << y[i];
      continue;
    }
    if (want == 0) {
      EXPECT_TRUE(y[i] == 0 && std::signbit(y[i]) == std::signbit(want))
          << "at " << x[i];
      continue;
    }
    double error = std::abs(double(y[i] - want)) / ulp<T>(want);
    if (!(error <= worst))
      worst = error;
  }
  return worst;
}

/// Both signs, magnitudes evenly spaced over the bits between `low` and `high`.
template <typename T>
std::vector<T> sample(T low, T high, size_t count, bool negative) {
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  Bits first = std::bit_cast<Bits>(low), last = std::bit_cast<Bits>(high);
  Bits step = std::max<Bits>((last - first) / count, 1);
  std::vector<T> values;
  for (Bits bits = first; bits <= last && bits >= first; bits += step) {
    values.push_back(std::bit_cast<T>(bits));
    if (negative)
      values.push_back(-std::bit_cast<T>(bits));
  }
  values.resize((values.size() + 7) / 8 * 8, low);
  return values;
}

template <typename T> std::vector<T> specials() {
  using Limits = std::numeric_limits<T>;
  return {T(0),
          -T(0),
          Limits::infinity(),
          -Limits::infinity(),
          Limits::quiet_NaN(),
          Limits::max(),
          Limits::lowest(),
          Limits::denorm_min()};
}

TEST(ExpandMath, Exp2OfEveryFloat) {
  Jit jit(loopOver("exp2", "f32", 8));
  auto *apply = reinterpret_cast<void (*)(void *, void *)>(jit.lookup("apply"));
  constexpr uint64_t chunk = 1 << 14, chunks = (uint64_t(1) << 32) / chunk;
  std::atomic<uint64_t> next = 0, wrong = 0;
  std::atomic<uint32_t> firstWrong = 0;
  double worst[2] = {0, 0};
  auto work = [&](int thread) {
    std::vector<float> x(chunk), y(chunk);
    auto in = memref(x.data(), chunk), out = memref(y.data(), chunk);
    for (uint64_t c; (c = next++) < chunks;) {
      for (uint64_t i = 0; i < chunk; ++i)
        x[i] = std::bit_cast<float>(uint32_t(c * chunk + i));
      apply(&in, &out);
      for (uint64_t i = 0; i < chunk; ++i) {
        float a = x[i], got = y[i];
        bool right = true;
        if (std::abs(a) < 0x1p-26f)
          right = got == 1.0f;
        else if (std::abs(a) < 160) {
          double want = std::exp2(double(a));
          // The exponent field of the result, at least that of subnormals.
          uint32_t field =
              std::max(std::bit_cast<uint32_t>(float(want)) >> 23, 1u);
          if (want >= 0x1p128)
            right = got == std::numeric_limits<float>::infinity();
          else {
            double unit =
                std::bit_cast<double>(uint64_t(field + 1023 - 127 - 23) << 52);
            double error = std::abs(got - want) / unit;
            worst[thread] = std::max(worst[thread], error);
            right = error <= 2;
          }
        } else if (std::isnan(a))
          right = std::isnan(got);
        else
          right =
              got == (a > 0 ? std::numeric_limits<float>::infinity() : 0.0f);
        if (!right && wrong++ == 0)
          firstWrong = std::bit_cast<uint32_t>(a);
      }
    }
  };
  std::thread other(work, 1);
  work(0);
  other.join();
  EXPECT_EQ(wrong, 0u) << "first at "
                       << std::bit_cast<float>(firstWrong.load());
  EXPECT_GT(std::max(worst[0], worst[1]), 0.5);
  std::printf("exp2: at most %.3f ulp over every float\n",
              std::max(worst[0], worst[1]));
}

struct Function {
  const char *name;
  long double (*reference)(long double);
  double low, high;
  bool negative;
  double bound;
};

void PrintTo(const Function &function, std::ostream *out) {
  *out << function.name;
}

class ExpandMathF32 : public testing::TestWithParam<Function> {};

TEST_P(ExpandMathF32, IsWithinTwoUlp) {
  auto [name, reference, low, high, negative, bound] = GetParam();
  Jit jit(loopOver(name, "f32", 8));
  auto x = sample<float>(float(low), float(high), 2000000, negative);
  double worst = worstUlp(jit, x, reference);
  EXPECT_LE(worst, bound);
  auto special = specials<float>();
  EXPECT_LE(worstUlp(jit, special, reference), bound);
  std::printf("%s: at most %.3f ulp\n", name, worst);
  EXPECT_EQ(jit.getAssembly().find("call"), std::string::npos);
}

// Arguments of sin and cos: as far as f64 reduces them well. The largest floats
// are not reduced, so the specials' extremes are not in its list.
INSTANTIATE_TEST_SUITE_P(
    Functions, ExpandMathF32,
    testing::Values(Function{"exp", std::exp, 1e-30, 120, true, 2},
                    Function{"log", std::log, 1e-45, 3.4e38, false, 2},
                    Function{"log2", std::log2, 1e-45, 3.4e38, false, 2},
                    Function{"tanh", std::tanh, 1e-30, 30, true, 2}),
    [](const auto &info) { return info.param.name; });

class ExpandMathF64 : public testing::TestWithParam<Function> {};

TEST_P(ExpandMathF64, IsWithinTwoUlp) {
  auto [name, reference, low, high, negative, bound] = GetParam();
  Jit jit(loopOver(name, "f64", 4));
  auto x = sample<double>(low, high, 400000, negative);
  double worst = worstUlp(jit, x, reference);
  EXPECT_LE(worst, bound);
  auto special = specials<double>();
  EXPECT_LE(worstUlp(jit, special, reference), bound);
  std::printf("%s, f64: at most %.3f ulp\n", name, worst);
  EXPECT_EQ(jit.getAssembly().find("call"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(
    Functions, ExpandMathF64,
    testing::Values(Function{"exp2", std::exp2, 1e-300, 1100, true, 2},
                    Function{"exp", std::exp, 1e-300, 760, true, 2},
                    Function{"log", std::log, 5e-324, 1.7e308, false, 2},
                    Function{"log2", std::log2, 5e-324, 1.7e308, false, 2},
                    Function{"tanh", std::tanh, 1e-300, 30, true, 2}),
    [](const auto &info) { return info.param.name; });

class ExpandTrigonometry : public testing::TestWithParam<Function> {};

TEST_P(ExpandTrigonometry, IsAccurateUpToTenMillion) {
  auto [name, reference, low, high, negative, bound] = GetParam();
  Jit f64(loopOver(name, "f64", 4));
  // Products of positions and frequencies, as RoPE has them, and powers.
  auto x = sample<double>(low, high, 400000, negative);
  for (int position = 0; position < 400000; ++position)
    x.push_back(position * 25.0 * std::pow(10000.0, -(position % 64) / 64.0));
  std::vector<double> y = apply(f64, x);
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i)
    worst = std::max(worst, std::abs(double(y[i] - reference(x[i]))));
  EXPECT_LE(worst, bound);
  std::vector<double> special = {INFINITY, -INFINITY, NAN, 0.0,
                                 -0.0,     0.0,       0.0, 0.0};
  y = apply(f64, special);
  EXPECT_TRUE(std::isnan(y[0]) && std::isnan(y[1]) && std::isnan(y[2]));
  EXPECT_EQ(y[3], double(reference(0.0L)));
  EXPECT_EQ(std::signbit(y[4]), std::signbit(double(reference(-0.0L))));

  Jit f32(loopOver(name, "f32", 8));
  auto xf = sample<float>(float(low), 1e6f, 1000000, negative);
  double worstF32 = worstUlp(f32, xf, reference);
  EXPECT_LE(worstF32, 1);
  std::printf("%s: f64 at most %.2e, f32 at most %.3f ulp\n", name, worst,
              worstF32);
  EXPECT_EQ(f64.getAssembly().find("call"), std::string::npos);
  EXPECT_EQ(f32.getAssembly().find("call"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(
    Functions, ExpandTrigonometry,
    testing::Values(Function{"sin", std::sin, 1e-30, 1e7, true, 4e-16},
                    Function{"cos", std::cos, 1e-30, 1e7, true, 4e-16}),
    [](const auto &info) { return info.param.name; });

} // namespace
