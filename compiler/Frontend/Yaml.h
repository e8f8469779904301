// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// YAML text as a plain tree with source locations: the part of YAML that a spec
// may use. LLVM's parser reads the text; anchors, aliases, tags, several
// documents, repeated keys, deep nesting and big files are refused here, so
// that nothing after this need think of them. JSON is YAML. Private to this
// library.

#ifndef FOVEA_COMPILER_FRONTEND_YAML_H
#define FOVEA_COMPILER_FRONTEND_YAML_H

#include "llvm/Support/SourceMgr.h"
#include <optional>
#include <string>
#include <vector>

namespace fovea::frontend {

struct YamlEntry;

struct YamlNode {
  enum Kind { Null, Scalar, Mapping, Sequence } kind = Null;
  llvm::SMRange range;
  std::string text;               // of a scalar: its value
  bool quoted = false;            // a scalar that can only be a string
  std::vector<YamlEntry> entries; // of a mapping, in the order of the file
  std::vector<YamlNode> items;    // of a sequence

  llvm::SMLoc loc() const { return range.Start; }
  /// The place in the source of a scalar's value at `offset`: folding and
  /// quotes are seen through, escapes are not.
  llvm::SMLoc locOf(size_t offset) const;
};

struct YamlEntry {
  YamlNode key;
  YamlNode value;
};

inline constexpr size_t maxFileBytes = 1 << 20;
inline constexpr unsigned maxYamlDepth = 200;

/// The root of the main buffer's only document; nothing after an error, which
/// went to `sourceMgr`.
std::optional<YamlNode> parseYaml(llvm::SourceMgr &sourceMgr);

} // namespace fovea::frontend

#endif // FOVEA_COMPILER_FRONTEND_YAML_H
