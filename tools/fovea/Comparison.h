// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// A kernel's results beside the reference's.

#ifndef FOVEA_TOOLS_FOVEA_COMPARISON_H
#define FOVEA_TOOLS_FOVEA_COMPARISON_H

#include "compiler/Reference/Interpreter.h"
#include "tools/fovea/Compilation.h"
#include "tools/fovea/HostTensor.h"

namespace fovea {

/// How far the results of one call are from the reference.
struct Comparison {
  /// The largest error as a share of its bound; above 1 is a failure.
  double share = 0;
  /// What the largest share is of: "o[0, 3, 1, 7] is 0.5, the reference says
  /// 0.25, the bound is 1e-07".
  std::string worst;
  bool good() const { return share <= 1; }
};

/// The reference's arguments: the tensors as they are before the call, then all
/// parameters.
llvm::Expected<llvm::SmallVector<reference::RuntimeValue>>
readArguments(Compilation &compilation,
              llvm::ArrayRef<const HostTensor *> tensors,
              llvm::ArrayRef<int64_t> params);

/// Runs the reference and compares what a call has left in `tensors` (null:
/// absent) with its results, by the bounds of ErrorBound.h.
llvm::Expected<Comparison>
compare(Compilation &compilation,
        llvm::ArrayRef<reference::RuntimeValue> arguments,
        llvm::ArrayRef<const HostTensor *> tensors);

} // namespace fovea

#endif // FOVEA_TOOLS_FOVEA_COMPARISON_H
