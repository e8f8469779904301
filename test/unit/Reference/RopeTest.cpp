// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The frequencies of RoPE (rule P1) against values computed by hand from the
// papers' formulas.

#include "dialects/attn/IR/Rope.h"
#include "mlir/IR/MLIRContext.h"
#include <cmath>
#include <gtest/gtest.h>
#include <numbers>

using namespace mlir;
using namespace fovea::attn;

namespace {

class RopeTest : public ::testing::Test {
protected:
  RopeTest() { context.loadDialect<AttnDialect>(); }

  struct Scaling {
    double factor = 0, betaFast = 0, betaSlow = 0, low = 0, high = 0,
           attention = 0;
    bool truncate = true;
    int64_t original = 0;
    std::vector<double> shortFactor = {}, longFactor = {};
  };
  RopeScalingAttr make(RopeScalingKind kind, const Scaling &s) {
    using F = llvm::APFloat;
    DenseF64ArrayAttr shorts, longs;
    if (!s.shortFactor.empty()) {
      shorts = DenseF64ArrayAttr::get(&context, s.shortFactor);
      longs = DenseF64ArrayAttr::get(&context, s.longFactor);
    }
    return RopeScalingAttr::get(
        &context, kind, F(s.factor), s.original, F(s.betaFast), F(s.betaSlow),
        s.truncate, F(s.low), F(s.high), F(s.attention), shorts, longs);
  }
  MLIRContext context;
};

TEST_F(RopeTest, Unscaled) {
  RopeFrequencies f = computeRopeFrequencies(8, 10000.0, {});
  ASSERT_EQ(f.inverse.size(), 4u);
  EXPECT_DOUBLE_EQ(f.inverse[0], 1.0);
  EXPECT_DOUBLE_EQ(f.inverse[1], 0.1);
  EXPECT_DOUBLE_EQ(f.inverse[2], 0.01);
  EXPECT_DOUBLE_EQ(f.inverse[3], 0.001);
  EXPECT_EQ(f.magnitude, 1.0);
  EXPECT_FALSE(ropeDependsOnLength({}));
}

TEST_F(RopeTest, Linear) {
  RopeScalingAttr scaling = make(RopeScalingKind::Linear, {.factor = 4});
  RopeFrequencies f = computeRopeFrequencies(4, 100.0, scaling);
  EXPECT_DOUBLE_EQ(f.inverse[0], 0.25);
  EXPECT_DOUBLE_EQ(f.inverse[1], 0.025);
  EXPECT_FALSE(ropeDependsOnLength(scaling));
}

TEST_F(RopeTest, DynamicGrowsTheBaseBeyondTheTrainingLength) {
  RopeScalingAttr scaling =
      make(RopeScalingKind::Dynamic, {.factor = 2, .original = 1000});
  EXPECT_TRUE(ropeDependsOnLength(scaling));
  for (int64_t length : {0, 10, 1000})
    EXPECT_EQ(computeRopeFrequencies(8, 10000.0, scaling, length).inverse,
              computeRopeFrequencies(8, 10000.0, {}).inverse);
  // base * (2 * 3000 / 1000 - 1)^(8 / 6)
  double base = 10000.0 * std::pow(5.0, 8.0 / 6.0);
  RopeFrequencies f = computeRopeFrequencies(8, 10000.0, scaling, 3000);
  for (int k = 0; k < 4; ++k)
    EXPECT_NEAR(f.inverse[k], std::pow(base, -k / 4.0), 1e-15);
  // One pair has no exponent to speak of.
  EXPECT_EQ(computeRopeFrequencies(2, 10000.0, scaling, 3000).inverse[0], 1.0);
}

TEST_F(RopeTest, YarnRampsBetweenItsTwoRotations) {
  // 64 elements, base 10000, trained at 4096: the ramp is from
  // floor(64 ln(4096 / (32 * 2 pi)) / (2 ln 10000)) = 10 to
  // ceil(64 ln(4096 / (2 pi)) / (2 ln 10000)) = 23.
  RopeScalingAttr scaling =
      make(RopeScalingKind::Yarn,
           {.factor = 16, .betaFast = 32, .betaSlow = 1, .original = 4096});
  RopeFrequencies f = computeRopeFrequencies(64, 10000.0, scaling);
  RopeFrequencies plain = computeRopeFrequencies(64, 10000.0, {});
  for (int k : {0, 5, 10})
    EXPECT_DOUBLE_EQ(f.inverse[k], plain.inverse[k]);
  for (int k : {23, 24, 31})
    EXPECT_DOUBLE_EQ(f.inverse[k], plain.inverse[k] / 16);
  double ramp = (15.0 - 10.0) / 13.0;
  EXPECT_DOUBLE_EQ(f.inverse[15], plain.inverse[15] * (ramp / 16 + 1.0 - ramp));
  EXPECT_DOUBLE_EQ(f.magnitude, 0.1 * std::log(16.0) + 1.0);
  RopeScalingAttr given = make(RopeScalingKind::Yarn, {.factor = 16,
                                                       .betaFast = 32,
                                                       .betaSlow = 1,
                                                       .attention = 1.5,
                                                       .original = 4096});
  EXPECT_EQ(computeRopeFrequencies(64, 10000.0, given).magnitude, 1.5);
}

TEST_F(RopeTest, YarnWithoutTruncationRampsBetweenFractions) {
  // Base e^8, 16 elements: frequency e^-k for k < 8, which turns n times over
  // length L at k = ln(L / (2 pi n)). With L = 2000 the ramp is from
  // ln(2000 / (32 * 2 pi)) = 2.2973 to ln(2000 / (2 pi)) = 5.7630.
  Scaling s = {.factor = 4,
               .betaFast = 32,
               .betaSlow = 1,
               .truncate = false,
               .original = 2000};
  RopeFrequencies f =
      computeRopeFrequencies(16, std::exp(8.0), make(RopeScalingKind::Yarn, s));
  double low = std::log(2000 / (64 * std::numbers::pi)),
         high = std::log(2000 / (2 * std::numbers::pi));
  EXPECT_NEAR(low, 2.2973, 1e-4);
  EXPECT_NEAR(high, 5.7630, 1e-4);
  for (int k = 0; k < 8; ++k) {
    double ramp = k <= 2 ? 0 : k >= 6 ? 1 : (k - low) / (high - low);
    EXPECT_NEAR(f.inverse[k], std::exp(-k) * (1 - ramp * 0.75), 1e-15) << k;
  }
  // Rounded, it is from 2 to 6.
  s.truncate = true;
  f = computeRopeFrequencies(16, std::exp(8.0), make(RopeScalingKind::Yarn, s));
  EXPECT_NEAR(f.inverse[3], std::exp(-3) * (1 - 0.25 * 0.75), 1e-15);
}

TEST_F(RopeTest, Llama3BlendsByWavelength) {
  RopeScalingAttr scaling =
      make(RopeScalingKind::Llama3,
           {.factor = 8, .low = 1, .high = 4, .original = 8192});
  RopeFrequencies f = computeRopeFrequencies(128, 500000.0, scaling);
  RopeFrequencies plain = computeRopeFrequencies(128, 500000.0, {});
  bool seen[3] = {};
  for (int k = 0; k < 64; ++k) {
    double wavelength = 2 * std::numbers::pi / plain.inverse[k];
    double expected = plain.inverse[k];
    if (wavelength > 8192.0) {
      expected /= 8;
      seen[0] = true;
    } else if (wavelength > 8192.0 / 4) {
      double smooth = (8192.0 / wavelength - 1) / 3;
      expected = (1 - smooth) * expected / 8 + smooth * expected;
      seen[1] = true;
    } else {
      seen[2] = true;
    }
    EXPECT_NEAR(f.inverse[k], expected, 1e-15 * expected);
  }
  EXPECT_TRUE(seen[0] && seen[1] && seen[2]);
  EXPECT_EQ(f.magnitude, 1.0);
}

TEST_F(RopeTest, LongRopeSwitchesTables) {
  RopeScalingAttr scaling =
      make(RopeScalingKind::LongRope, {.factor = 32,
                                       .original = 4096,
                                       .shortFactor = {1, 2},
                                       .longFactor = {4, 8}});
  EXPECT_TRUE(ropeDependsOnLength(scaling));
  RopeFrequencies atLimit = computeRopeFrequencies(4, 100.0, scaling, 4096);
  EXPECT_DOUBLE_EQ(atLimit.inverse[1], 0.1 / 2);
  RopeFrequencies beyond = computeRopeFrequencies(4, 100.0, scaling, 4097);
  EXPECT_DOUBLE_EQ(beyond.inverse[0], 1.0 / 4);
  EXPECT_DOUBLE_EQ(beyond.inverse[1], 0.1 / 8);
  EXPECT_DOUBLE_EQ(beyond.magnitude,
                   std::sqrt(1 + std::log(32.0) / std::log(4096.0)));
}

} // namespace
