// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Mutants of Fovea's inputs that keep most of their structure, so that they
// get past the first check: a spec is changed as a tree, an expression is grown
// and spliced, IR is changed by tokens, a tensor file by the fields of its
// headers. A few bytes are then broken in some.

#ifndef FOVEA_TEST_FUZZ_MUTATOR_H
#define FOVEA_TEST_FUZZ_MUTATOR_H

#include "compiler/Frontend/Yaml.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <random>
#include <string>
#include <vector>

namespace fovea::fuzz {

enum class Kind { Spec, Expression, IR, Command, Npy, Npz, Safetensors };
inline constexpr unsigned numKinds = 7;
struct KindInfo {
  llvm::StringLiteral name;
  llvm::StringLiteral suffix; // of a file with such an input
  unsigned share;             // of 100 mutants of all kinds
};
inline constexpr KindInfo kinds[numKinds] = {
    {"spec", ".yaml", 24},
    {"expression", ".txt", 24},
    {"ir", ".mlir", 12},
    {"command", ".txt", 4},
    {"npy", ".npy", 12},
    {"npz", ".npz", 12},
    {"safetensors", ".safetensors", 12},
};
inline const KindInfo &getInfo(Kind kind) {
  return kinds[static_cast<unsigned>(kind)];
}

class Random {
public:
  explicit Random(uint64_t seed) : engine(seed) {}
  /// In [0, count).
  size_t below(size_t count) { return engine() % count; }
  bool oneIn(size_t n) { return below(n) == 0; }
  template <typename Range> auto &from(Range &range) {
    return range[below(std::size(range))];
  }

private:
  std::mt19937_64 engine;
};

class Mutator {
public:
  /// What mutants are made of. IR is cut at split-input-file's marks; a kernel
  /// is IR that compiles.
  void addSpec(llvm::StringRef text);
  void addIR(llvm::StringRef text);
  void addKernel(llvm::StringRef text);
  void addExpression(llvm::StringRef text);
  /// A command line without the program's name.
  void addCommand(llvm::ArrayRef<llvm::StringRef> words);

  /// The bytes of a file; of a command its arguments, each ended by a newline.
  std::string mutate(Kind kind, Random &random) const;

private:
  using Tokens = std::vector<std::string>;

  std::string mutateSpec(Random &random) const;
  std::string mutateExpression(Random &random) const;
  std::string mutateIR(Random &random) const;
  std::string mutateCommand(Random &random) const;
  void mutateTree(frontend::YamlNode &root, Random &random) const;
  void mutateTokens(Tokens &tokens, const std::vector<Tokens> &others,
                    Random &random) const;

  std::vector<frontend::YamlNode> specs;
  std::vector<Tokens> modules, kernels, expressions;
  std::vector<std::vector<std::string>> commands;
};

} // namespace fovea::fuzz

#endif // FOVEA_TEST_FUZZ_MUTATOR_H
