// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Drawn calls of a compiled kernel, held to the f64 reference. Every tensor
// lies between guard pages; what no element covers is NaN and must stay as it
// is; keys that no row attends to hold NaN, and in some cases a few others,
// which must reach no row that does not attend to them (rule M1); a second run
// on other threads must give the same bits (rule D1).

#ifndef FOVEA_TOOLS_FOVEA_CHECKEDCALL_H
#define FOVEA_TOOLS_FOVEA_CHECKEDCALL_H

#include "tools/fovea/KernelCall.h"

namespace fovea {

class CallChecker {
public:
  /// `fixed` says extents and parameters that are not to be drawn, by names
  /// that the kernel has. An error above `limit` times its bound is a failure.
  CallChecker(Compilation &compilation, const fovea_kernel *kernel,
              uint64_t seed, const CallOptions &fixed, double limit)
      : compilation(compilation), kernel(kernel), seed(seed), fixed(fixed),
        limit(limit) {}

  /// Draws and runs the call of that number. The largest error as a share of
  /// its bound, or what went wrong.
  llvm::Expected<double> run(int64_t number);

  /// The symbols' extents in the last call drawn.
  llvm::ArrayRef<int64_t> extents() const { return drawnExtents; }

private:
  Compilation &compilation;
  const fovea_kernel *kernel;
  uint64_t seed;
  const CallOptions &fixed;
  double limit;
  llvm::SmallVector<int64_t> drawnExtents;
};

} // namespace fovea

#endif // FOVEA_TOOLS_FOVEA_CHECKEDCALL_H
