// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Specs that are right: what each key means.

#include "SpecFixture.h"
#include <gtest/gtest.h>

using namespace fovea;
using namespace fovea::frontend;

namespace {

Spec good(const std::string &text) {
  Parsed parsed = parse(text);
  EXPECT_TRUE(parsed.spec) << text << parsed.log;
  EXPECT_EQ(parsed.log, "");
  return parsed.spec.value_or(Spec());
}

std::string maskOf(const Spec &spec) {
  return spec.mask ? expr::print(*spec.context, spec.mask, {.sugar = true})
                   : "none";
}

TEST(SpecTest, Defaults) {
  Spec spec = good(basics);
  EXPECT_EQ(spec.name, "f");
  EXPECT_EQ(spec.dtype, DType::F32);
  EXPECT_EQ(spec.queryHeads, 4);
  EXPECT_EQ(spec.kvHeads, 4);
  EXPECT_EQ(spec.qkWidth, 8);
  EXPECT_EQ(spec.valueWidth, 8);
  EXPECT_EQ(spec.precision, fovea::attn::Precision::Full);
  EXPECT_FALSE(spec.batch || spec.queryLength || spec.kvLength || spec.scale);
  EXPECT_FALSE(spec.rope || spec.qkNorm || spec.sinks || spec.kvCache);
  EXPECT_TRUE(spec.lse);
  EXPECT_FALSE(spec.mask || spec.score);
  EXPECT_EQ(spec.fileName, "s.yaml");
}

TEST(SpecTest, SizesAndScalars) {
  Spec spec = good("name: a1\n"
                   "description: {anything: goes}\n"
                   "dtype: bf16\n"
                   "heads: {query: 6, kv: 2}\n"
                   "head_dim: {qk: 192, v: 128}\n"
                   "batch: 1\nquery_len: 2\nkv_len: 0\n"
                   "scale: -0.5\nsinks: true\noutputs: [o]\n");
  EXPECT_EQ(spec.name, "a1");
  EXPECT_EQ(spec.dtype, DType::BF16);
  EXPECT_EQ(spec.queryHeads, 6);
  EXPECT_EQ(spec.kvHeads, 2);
  EXPECT_EQ(spec.qkWidth, 192);
  EXPECT_EQ(spec.valueWidth, 128);
  EXPECT_EQ(spec.batch, 1);
  EXPECT_EQ(spec.queryLength, 2);
  EXPECT_EQ(spec.kvLength, 0);
  EXPECT_EQ(spec.scale, -0.5);
  EXPECT_TRUE(spec.sinks);
  EXPECT_FALSE(spec.lse);
}

TEST(SpecTest, Precision) { // S8
  EXPECT_EQ(good(basics + "precision: bf16x6\n").precision,
            fovea::attn::Precision::BF16x6);
  Spec spec = good("name: f\ndtype: f64\nheads: 4\nhead_dim: 8\n"
                   "precision: full\n");
  EXPECT_EQ(spec.precision, fovea::attn::Precision::Full);
}

TEST(SpecTest, Json) {
  Spec spec = good("{\"name\": \"f\", \"dtype\": \"f16\",\n"
                   " \"heads\": {\"query\": 4, \"kv\": 1}, \"head_dim\": 8,\n"
                   " \"params\": {\"w\": 3, \"x\": null},\n"
                   " \"mask\": \"causal(top_left) and window(w, x)\",\n"
                   " \"outputs\": [\"o\", \"lse\"]}\n");
  EXPECT_EQ(spec.dtype, DType::F16);
  EXPECT_EQ(maskOf(spec), "causal(top_left) and window(w, x)");
  ASSERT_EQ(spec.params.size(), 2u);
  EXPECT_EQ(spec.params[0].defaultValue, 3);
  EXPECT_FALSE(spec.params[1].defaultValue);
}

TEST(SpecTest, InputsInEveryNotation) {
  for (const char *inputs : {"inputs: {len: i32[B], t: i64[B, 3]}\n",
                             "inputs: {len: \"i32[B]\", t: 'i64[B,3]'}\n",
                             "inputs:\n  len: i32[B]\n  t: i64[ B, 3 ]\n"}) {
    Spec spec = good(basics + inputs + "mask: j < len[b] + t[b, 2]\n");
    ASSERT_EQ(spec.inputs.size(), 2u) << inputs;
    EXPECT_EQ(spec.inputs[0].name, "len");
    EXPECT_EQ(spec.inputs[0].type, InputType::I32);
    EXPECT_EQ(spec.inputs[0].symbols[0], "B");
    EXPECT_EQ(spec.inputs[1].type, InputType::I64);
    ASSERT_EQ(spec.inputs[1].symbols.size(), 2u);
    EXPECT_EQ(spec.inputs[1].symbols[1], "");
    EXPECT_EQ(spec.inputs[1].extents[1], 3);
  }
}

TEST(SpecTest, ScoresReadFloats) {
  Spec spec = good("name: f\ndtype: f32\nheads: {query: 4, kv: 2}\n"
                   "head_dim: 8\n"
                   "inputs: {slope: f32[H], w: f32[G]}\n"
                   "score: s + slope[h] * (j - i) * w[0]\n");
  EXPECT_TRUE(spec.score);
  EXPECT_EQ(spec.inputs[0].extents[0], 4);
  EXPECT_EQ(spec.inputs[1].extents[0], 2);
}

TEST(SpecTest, MaskInEveryScalarStyle) {
  for (const char *mask : {"mask: causal(top_left) and j != 3\n",
                           "mask: \"causal(top_left) and j != 3\"\n",
                           "mask: 'causal(top_left) and j != 3'\n",
                           "mask: causal(top_left)\n  and j != 3\n",
                           "mask: >\n  causal(top_left)\n  and j != 3\n",
                           "mask: |\n  causal(top_left)\n  and j != 3\n"})
    EXPECT_EQ(maskOf(good(basics + mask)), "causal(top_left) and j != 3")
        << mask;
}

TEST(SpecTest, Rope) {
  Spec spec = good(basics + "rope: {style: interleaved}\n");
  EXPECT_EQ(spec.rope->style, attn::RopeStyle::Interleaved);
  EXPECT_EQ(spec.rope->base, 10000.0);
  EXPECT_FALSE(spec.rope->rotaryDim || spec.rope->scaling ||
               spec.rope->explicitPositions);
  spec = good(basics + "rope: {style: neox, base: 5e5, rotary_dim: 4, "
                       "positions: explicit}\n");
  EXPECT_EQ(spec.rope->style, attn::RopeStyle::Neox);
  EXPECT_EQ(spec.rope->base, 500000.0);
  EXPECT_EQ(spec.rope->rotaryDim, 4);
  EXPECT_TRUE(spec.rope->explicitPositions);
}

TEST(SpecTest, RopeScalings) {
  auto scaling = [](const std::string &text) {
    return *good(basics + "rope: {style: neox, scaling: {" + text + "}}\n")
                .rope->scaling;
  };
  EXPECT_EQ(scaling("type: linear, factor: 4").factor, 4.0);
  EXPECT_EQ(
      scaling("type: dynamic, factor: 2, original_length: 100").originalLength,
      100);
  auto yarn = scaling("type: yarn, factor: 2, original_length: 100");
  EXPECT_EQ(yarn.betaFast, 32.0);
  EXPECT_EQ(yarn.betaSlow, 1.0);
  EXPECT_EQ(yarn.attentionFactor, 0.0);
  EXPECT_TRUE(yarn.truncate);
  EXPECT_FALSE(
      scaling("type: yarn, factor: 2, original_length: 100, truncate: false")
          .truncate);
  auto llama3 = scaling("type: llama3, factor: 8, original_length: 100, "
                        "low_freq_factor: 1, high_freq_factor: 4");
  EXPECT_EQ(llama3.highFreqFactor, 4.0);
  auto longrope = scaling("type: longrope, original_length: 100, "
                          "short_factor: [1, 1, 1, 1], "
                          "long_factor: [1, 2, 3, 4.5]");
  EXPECT_EQ(longrope.longFactor, (std::vector<double>{1, 2, 3, 4.5}));
}

TEST(SpecTest, NormAndCache) {
  Spec spec = good(basics + "qk_norm: {}\nkv_cache: {}\n");
  EXPECT_EQ(spec.qkNorm->eps, 1e-6);
  EXPECT_TRUE(spec.qkNorm->weight);
  EXPECT_FALSE(spec.qkNorm->unitOffset);
  EXPECT_TRUE(spec.kvCache);
  spec = good(basics + "qk_norm: {eps: 1e-5, weight: false, unit_offset: true}"
                       "\nkv_cache: {layout: contiguous, append: true}\n");
  EXPECT_EQ(spec.qkNorm->eps, 1e-5);
  EXPECT_FALSE(spec.qkNorm->weight);
  EXPECT_TRUE(spec.qkNorm->unitOffset);
}

TEST(SpecTest, UnusedNamesAreWarnedOf) {
  Parsed parsed = parse(basics + "params: {w: 1}\ninputs: {len: i32[B]}\n");
  EXPECT_TRUE(parsed.spec);
  EXPECT_EQ(parsed.log,
            "5:10: warning: 'w' is declared, but neither mask nor score uses "
            "it\n6:10: warning: 'len' is declared, but neither mask nor score "
            "uses it\n");
}

} // namespace
