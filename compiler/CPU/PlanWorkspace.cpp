// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Lays the scratch memory of a kernel out in its workspace: every memref.alloc
// in the entry block of a public function becomes a view of cpu.workspace, one
// behind the other, each on a cache line of its own; a second function
// @<kernel>_workspace with the same arguments returns the bytes needed, or -1
// where they cannot be counted in 62 bits. Sizes may depend on extents,
// parameters and the number of workers, never on data or strides. Must run
// before cpu.parallel is outlined; allocations elsewhere are refused.

#include "compiler/CPU/Passes.h"
#include "dialects/cpu/IR/CpuOps.h"

#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace fovea;

namespace fovea {
#define GEN_PASS_DEF_PLANWORKSPACE
#include "compiler/CPU/Passes.h.inc"
} // namespace fovea

/// The workspace and everything in it starts on a cache line.
static constexpr int64_t lineBytes = 64;

static int64_t elementBytes(MemRefType type) {
  return llvm::divideCeil(type.getElementTypeBitWidth(), 8);
}

/// Bytes of an allocation, rounded up to whole lines.
static Value emitBytes(OpBuilder &b, Location loc, MemRefType type,
                       ValueRange sizes) {
  auto cst = [&](int64_t v) -> Value {
    return arith::ConstantIndexOp::create(b, loc, v);
  };
  int64_t fixed = elementBytes(type);
  for (int64_t size : type.getShape())
    if (!ShapedType::isDynamic(size))
      fixed *= size;
  Value bytes = cst(fixed);
  for (Value size : sizes)
    bytes = arith::MulIOp::create(b, loc, bytes, size);
  Value line = cst(lineBytes);
  bytes = arith::AddIOp::create(b, loc, bytes, cst(lineBytes - 1));
  return arith::MulIOp::create(
      b, loc, arith::DivUIOp::create(b, loc, bytes, line), line);
}

/// The same as a float, which cannot wrap.
static Value emitBytesAsFloat(OpBuilder &b, Location loc, MemRefType type,
                              ValueRange sizes) {
  double fixed = elementBytes(type);
  for (int64_t size : type.getShape())
    if (!ShapedType::isDynamic(size))
      fixed *= size;
  Value bytes = arith::ConstantOp::create(b, loc, b.getF64FloatAttr(fixed));
  for (Value size : sizes) {
    Value wide = arith::IndexCastOp::create(b, loc, b.getI64Type(), size);
    bytes = arith::MulFOp::create(
        b, loc, bytes, arith::SIToFPOp::create(b, loc, b.getF64Type(), wide));
  }
  return arith::AddFOp::create(
      b, loc, bytes,
      arith::ConstantOp::create(b, loc, b.getF64FloatAttr(lineBytes)));
}

/// @<kernel>_workspace: a copy of what the sizes are made from.
static LogicalResult emitSizeFunction(func::FuncOp kernel,
                                      ArrayRef<memref::AllocOp> allocs) {
  OpBuilder b(kernel);
  Location loc = kernel.getLoc();
  auto sizeFn = func::FuncOp::create(
      b, loc, (kernel.getName() + "_workspace").str(),
      b.getFunctionType(kernel.getArgumentTypes(), b.getI64Type()));
  Block *entry = sizeFn.addEntryBlock();
  b.setInsertionPointToStart(entry);
  IRMapping mapping;
  mapping.map(kernel.getArguments(), entry->getArguments());

  SetVector<Operation *> slice;
  BackwardSliceOptions options;
  options.inclusive = true;
  options.omitBlockArguments = true;
  for (memref::AllocOp alloc : allocs)
    for (Value size : alloc.getDynamicSizes())
      if (size.getDefiningOp())
        (void)getBackwardSlice(size, &slice, options);
  for (Operation *op : slice) {
    // Strides and addresses are not known where the size is asked for.
    if (!isMemoryEffectFree(op) ||
        isa<memref::ExtractStridedMetadataOp,
            memref::ExtractAlignedPointerAsIndexOp>(op))
      return op->emitOpError(
          "takes part in the size of scratch memory, which must "
          "depend on extents and parameters alone");
    b.clone(*op, mapping);
  }
  Value total = arith::ConstantIndexOp::create(b, loc, 0);
  Value check = arith::ConstantOp::create(b, loc, b.getF64FloatAttr(0));
  for (memref::AllocOp alloc : allocs) {
    SmallVector<Value> sizes = llvm::map_to_vector(
        alloc.getDynamicSizes(), [&](Value v) { return mapping.lookup(v); });
    total = arith::AddIOp::create(b, loc, total,
                                  emitBytes(b, loc, alloc.getType(), sizes));
    check = arith::AddFOp::create(
        b, loc, check, emitBytesAsFloat(b, loc, alloc.getType(), sizes));
  }
  Value limit = arith::ConstantOp::create(
      b, loc, b.getF64FloatAttr(double(int64_t(1) << 62)));
  Value fits =
      arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OLT, check, limit);
  Value bytes = arith::IndexCastOp::create(b, loc, b.getI64Type(), total);
  Value none = arith::ConstantIntOp::create(b, loc, -1, 64);
  Value result = arith::SelectOp::create(b, loc, fits, bytes, none);
  func::ReturnOp::create(b, loc, result);
  return success();
}

static LogicalResult planWorkspace(func::FuncOp kernel) {
  SmallVector<memref::AllocOp> allocs;
  WalkResult walk = kernel.walk([&](memref::AllocOp alloc) {
    if (alloc->getBlock() != &kernel.front()) {
      alloc.emitOpError("is scratch memory outside the entry block");
      return WalkResult::interrupt();
    }
    allocs.push_back(alloc);
    return WalkResult::advance();
  });
  if (walk.wasInterrupted() || failed(emitSizeFunction(kernel, allocs)))
    return failure();
  if (allocs.empty())
    return success();

  Location loc = kernel.getLoc();
  OpBuilder b = OpBuilder::atBlockBegin(&kernel.front());
  Value workspace = cpu::WorkspaceOp::create(
      b, loc, MemRefType::get({ShapedType::kDynamic}, b.getI8Type()));
  Value offset = arith::ConstantIndexOp::create(b, loc, 0);
  for (memref::AllocOp alloc : allocs) {
    b.setInsertionPoint(alloc);
    Value view =
        memref::ViewOp::create(b, alloc.getLoc(), alloc.getType(), workspace,
                               offset, alloc.getDynamicSizes());
    offset = arith::AddIOp::create(
        b, loc, offset,
        emitBytes(b, alloc.getLoc(), alloc.getType(), alloc.getDynamicSizes()));
    for (Operation *user : llvm::make_early_inc_range(alloc->getUsers()))
      if (isa<memref::DeallocOp>(user))
        user->erase();
    alloc.replaceAllUsesWith(view);
    alloc.erase();
  }
  return success();
}

namespace {
struct PlanWorkspace : fovea::impl::PlanWorkspaceBase<PlanWorkspace> {
  void runOnOperation() override {
    for (auto kernel :
         llvm::make_early_inc_range(getOperation().getOps<func::FuncOp>()))
      if (kernel.isPublic() && !kernel.isExternal() &&
          failed(planWorkspace(kernel)))
        return signalPassFailure();
  }
};
} // namespace
