// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The table of the keys of a spec. It drives the parser and the reference page,
// so that neither can know a key that the other does not. Private to this
// library.

#ifndef FOVEA_COMPILER_FRONTEND_SCHEMA_H
#define FOVEA_COMPILER_FRONTEND_SCHEMA_H

#include "compiler/Frontend/Spec.h"
#include "compiler/Frontend/Yaml.h"

namespace fovea::frontend {

class SpecReader;

/// One key. Its value is read by `read`; if the value is a mapping and the key
/// has `children`, they are read instead (after `open`, if there is one).
struct Key {
  llvm::StringLiteral name;
  llvm::StringLiteral type;     // as the reference page says it
  llvm::StringLiteral fallback; // "required", or the default
  llvm::StringLiteral rule;
  llvm::StringLiteral summary;
  using Read = void (SpecReader::*)(const YamlNode &value);
  Read read = nullptr;
  llvm::ArrayRef<Key> children = {};
  void (*open)(Spec &spec) = nullptr;

  bool isRequired() const { return fallback == "required"; }
};

llvm::ArrayRef<Key> getSpecKeys();

} // namespace fovea::frontend

#endif // FOVEA_COMPILER_FRONTEND_SCHEMA_H
