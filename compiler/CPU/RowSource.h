// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Where the rows of an operand come from. On buffers a chain such as
// attn.rms_norm -> attn.rope -> attn.attention passes through temporary
// allocations; a RowSource names the memory that the chain starts at and
// replays the chain on tiles, so that no temporary is ever filled. This is how
// RoPE and norms are fused into packing, into the query tile and into append.

#ifndef FOVEA_COMPILER_CPU_ROWSOURCE_H
#define FOVEA_COMPILER_CPU_ROWSOURCE_H

#include "dialects/attn/IR/AttnOps.h"

#include "mlir/IR/Builders.h"

namespace fovea {

class RowSource {
public:
  /// The source of `operand` as `consumer` reads it. Row operations are
  /// followed while their result goes nowhere else than towards `consumer`.
  static RowSource trace(mlir::Value operand, mlir::Operation *consumer);

  /// The memory that the chain starts at.
  mlir::Value getSource() const { return source; }
  bool hasChain() const { return !chain.empty(); }

  /// Fills `tile` ([L][width]) with rows [row0, row0 + rows) of kv head `g` of
  /// batch `b`, folded over `group`, and applies the chain. `tensorMap` takes
  /// (b, h, i, d) to the source's dimensions; `positions` ([L] i64) is scratch;
  /// `extent` is the number of indices i. A chain computes in `staged`, of the
  /// tile's shape and the compute type, and its last operation rounds to the
  /// type of `tile`; without `staged`, in `tile`, which then has the compute
  /// type.
  void emitTile(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value b,
                mlir::Value g, mlir::Value row0, mlir::Value rows,
                int64_t group, mlir::AffineMap tensorMap, mlir::Value extent,
                mlir::Value positions, mlir::Value tile,
                mlir::Value staged = {}) const;

  /// Removes the operations of the chains, which may be one chain several
  /// times, and their temporaries that nothing else uses.
  static void eraseChains(llvm::ArrayRef<RowSource> sources,
                          mlir::RewriterBase &rewriter);

private:
  mlir::Value source;
  llvm::SmallVector<mlir::Operation *> chain;
};

} // namespace fovea

#endif // FOVEA_COMPILER_CPU_ROWSOURCE_H
