// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// A kernel's results beside the reference's: the bounds of docs/testing.md and
// where a result stands against them.

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

/// The bound of the errors of O for an element type, as a sentence.
std::string describeBound(DType dtype);

/// Runs the reference on a call. `tensors` holds the arguments as they were
/// before the call (null: absent), `params` all parameters.
llvm::Expected<reference::Interpretation>
runReference(Compilation &compilation,
             llvm::ArrayRef<const HostTensor *> tensors,
             llvm::ArrayRef<int64_t> params);

/// Compares each output in `tensors` with the reference. `keys` is the largest
/// number of keys that a row may see.
llvm::Expected<Comparison> compare(Compilation &compilation,
                                   const reference::Interpretation &expected,
                                   llvm::ArrayRef<const HostTensor *> tensors,
                                   int64_t keys);

} // namespace fovea

#endif // FOVEA_TOOLS_FOVEA_COMPARISON_H
