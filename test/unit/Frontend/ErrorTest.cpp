// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Specs that are wrong: each error has its place, its rule and the way out.

#include "SpecFixture.h"
#include <gtest/gtest.h>

using namespace fovea::frontend;

namespace {

/// The only report is this error.
void expectError(const std::string &text, const std::string &expected) {
  Parsed parsed = parse(text);
  EXPECT_FALSE(parsed.spec) << text;
  EXPECT_EQ(parsed.log, expected + "\n") << text;
}
/// Below the four basic keys, so on line 5.
void expectErrorBelow(const std::string &text, const std::string &expected) {
  expectError(basics + text, expected);
}

TEST(ErrorTest, UnknownAndMissingKeys) {
  expectErrorBelow("masks: j < 3\n",
                   "5:1: error: unknown key 'masks'; did you mean 'mask'?");
  expectErrorBelow(
      "rope: {style: neox, scaling: {type: linear, factr: 2, factor: 2}}\n",
      "5:45: error: unknown key 'rope.scaling.factr'; did you mean 'factor'?");
  expectErrorBelow(
      "kv_cache: {zzzzzzzz: 1}\n",
      "5:12: error: unknown key 'kv_cache.zzzzzzzz'; the keys here are layout, "
      "append");
  expectError("name: f\ndtype: f32\nheads: 4\n",
              "1:1: error: the key 'head_dim' is missing: width of a head "
              "(integer, or {qk, v})");
  expectError("name: f\ndtype: f32\nhead_dim: 4\nheads: {kv: 2}\n",
              "4:8: error: the key 'heads.query' is missing: query heads "
              "(integer)");
  expectErrorBelow("rope: {}\n",
                   "5:7: error: the key 'rope.style' is missing: which "
                   "elements rotate together: halves, or neighbours (neox | "
                   "interleaved)");
  expectErrorBelow("rope: neox\n",
                   "5:7: error: 'rope' is a mapping such as {style: ...}");
}

TEST(ErrorTest, Names) {
  auto name = [](const std::string &text, const std::string &expected) {
    expectError("dtype: f32\nheads: 4\nhead_dim: 8\nname: " + text + "\n",
                "4:7: error: " + expected);
  };
  name("9lives", "the name '9lives' is no C identifier; use letters, digits "
                 "and _, and no digit first");
  name("../../etc/passwd",
       "the name '../../etc/passwd' is no C identifier; use letters, digits "
       "and _, and no digit first");
  name("\"a\\0b\"", "the name '" + std::string("a\0b", 3) +
                        "' is no C identifier; use letters, digits and _, and "
                        "no digit first");
  name("_f", "the name '_f' starts with '_', which C reserves");
  name("while", "the name 'while' is a word of C or C++; choose another name");
  name("typename",
       "the name 'typename' is a word of C or C++; choose another name");
  name("fovea_invoke", "the name 'fovea_invoke' starts with the prefix of "
                       "Fovea's own names");
  name(std::string(129, 'a'), "the name '" + std::string(129, 'a') +
                                  "' is longer than 128 characters");
  name("[a]", "expected a name");
}

TEST(ErrorTest, DeclaredNames) {
  auto param = [](const std::string &text, const std::string &expected) {
    expectErrorBelow("params: {" + text + ": 1}\n", "5:10: error: " + expected);
  };
  param("j", "the name 'j' is a word of the expression language; choose "
             "another name");
  param("causal", "the name 'causal' is a word of the expression language; "
                  "choose another name");
  param("k_cache", "the name 'k_cache' is the name of an argument or option "
                   "that kernels have; choose another name");
  param("int", "the name 'int' is a word of C or C++; choose another name");
  expectErrorBelow("params: {n: 1}\ninputs: {n: i32[B]}\n",
                   "6:10: error: the name 'n' is declared twice\n"
                   "5:10: note: it was first declared here");
}

TEST(ErrorTest, Scalars) {
  expectErrorBelow("batch: one\n", "5:8: error: expected an integer");
  expectErrorBelow("batch: 1.5\n", "5:8: error: expected an integer");
  expectErrorBelow("batch: \"1\"\n", "5:8: error: expected an integer");
  expectErrorBelow("batch:\n", "5:1: error: expected an integer");
  expectErrorBelow("batch: 99999999999999999999\n",
                   "5:8: error: expected an integer");
  expectErrorBelow("query_len: -1\n", "5:12: error: expected an integer from 0 "
                                      "to 2147483647");
  expectErrorBelow("kv_len: 2147483648\n",
                   "5:9: error: expected an integer from 0 to 2147483647");
  expectErrorBelow("scale: .nan\n", "5:8: error: expected a finite number");
  expectErrorBelow("scale: nan\n", "5:8: error: expected a finite number");
  expectErrorBelow("scale: 1e999\n", "5:8: error: expected a finite number");
  expectErrorBelow("sinks: yes\n", "5:8: error: expected true or false");
  expectErrorBelow("mask: [a]\n", "5:7: error: expected an expression such as "
                                  "`causal(bottom_right)`");
  expectErrorBelow("score:\n", "5:1: error: expected an expression such as "
                               "`50 * tanh(s / 50)`");
  expectError("name: f\ndtype: f8\nheads: 4\nhead_dim: 8\n",
              "2:8: error: expected a dtype: f32, f16, bf16 or f64");
  for (const char *precision : {"bf16x3", "[full]"})
    expectErrorBelow(std::string("precision: ") + precision + "\n",
                     "5:12: error: expected full (products of f32) or bf16x6 "
                     "(six products of bf16, on matrix units) (rule S8)");
  expectError("name: f\ndtype: f16\nheads: 4\nhead_dim: 8\n"
              "precision: bf16x6\n",
              "5:12: error: bf16x6 stands for products of f32; leave precision "
              "out for other dtypes (rule S8)");
  for (const char *outputs : {"[lse]", "[o, o]", "[]", "o", "[o, lse, o]"})
    expectErrorBelow(std::string("outputs: ") + outputs + "\n",
                     "5:10: error: expected [o] or [o, lse] (rule R1)");
}

TEST(ErrorTest, Sizes) {
  auto sizes = [](const std::string &heads, const std::string &width,
                  const std::string &expected, const std::string &more = "") {
    expectError("name: f\ndtype: f32\nheads: " + heads +
                    "\nhead_dim: " + width + "\n" + more,
                expected);
  };
  sizes("0", "8", "3:8: error: expected an integer from 1 to 65536");
  sizes("65537", "8", "3:8: error: expected an integer from 1 to 65536");
  sizes("4", "0", "4:11: error: expected an integer from 1 to 65536");
  sizes("{query: 6, kv: 4}", "8",
        "3:8: error: query heads (6) must be a multiple of kv heads (4) (rule "
        "S1)");
  sizes("65536", "65536",
        "4:11: error: heads times head_dim is 4294967296, which is more than "
        "16777216 (rule R5)");
  sizes("65536", "256",
        "4:11: error: the fixed extents make a tensor of more than 2^48 "
        "elements (rule R5)",
        "batch: 2\nkv_len: 10000000\n");
}

TEST(ErrorTest, ParamsAndInputs) {
  expectErrorBelow("params: w\n", "5:9: error: expected a mapping such as {w: "
                                  "4096}, or {w: null} for a parameter without "
                                  "a default");
  expectErrorBelow("params: {w: x}\n", "5:13: error: expected an integer");
  expectErrorBelow("inputs: [a]\n",
                   "5:9: error: expected a mapping such as {len: i32[B]}");
  for (const char *type : {"i8[B]", "i32", "i32[B", "B", "{a: 1}"})
    expectErrorBelow(std::string("inputs:\n  t: ") + type + "\n",
                     "6:6: error: expected the type of an input such as "
                     "i32[B]: i32, i64, f32 or f64 and its dimensions (rule "
                     "M5)");
  expectErrorBelow("inputs: {doc: \"i32[B, N]\"}\n",
                   "5:23: error: inputs over M or N are not supported yet; "
                   "dimensions are B, H, G or numbers (rule M5)");
  expectErrorBelow("inputs: {doc: i32[B, T]}\n",
                   "5:22: error: unknown dimension 'T'; dimensions are B, H, G "
                   "or numbers (rule M5)");
  expectErrorBelow("inputs: {doc: i32[0]}\n",
                   "5:19: error: a dimension is an integer from 1 to "
                   "2147483647");
  std::string many = "params:\n";
  for (int p = 0; p < 65; ++p)
    many += "  p" + std::to_string(p) + ": 1\n";
  expectErrorBelow(many, "6:3: error: more than 64 parameters");
}

TEST(ErrorTest, Rope) {
  auto rope = [](const std::string &text, const std::string &expected) {
    expectErrorBelow("rope: {style: neox, " + text + "}\n", expected);
  };
  expectErrorBelow("rope: {style: gpt}\n",
                   "5:15: error: expected neox (halves rotate together) or "
                   "interleaved (neighbours do) (rule P1)");
  rope("base: 1", "5:27: error: the base must be greater than 1 (rule P1)");
  rope("base: 0", "5:27: error: expected a number greater than 0");
  rope("rotary_dim: 3",
       "5:33: error: rotary_dim must be even and at most head_dim (8), got 3 "
       "(rule P1)");
  rope("rotary_dim: 10",
       "5:33: error: rotary_dim must be even and at most head_dim (8), got 10 "
       "(rule P1)");
  rope("positions: 7", "5:32: error: expected implicit or explicit (rule P1)");
  rope("scaling: {type: ntk}",
       "5:37: error: expected linear, dynamic, yarn, llama3 or longrope (rule "
       "P1)");
  rope("scaling: {type: linear, factor: 0.5}",
       "5:53: error: the factor must be at least 1 (rule P1)");
  rope("scaling: {type: linear}",
       "5:30: error: linear scaling needs factor (rule P1)");
  rope("scaling: {type: linear, factor: 2, beta_fast: 3}",
       "5:67: error: linear scaling takes no beta_fast (rule P1)");
  rope("scaling: {type: linear, factor: 2, truncate: false}",
       "5:66: error: linear scaling takes no truncate (rule P1)");
  rope("scaling: {type: yarn, factor: 2, original_length: 9, beta_fast: 1}",
       "5:30: error: beta_fast must be greater than beta_slow (rule P1)");
  rope("scaling: {type: llama3, factor: 2, original_length: 9, "
       "low_freq_factor: 4, high_freq_factor: 4}",
       "5:30: error: high_freq_factor must be greater than low_freq_factor "
       "(rule P1)");
  rope("scaling: {type: longrope, original_length: 9, short_factor: [1, 1], "
       "long_factor: [1, 1, 1, 1]}",
       "5:81: error: short_factor needs one number per frequency, 4, got 2 "
       "(rule P1)");
  rope("scaling: {type: longrope, original_length: 9, short_factor: 1, "
       "long_factor: [1, 1, 1, 0]}",
       "5:81: error: expected a list of numbers such as [1.0, 1.5]\n"
       "5:107: error: expected a number greater than 0");
}

TEST(ErrorTest, RopeMustKnowWhereQueriesStand) { // M3
  const std::string rope = "rope: {style: neox}\n";
  std::string wayOut = "; write the mask with one causal(...), or set "
                       "positions: explicit under rope (rules P1, M3)";
  expectErrorBelow(rope + "mask: j * 2 <= i + 7\n",
                   "6:7: error: rope cannot tell from this mask where query i "
                   "stands among the keys" +
                       wayOut);
  expectErrorBelow(
      rope + "mask: causal(top_left) or causal(bottom_right)\n",
      "6:7: error: rope cannot tell from this mask where query i stands among "
      "the keys" +
          wayOut);
  expectErrorBelow(rope + "params: {p: 1}\nmask: causal(offset(p // 2))\n",
                   "7:7: error: rope needs an offset made of numbers, "
                   "parameters and sizes, or an input t[b]" +
                       wayOut);
  EXPECT_TRUE(parse(basics + "rope: {style: neox, positions: explicit}\n"
                             "mask: j * 2 <= i + 7\n")
                  .spec);
  EXPECT_TRUE(parse(basics + rope + "mask: j < 7\n").spec);
}

TEST(ErrorTest, Cache) {
  const std::string cache = "kv_cache: {append: true}\n";
  expectErrorBelow("kv_cache: {layout: paged}\n",
                   "5:20: error: the only layout supported yet is contiguous "
                   "(rule K1)");
  expectErrorBelow("kv_cache: {append: false}\n",
                   "5:20: error: a cache that nothing is appended to is k and "
                   "v themselves: leave kv_cache out and give the lengths as "
                   "inputs: {len: i32[B]} with mask: j < len[b] (rule K1)");
  expectErrorBelow(cache + "kv_len: 5\n",
                   "6:9: error: with kv_cache the key length is past[b] + M "
                   "and is never fixed; leave kv_len out (rule K1)");
  expectErrorBelow(cache + "rope: {style: neox}\nmask: causal(top_left)\n",
                   "7:7: error: with kv_cache, new tokens follow those of the "
                   "past: use causal(bottom_right) (rules M3, K3)");
}

TEST(ErrorTest, ExpressionsPointIntoTheScalar) {
  auto at = [](const std::string &mask) {
    Parsed parsed = parse(basics + mask);
    EXPECT_FALSE(parsed.spec);
    return parsed.log.substr(0, parsed.log.find(" error"));
  };
  EXPECT_EQ(at("mask: j < bogus\n"), "5:11:");
  EXPECT_EQ(at("mask: \"j < bogus\"\n"), "5:12:");
  EXPECT_EQ(at("mask: 'j <   bogus'\n"), "5:14:");
  EXPECT_EQ(at("mask: j < 3\n  and i < bogus\n"), "6:11:");
  EXPECT_EQ(at("mask: >-\n  j < 3\n  and i < bogus\n"), "7:11:");
  EXPECT_EQ(at("mask: |\n  j < bogus\n"), "6:7:");
  EXPECT_EQ(at("mask: |2- # why\n    j < bogus\n"), "6:9:");
  EXPECT_EQ(at("score: s + bogus\n"), "5:12:");
  // Behind the last word where more should come.
  EXPECT_EQ(at("mask: j <\n"), "5:10:");
  EXPECT_EQ(at("mask: \"j < \"\n"), "5:12:");
  EXPECT_EQ(at("mask: |\n  j <\n\nscale: 1.0\n"), "6:6:");
  // No float in a mask, and parentheses without end.
  EXPECT_EQ(at("inputs: {x: f32[B]}\nmask: x[b] < 1\n"), "6:7:");
  EXPECT_FALSE(
      parse(basics + "mask: \"" + std::string(100000, '(') + "\"\n").spec);
}

TEST(ErrorTest, NotYaml) {
  for (const char *text : {"",
                           "\n\n# nothing\n",
                           "{",
                           "a: b: c\n",
                           "\"",
                           "- a\n- b\n",
                           "42\n",
                           "name: f\n\tdtype: f32\n",
                           "%YAML\n",
                           "\xff\xfe",
                           "? a\n",
                           "? [a]\n: b\n",
                           "name: !!str f\n",
                           "name: &x f\n",
                           "name: *x\n",
                           "name: f\n--- \nname: g\n",
                           "a: [1\n",
                           "a: \"\\q\"\n",
                           ": \n",
                           "...\n",
                           "{a: 1, a}",
                           "[[[[",
                           "a: |\n  x\n y\n",
                           "@\n",
                           "`\n"}) {
    Parsed parsed = parse(text);
    EXPECT_FALSE(parsed.spec) << text;
    EXPECT_NE(parsed.log, "") << text;
  }
}

TEST(ErrorTest, YamlThatASpecDoesWithout) {
  expectError("name: f\nname: g\n", "2:1: error: the key 'name' is given twice"
                                    "\n1:1: note: it was first given here");
  expectError("name: &x f\n",
              "1:10: error: anchors and aliases (& and *) are not allowed in a "
              "spec; write the value out");
  expectError("name: !!str f\n",
              "1:13: error: tags (!) are not allowed in a spec");
  expectError("a: b\n? [c]\n: d\n", "2:3: error: a key must be a word");
  expectError("name: f\nheads: [1\n",
              "2:10: error: this is not YAML: Could not "
              "find closing ]!");
  expectError("- a\n", "1:1: error: a spec is a mapping of keys to values, "
                       "such as `name: my_attention`");
  expectError("", "1:1: error: the file is empty; a spec needs at least name, "
                  "dtype, heads and head_dim");
  expectError(basics + "---\n" + basics,
              "1:1: error: a spec is one YAML document, and this file holds "
              "several; put each into a file of its own");
  expectError("a: \"" + std::string("\0", 1) + "\"\n",
              "1:5: error: the file holds a zero byte; a spec is text");
}

TEST(ErrorTest, Limits) {
  expectError(std::string((1 << 20) + 1, ' '),
              "1:1: error: the file is larger than 1 MiB, which no spec is");
  std::string deep = "a: " + std::string(250, '[') + std::string(250, ']');
  expectError(deep, "1:204: error: nested deeper than 200");
  // Nesting that would overflow a recursive reader many times over.
  EXPECT_FALSE(parse(std::string(1 << 20, '[')).spec);
  EXPECT_FALSE(parse(std::string(1 << 20, '{')).spec);
  std::string blocks;
  for (int depth = 0; depth < 1000; ++depth)
    blocks += std::string(depth, ' ') + "a:\n";
  EXPECT_FALSE(parse(blocks).spec);
  // Ten aliases of ten aliases of ...
  std::string bomb = "a: &a [x, x]\n";
  for (char c = 'b'; c < 'k'; ++c)
    bomb += std::string(1, c) + ": &" + c + " [*" + char(c - 1) + ", *" +
            char(c - 1) + "]\n";
  EXPECT_FALSE(parse(bomb).spec);
}

} // namespace
