// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// A spec: what kernel the user wants, as the YAML file says it, checked. The
// front end goes from text to Spec (parseSpec) and from Spec to a module at the
// attn phase (buildModule). It knows the user's keys and the attn dialect and
// no target; it sets no codegen choice.

#ifndef FOVEA_COMPILER_FRONTEND_SPEC_H
#define FOVEA_COMPILER_FRONTEND_SPEC_H

#include "dialects/attn/Expr/Expr.h"
#include "dialects/attn/IR/AttnOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/SourceMgr.h"

namespace fovea::frontend {

enum class DType { F16, BF16, F32, F64 };
enum class InputType { I32, I64, F32, F64 };

struct Spec {
  std::string name;
  DType dtype = DType::F32;
  int64_t queryHeads = 0, kvHeads = 0;
  int64_t qkWidth = 0, valueWidth = 0;
  /// Extents that are fixed; the others are the symbols B, M and N.
  std::optional<int64_t> batch, queryLength, kvLength;
  std::optional<double> scale; // 1 / sqrt(qkWidth) otherwise (S1)
  attn::Precision precision = attn::Precision::Full;

  struct Param {
    std::string name;
    std::optional<int64_t> defaultValue;
  };
  std::vector<Param> params;

  /// A tensor that the mask or the score reads. Each dimension is "B" or a
  /// number in `extents` (and then empty in `symbols`).
  struct Input {
    std::string name;
    InputType type;
    llvm::SmallVector<std::string> symbols;
    llvm::SmallVector<int64_t> extents;
  };
  std::vector<Input> inputs;

  struct Rope {
    attn::RopeStyle style = attn::RopeStyle::Neox;
    double base = 10000.0;
    std::optional<int64_t> rotaryDim;
    bool explicitPositions = false;
    struct Scaling {
      attn::RopeScalingKind kind;
      double factor = 0, betaFast = 32, betaSlow = 1, lowFreqFactor = 0,
             highFreqFactor = 0, attentionFactor = 0;
      int64_t originalLength = 0;
      bool truncate = true;
      std::vector<double> shortFactor, longFactor;
    };
    std::optional<Scaling> scaling;
  };
  std::optional<Rope> rope;

  struct QkNorm {
    double eps = 1e-6;
    bool weight = true;
    bool unitOffset = false;
  };
  std::optional<QkNorm> qkNorm;

  bool sinks = false;
  bool lse = true;      // an output, which a caller may leave out
  bool kvCache = false; // contiguous, with append

  /// Null if not given. They live in `context`, which is null if both are.
  std::shared_ptr<expr::Context> context;
  expr::Expr mask, score;

  /// Where the mask (or else the spec) stands, for the locations of the IR.
  std::string fileName;
  unsigned line = 1, column = 1;

  /// The parameters and inputs that the mask or the score reads.
  llvm::StringSet<> usedNames() const;
};

/// Reads the main buffer of `sourceMgr`. Everything wrong with it is reported
/// there with its place, the rule and the way out, and nothing is returned.
/// Warnings are reported too.
std::optional<Spec> parseSpec(llvm::SourceMgr &sourceMgr);

/// The kernel function of the spec, in a module of its own: one function named
/// after the spec, its arguments in the order of the ABI (q, k, v, then past,
/// weights of norms, sinks, positions and declared inputs, then the outputs o,
/// lse, k_cache, v_cache, then parameters), its results the final tensors of
/// the outputs in that order. Null, with an error at the spec's place in the
/// context's diagnostics, only if the IR does not verify.
mlir::OwningOpRef<mlir::ModuleOp> buildModule(mlir::MLIRContext &context,
                                              const Spec &spec);

/// The dialects that buildModule uses.
void registerDialects(mlir::DialectRegistry &registry);

enum class SchemaFormat { Text, Markdown };
/// Every key of a spec with its type, default and rule, and the expression
/// language; `fovea spec --schema` and docs/spec.md.
void printSchema(llvm::raw_ostream &os, SchemaFormat format);

} // namespace fovea::frontend

#endif // FOVEA_COMPILER_FRONTEND_SPEC_H
