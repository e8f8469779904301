// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The reference interpreter: what a function of attn operations on tensors
// means, in f64, by the definitions of docs/semantics.md and nothing else. It
// shares no code with the lowering (the frequencies of RoPE excepted, which
// dialects/attn/IR/Rope.h holds for both) and is slow on purpose. It takes
// verified IR on tensors; memrefs, control flow and target dialects are not its
// business and are refused.

#ifndef FOVEA_COMPILER_REFERENCE_INTERPRETER_H
#define FOVEA_COMPILER_REFERENCE_INTERPRETER_H

#include "compiler/Reference/Tensor.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include <optional>
#include <variant>

namespace fovea::reference {

/// A tensor, an integer (index and truth values included) or a float.
using RuntimeValue = std::variant<Tensor, int64_t, double>;

struct InterpretOptions {
  /// Also compute Interpretation::absoluteSums.
  bool absoluteSums = false;
};

struct Interpretation {
  /// What the function returns. Floats are f64 and unrounded, with one
  /// exception: attn.append rounds what it writes to the cache's element type,
  /// because later calls, and the attention of this one, read it from there.
  llvm::SmallVector<RuntimeValue> results;
  /// For each result that is the output O of an attn.attention: the tensor of
  /// sum_j p_j |v_j|, of the shape of O, in which the error bounds of
  /// docs/testing.md are stated. Empty unless asked for.
  llvm::SmallVector<std::optional<Tensor>> absoluteSums;
};

/// Runs `function` on its arguments, which must have the ranks and static
/// extents that its type says. Errors are the caller's fault (shapes that do
/// not fit together) or operations that the reference does not interpret.
llvm::Expected<Interpretation> interpret(mlir::func::FuncOp function,
                                         llvm::ArrayRef<RuntimeValue> arguments,
                                         const InterpretOptions &options = {});

} // namespace fovea::reference

#endif // FOVEA_COMPILER_REFERENCE_INTERPRETER_H
