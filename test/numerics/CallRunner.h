// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Drawn calls of one kernel, whose results are held to the f64 reference under
// the bounds of docs/testing.md. Each call is made
//
//   - on tensors whose memory ends where a page that faults begins, with a
//     workspace of exactly the stated size, on one thread;
//   - with two and three threads, which must not change a bit (D1);
//   - on tensors whose memory begins at such a page, which must not either;
//   - for one batch row alone, which must give that row's bits (D1).
//
// All memory that no index reaches, every key that no row attends to and the
// workspace hold NaN, and sometimes a key that some rows attend to and others
// do not (M1). Inputs are write-protected.

#ifndef FOVEA_TEST_NUMERICS_CALLRUNNER_H
#define FOVEA_TEST_NUMERICS_CALLRUNNER_H

#include "test/numerics/Compile.h"
#include "test/numerics/GuardedTensor.h"
#include "test/numerics/KernelSpec.h"

#include "compiler/Reference/Interpreter.h"

namespace fovea::numerics {

/// The worst error of each result, as a share of its bound.
using Shares = std::map<std::string, double>;

/// One call: extents, parameters, and the tensors' values and strides.
struct Call {
  std::map<std::string, int64_t> symbols;
  std::vector<int64_t> params;
  /// Queries are drawn with this standard deviation, scores come out as large.
  double spread = 1;
  /// By argument; outputs hold NaN. What strides of 0 make of the values is
  /// only known once they are in memory.
  std::vector<reference::Tensor> values;
  std::vector<llvm::SmallVector<int64_t>> strides;
  /// The values in memory, gaps included.
  std::vector<std::vector<uint8_t>> images;
};

class CallRunner {
public:
  /// What is wrong, the spec's text too, is a failure of the running test.
  CallRunner(KernelSpec spec, Random &random);

  /// The module at the attn phase, or null after a failure.
  mlir::ModuleOp getModule() { return *meaning; }

  /// The kinds of calls, by what their extents are like.
  enum CallKind { Decode, Prefill, MoreQueries, Nothing, Any, Long, FewKeys };
  static constexpr CallKind allKinds[] = {Decode, Prefill, MoreQueries, Nothing,
                                          Any,    Long,    FewKeys};

  /// Draws a call of each kind and makes it; stops at the first failure. The
  /// bounds are those of code for matrix units with so many terms of an
  /// element, or not (0).
  void run(const LoadedKernel &kernel, int64_t matrixTerms = 0,
           llvm::ArrayRef<CallKind> kinds = allKinds);
  /// The call that was made last.
  const std::string &describeCall() const { return description; }
  const Shares &getWorst() const { return worst; }

private:
  Call drawCall(CallKind kind);
  void drawExtents(Call &call, CallKind kind);
  reference::Tensor drawValues(const Call &call, const Argument &argument);
  llvm::SmallVector<int64_t> drawStrides(const Argument &argument,
                                         llvm::ArrayRef<int64_t> shape);
  void poison(Call &call);
  void check(Call &call);

  std::vector<GuardedTensor> place(const Call &call, Flush flush);
  void invoke(const Call &call, std::vector<GuardedTensor> &tensors,
              int64_t threads, bool ownWorkspace,
              std::optional<int64_t> row = std::nullopt);
  void compare(const Call &call, const std::vector<GuardedTensor> &tensors);
  mlir::func::FuncOp getMeaning() {
    return *meaning->getOps<mlir::func::FuncOp>().begin();
  }
  /// The arguments of the reference.
  std::vector<reference::RuntimeValue> getArguments(const Call &call) const;

  unsigned find(llvm::StringRef name) const {
    return llvm::find_if(arguments,
                         [&](const Argument &a) { return a.name == name; }) -
           arguments.begin();
  }
  bool isOutput(unsigned number) const {
    return arguments[number].role != Argument::Input;
  }

  Random &random;
  KernelSpec spec;
  std::vector<Argument> arguments;
  mlir::OwningOpRef<mlir::ModuleOp> meaning;
  const fovea_kernel *kernel = nullptr;
  int64_t matrixTerms = 0;
  std::string description;
  Shares worst;
};

} // namespace fovea::numerics

#endif // FOVEA_TEST_NUMERICS_CALLRUNNER_H
