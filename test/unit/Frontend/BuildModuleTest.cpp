// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The module that a spec becomes: its interface, and what it computes, by the
// reference interpreter.

#include "SpecFixture.h"
#include "compiler/Reference/Interpreter.h"
#include "mlir/IR/MLIRContext.h"
#include <cmath>
#include <gtest/gtest.h>

using namespace mlir;
using namespace fovea::frontend;
using namespace fovea::reference;

namespace {

class BuildModuleTest : public ::testing::Test {
protected:
  func::FuncOp build(const std::string &text) {
    Parsed parsed = parse(text);
    EXPECT_TRUE(parsed.spec) << parsed.log;
    if (!parsed.spec)
      return {};
    module = buildModule(context, *parsed.spec);
    EXPECT_TRUE(module);
    return module ? *module->getOps<func::FuncOp>().begin() : func::FuncOp();
  }

  /// "name role type" per argument; parameters with their default.
  std::string interfaceOf(func::FuncOp function) {
    std::string text;
    llvm::raw_string_ostream os(text);
    for (unsigned index = 0; index < function.getNumArguments(); ++index) {
      os << function.getArgAttrOfType<StringAttr>(index, "attn.name").str()
         << " "
         << function.getArgAttrOfType<StringAttr>(index, "attn.role").str();
      if (function.getArgAttr(index, "attn.optional"))
        os << " optional";
      if (Attribute dims = function.getArgAttr(index, "attn.dims"))
        os << " " << dims;
      if (Attribute value = function.getArgAttr(index, "attn.default"))
        os << " " << value;
      os << " " << function.getArgument(index).getType() << "\n";
    }
    os << function->getAttr("attn.symbols") << "\n";
    return text;
  }

  Tensor make(ArrayRef<int64_t> shape, std::vector<double> data,
              Type type = {}) {
    return {SmallVector<int64_t>(shape),
            type ? type : Type(Float32Type::get(&context)), std::move(data)};
  }
  Tensor zeros(ArrayRef<int64_t> shape) {
    int64_t count = 1;
    for (int64_t extent : shape)
      count *= extent;
    return make(shape, std::vector<double>(count, 0.0));
  }
  Type i32() { return IntegerType::get(&context, 32); }

  SmallVector<Tensor> run(func::FuncOp function,
                          ArrayRef<RuntimeValue> arguments) {
    llvm::Expected<Interpretation> result = interpret(function, arguments);
    if (!result) {
      ADD_FAILURE() << toString(result.takeError());
      return {};
    }
    SmallVector<Tensor> tensors;
    for (RuntimeValue &value : result->results)
      tensors.push_back(std::get<Tensor>(value));
    return tensors;
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
};

TEST_F(BuildModuleTest, PlainInterface) {
  func::FuncOp function = build("name: plain\ndtype: bf16\n"
                                "heads: {query: 4, kv: 2}\n"
                                "head_dim: {qk: 8, v: 6}\nquery_len: 3\n"
                                "params: {w: -2, x: null}\n"
                                "mask: window(w, x) and causal(top_left)\n");
  EXPECT_EQ(function.getName(), "plain");
  EXPECT_EQ(interfaceOf(function),
            "q input [\"B\", 3, 4, 8] tensor<?x3x4x8xbf16>\n"
            "k input [\"B\", \"N\", 2, 8] tensor<?x?x2x8xbf16>\n"
            "v input [\"B\", \"N\", 2, 6] tensor<?x?x2x6xbf16>\n"
            "o output [\"B\", 3, 4, 6] tensor<?x3x4x6xbf16>\n"
            "lse output optional [\"B\", 4, 3] tensor<?x4x3xf32>\n"
            "w param -2 : i64 i64\n"
            "x param i64\n"
            "[\"B\", \"N\"]\n");
  EXPECT_EQ(function.getNumResults(), 2u);
}

TEST_F(BuildModuleTest, FullInterface) {
  func::FuncOp function =
      build("name: full\ndtype: f64\nheads: {query: 4, kv: 2}\nhead_dim: 8\n"
            "rope: {style: neox, positions: explicit}\n"
            "qk_norm: {}\nsinks: true\nkv_cache: {}\n"
            "inputs: {len: i64[B], slope: f32[H]}\n"
            "score: s + slope[h]\nmask: j < len[b]\n");
  EXPECT_EQ(interfaceOf(function),
            "q input [\"B\", \"M\", 4, 8] tensor<?x?x4x8xf64>\n"
            "k input [\"B\", \"M\", 2, 8] tensor<?x?x2x8xf64>\n"
            "v input [\"B\", \"M\", 2, 8] tensor<?x?x2x8xf64>\n"
            "past input [\"B\"] tensor<?xi32>\n"
            "q_norm_weight input [8] tensor<8xf64>\n"
            "k_norm_weight input [8] tensor<8xf64>\n"
            "sinks input [4] tensor<4xf64>\n"
            "positions input [\"B\", \"M\"] tensor<?x?xi32>\n"
            "len input [\"B\"] tensor<?xi64>\n"
            "slope input [4] tensor<4xf32>\n"
            "o output [\"B\", \"M\", 4, 8] tensor<?x?x4x8xf64>\n"
            "lse output optional [\"B\", 4, \"M\"] tensor<?x4x?xf64>\n"
            "k_cache inout [\"B\", \"C\", 2, 8] tensor<?x?x2x8xf64>\n"
            "v_cache inout [\"B\", \"C\", 2, 8] tensor<?x?x2x8xf64>\n"
            "[\"B\", \"M\", \"C\"]\n");
  EXPECT_EQ(function.getNumResults(), 4u);
}

TEST_F(BuildModuleTest, Precision) { // S8
  for (auto [text, precision] :
       {std::pair("", fovea::attn::Precision::Full),
        std::pair("precision: bf16x6\n", fovea::attn::Precision::BF16x6)})
    build(basics + text).walk([&](fovea::attn::AttentionOp op) {
      EXPECT_EQ(op.getPrecision(), precision);
    });
}

TEST_F(BuildModuleTest, MaskKeepsItsPlaceInTheSpec) {
  func::FuncOp function = build(basics + "mask: j < 3\n");
  auto loc = dyn_cast<FileLineColLoc>(function.getLoc());
  ASSERT_TRUE(loc);
  EXPECT_EQ(loc.getFilename().str(), "s.yaml");
  EXPECT_EQ(loc.getLine(), 5u);
  EXPECT_EQ(loc.getColumn(), 7u);
}

const std::string tiny = "name: f\ndtype: f32\nheads: 1\nhead_dim: 2\n"
                         "scale: 1\noutputs: [o, lse]\n";

/// RoPE turns q and k so that the score of one attended pair is the cosine of
/// the angle between their positions (frequency 1), and lse is that score.
class RopePositions : public BuildModuleTest {
protected:
  double angle(const std::string &text, int64_t rows, int64_t keys,
               ArrayRef<RuntimeValue> extra = {},
               ArrayRef<RuntimeValue> params = {}) {
    func::FuncOp function = build(tiny + "rope: {style: neox}\n" + text);
    auto unit = [&](int64_t count) {
      Tensor tensor = zeros({1, count, 1, 2});
      for (int64_t row = 0; row < count; ++row)
        tensor.data[2 * row] = 1.0;
      return tensor;
    };
    SmallVector<RuntimeValue> arguments = {unit(rows), unit(keys), unit(keys)};
    llvm::append_range(arguments, extra);
    arguments.push_back(zeros({1, rows, 1, 2}));
    arguments.push_back(zeros({1, 1, rows}));
    llvm::append_range(arguments, params);
    SmallVector<Tensor> results = run(function, arguments);
    return results.size() == 2 ? results[1].data[0] : NAN;
  }
};

TEST_F(RopePositions, FollowTheMask) { // M3, P1
  // Query 0 of 2 against key 0 alone.
  EXPECT_NEAR(angle("mask: causal(top_left)\n", 2, 5), 1.0, 1e-15);
  EXPECT_NEAR(angle("mask: causal(bottom_right) and j == 0\n", 2, 5),
              std::cos(3.0), 1e-15);
  EXPECT_NEAR(angle("mask: causal(offset(4)) and j == 0\n", 2, 5),
              std::cos(4.0), 1e-15);
  EXPECT_NEAR(angle("mask: j == 2\n", 2, 5), std::cos(2.0), 1e-15);
  EXPECT_NEAR(angle("params: {p: 9}\n"
                    "mask: causal(offset(2 * p + N - M - H)) and j == 1\n",
                    2, 5, {}, {int64_t(2)}),
              std::cos(5.0), 1e-14);
  EXPECT_NEAR(angle("inputs: {at: i32[B]}\n"
                    "mask: causal(offset(at[b])) and j == 1\n",
                    2, 5, {make({1}, {3}, i32())}),
              std::cos(2.0), 1e-14);
}

TEST_F(BuildModuleTest, ExplicitPositions) {
  func::FuncOp function =
      build(tiny + "rope: {style: neox, positions: explicit}\n");
  SmallVector<Tensor> results =
      run(function,
          {make({1, 1, 1, 2}, {1, 0}), make({1, 1, 1, 2}, {1, 0}),
           make({1, 1, 1, 2}, {3, 4}), make({1, 1}, {7}, i32()),
           make({1, 1}, {5}, i32()), zeros({1, 1, 1, 2}), zeros({1, 1, 1})});
  ASSERT_EQ(results.size(), 2u);
  EXPECT_NEAR(results[1].data[0], std::cos(2.0), 1e-15);
}

TEST_F(BuildModuleTest, NormGoesBeforeRope) {
  func::FuncOp function =
      build(tiny + "qk_norm: {eps: 0}\nmask: causal(top_left)\n");
  SmallVector<Tensor> results = run(
      function, {make({1, 1, 1, 2}, {3, 3}), make({1, 1, 1, 2}, {5, -5}),
                 make({1, 1, 1, 2}, {1, 2}), make({2}, {2, 3}),
                 make({2}, {1, 10}), zeros({1, 1, 1, 2}), zeros({1, 1, 1})});
  ASSERT_EQ(results.size(), 2u);
  // (1, 1) * (2, 3) against (1, -1) * (1, 10).
  EXPECT_NEAR(results[1].data[0], 2.0 - 30.0, 1e-13);
}

TEST_F(BuildModuleTest, CacheAppendsAndMasksByItsLength) { // K1, K3
  func::FuncOp function =
      build(tiny + "kv_cache: {}\nrope: {style: neox}\n"
                   "mask: causal(bottom_right) and j >= N - 2\n");
  // Row 0 holds nothing, row 1 holds two tokens; two new tokens come to both.
  Type f32 = Float32Type::get(&context);
  Tensor cache = make({2, 4, 1, 2}, std::vector<double>(16, NAN), f32);
  Tensor values = cache;
  for (int64_t token : {0, 1})
    for (int64_t d : {0, 1}) {
      cache.at({1, token, 0, d}) = 0.0;
      values.at({1, token, 0, d}) = 100.0;
    }
  SmallVector<Tensor> results =
      run(function, {make({2, 2, 1, 2}, {0, 0, 0, 0, 0, 0, 0, 0}),
                     make({2, 2, 1, 2}, {1, 0, 1, 0, 1, 0, 1, 0}),
                     make({2, 2, 1, 2}, {1, 1, 3, 3, 5, 5, 7, 7}),
                     make({2}, {0, 2}, i32()), zeros({2, 2, 1, 2}),
                     zeros({2, 1, 2}), cache, values});
  ASSERT_EQ(results.size(), 4u);
  // Row 0: N = 2, so the window is all; row 1: N = 4, the two new tokens.
  std::vector<double> expected = {1, 1, 2, 2, 5, 5, 6, 6};
  for (size_t at = 0; at < expected.size(); ++at)
    EXPECT_NEAR(results[0].data[at], expected[at], 1e-14) << at;
  EXPECT_EQ(results[3].at({1, 2, 0, 0}), 5.0);
  EXPECT_EQ(results[3].at({1, 0, 0, 0}), 100.0);
  EXPECT_TRUE(std::isnan(results[3].at({0, 2, 0, 0})));
  // New keys are rotated by past[b] + i.
  EXPECT_NEAR(results[2].at({0, 1, 0, 0}), std::cos(1.0), 1e-7);
  EXPECT_NEAR(results[2].at({1, 1, 0, 0}), 0.0, 0.0);
  EXPECT_NEAR(results[2].at({1, 3, 0, 1}), std::sin(3.0), 1e-7);
}

// Each batch row has the frequencies of its own length past[b] + M; what the
// cache holds stays as it was rotated.
TEST_F(BuildModuleTest, LengthOfScalingWithACache) { // P1, K3
  func::FuncOp function = build(
      tiny + "kv_cache: {}\nrope: {style: neox, scaling: {type: longrope, "
             "original_length: 3, short_factor: [1], long_factor: [4], "
             "attention_factor: 1}}\nmask: j == 0 or j == 2\n");
  Tensor cache = make({2, 4, 1, 2}, std::vector<double>(16, 0.0),
                      Float32Type::get(&context));
  cache.at({0, 0, 0, 0}) = cache.at({1, 0, 0, 0}) = 1.0;
  // Lengths 3, which is short, and 4, which is long; queries at 2 and 3.
  SmallVector<Tensor> results =
      run(function,
          {make({2, 1, 1, 2}, {1, 0, 1, 0}), make({2, 1, 1, 2}, {1, 0, 1, 0}),
           zeros({2, 1, 1, 2}), make({2}, {2, 3}, i32()), zeros({2, 1, 1, 2}),
           zeros({2, 1, 1}), cache, cache});
  ASSERT_EQ(results.size(), 4u);
  EXPECT_NEAR(results[2].at({0, 2, 0, 0}), std::cos(2.0), 1e-7);
  EXPECT_NEAR(results[2].at({1, 3, 0, 0}), std::cos(3.0 / 4.0), 1e-7);
  EXPECT_EQ(results[2].at({1, 0, 0, 0}), 1.0);
  // Row 0 attends to the old key 0 and to itself; row 1 to keys 0 and 2, of
  // which the second is zero.
  EXPECT_NEAR(results[1].data[0], std::log(std::exp(std::cos(2.0)) + M_E),
              1e-7);
  EXPECT_NEAR(results[1].data[1], std::log(std::exp(std::cos(0.75)) + 1.0),
              1e-7);
}

TEST_F(BuildModuleTest, ScoreSinksAndLengths) {
  func::FuncOp function = build(tiny + "sinks: true\ninputs: {len: i32[B]}\n"
                                       "score: s + j\nmask: j < len[b]\n");
  SmallVector<Tensor> results = run(
      function, {zeros({1, 1, 1, 2}), zeros({1, 3, 1, 2}),
                 make({1, 3, 1, 2}, {1, 1, 1, 1, NAN, NAN}), make({1}, {0.0}),
                 make({1}, {2}, i32()), zeros({1, 1, 1, 2}), zeros({1, 1, 1})});
  ASSERT_EQ(results.size(), 2u);
  double e = std::exp(1.0);
  EXPECT_NEAR(results[0].data[0], (1 + e) / (2 + e), 1e-15);
  EXPECT_NEAR(results[1].data[0], std::log(2 + e), 1e-15);
}

} // namespace
