// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// What this machine can do, measured: fused multiply-adds and reading memory.

#ifndef FOVEA_TOOLS_FOVEA_CALIBRATION_H
#define FOVEA_TOOLS_FOVEA_CALIBRATION_H

#include "compiler/Pipelines/Pipelines.h"

namespace fovea {

/// Operations per second (two for each fused multiply-add) of `threads` threads
/// at the target's vector width, in f64 or f32. Takes about 5 ms. The machine
/// must run the target.
double measureFmaRate(const Target &target, bool isDouble, int64_t threads);

/// Bytes per second that `threads` threads read from memory. About 50 ms.
double measureReadBandwidth(int64_t threads);

} // namespace fovea

#endif // FOVEA_TOOLS_FOVEA_CALIBRATION_H
