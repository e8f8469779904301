// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Chooses #attn.config for every attn.attention, on tensors or memrefs, from
// the vector width and the number of vector registers. The choice depends on
// widths and types, never on lengths: one artifact serves them all. Attentions
// that have a configuration keep it.

#include "compiler/Transforms/Passes.h"
#include "dialects/attn/IR/AttnOps.h"

using namespace mlir;
using namespace fovea;
using namespace fovea::attn;

namespace fovea {
#define GEN_PASS_DEF_SELECTCONFIG
#include "compiler/Transforms/Passes.h.inc"
} // namespace fovea

namespace {
struct SelectConfig : fovea::impl::SelectConfigBase<SelectConfig> {
  using SelectConfigBase::SelectConfigBase;

  void runOnOperation() override {
    getOperation()->walk([&](AttentionOp op) {
      if (op.getConfigAttr())
        return;
      ConfigAttr config = select(op);
      op.setConfigAttr(config);
      if (explain)
        op.emitRemark() << "config " << config << ": " << vectorBits
                        << "-bit vectors, " << registers << " registers";
    });
  }

  ConfigAttr select(AttentionOp op) {
    int64_t bits = op.getComputeType().getWidth();
    int64_t vector = vectorBits / bits;
    // Accumulators, a row of Q vectors and a broadcast must fit the registers:
    // unroll * vectors + vectors + 1.
    int64_t vectors = registers >= 32 ? 3 : 2;
    int64_t unroll = std::min<int64_t>((registers - 1 - vectors) / vectors, 8);
    // K and V of a KV tile should stay in the second-level cache beside the
    // query tile; the tile is also the grain of mask skipping.
    int64_t width = op.getQkWidth() + op.getValueWidth(), kvTile = 128;
    while (kvTile > 32 && kvTile * width * bits / 8 > (int64_t(256) << 10))
      kvTile /= 2;
    // Long enough that merging is cheap, short enough to feed threads.
    int64_t kvSplit = 8 * kvTile;
    return ConfigAttr::get(op.getContext(), vectors * vector, vector, kvTile,
                           vector, unroll, kvSplit);
  }
};
} // namespace
