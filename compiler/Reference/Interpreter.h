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
  /// Also compute what error bounds are made of (ErrorBound.h):
  /// absoluteSums, scoreSums, operandErrors and appended of the Interpretation.
  bool errorSums = false;
  /// By result of the function (empty, or null in places: none): what a kernel
  /// wrote where attn.append makes this result. The function still returns what
  /// the reference appends; but what reads it reads the tensor given here. A
  /// row within a rounding of a tie may be rounded either way, and attention is
  /// then judged by the cache that it found.
  llvm::ArrayRef<const Tensor *> written = {};
};

struct Interpretation {
  /// What the function returns. Floats are f64 and unrounded, with one
  /// exception: attn.append rounds what it writes to the cache's element type,
  /// because later calls, and the attention of this one, read it from there.
  llvm::SmallVector<RuntimeValue> results;
  /// For each result that is the output O of an attn.attention: the tensor of
  /// sum_j p_j |v_j|, of the shape of O. Empty unless asked for.
  llvm::SmallVector<std::optional<Tensor>> absoluteSums;
  /// For O: sum_j p_j r_j |v_j - o|, where r_j is the magnitude of the
  /// roundings that make score j; for LSE: sum_j p_j r_j. Empty unless asked
  /// for.
  llvm::SmallVector<std::optional<Tensor>> scoreSums;
  /// For O and LSE: how far off they may be because code for matrix units
  /// rounds q and k behind norms and RoPE. Empty unless asked for.
  llvm::SmallVector<std::optional<Tensor>> operandErrors;
  /// For each result that attn.append makes: of an element that it wrote, the
  /// largest magnitude of the row; -1 elsewhere. Empty unless asked for.
  llvm::SmallVector<std::optional<Tensor>> appended;
  /// The most keys that a row attends to. 0 unless asked for.
  int64_t keys = 0;
};

/// Runs `function` on its arguments, which must have the ranks and static
/// extents that its type says. Errors are the caller's fault (shapes that do
/// not fit together) or operations that the reference does not interpret.
llvm::Expected<Interpretation> interpret(mlir::func::FuncOp function,
                                         llvm::ArrayRef<RuntimeValue> arguments,
                                         const InterpretOptions &options = {});

/// For each attn.attention of the function, in order, by batch row, kv head and
/// key: how many rows of that head's group attend to the key. No O is computed,
/// so what attention's results go into must not matter to another's mask.
llvm::Expected<llvm::SmallVector<Tensor>>
countAttending(mlir::func::FuncOp function,
               llvm::ArrayRef<RuntimeValue> arguments);

} // namespace fovea::reference

#endif // FOVEA_COMPILER_REFERENCE_INTERPRETER_H
