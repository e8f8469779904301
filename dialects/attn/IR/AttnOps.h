// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The attn dialect: attention graphs and the partial form. The operations are
// described in AttnOps.td, from which docs/dialect.md is made.

#ifndef FOVEA_DIALECTS_ATTN_IR_ATTNOPS_H
#define FOVEA_DIALECTS_ATTN_IR_ATTNOPS_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/Interfaces/DestinationStyleOpInterface.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Interfaces/TilingInterface.h"

#include "dialects/attn/IR/AttnDialect.h.inc"
#include "dialects/attn/IR/AttnEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/attn/IR/AttnAttrs.h.inc"
#define GET_OP_CLASSES
#include "dialects/attn/IR/AttnOps.h.inc"

namespace fovea::attn {

/// Positions of the arguments that every mask region starts with; a score
/// region has the score in front of them. All are i64. Captured operands
/// follow.
enum RegionArg : unsigned {
  ArgB,
  ArgH,
  ArgI,
  ArgJ, // the point
  ArgBatches,
  ArgHeads,
  ArgKvHeads,
  ArgM,
  ArgN,
  ArgD, // the problem's extents
  NumIndexArgs
};

/// The names of those arguments in the expression language.
inline constexpr const char *regionArgNames[NumIndexArgs] = {
    "b", "h", "i", "j", "B", "H", "G", "M", "N", "D"};

/// f32, or f64 if `elementType` is f64: the type of scores and state (rule S1).
mlir::FloatType getComputeType(mlir::Type elementType);

/// Whether a norm or RoPE makes this tensor, so that code which fuses them has
/// its rows in the compute type.
bool isRowOpResult(mlir::Value tensor);

/// Adds the bufferization models of the attn operations to `registry`.
void registerBufferizationModels(mlir::DialectRegistry &registry);

} // namespace fovea::attn

#endif // FOVEA_DIALECTS_ATTN_IR_ATTNOPS_H
