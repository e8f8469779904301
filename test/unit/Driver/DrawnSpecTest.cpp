// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The specs that fovea check --fuzz draws: the front end takes them all, they
// use every key, and a failure shrinks to what it needs.

#include "tools/fovea/DrawnSpec.h"
#include "compiler/Frontend/Spec.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MemoryBuffer.h"

#include <gtest/gtest.h>
#include <set>

using namespace fovea;

namespace {

constexpr int64_t drawn = 2000;

/// What the front end says to the text if it refuses it. It may warn: a mask
/// may be true whatever a parameter is.
std::string refusal(const std::string &text) {
  llvm::SourceMgr sources;
  std::string log;
  sources.setDiagHandler(
      [](const llvm::SMDiagnostic &diagnostic, void *log) {
        *static_cast<std::string *>(log) += diagnostic.getMessage().str();
      },
      &log);
  sources.AddNewSourceBuffer(llvm::MemoryBuffer::getMemBufferCopy(text),
                             llvm::SMLoc());
  return frontend::parseSpec(sources) ? "" : log;
}

std::set<std::string> wordsOf(llvm::StringRef text) {
  std::set<std::string> words;
  while (!text.empty()) {
    llvm::StringRef word =
        text.take_while([](char c) { return llvm::isAlnum(c) || c == '_'; });
    words.insert(word.str());
    text = text.drop_front(std::max<size_t>(word.size(), 1));
  }
  return words;
}

TEST(DrawnSpecTest, TheFrontEndTakesThemAll) {
  std::set<std::string> texts;
  for (int64_t kernel = 0; kernel != drawn; ++kernel) {
    std::string text = drawSpec(3, kernel).text();
    EXPECT_EQ(refusal(text), "") << text;
    texts.insert(std::move(text));
  }
  // Few are drawn twice.
  EXPECT_GT(texts.size(), drawn * 9 / 10);
  EXPECT_TRUE(texts.contains(drawSpec(3, 17).text()));
  EXPECT_NE(drawSpec(4, 17).text(), drawSpec(3, 17).text());
}

/// Whatever the schema lists, but for what tells nothing of the kernel, the
/// only value that a key has, and masks whose inputs a spec cannot declare.
TEST(DrawnSpecTest, EveryKeyAndEveryMaskIsDrawn) {
  std::string all;
  for (int64_t kernel = 0; kernel != drawn; ++kernel)
    all += drawSpec(3, kernel).text();
  std::set<std::string> used = wordsOf(all), left;
  std::string schema;
  llvm::raw_string_ostream os(schema);
  frontend::printSchema(os, frontend::SchemaFormat::Markdown);
  for (llvm::StringRef line : llvm::split(llvm::StringRef(schema), '\n')) {
    // A row begins with what it explains: `rope.base`, `window(l, r)`.
    if (!line.consume_front("| `"))
      continue;
    llvm::StringRef path = line.take_while(
        [](char c) { return llvm::isAlnum(c) || c == '_' || c == '.'; });
    std::string word = path.substr(path.rfind('.') + 1).str();
    // Operators' rows begin with an operand.
    if (word != "x" && word != "" && !used.contains(word))
      left.insert(word);
  }
  EXPECT_EQ(left, (std::set<std::string>{"block", "dense", "description",
                                         "document", "layout"}));
}

TEST(DrawnSpecTest, AFailureShrinksToWhatItNeeds) {
  auto needs = [](const DrawnCall &call) {
    std::string text = call.spec.text();
    auto it = call.extents.find("M");
    return call.spec.keys.count("sinks") != 0 &&
           text.find("window(") != std::string::npos &&
           call.spec.valueWidth >= 5 && it != call.extents.end() &&
           it->second >= 3;
  };
  int64_t found = 0;
  for (int64_t kernel = 0; kernel != drawn; ++kernel) {
    DrawnCall call{drawSpec(3, kernel), {{"B", 2}, {"M", 70}, {"N", 131}}};
    if (!needs(call))
      continue;
    ++found;
    DrawnCall least = shrink(call, 1000, needs);
    EXPECT_EQ(least.spec.keys,
              (std::map<std::string, std::string>{{"sinks", "true"}}));
    EXPECT_EQ(least.spec.dtype, "f32");
    ASSERT_TRUE(least.spec.mask);
    EXPECT_TRUE(least.spec.mask->operands.empty()) << least.spec.text();
    EXPECT_EQ(least.spec.queryHeads, 1);
    EXPECT_EQ(least.spec.kvHeads, 1);
    EXPECT_EQ(least.spec.qkWidth, 1);
    EXPECT_EQ(least.spec.valueWidth, 5);
    EXPECT_EQ(least.extents,
              (std::map<std::string, int64_t>{{"B", 1}, {"M", 3}, {"N", 1}}));
  }
  EXPECT_GT(found, 20);
}

TEST(DrawnSpecTest, ShrinkingTriesNoMoreThanItMay) {
  unsigned tries = 0;
  shrink({drawSpec(3, 1), {{"M", 70}}}, 5, [&](DrawnCall &) {
    ++tries;
    return true;
  });
  EXPECT_EQ(tries, 5u);
  // What fails in no simpler form stays.
  DrawnCall same =
      shrink({drawSpec(3, 1), {}}, 1000, [](DrawnCall &) { return false; });
  EXPECT_EQ(same.spec.text(), drawSpec(3, 1).text());
}

} // namespace
