// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// For machines without matrix units: kernels of the vector phase with the amx
// operations, and the AVX-512 intrinsics beside them, made of plain vector
// operations that compute the same bits. For tests; the code is slow.

#ifndef FOVEA_TEST_NUMERICS_EMULATEMATRIXUNITS_H
#define FOVEA_TEST_NUMERICS_EMULATEMATRIXUNITS_H

#include "mlir/IR/BuiltinOps.h"

namespace fovea::numerics {

/// Rewrites `module`, in which no tile lives across the iterations of a loop.
void emulateMatrixUnits(mlir::ModuleOp module);

} // namespace fovea::numerics

#endif // FOVEA_TEST_NUMERICS_EMULATEMATRIXUNITS_H
