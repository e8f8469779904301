// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The reference page knows every key, and the examples are specs.

#include "SpecFixture.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <gtest/gtest.h>

using namespace fovea::frontend;

namespace {

std::string schema(SchemaFormat format) {
  std::string text;
  llvm::raw_string_ostream os(text);
  printSchema(os, format);
  return text;
}

TEST(SchemaTest, ListsKeysAndTheLanguage) {
  std::string text = schema(SchemaFormat::Text);
  std::string markdown = schema(SchemaFormat::Markdown);
  for (const char *piece :
       {"name: C identifier (required)", "        type: linear",
        "mask: expression (default: true) [M1-M5]", "causal(", "window(",
        "tanh"})
    EXPECT_NE(text.find(piece), std::string::npos) << piece << "\n" << text;
  for (const char *piece :
       {"| `rope.scaling.factor` | number | required but for longrope | P1 |",
        "| `dtype` | f32 \\| f16 \\| bf16 \\| f64 | required | S1, R2 |",
        "### Named masks", "| `j` |"})
    EXPECT_NE(markdown.find(piece), std::string::npos) << piece << "\n"
                                                       << markdown;
}

TEST(SchemaTest, ExamplesAreSpecs) {
  unsigned count = 0;
  std::error_code code;
  for (const char *folder :
       {"/examples/specs", "/examples/smollm2", "/examples/minilm"})
    for (llvm::sys::fs::directory_iterator
             it(std::string(FOVEA_SOURCE_DIR) + folder, code),
         end;
         it != end && !code; it.increment(code)) {
      if (llvm::sys::path::extension(it->path()) != ".yaml")
        continue;
      auto buffer = llvm::MemoryBuffer::getFile(it->path());
      ASSERT_TRUE(static_cast<bool>(buffer)) << it->path();
      Parsed parsed = parse((*buffer)->getBuffer(), it->path());
      ASSERT_TRUE(parsed.spec) << it->path() << "\n" << parsed.log;
      EXPECT_EQ(parsed.log, "");
      mlir::MLIRContext context;
      EXPECT_TRUE(buildModule(context, *parsed.spec)) << it->path();
      if (llvm::StringRef(folder).ends_with("specs")) {
        EXPECT_EQ(parsed.spec->name, llvm::sys::path::stem(it->path()));
      }
      ++count;
    }
  EXPECT_FALSE(code) << code.message();
  EXPECT_GE(count, 14u);
}

} // namespace
