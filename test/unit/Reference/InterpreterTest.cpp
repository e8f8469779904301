// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The reference interpreter on cases whose results were worked out by hand.

#include "compiler/Reference/Interpreter.h"
#include "dialects/attn/IR/AttnOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Parser/Parser.h"
#include <cmath>
#include <gtest/gtest.h>
#include <limits>

using namespace mlir;
using namespace fovea::reference;

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

class InterpreterTest : public ::testing::Test {
protected:
  InterpreterTest() {
    context.loadDialect<fovea::attn::AttnDialect, func::FuncDialect,
                        linalg::LinalgDialect, math::MathDialect>();
  }

  Tensor make(ArrayRef<int64_t> shape, std::vector<double> data,
              Type type = {}) {
    return {SmallVector<int64_t>(shape),
            type ? type : Type(Float32Type::get(&context)), std::move(data)};
  }
  Tensor integers(std::vector<double> data) {
    return make({int64_t(data.size())}, data, IntegerType::get(&context, 32));
  }

  llvm::Expected<Interpretation> tryRun(StringRef body,
                                        ArrayRef<RuntimeValue> arguments,
                                        InterpretOptions options = {}) {
    module = parseSourceString<ModuleOp>(body, &context);
    if (!module)
      return llvm::createStringError("the test's IR does not parse");
    return interpret(*module->getOps<func::FuncOp>().begin(), arguments,
                     options);
  }
  Interpretation run(StringRef body, ArrayRef<RuntimeValue> arguments,
                     InterpretOptions options = {}) {
    llvm::Expected<Interpretation> result = tryRun(body, arguments, options);
    if (result)
      return std::move(*result);
    ADD_FAILURE() << toString(result.takeError());
    return {};
  }
  std::vector<double> data(const Interpretation &result, unsigned number = 0) {
    if (number >= result.results.size())
      return {};
    return std::get<Tensor>(result.results[number]).data;
  }

  /// One batch row and head, width 1, q and k given, v = 1, 10, 100, ...; so
  /// that with q = 0 all attended keys weigh the same.
  Interpretation attend(const std::string &clauses, int64_t rows,
                        std::vector<double> keys,
                        InterpretOptions options = {}) {
    std::vector<double> values;
    for (size_t j = 0; j < keys.size(); ++j)
      values.push_back(std::pow(10.0, double(j)));
    int64_t n = keys.size();
    return run(R"(
      func.func @f(%q: tensor<1x?x1x1xf32>, %k: tensor<1x?x1x1xf32>,
                   %v: tensor<1x?x1x1xf32>, %o: tensor<1x?x1x1xf32>,
                   %lse: tensor<1x1x?xf32>)
          -> (tensor<1x?x1x1xf32>, tensor<1x1x?xf32>) {
        %c0 = arith.constant 0 : index
        %r:2 = attn.attention
          ins(%q, %k, %v : tensor<1x?x1x1xf32>, tensor<1x?x1x1xf32>, tensor<1x?x1x1xf32>)
          outs(%o, %lse : tensor<1x?x1x1xf32>, tensor<1x1x?xf32>) )" +
                   clauses + R"( -> tensor<1x?x1x1xf32>, tensor<1x1x?xf32>
        return %r#0, %r#1 : tensor<1x?x1x1xf32>, tensor<1x1x?xf32>
      })",
               {make({1, rows, 1, 1}, std::vector<double>(rows, 0.0)),
                make({1, n, 1, 1}, keys), make({1, n, 1, 1}, values),
                make({1, rows, 1, 1}, std::vector<double>(rows, nan)),
                make({1, 1, rows}, std::vector<double>(rows, nan))},
               options);
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
};

TEST_F(InterpreterTest, SoftmaxByHand) { // S1, R1
  // Scores 0.5 * 2 * (0, ln 2 / 1) = 0, ln 2: weights 1/3, 2/3.
  Interpretation result =
      run(R"(
    func.func @f(%q: tensor<1x1x1x1xf32>, %k: tensor<1x2x1x1xf32>,
                 %v: tensor<1x2x1x2xf32>, %o: tensor<1x1x1x2xf32>,
                 %lse: tensor<1x1x1xf32>)
        -> (tensor<1x1x1x2xf32>, tensor<1x1x1xf32>) {
      %r:2 = attn.attention
        ins(%q, %k, %v : tensor<1x1x1x1xf32>, tensor<1x2x1x1xf32>, tensor<1x2x1x2xf32>)
        outs(%o, %lse : tensor<1x1x1x2xf32>, tensor<1x1x1xf32>)
        {scale = 0.5 : f64} -> tensor<1x1x1x2xf32>, tensor<1x1x1xf32>
      return %r#0, %r#1 : tensor<1x1x1x2xf32>, tensor<1x1x1xf32>
    })",
          {make({1, 1, 1, 1}, {2.0}), make({1, 2, 1, 1}, {0.0, std::log(2.0)}),
           make({1, 2, 1, 2}, {3, -3, 6, 12}), make({1, 1, 1, 2}, {nan, nan}),
           make({1, 1, 1}, {nan})},
          {.errorSums = true});
  std::vector<double> o = data(result);
  ASSERT_EQ(o.size(), 2u);
  EXPECT_NEAR(o[0], 1.0 + 4.0, 1e-15);
  EXPECT_NEAR(o[1], -1.0 + 8.0, 1e-14);
  EXPECT_NEAR(data(result, 1)[0], std::log(3.0), 1e-15);
  ASSERT_EQ(result.absoluteSums.size(), 2u);
  EXPECT_FALSE(result.absoluteSums[1]);
  ASSERT_TRUE(result.absoluteSums[0]);
  EXPECT_NEAR(result.absoluteSums[0]->data[1], 1.0 + 8.0, 1e-14);
  // r = ln 2 for the first key, which is that far below the maximum, and
  // sqrt(3) ln 2 for the second: the dot product, |q| |k| and s.
  double ln2 = std::log(2.0);
  EXPECT_NEAR(result.scoreSums[0]->data[1],
              ln2 * (10 / 3.0 + std::sqrt(3.0) * 10 / 3), 1e-14);
  EXPECT_NEAR(result.scoreSums[1]->data[0],
              ln2 * (1 / 3.0 + std::sqrt(3.0) * 2 / 3), 1e-15);
  EXPECT_EQ(result.keys, 2);
}

TEST_F(InterpreterTest, RoundingsOfAScore) {
  // Partial sums 2, 2 - 3, 2 - 3 + 4 of the dot product, |q|^2 |k|^2 = 3 * 29,
  // s = 3: all times the scale 2, then the slope 3 of the score expression,
  // which rounds at |s| and |3 s + 1|.
  Interpretation result =
      run(R"(
    func.func @f(%q: tensor<1x1x1x3xf32>, %k: tensor<1x1x1x3xf32>,
                 %o: tensor<1x1x1x3xf32>, %lse: tensor<1x1x1xf32>)
        -> (tensor<1x1x1x3xf32>, tensor<1x1x1xf32>) {
      %r:2 = attn.attention
        ins(%q, %k, %k : tensor<1x1x1x3xf32>, tensor<1x1x1x3xf32>, tensor<1x1x1x3xf32>)
        outs(%o, %lse : tensor<1x1x1x3xf32>, tensor<1x1x1xf32>)
        score("3.0 * s + 1.0") {scale = 2.0 : f64}
        -> tensor<1x1x1x3xf32>, tensor<1x1x1xf32>
      return %r#0, %r#1 : tensor<1x1x1x3xf32>, tensor<1x1x1xf32>
    })",
          {make({1, 1, 1, 3}, {1, 1, 1}), make({1, 1, 1, 3}, {2, -3, 4}),
           make({1, 1, 1, 3}, {nan, nan, nan}), make({1, 1, 1}, {nan})},
          {.errorSums = true});
  double r = 2 * std::sqrt(4.0 + 1 + 9 + 3 * 29 + 9);
  EXPECT_NEAR(result.scoreSums[1]->data[0], 3 * r + 6 + 2 * 19, 1e-6);
  // The error of the only weight is one of its sum too.
  EXPECT_EQ(result.scoreSums[0]->data[0], 0.0);
}

TEST_F(InterpreterTest, RoundingsOfACappedInfinity) {
  Interpretation result =
      run(R"(
    func.func @f(%q: tensor<1x1x1x1xf32>, %k: tensor<1x1x1x1xf32>, %v: tensor<1x1x1x1xf32>,
                 %o: tensor<1x1x1x1xf32>, %lse: tensor<1x1x1xf32>)
        -> (tensor<1x1x1x1xf32>, tensor<1x1x1xf32>) {
      %r:2 = attn.attention
        ins(%q, %k, %v : tensor<1x1x1x1xf32>, tensor<1x1x1x1xf32>, tensor<1x1x1x1xf32>)
        outs(%o, %lse : tensor<1x1x1x1xf32>, tensor<1x1x1xf32>)
        score("tanh(s / 5.0) * 5.0") -> tensor<1x1x1x1xf32>, tensor<1x1x1xf32>
      return %r#0, %r#1 : tensor<1x1x1x1xf32>, tensor<1x1x1xf32>
    })",
          {make({1, 1, 1, 1}, {1}),
           make({1, 1, 1, 1}, {std::numeric_limits<double>::infinity()}),
           make({1, 1, 1, 1}, {3}), make({1, 1, 1, 1}, {nan}),
           make({1, 1, 1}, {nan})},
          {.errorSums = true});
  EXPECT_EQ(std::get<Tensor>(result.results[1]).data[0], 5.0);
  EXPECT_EQ(result.scoreSums[1]->data[0], 5.0);
}

TEST_F(InterpreterTest, ErrorsOfRoundedOperands) {
  // At position 0 RoPE changes nothing. Products 3 and 8 with the first key, 0
  // with the second; the score expression doubles what they do.
  auto bf16 = BFloat16Type::get(&context);
  std::vector<RuntimeValue> arguments = {
      make({1, 1, 1, 2}, {1, 2}, bf16), make({1, 2, 1, 2}, {3, 4, 0, 0}, bf16),
      make({1, 1, 1, 2}, {nan, nan}, bf16), make({1, 1, 1}, {nan})};
  auto attend = [&](const std::string &query) {
    return run(
        R"(
      func.func @f(%q: tensor<1x1x1x2xbf16>, %k: tensor<1x2x1x2xbf16>,
                   %o: tensor<1x1x1x2xbf16>, %lse: tensor<1x1x1xf32>)
          -> (tensor<1x1x1x2xbf16>, tensor<1x1x1xf32>) {
        %zero = arith.constant 0 : i64
        %turned = attn.rope ins(%q : tensor<1x1x1x2xbf16>) offset(%zero : i64)
          outs(%o : tensor<1x1x1x2xbf16>)
          {style = #attn.rope_style<neox>, base = 1.0e4 : f64} -> tensor<1x1x1x2xbf16>
        %r:2 = attn.attention
          ins(%)" +
            query +
            R"(, %k, %k : tensor<1x1x1x2xbf16>, tensor<1x2x1x2xbf16>, tensor<1x2x1x2xbf16>)
          outs(%o, %lse : tensor<1x1x1x2xbf16>, tensor<1x1x1xf32>)
          score("2.0 * s") {scale = 0.125 : f64}
          -> tensor<1x1x1x2xbf16>, tensor<1x1x1xf32>
        return %r#0, %r#1 : tensor<1x1x1x2xbf16>, tensor<1x1x1xf32>
      })",
        arguments, {.errorSums = true});
  };
  Interpretation result = attend("turned");
  double e = 2 * 3 * 0x1p-8 * 0.125 * std::sqrt(9.0 + 64.0);
  double s = 2 * 0.125 * 11, p = std::exp(s) / (std::exp(s) + 1);
  EXPECT_NEAR(result.operandErrors[1]->data[0],
              std::log(p * std::exp(e) + 1 - p), 1e-14);
  EXPECT_NEAR(result.operandErrors[0]->data[1],
              p * std::expm1(e) * (4 - 4 * p) / (p * std::exp(-e) + 1 - p),
              1e-14);
  // As stored, q and k are exact.
  Interpretation stored = attend("q");
  EXPECT_EQ(stored.operandErrors[0]->data[1], 0.0);
  EXPECT_EQ(stored.operandErrors[1]->data[0], 0.0);
}

TEST_F(InterpreterTest, ErrorsOfSixProducts) { // S8
  auto attend = [&](const std::string &precision, double query, double key) {
    Interpretation result = run(
        R"(
      func.func @f(%q: tensor<1x1x1x2xf32>, %k: tensor<1x2x1x2xf32>,
                   %o: tensor<1x1x1x2xf32>, %lse: tensor<1x1x1xf32>)
          -> (tensor<1x1x1x2xf32>, tensor<1x1x1xf32>) {
        %r:2 = attn.attention
          ins(%q, %k, %k : tensor<1x1x1x2xf32>, tensor<1x2x1x2xf32>, tensor<1x2x1x2xf32>)
          outs(%o, %lse : tensor<1x1x1x2xf32>, tensor<1x1x1xf32>)
          mask("j < 1") {scale = 0.125 : f64, precision = #attn.precision<)" +
            precision + R"(>}
          -> tensor<1x1x1x2xf32>, tensor<1x1x1xf32>
        return %r#0, %r#1 : tensor<1x1x1x2xf32>, tensor<1x1x1xf32>
      })",
        {make({1, 1, 1, 2}, {query, 0}), make({1, 2, 1, 2}, {key, 0, 0, 0}),
         make({1, 1, 1, 2}, {nan, nan}), make({1, 1, 1}, {nan})},
        {.errorSums = true});
    return result.operandErrors[1]->data[0];
  };
  EXPECT_EQ(attend("full", 2, 4), 0.0);
  EXPECT_DOUBLE_EQ(attend("bf16x6", 2, 4), 0.125 * 3 * 0x1p-24 * 8);
  // What is below the normal numbers is lost.
  EXPECT_DOUBLE_EQ(attend("bf16x6", 0x1p100, 0x1p-120),
                   0.125 * (3 * 0x1p-24 * 0x1p-20 + 0x1p-125 * 0x1p100));
}

TEST_F(InterpreterTest, CountsWhoAttends) { // M1
  attend("mask(\"j <= i and j != 1\")", 3, {1, 2, 3});
  llvm::Expected<SmallVector<Tensor>> counts = countAttending(
      *module->getOps<func::FuncOp>().begin(),
      {make({1, 3, 1, 1}, {0, 0, 0}), make({1, 4, 1, 1}, {1, nan, 1, 1}),
       make({1, 4, 1, 1}, {1, 1, 1, 1}), make({1, 3, 1, 1}, {0, 0, 0}),
       make({1, 1, 3}, {0, 0, 0})});
  ASSERT_TRUE(bool(counts)) << toString(counts.takeError());
  ASSERT_EQ(counts->size(), 1u);
  EXPECT_EQ(counts->front().shape, (SmallVector<int64_t>{1, 1, 4}));
  EXPECT_EQ(counts->front().data, (std::vector<double>{3, 0, 1, 0}));
}

TEST_F(InterpreterTest, DefaultScaleIsOneOverRootD) { // S1
  Interpretation result =
      run(R"(
    func.func @f(%q: tensor<1x1x1x4xf64>, %k: tensor<1x1x1x4xf64>,
                 %o: tensor<1x1x1x4xf64>, %lse: tensor<1x1x1xf64>)
        -> (tensor<1x1x1x4xf64>, tensor<1x1x1xf64>) {
      %r:2 = attn.attention
        ins(%q, %k, %k : tensor<1x1x1x4xf64>, tensor<1x1x1x4xf64>, tensor<1x1x1x4xf64>)
        outs(%o, %lse : tensor<1x1x1x4xf64>, tensor<1x1x1xf64>)
        -> tensor<1x1x1x4xf64>, tensor<1x1x1xf64>
      return %r#0, %r#1 : tensor<1x1x1x4xf64>, tensor<1x1x1xf64>
    })",
          {make({1, 1, 1, 4}, {1, 1, 1, 1}, Float64Type::get(&context)),
           make({1, 1, 1, 4}, {1, 2, 3, 4}, Float64Type::get(&context)),
           make({1, 1, 1, 4}, {0, 0, 0, 0}, Float64Type::get(&context)),
           make({1, 1, 1}, {0}, Float64Type::get(&context))});
  EXPECT_DOUBLE_EQ(data(result, 1)[0], 5.0);
}

TEST_F(InterpreterTest, MaskedPairsHaveNoWeightAndAreNotRead) { // M1, M3
  Interpretation result = attend("mask(\"j <= i and j != 1\")", 3, {0, nan, 0});
  std::vector<double> o = data(result);
  ASSERT_EQ(o.size(), 3u);
  EXPECT_EQ(o[0], 1.0);
  EXPECT_EQ(o[1], 1.0);
  EXPECT_DOUBLE_EQ(o[2], (1.0 + 100.0) / 2);
  EXPECT_DOUBLE_EQ(data(result, 1)[2], std::log(2.0));
}

TEST_F(InterpreterTest, EmptyRowsAreZeroAndMinusInfinity) { // M2
  Interpretation result = attend("mask(\"i == 1\")", 2, {5, 6});
  EXPECT_EQ(data(result)[0], 0.0);
  EXPECT_EQ(data(result, 1)[0], -infinity);
  EXPECT_GT(data(result)[1], 0.0);
  // No keys at all, and a score of -inf everywhere, are the same (R4, M2).
  EXPECT_EQ(data(attend("", 1, {}))[0], 0.0);
  Interpretation banned = attend("score(\"log(0.0 * s)\")", 1, {5, 6});
  EXPECT_EQ(data(banned)[0], 0.0);
  EXPECT_EQ(data(banned, 1)[0], -infinity);
}

TEST_F(InterpreterTest, ScoreComesBeforeTheMask) { // S2
  // A score that would turn -inf into something finite never sees one.
  Interpretation result =
      attend("score(\"tanh(s) + j * 1.0\") mask(\"j < 1\")", 1, {0, 0});
  EXPECT_EQ(data(result)[0], 1.0);
  EXPECT_EQ(data(result, 1)[0], 0.0);
}

TEST_F(InterpreterTest, CausalAlignments) { // M3
  // M = 3 > N = 2, bottom-right: row 0 sees nothing.
  Interpretation result = attend("mask(\"causal(bottom_right)\")", 3, {0, 0});
  EXPECT_EQ(data(result), (std::vector<double>{0.0, 1.0, 5.5}));
  result = attend("mask(\"causal(top_left)\")", 3, {0, 0});
  EXPECT_EQ(data(result), (std::vector<double>{1.0, 5.5, 5.5}));
}

TEST_F(InterpreterTest, WindowCountsKeysOnEachSide) { // M4
  Interpretation result =
      attend("mask(\"causal(top_left) and window(1, 0)\")", 3, {0, 0, 0});
  EXPECT_EQ(data(result), (std::vector<double>{1.0, 5.5, 55.0}));
}

TEST_F(InterpreterTest, GroupedHeadsLengthsAndSinks) { // S1, K1, M7
  // Two batch rows, four query heads on two kv heads; v tells which head and
  // key was read.
  Interpretation result = run(
      R"(
    func.func @f(%q: tensor<2x1x4x1xf32>, %k: tensor<2x2x2x1xf32>,
                 %v: tensor<2x2x2x1xf32>, %len: tensor<2xi32>,
                 %sinks: tensor<4xf32>, %o: tensor<2x1x4x1xf32>,
                 %lse: tensor<2x4x1xf32>)
        -> (tensor<2x1x4x1xf32>, tensor<2x4x1xf32>) {
      %r:2 = attn.attention
        ins(%q, %k, %v : tensor<2x1x4x1xf32>, tensor<2x2x2x1xf32>, tensor<2x2x2x1xf32>)
        lengths(%len : tensor<2xi32>) sinks(%sinks : tensor<4xf32>)
        outs(%o, %lse : tensor<2x1x4x1xf32>, tensor<2x4x1xf32>)
        mask("j >= N - 1")
        -> tensor<2x1x4x1xf32>, tensor<2x4x1xf32>
      return %r#0, %r#1 : tensor<2x1x4x1xf32>, tensor<2x4x1xf32>
    })",
      {make({2, 1, 4, 1}, std::vector<double>(8, 0.0)),
       make({2, 2, 2, 1}, {0, 0, 0, 0, 0, 0, nan, nan}),
       make({2, 2, 2, 1}, {1, 2, 3, 4, 5, 6, nan, nan}), integers({2, 1}),
       make({4}, {-infinity, 0, std::log(3.0), -infinity}),
       make({2, 1, 4, 1}, std::vector<double>(8, nan)),
       make({2, 4, 1}, std::vector<double>(8, nan))});
  // Sinks weigh 0, 1, 3, 0 beside the one key's 1.
  std::vector<double> expected = {3, 3.0 / 2, 4.0 / 4, 4,
                                  5, 5.0 / 2, 6.0 / 4, 6};
  ASSERT_EQ(data(result).size(), expected.size());
  for (size_t at = 0; at < expected.size(); ++at)
    EXPECT_NEAR(data(result)[at], expected[at], 1e-14) << at;
  EXPECT_NEAR(data(result, 1)[2], std::log(4.0), 1e-15);
}

TEST_F(InterpreterTest, CapturesAndLayouts) { // M5, S3
  // q as [B, H, D, M]: indexing maps; a slope per head, a document per key and
  // a parameter as captures; -1 and 7 are outside doc and are clamped.
  Interpretation result = run(
      R"(
    func.func @f(%q: tensor<1x2x1x1xf32>, %k: tensor<1x3x2x1xf32>,
                 %v: tensor<1x3x2x1xf32>, %slope: tensor<2xf32>,
                 %doc: tensor<3xi32>, %p: i64, %o: tensor<1x1x2x1xf32>,
                 %lse: tensor<1x2x1xf32>)
        -> (tensor<1x1x2x1xf32>, tensor<1x2x1xf32>) {
      %r:2 = attn.attention
        ins(%q, %k, %v : tensor<1x2x1x1xf32>, tensor<1x3x2x1xf32>, tensor<1x3x2x1xf32>)
        captures(slope = %slope : tensor<2xf32>, doc = %doc : tensor<3xi32>, p = %p : i64)
        outs(%o, %lse : tensor<1x1x2x1xf32>, tensor<1x2x1xf32>)
        score("s + slope[h] * j") mask("doc[j] == p or doc[j - 1] == p + 100 or doc[j + 5] == 200")
        {indexing_maps = [
          affine_map<(b, g, r, m, n, d, e) -> (b, g + r, d, m)>,
          affine_map<(b, g, r, m, n, d, e) -> (b, n, g, d)>,
          affine_map<(b, g, r, m, n, d, e) -> (b, n, g, e)>,
          affine_map<(b, g, r, m, n, d, e) -> (b, m, g + r, e)>,
          affine_map<(b, g, r, m, n, d, e) -> (b, g + r, m)>]}
        -> tensor<1x1x2x1xf32>, tensor<1x2x1xf32>
      return %r#0, %r#1 : tensor<1x1x2x1xf32>, tensor<1x2x1xf32>
    })",
      {make({1, 2, 1, 1}, {0, 1}), make({1, 3, 2, 1}, {0, 0, 0, 0, 0, 0}),
       make({1, 3, 2, 1}, {1, 10, 2, 20, 4, 40}),
       make({2}, {0.0, std::log(2.0)}), integers({7, 8, 7}), int64_t(7),
       make({1, 1, 2, 1}, {nan, nan}), make({1, 2, 1}, {nan, nan})});
  // Keys 0 and 2 attend; head 1 weighs them 1 and 4.
  ASSERT_EQ(data(result).size(), 2u);
  EXPECT_NEAR(data(result)[0], 2.5, 1e-15);
  EXPECT_NEAR(data(result)[1], (10.0 + 4 * 40.0) / 5, 1e-13);
}

TEST_F(InterpreterTest, ATileSpeaksOfTheWholeProblem) {
  Interpretation result = run(
      R"(
    func.func @f(%q: tensor<1x1x1x1xf32>, %k: tensor<1x4x1x1xf32>,
                 %o: tensor<1x1x1x1xf32>) -> tensor<1x1x1x1xf32> {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %c2 = arith.constant 2 : index
      %c4 = arith.constant 4 : index
      %r = attn.attention
        ins(%q, %k, %k : tensor<1x1x1x1xf32>, tensor<1x4x1x1xf32>, tensor<1x4x1x1xf32>)
        origin(%c0, %c0, %c2, %c0) extents(%c1, %c1, %c1, %c4, %c4)
        outs(%o : tensor<1x1x1x1xf32>)
        mask("j == i and M == 4") -> tensor<1x1x1x1xf32>
      return %r : tensor<1x1x1x1xf32>
    })",
      {make({1, 1, 1, 1}, {0}), make({1, 4, 1, 1}, {1, 2, 3, 4}),
       make({1, 1, 1, 1}, {nan})});
  EXPECT_EQ(data(result), (std::vector<double>{3.0}));
}

TEST_F(InterpreterTest, RopeStyles) { // P1
  const char *text = R"(
    func.func @f(%x: tensor<1x2x1x6xf32>, %off: i64) -> tensor<1x2x1x6xf32> {
      %e = tensor.empty() : tensor<1x2x1x6xf32>
      %r = attn.rope ins(%x : tensor<1x2x1x6xf32>) offset(%off : i64)
        outs(%e : tensor<1x2x1x6xf32>)
        {base = 100.0 : f64, rotary_dim = 4 : i64, style = #attn.rope_style<STYLE>}
        -> tensor<1x2x1x6xf32>
      return %r : tensor<1x2x1x6xf32>
    })";
  auto rotated = [&](StringRef style) {
    std::string body(text);
    body.replace(body.find("STYLE"), 5, style.str());
    return data(
        run(body, {make({1, 2, 1, 6}, {1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6}),
                   int64_t(2)}));
  };
  // Row 1 is at position 3; frequencies 1 and 0.1.
  double c0 = std::cos(3.0), s0 = std::sin(3.0), c1 = std::cos(0.3),
         s1 = std::sin(0.3);
  std::vector<double> neox = rotated("neox"), pairs = rotated("interleaved");
  ASSERT_EQ(neox.size(), 12u);
  std::vector<double> expectedNeox = {
      c0 - 3 * s0, 2 * c1 - 4 * s1, 3 * c0 + s0, 4 * c1 + 2 * s1, 5, 6};
  std::vector<double> expectedPairs = {
      c0 - 2 * s0, 2 * c0 + s0, 3 * c1 - 4 * s1, 4 * c1 + 3 * s1, 5, 6};
  ASSERT_EQ(pairs.size(), 12u);
  for (int d = 0; d < 6; ++d) {
    EXPECT_NEAR(neox[6 + d], expectedNeox[d], 1e-14) << d;
    EXPECT_NEAR(pairs[6 + d], expectedPairs[d], 1e-14) << d;
  }
}

TEST_F(InterpreterTest, RopePositionsPerRowAndMagnitude) { // P1
  Interpretation result = run(
      R"(
    func.func @f(%x: tensor<2x1x1x2xf32>, %p: tensor<2x1xi32>, %n: i64)
        -> tensor<2x1x1x2xf32> {
      %e = tensor.empty() : tensor<2x1x1x2xf32>
      %r = attn.rope ins(%x : tensor<2x1x1x2xf32>) positions(%p : tensor<2x1xi32>)
        length(%n : i64) outs(%e : tensor<2x1x1x2xf32>)
        {base = 100.0 : f64, style = #attn.rope_style<neox>,
         scaling = #attn.rope_scaling<kind = longrope, original_length = 10,
           attention_factor = 2.0, short_factor = [1.0],
           long_factor = [5.0]>}
        -> tensor<2x1x1x2xf32>
      return %r : tensor<2x1x1x2xf32>
    })",
      {make({2, 1, 1, 2}, {1, 0, 1, 0}),
       make({2, 1}, {0, 10}, IntegerType::get(&context, 32)), int64_t(11)});
  std::vector<double> expected = {2, 0, 2 * std::cos(2.0), 2 * std::sin(2.0)};
  ASSERT_EQ(data(result).size(), 4u);
  for (int d = 0; d < 4; ++d)
    EXPECT_NEAR(data(result)[d], expected[d], 1e-14) << d;
}

TEST_F(InterpreterTest, RopeLengthPerBatchRow) { // P1
  Interpretation result = run(
      R"(
    func.func @f(%x: tensor<3x1x1x2xf32>, %p: tensor<3xi64>, %n: tensor<3xi32>)
        -> tensor<3x1x1x2xf32> {
      %r = attn.rope ins(%x : tensor<3x1x1x2xf32>) offset(%p : tensor<3xi64>)
        length(%n : tensor<3xi32>) outs(%x : tensor<3x1x1x2xf32>)
        {base = 100.0 : f64, style = #attn.rope_style<neox>,
         scaling = #attn.rope_scaling<kind = longrope, original_length = 10,
           attention_factor = 1.0, short_factor = [1.0],
           long_factor = [5.0]>}
        -> tensor<3x1x1x2xf32>
      return %r : tensor<3x1x1x2xf32>
    })",
      {make({3, 1, 1, 2}, {1, 0, 1, 0, 1, 0}),
       make({3}, {1, 2, 3}, IntegerType::get(&context, 64)),
       make({3}, {10, 11, -5}, IntegerType::get(&context, 32))});
  std::vector<double> expected = {std::cos(1.0), std::sin(1.0), std::cos(0.4),
                                  std::sin(0.4), std::cos(3.0), std::sin(3.0)};
  ASSERT_EQ(data(result).size(), 6u);
  for (int d = 0; d < 6; ++d)
    EXPECT_NEAR(data(result)[d], expected[d], 1e-14) << d;
}

TEST_F(InterpreterTest, RmsNorm) {
  Interpretation result = run(
      R"(
    func.func @f(%x: tensor<2x2xf32>, %w: tensor<2xf32>) -> (tensor<2x2xf32>, tensor<2x2xf32>) {
      %e = tensor.empty() : tensor<2x2xf32>
      %r = attn.rms_norm ins(%x : tensor<2x2xf32>) weight(%w : tensor<2xf32>)
        outs(%e : tensor<2x2xf32>) {eps = 0.5 : f64, unit_offset} -> tensor<2x2xf32>
      %p = attn.rms_norm ins(%x : tensor<2x2xf32>)
        outs(%e : tensor<2x2xf32>) {eps = 0.0 : f64} -> tensor<2x2xf32>
      return %r, %p : tensor<2x2xf32>, tensor<2x2xf32>
    })",
      {make({2, 2}, {1, 7, 3, 3}), make({2}, {1, 9})});
  double norm = std::sqrt(25.5);
  std::vector<double> expected = {2 / norm, 70 / norm};
  ASSERT_EQ(data(result).size(), 4u);
  EXPECT_NEAR(data(result)[0], expected[0], 1e-15);
  EXPECT_NEAR(data(result)[1], expected[1], 1e-14);
  EXPECT_NEAR(data(result, 1)[2], 1.0, 1e-15);
}

TEST_F(InterpreterTest, AppendRoundsAndStaysInside) { // K3
  Type bf16 = BFloat16Type::get(&context);
  Interpretation result = run(
      R"(
    func.func @f(%x: tensor<2x2x1x1xbf16>, %past: tensor<2xi32>,
                 %c: tensor<2x3x1x1xbf16>) -> tensor<2x3x1x1xbf16> {
      %r = attn.append ins(%x : tensor<2x2x1x1xbf16>) past(%past : tensor<2xi32>)
        outs(%c : tensor<2x3x1x1xbf16>) -> tensor<2x3x1x1xbf16>
      return %r : tensor<2x3x1x1xbf16>
    })",
      {make({2, 2, 1, 1}, {257, 2, 3, 4}, bf16), integers({2, 1}),
       make({2, 3, 1, 1}, {9, 9, 9, 9, 9, 9}, bf16)});
  EXPECT_EQ(data(result), (std::vector<double>{9, 9, 256, 9, 3, 4}));
}

TEST_F(InterpreterTest, AttentionReadsTheCacheThatWasWritten) { // K3
  Type bf16 = BFloat16Type::get(&context);
  // 257 lies between 256 and 258, and 256 is even; a kernel may say 258.
  StringRef text = R"(
    func.func @f(%q: tensor<1x1x1x1xf32>, %x: tensor<1x1x1x1xbf16>,
                 %past: tensor<1xi32>, %c: tensor<1x3x1x1xbf16>,
                 %o: tensor<1x1x1x1xbf16>)
        -> (tensor<1x3x1x1xbf16>, tensor<1x1x1x1xbf16>) {
      %v = attn.append ins(%x : tensor<1x1x1x1xbf16>) past(%past : tensor<1xi32>)
        outs(%c : tensor<1x3x1x1xbf16>) -> tensor<1x3x1x1xbf16>
      %r = attn.attention
        ins(%q, %v, %v : tensor<1x1x1x1xf32>, tensor<1x3x1x1xbf16>, tensor<1x3x1x1xbf16>)
        outs(%o : tensor<1x1x1x1xbf16>) mask("j == 1") -> tensor<1x1x1x1xbf16>
      return %v, %r : tensor<1x3x1x1xbf16>, tensor<1x1x1x1xbf16>
    })";
  SmallVector<RuntimeValue> arguments = {
      make({1, 1, 1, 1}, {1}), make({1, 1, 1, 1}, {257}, bf16), integers({1}),
      make({1, 3, 1, 1}, {9, nan, 9}, bf16), make({1, 1, 1, 1}, {0}, bf16)};
  Interpretation own = run(text, arguments, {.errorSums = true});
  EXPECT_EQ(data(own), (std::vector<double>{9, 256, 9}));
  EXPECT_EQ(data(own, 1)[0], 256);
  EXPECT_EQ(own.appended[0]->data, (std::vector<double>{-1, 257, -1}));
  EXPECT_FALSE(own.appended[1]);
  Tensor written = make({1, 3, 1, 1}, {9, 258, 9}, bf16);
  Interpretation given =
      run(text, arguments, {.errorSums = true, .written = {&written, nullptr}});
  EXPECT_EQ(data(given), (std::vector<double>{9, 256, 9}));
  EXPECT_EQ(data(given, 1)[0], 258);
  written.shape = {3, 1, 1, 1};
  auto refused = tryRun(text, arguments, {.written = {&written, nullptr}});
  ASSERT_FALSE(bool(refused));
  EXPECT_EQ(toString(refused.takeError()),
            "attn.append: what was written must have the cache's shape");
}

TEST_F(InterpreterTest, PartialMergeFinalizeGiveAttention) { // R2, M2
  // Four keys in two parts, the second of which is empty for row 0; rows are
  // folded with group 2, and the last tile row lies beyond the problem.
  Interpretation result = run(
      R"(
    func.func @f(%q: tensor<3x1xf32>, %k: tensor<2x1xf32>, %v: tensor<2x1xf32>,
                 %acc: tensor<3x1xf32>, %max: tensor<3xf32>, %sum: tensor<3xf32>,
                 %sinks: tensor<3xf32>)
        -> (tensor<3x1xf32>, tensor<3xf32>) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %c2 = arith.constant 2 : index
      %c4 = arith.constant 4 : index
      %a:3 = attn.partial ins(%q, %k, %v : tensor<3x1xf32>, tensor<2x1xf32>, tensor<2x1xf32>)
        at(%c0, %c1, %c2, %c0) extents(%c1, %c2, %c4)
        outs(%acc, %max, %sum : tensor<3x1xf32>, tensor<3xf32>, tensor<3xf32>)
        {scale = 1.0 : f64, group = 2 : i64, kv_heads = 2 : i64}
        -> tensor<3x1xf32>, tensor<3xf32>, tensor<3xf32>
      %b:3 = attn.partial ins(%q, %k, %v : tensor<3x1xf32>, tensor<2x1xf32>, tensor<2x1xf32>)
        at(%c0, %c1, %c2, %c2) extents(%c1, %c2, %c4)
        outs(%acc, %max, %sum : tensor<3x1xf32>, tensor<3xf32>, tensor<3xf32>)
        mask("h == 3 and i == 1 and j >= 2 and H == 4 and G == 2")
        {scale = 1.0 : f64, group = 2 : i64, kv_heads = 2 : i64}
        -> tensor<3x1xf32>, tensor<3xf32>, tensor<3xf32>
      %m:3 = attn.merge ins(%b#0, %b#1, %b#2 : tensor<3x1xf32>, tensor<3xf32>, tensor<3xf32>)
        outs(%a#0, %a#1, %a#2 : tensor<3x1xf32>, tensor<3xf32>, tensor<3xf32>)
        -> tensor<3x1xf32>, tensor<3xf32>, tensor<3xf32>
      %eo = tensor.empty() : tensor<3x1xf32>
      %el = tensor.empty() : tensor<3xf32>
      %r:2 = attn.finalize ins(%m#0, %m#1, %m#2 : tensor<3x1xf32>, tensor<3xf32>, tensor<3xf32>)
        sinks(%sinks : tensor<3xf32>)
        outs(%eo, %el : tensor<3x1xf32>, tensor<3xf32>) -> tensor<3x1xf32>, tensor<3xf32>
      return %r#0, %r#1 : tensor<3x1xf32>, tensor<3xf32>
    })",
      {make({3, 1}, {1, 1, nan}), make({2, 1}, {0, std::log(3.0)}),
       make({2, 1}, {1, 5}), make({3, 1}, {0, 0, 0}),
       make({3}, {-infinity, -infinity, -infinity}), make({3}, {0, 0, 0}),
       make({3}, {-infinity, std::log(2.0), -infinity})});
  // Row 0: (1 + 3 * 5) / 4; row 1: the same keys twice, and a sink of 2.
  ASSERT_EQ(data(result).size(), 3u);
  EXPECT_NEAR(data(result)[0], 4.0, 1e-14);
  EXPECT_NEAR(data(result)[1], 32.0 / 10.0, 1e-14);
  EXPECT_EQ(data(result)[2], 0.0);
  EXPECT_NEAR(data(result, 1)[0], std::log(4.0), 1e-15);
  EXPECT_NEAR(data(result, 1)[1], std::log(10.0), 1e-15);
  EXPECT_EQ(data(result, 1)[2], -infinity);
}

TEST_F(InterpreterTest, RefusesSumsOfTerms) {
  Tensor row = make({1}, {0});
  auto refused = tryRun(
      R"(
    func.func @f(%q: tensor<2x1x1xf32>, %k: tensor<1x1xf32>, %acc: tensor<1x1xf32>,
                 %row: tensor<1xf32>) -> tensor<1x1xf32> {
      %c0 = arith.constant 0 : index
      %r:3 = attn.partial ins(%q, %k, %k : tensor<2x1x1xf32>, tensor<1x1xf32>, tensor<1x1xf32>)
        at(%c0, %c0, %c0, %c0) extents(%c0, %c0, %c0)
        outs(%acc, %row, %row : tensor<1x1xf32>, tensor<1xf32>, tensor<1xf32>)
        {scale = 1.0 : f64, group = 1 : i64, kv_heads = 1 : i64,
         indexing_maps = [affine_map<(m, n, d, e) -> (0, m, d)>, affine_map<(m, n, d, e) -> (n, d)>,
                          affine_map<(m, n, d, e) -> (n, e)>, affine_map<(m, n, d, e) -> (m, e)>]}
        -> tensor<1x1xf32>, tensor<1xf32>, tensor<1xf32>
      return %r#0 : tensor<1x1xf32>
    })",
      {make({2, 1, 1}, {1, 2}), make({1, 1}, {1}), make({1, 1}, {0}), row});
  ASSERT_FALSE(bool(refused));
  EXPECT_EQ(toString(refused.takeError()),
            "attn.partial: the reference reads no sums of terms");
}

TEST_F(InterpreterTest, GatherAndScatterFoldRows) {
  Interpretation result = run(
      R"(
    func.func @f(%x: tensor<1x2x4x1xf32>, %y: tensor<1x2x4x1xf32>, %l: tensor<1x4x2xf32>)
        -> (tensor<4x1xf32>, tensor<1x2x4x1xf32>, tensor<1x4x2xf32>) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %c3 = arith.constant 3 : index
      %e = tensor.empty() : tensor<4x1xf32>
      %t = attn.gather_rows %x at(%c0, %c1, %c1) rows(%c3) outs(%e : tensor<4x1xf32>)
        {group = 2 : i64} : tensor<1x2x4x1xf32> -> tensor<4x1xf32>
      %s = attn.scatter_rows %t at(%c0, %c1, %c1) rows(%c3) outs(%y : tensor<1x2x4x1xf32>)
        {group = 2 : i64} : tensor<4x1xf32> -> tensor<1x2x4x1xf32>
      %v = arith.constant dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>
      %ls = attn.scatter_rows %v at(%c0, %c1, %c1) rows(%c3) outs(%l : tensor<1x4x2xf32>)
        {group = 2 : i64} : tensor<4xf32> -> tensor<1x4x2xf32>
      return %t, %s, %ls : tensor<4x1xf32>, tensor<1x2x4x1xf32>, tensor<1x4x2xf32>
    })",
      {make({1, 2, 4, 1}, {0, 1, 2, 3, 10, 11, 12, 13}),
       make({1, 2, 4, 1}, {7, 7, 7, 7, 7, 7, 7, 7}),
       make({1, 4, 2}, {7, 7, 7, 7, 7, 7, 7, 7})});
  // Folded rows 1, 2, 3 of kv head 1: (i 0, h 3), (i 1, h 2), (i 1, h 3).
  EXPECT_EQ(data(result), (std::vector<double>{3, 12, 13, 0}));
  EXPECT_EQ(data(result, 1), (std::vector<double>{7, 7, 7, 3, 7, 7, 12, 13}));
  EXPECT_EQ(data(result, 2), (std::vector<double>{7, 7, 7, 7, 7, 2, 1, 3}));
}

TEST_F(InterpreterTest, LengthsFromAGeneric) {
  Interpretation result = run(
      R"(
    #map = affine_map<(d0) -> (d0)>
    func.func @f(%past: tensor<?xi32>, %x: tensor<?x5xf32>)
        -> (tensor<?xi32>, tensor<?xi64>) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %b = tensor.dim %past, %c0 : tensor<?xi32>
      %m = tensor.dim %x, %c1 : tensor<?x5xf32>
      %m32 = arith.index_cast %m : index to i32
      %e = tensor.empty(%b) : tensor<?xi32>
      %n = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel"]}
          ins(%past : tensor<?xi32>) outs(%e : tensor<?xi32>) {
      ^bb0(%p: i32, %o: i32):
        %s = arith.addi %p, %m32 : i32
        linalg.yield %s : i32
      } -> tensor<?xi32>
      %g = tensor.generate %b {
      ^bb0(%at: index):
        %p = tensor.extract %past[%at] : tensor<?xi32>
        %w = arith.extsi %p : i32 to i64
        tensor.yield %w : i64
      } : tensor<?xi64>
      return %n, %g : tensor<?xi32>, tensor<?xi64>
    })",
      {integers({3, 0, 8}), make({3, 5}, std::vector<double>(15, 0.0))});
  EXPECT_EQ(data(result), (std::vector<double>{8, 5, 13}));
  EXPECT_EQ(data(result, 1), (std::vector<double>{3, 0, 8}));
}

TEST_F(InterpreterTest, ScalarArithmetic) {
  auto evaluate = [&](const std::string &op, int64_t a, int64_t b,
                      const char *type) {
    std::string t(type);
    Interpretation result =
        run("func.func @f(%a: " + t + ", %b: " + t + ") -> " + t +
                " { %r = " + op + " %a, %b : " + t + " return %r : " + t + " }",
            {a, b});
    return result.results.empty() ? -999 : std::get<int64_t>(result.results[0]);
  };
  constexpr int64_t least = std::numeric_limits<int64_t>::min();
  EXPECT_EQ(evaluate("arith.floordivsi", -7, 2, "i64"), -4);
  EXPECT_EQ(evaluate("arith.floordivsi", 7, -2, "i64"), -4);
  EXPECT_EQ(evaluate("arith.floordivsi", -8, 2, "i64"), -4);
  EXPECT_EQ(evaluate("arith.floordivsi", least, -1, "i64"), least);
  EXPECT_EQ(evaluate("arith.ceildivsi", 7, 2, "i64"), 4);
  EXPECT_EQ(evaluate("arith.ceildivsi", -7, 2, "i64"), -3);
  EXPECT_EQ(evaluate("arith.divsi", -7, 2, "i64"), -3);
  EXPECT_EQ(evaluate("arith.remsi", -7, 2, "i64"), -1);
  EXPECT_EQ(evaluate("arith.muli", 1 << 20, 1 << 12, "i32"), 0);
  EXPECT_EQ(evaluate("arith.addi", 2147483647, 1, "i32"), -2147483648LL);
  EXPECT_EQ(evaluate("arith.shrsi", -8, 1, "i64"), -4);
  EXPECT_EQ(evaluate("arith.shrui", -1, 60, "i64"), 15);
  EXPECT_EQ(evaluate("arith.maxui", -1, 5, "i64"), -1);
  EXPECT_EQ(evaluate("arith.minsi", -1, 5, "i64"), -1);
  EXPECT_EQ(evaluate("arith.xori", 1, 1, "i1"), 0);
}

TEST_F(InterpreterTest, RefusesWhatDoesNotFit) {
  const char *body = R"(
    func.func @f(%q: tensor<1x?x1x1xf32>, %k: tensor<1x?x1x1xf32>, %v: tensor<1x?x1x1xf32>,
                 %o: tensor<1x?x1x1xf32>) -> tensor<1x?x1x1xf32> {
      %r = attn.attention
        ins(%q, %k, %v : tensor<1x?x1x1xf32>, tensor<1x?x1x1xf32>, tensor<1x?x1x1xf32>)
        outs(%o : tensor<1x?x1x1xf32>) -> tensor<1x?x1x1xf32>
      return %r : tensor<1x?x1x1xf32>
    })";
  Tensor one = make({1, 1, 1, 1}, {0}), two = make({1, 2, 1, 1}, {0, 0});
  auto message = [&](ArrayRef<RuntimeValue> arguments) {
    llvm::Expected<Interpretation> result = tryRun(body, arguments);
    return result ? "none" : toString(result.takeError());
  };
  EXPECT_EQ(message({one, two, two, one}), "none");
  EXPECT_EQ(message({one, two, one, one}),
            "attn.attention: k and v differ in key length (rule S1)");
  EXPECT_EQ(message({one, two, two, two}),
            "attn.attention: q and the outputs differ in rows (rule R2)");
  EXPECT_EQ(message({one, two, two}), "func.func: takes 4 arguments, got 3");
  EXPECT_EQ(message({int64_t(1), two, two, one}),
            "argument 0 must be a tensor");
  EXPECT_EQ(message({make({1, 1, 1}, {0}), two, two, one}),
            "argument 0 must have rank 4");
  EXPECT_EQ(message({one, make({2, 1, 1, 1}, {0, 0}), two, one}),
            "argument 1 has an extent of 2 where 1 is fixed");
  EXPECT_EQ(message({one, make({1, 1, 1, 1}, {0}, Float64Type::get(&context)),
                     two, one}),
            "argument 1 has another element type");
  EXPECT_EQ(
      toString(tryRun("func.func @f(%a: tensor<2xf32>) -> tensor<2xf32> {"
                      "  %r = tensor.cast %a : tensor<2xf32> to tensor<?xf32>"
                      "  %s = tensor.cast %r : tensor<?xf32> to tensor<2xf32>"
                      "  return %s : tensor<2xf32> }",
                      {make({2}, {0, 0})})
                   .takeError()),
      "the reference does not interpret 'tensor.cast'");
}

} // namespace
