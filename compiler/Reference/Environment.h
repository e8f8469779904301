// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The values of a program while the reference interprets it, and the operations
// that are interpreted in a file of their own. Private to this library.

#ifndef FOVEA_COMPILER_REFERENCE_ENVIRONMENT_H
#define FOVEA_COMPILER_REFERENCE_ENVIRONMENT_H

#include "compiler/Reference/Interpreter.h"
#include "dialects/attn/IR/AttnOps.h"
#include "llvm/ADT/DenseMap.h"
#include <memory>

namespace fovea::reference {

/// Values by their name in the program. Tensors are never changed once made.
class Environment {
public:
  void set(mlir::Value name, RuntimeValue value) {
    values[name] = std::make_shared<const RuntimeValue>(std::move(value));
  }
  const RuntimeValue &get(mlir::Value name) const { return *values.at(name); }
  const Tensor &tensor(mlir::Value name) const {
    return std::get<Tensor>(get(name));
  }
  int64_t integer(mlir::Value name) const {
    return std::get<int64_t>(get(name));
  }
  /// The tensor, or null for an absent operand.
  const Tensor *tensorOrNull(mlir::Value name) const {
    return name ? &tensor(name) : nullptr;
  }

private:
  llvm::DenseMap<mlir::Value, std::shared_ptr<const RuntimeValue>> values;
};

/// What is wanted of an attention: its results, or with them what their error
/// bounds are made of, or only who attends to what.
enum class AttentionMode { Results, ErrorSums, Attending };

struct AttentionResult {
  Tensor o;
  std::optional<Tensor> lse;
  /// See Interpretation; with ErrorSums.
  std::optional<Tensor> absoluteSums, scoreSums, lseScoreSums;
  std::optional<Tensor> operandErrors, lseOperandErrors;
  int64_t keys = 0;
  /// See countAttending; with Attending.
  std::optional<Tensor> attending;
};

/// What the error sums take into account beside the attention itself.
struct OperandErrors {
  /// For the errors of |q| |k|: 1 unless RoPE leaves larger ones
  /// (ErrorBound::ofDynamicAngle).
  double turning = 1;
  /// ErrorBound::ofMatrixOperands.
  double rounding = 0;
};

llvm::Expected<AttentionResult> interpretAttention(attn::AttentionOp op,
                                                   const Environment &env,
                                                   AttentionMode mode,
                                                   OperandErrors errors);

/// acc, max and sum.
llvm::Expected<llvm::SmallVector<Tensor>>
interpretPartial(attn::PartialOp op, const Environment &env);

/// An error of `op`: its name, then the message.
llvm::Error errorOf(mlir::Operation *op, const llvm::Twine &message);

} // namespace fovea::reference

#endif // FOVEA_COMPILER_REFERENCE_ENVIRONMENT_H
