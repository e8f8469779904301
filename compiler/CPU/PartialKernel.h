// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// What the micro-kernels of attn.partial share: the values of the operation
// inside the function that is made for it, and small operations on them. Three
// kernels are built on it, told apart by what lies in the lanes of a vector:
//
//   query rows   q^T [D][L], acc^T [E][L]: one broadcast per element of K and V
//                serves many rows, and maximum and sum need no horizontal
//                operation. For tiles of many rows.
//   depth        q [L][D], acc [L][E]: K and V are read in vectors as stored,
//                converted from their type on the way, and no lane is idle. For
//                the few rows of a decode.
//   query rows, by matrix units
//                q [T][D/2][L][2], k [n][T][D], v^T [n/64][T][E][64], all bf16
//                and padded by zeros to whole tiles, T terms for an element,
//                acc^T [E][L]: the two products are of tiles, the softmax
//                between them of vectors. For tiles of many rows, where there
//                are such units.

#ifndef FOVEA_COMPILER_CPU_PARTIALKERNEL_H
#define FOVEA_COMPILER_CPU_PARTIALKERNEL_H

#include "compiler/CPU/RegionVectorizer.h"
#include "compiler/CPU/Rows.h"
#include "compiler/CPU/VectorMath.h"
#include "dialects/attn/IR/AttnOps.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"

namespace fovea::cpu {

using Values = llvm::SmallVector<mlir::Value>;

class PartialKernel {
protected:
  /// Emits at the end of `function`, whose arguments are the op's operands.
  PartialKernel(attn::PartialOp op, mlir::func::FuncOp function);

  mlir::Value get(mlir::Value operand) { return map.lookup(operand); }
  mlir::Value index(int64_t value);
  mlir::Value add(mlir::Value x, mlir::Value y);
  mlir::Value sub(mlir::Value x, mlir::Value y);
  mlir::Value mul(mlir::Value x, mlir::Value y);
  mlir::Value min(mlir::Value x, mlir::Value y);
  mlir::Value toI64(mlir::Value x);
  mlir::Value i64(int64_t value);
  /// Scratch in the function's own stack frame, on a cache line.
  mlir::Value allocateOnStack(llvm::ArrayRef<int64_t> shape);
  /// for (iv = from; iv < to; iv += step) carried = body(iv, carried)
  Values loop(mlir::Value from, mlir::Value to, int64_t step,
              const Values &carried,
              llvm::function_ref<Values(mlir::Value, Values)> body);

  /// Head h and query i of folded rows (rule of attn.partial: r = i * group +
  /// the head's place in the group), scalars or vectors as `row` is. Rows past
  /// the last repeat it.
  std::pair<mlir::Value, mlir::Value> headAndQuery(mlir::Value row);
  /// The region arguments after (s) for these h, i and j, each a scalar or a
  /// vector of `width`.
  Values regionArguments(mlir::Value h, mlir::Value i, mlir::Value j);
  mlir::Value emitMask(mlir::ValueRange arguments);
  mlir::Value emitScore(mlir::Value s, Values arguments);
  mlir::Value lanesOf(mlir::Value value) {
    return broadcastToLanes(b, loc, value, width);
  }
  /// Constants from, from + 1, ... in the lanes, as i64.
  mlir::Value iota(int64_t from);

  /// Keys [0, count) in groups of `group`; carried = body(keys, first key,
  /// carried). With at least one full group the last one overlaps its
  /// predecessor (the same scores are computed again, to the same bits); with
  /// fewer keys, one by one.
  Values forEachKeyGroup(
      mlir::Value count, int64_t group, Values carried,
      llvm::function_ref<Values(int64_t, mlir::Value, Values)> body);
  /// PV sums, floats or vectors, of accumulate(readMaskedAsZero = false). Rule
  /// M1: 0 * NaN or 0 * Inf of a masked key may be in them. That shows in them,
  /// tested in `chains` chains, and only then they are accumulated again
  /// without reading masked keys.
  Values sumsWithoutMaskedKeys(int64_t chains,
                               llvm::function_ref<Values(bool)> accumulate);

private:
  mlir::Value anyNotFinite(mlir::ValueRange values, int64_t chains);

protected:
  attn::PartialOp op;
  mlir::OpBuilder b;
  mlir::Location loc;
  mlir::IRMapping map;
  attn::ConfigAttr config;
  mlir::FloatType compute;
  /// Elements of a vector.
  int64_t width;
  mlir::VectorType vectorType;
  FloatBuilder math;
};

void emitRowLanesKernel(attn::PartialOp op, mlir::func::FuncOp function);
void emitDepthLanesKernel(attn::PartialOp op, mlir::func::FuncOp function);
void emitMatrixKernel(attn::PartialOp op, mlir::func::FuncOp function);

/// Keys that the kernel with the depth in the lanes takes at once of a KV tile,
/// for tiles of `tileRows` rows of heads in groups of `group`.
int64_t keysOfDepthLanesBlock(int64_t group, int64_t tileRows, int64_t kvTile);

/// Marks an amx.tile_load of data that is not read again soon.
constexpr llvm::StringLiteral getStreamAttrName() { return "cpu.stream"; }

} // namespace fovea::cpu

#endif // FOVEA_COMPILER_CPU_PARTIALKERNEL_H
