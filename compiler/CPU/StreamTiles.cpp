// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// attn-cpu-stream-tiles: amx.tile_load with the attribute cpu.stream becomes
// the LLVM intrinsic of TILELOADDT1, which the amx dialect does not have. Other
// tile loads are left as they are.

#include "compiler/CPU/PartialKernel.h"
#include "compiler/CPU/Passes.h"

#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMTypes.h"

using namespace mlir;
using namespace fovea::cpu;

namespace fovea {
#define GEN_PASS_DEF_STREAMTILES
#include "compiler/CPU/Passes.h.inc"
} // namespace fovea

static void lowerLoad(amx::TileLoadOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  amx::TileType tile = op.getTileType();
  int64_t bytes = tile.getElementTypeBitWidth() / 8;
  Type i64 = b.getI64Type();
  auto scaled = [&](Value elements) -> Value {
    Value size = arith::ConstantIndexOp::create(b, bytes);
    return arith::IndexCastOp::create(b, i64,
                                      arith::MulIOp::create(b, elements, size));
  };
  auto metadata = memref::ExtractStridedMetadataOp::create(b, op.getBase());
  Value at = metadata.getOffset();
  for (auto [position, stride] :
       llvm::zip_equal(op.getIndices(), metadata.getStrides()))
    at = arith::AddIOp::create(b, at,
                               arith::MulIOp::create(b, position, stride));
  Value base = arith::IndexCastOp::create(
      b, i64, memref::ExtractAlignedPointerAsIndexOp::create(b, op.getBase()));
  Value sum = arith::AddIOp::create(b, base, scaled(at));
  Value address = LLVM::IntToPtrOp::create(
      b, LLVM::LLVMPointerType::get(b.getContext()), sum);
  Value stride = op.getStride();
  if (!stride)
    stride = metadata.getStrides().drop_back().back();
  auto shape = [&](int64_t value) -> Value {
    return arith::ConstantOp::create(b, b.getI16IntegerAttr(value));
  };
  auto loaded = LLVM::CallIntrinsicOp::create(
      b, LLVM::LLVMX86AMXType::get(b.getContext()),
      b.getStringAttr("llvm.x86.tileloaddt164.internal"),
      ValueRange{shape(tile.getDimSize(0)), shape(tile.getDimSize(1) * bytes),
                 address, scaled(stride)});
  op.replaceAllUsesWith(
      UnrealizedConversionCastOp::create(b, tile, loaded.getResult(0))
          .getResult(0));
  op.erase();
}

namespace {
struct StreamTilesPass : fovea::impl::StreamTilesBase<StreamTilesPass> {
  void runOnOperation() override {
    SmallVector<amx::TileLoadOp> loads;
    getOperation().walk([&](amx::TileLoadOp op) {
      if (op->hasAttr(getStreamAttrName()))
        loads.push_back(op);
    });
    for (amx::TileLoadOp load : loads)
      lowerLoad(load);
  }
};
} // namespace
