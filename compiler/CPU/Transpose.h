// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Transposition of tiles: square blocks in vector registers, the rest by
// elements.

#ifndef FOVEA_COMPILER_CPU_TRANSPOSE_H
#define FOVEA_COMPILER_CPU_TRANSPOSE_H

#include "mlir/IR/Builders.h"

namespace fovea::cpu {

/// The columns of the square matrix whose rows are `rows`: n vectors of n
/// lanes, n a power of two; n log2(n) shuffles.
llvm::SmallVector<mlir::Value>
transposeInRegisters(mlir::OpBuilder &b, mlir::Location loc,
                     llvm::SmallVector<mlir::Value> rows);

/// dest[c][r] = source[r][c] for memrefs of floats of static shapes [R][C] and
/// [C][R], converted to dest's type; they must not overlap. Blocks have
/// `vectorBits` per vector of source's type. With `run`, an entry of the
/// matrices is that many floats side by side, of one type in both.
void emitTranspose(mlir::OpBuilder &builder, mlir::Location loc,
                   mlir::Value source, mlir::Value dest, int64_t vectorBits,
                   int64_t run = 1);

} // namespace fovea::cpu

#endif // FOVEA_COMPILER_CPU_TRANSPOSE_H
