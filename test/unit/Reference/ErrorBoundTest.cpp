// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The error bounds in numbers, and what is judged by them.

#include "compiler/Reference/ErrorBound.h"
#include "mlir/IR/MLIRContext.h"
#include <cmath>
#include <gtest/gtest.h>
#include <limits>

using namespace mlir;
using namespace fovea::reference;

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

class ErrorBoundTest : public ::testing::Test {
protected:
  MLIRContext context;
  Builder b{&context};

  Tensor make(std::vector<double> data) {
    return {{int64_t(data.size())}, b.getF32Type(), std::move(data)};
  }
};

TEST_F(ErrorBoundTest, HasTheTermsOfTheDocs) {
  // u_T |o| + 2 u (log2 n + 4) w + 2 u x, and what underflow can do.
  EXPECT_DOUBLE_EQ(ErrorBound(b.getF32Type(), 16).ofOutput(-3, 5, 7),
                   0x1p-24 * (3 + 2 * 8 * 5 + 2 * 7) + 0x1p-124);
  EXPECT_DOUBLE_EQ(ErrorBound(b.getF64Type(), 16).ofOutput(3, 5, 7),
                   0x1p-53 * (3 + 2 * 8 * 5 + 2 * 7));
  EXPECT_DOUBLE_EQ(ErrorBound(b.getF16Type(), 1).ofOutput(3, 5, 7),
                   0x1p-11 * 3 + 0x1p-24 * (2 * 4 * 5 + 2 * 7) + 0x1.1p-25);
  EXPECT_DOUBLE_EQ(ErrorBound(b.getBF16Type(), 0).ofOutput(3, 5, 7),
                   0x1p-8 * 3 + 0x1p-24 * (2 * 4 * 5 + 2 * 7));
  // Matrix units: + (u_T + 2^-17) w, and + 2^-18 for LSE.
  EXPECT_DOUBLE_EQ(ErrorBound(b.getBF16Type(), 0, 1).ofOutput(3, 5, 7),
                   0x1p-8 * (3 + 5) + 0x1p-17 * 5 +
                       0x1p-24 * (2 * 4 * 5 + 2 * 7));
  EXPECT_DOUBLE_EQ(ErrorBound(b.getBF16Type(), 16, 1).ofLogSumExp(-3, 7),
                   ErrorBound(b.getBF16Type(), 16).ofLogSumExp(-3, 7) +
                       0x1p-18);
  EXPECT_EQ(ErrorBound(b.getF32Type(), 16).ofOutput(0, 0, 0), 0);
  EXPECT_DOUBLE_EQ(ErrorBound(b.getF32Type(), 16).ofLogSumExp(-3, 7),
                   0x1p-24 * 2 * (8 + 3 + 7));
  EXPECT_DOUBLE_EQ(ErrorBound(b.getBF16Type(), 1).ofAppended(-3, 5),
                   0x1p-8 * 2 * 3 + 0x1p-24 * 8 * 5);
  // What rounding q and k does is there for matrix units only.
  EXPECT_DOUBLE_EQ(ErrorBound(b.getBF16Type(), 0, 1).ofOutput(3, 5, 7, 11),
                   ErrorBound(b.getBF16Type(), 0, 1).ofOutput(3, 5, 7) + 11);
  EXPECT_EQ(ErrorBound(b.getBF16Type(), 0).ofLogSumExp(-3, 7, 11),
            ErrorBound(b.getBF16Type(), 0).ofLogSumExp(-3, 7));
  EXPECT_EQ(ErrorBound::ofMatrixOperands(1, 1), 0x3p-8);
  EXPECT_EQ(ErrorBound::ofMatrixOperands(1, 0), 0);
  // f16 is exact in two terms, of which one product is left out.
  EXPECT_EQ(ErrorBound::ofMatrixOperands(2, 0), 0x3p-16);
  EXPECT_EQ(ErrorBound::ofMatrixOperands(2, 3), 0x6p-16);
  EXPECT_DOUBLE_EQ(ErrorBound(b.getF16Type(), 0, 2).ofOutput(3, 5, 7),
                   0x1p-11 * 3 + (0x1p-15 + 0x1p-17) * 5 +
                       0x1p-24 * (2 * 4 * 5 + 2 * 7) + 0x1.1p-25);
  // f32 is exact in three terms, of which three products are left out.
  EXPECT_EQ(ErrorBound::ofMatrixOperands(3, 0), 0x3p-24);
  EXPECT_EQ(ErrorBound::ofMatrixOperands(3, 2), 0x3p-24);
  EXPECT_DOUBLE_EQ(ErrorBound(b.getF32Type(), 16, 3).ofOutput(3, 5, 7, 11),
                   0x1p-24 * (3 + 5 + 2 * 8 * 5 + 2 * 7) + 11);
  EXPECT_EQ(ErrorBound(b.getF32Type(), 16, 3).ofLogSumExp(-3, 7, 11),
            ErrorBound(b.getF32Type(), 16).ofLogSumExp(-3, 7) + 11);
  // Every product with a weight may be flushed.
  EXPECT_DOUBLE_EQ(ErrorBound(b.getF32Type(), 16, 3).ofOutput(0, 0x1p-149, 0),
                   0x1p-119 + 0x1p-124);
  EXPECT_EQ(ErrorBound(b.getF32Type(), 0, 3).describe(),
            "each element of o within 2^-24 |o| + 2^-24 sum_j p_j |v_j| + "
            "2^-23 (log2 n + 4) sum_j p_j |v_j| + 2^-23 sum_j p_j r_j |v_j - "
            "o| of the exact o, for n keys attended to and r_j the magnitude "
            "of the roundings in score j; more where q k is rounded for matrix "
            "units (docs/semantics.md)");
  EXPECT_EQ(ErrorBound(b.getBF16Type(), 0).describe(),
            "each element of o within 2^-8 |o| + 2^-23 (log2 n + 4) sum_j p_j "
            "|v_j| + 2^-23 sum_j p_j r_j |v_j - o| of the exact o, for n keys "
            "attended to and r_j the magnitude of the roundings in score j");
}

TEST_F(ErrorBoundTest, JudgesOutputs) {
  Interpretation expected;
  expected.keys = 1;
  expected.results = {make({1, 1, nan, infinity, 0})};
  expected.absoluteSums = {make({1, 1, nan, infinity, 0})};
  expected.scoreSums = {make({0, 0, nan, nan, 0})};
  expected.operandErrors = {make({0, 0, nan, nan, 0})};
  expected.appended = {std::nullopt};
  // The bound of 1 is 9 u; what is NaN or infinite holds no promise.
  Judgement good =
      judge(expected, 0, make({1 + 0x1.2p-22, 1 - 0x1.2p-23, 5, nan, 0}));
  EXPECT_EQ(good.wrong, 0);
  EXPECT_EQ(good.worst, 0);
  EXPECT_NEAR(good.share, 0.5, 1e-6);
  EXPECT_NEAR(good.bound, 0x1.2p-21, 1e-20);
  Judgement bad = judge(expected, 0, make({1 + 0x1.3p-21, 1, 0, 0, 0x1p-140}));
  EXPECT_EQ(bad.wrong, 2);
  EXPECT_EQ(bad.worst, 4);
  EXPECT_EQ(bad.share, infinity);
  EXPECT_EQ(judge(expected, 0, make({nan, 1, 0, 0, 0})).wrong, 1);
}

TEST_F(ErrorBoundTest, JudgesLogSumExp) { // M2
  Interpretation expected;
  expected.keys = 1;
  expected.results = {make({-infinity, 2, nan})};
  expected.absoluteSums = {std::nullopt};
  expected.scoreSums = {make({0, 1, nan})};
  expected.operandErrors = {make({0, 0x1p-20, nan})};
  expected.appended = {std::nullopt};
  EXPECT_EQ(judge(expected, 0, make({-infinity, 2, 0})).share, 0);
  EXPECT_NEAR(judge(expected, 0, make({-infinity, 2 + 0x1p-22, 0})).share,
              4 / 14.0, 1e-12);
  // For matrix units, 2^-18 more, and what rounding their operands does.
  EXPECT_NEAR(judge(expected, 0, make({-infinity, 2 + 0x1p-18, 0}), true).share,
              0x1p-18 / (14 * 0x1p-24 + 0x1p-18 + 0x1p-20), 1e-12);
  EXPECT_EQ(judge(expected, 0, make({-1e30, 2, 0})).wrong, 1);
  EXPECT_EQ(judge(expected, 0, make({nan, 2, 0})).wrong, 1);
}

TEST_F(ErrorBoundTest, JudgesCaches) { // K3
  Interpretation expected;
  expected.results = {make({7, nan, 7, nan})};
  expected.absoluteSums = expected.scoreSums =
      expected.operandErrors = {std::nullopt};
  expected.appended = {make({-1, -1, 4, 4})};
  // Kept elements are the same, NaN included; written ones are within
  // 2 * 7 u + 8 * 4 u.
  EXPECT_EQ(judge(expected, 0, make({7, nan, 7, 0})).share, 0);
  EXPECT_NEAR(judge(expected, 0, make({7, nan, 7 + 0x1.7p-20, 0})).share, 0.5,
              1e-12);
  EXPECT_EQ(judge(expected, 0, make({7 + 0x1p-50, nan, 7, 0})).wrong, 1);
  EXPECT_EQ(judge(expected, 0, make({7, 7, 7, 0})).wrong, 1);
}

} // namespace
