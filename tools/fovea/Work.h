// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The work of an attention for given extents, after masking: pairs, tiles,
// operations and bytes. Counted on the mask; nothing is run.

#ifndef FOVEA_TOOLS_FOVEA_WORK_H
#define FOVEA_TOOLS_FOVEA_WORK_H

#include "compiler/Analysis/MaskPicture.h"
#include "dialects/attn/IR/AttnOps.h"
#include "tools/fovea/KernelCall.h"

namespace fovea {

/// The mask of a kernel's attention with the extents of a call. Inputs hold
/// what the call takes them to (KernelCall::assumedValue).
class AttentionWork {
public:
  /// `call` must be complete and outlive this.
  AttentionWork(Compilation &compilation, const KernelCall &call);

  /// The kernel's attention; null if it has none.
  attn::AttentionOp op;
  expr::Context context;
  /// Nothing if the expression language cannot say the mask.
  std::optional<expr::Expr> mask;

  /// The keys that there are: of a cache, those that are filled after the call.
  int64_t keyCount() const { return keys; }

  /// Tiles of `rows` query rows by `keys` keys. The mask must be known.
  analysis::TileGrid grid(int64_t rows, int64_t keys, int64_t b, int64_t h);

  /// Attended pairs of all batch rows and heads; all pairs if the mask is not
  /// known.
  double attendedPairs();
  /// Floating-point operations of the two matrix products on these pairs.
  double operations(double pairs);

private:
  const KernelCall &call;
  llvm::StringMap<int64_t> params;
  int64_t batches, rows, keys; // keys: those of a cache that are filled
};

} // namespace fovea

#endif // FOVEA_TOOLS_FOVEA_WORK_H
