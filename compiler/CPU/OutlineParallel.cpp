// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// cpu.parallel to a call of the runtime: the body moves into a private function
// task(closure, begin, end, worker) that loops over [begin, end), what it uses
// from outside travels in a struct on the caller's stack, and the loop becomes
// fovea_parallel_for(context, count, item's nanoseconds, task, closure). Values
// of memref type travel as their LLVM descriptors. Runs on any mix of dialects
// before the conversion to LLVM; must not be asked about nested cpu.parallel.

#include "compiler/CPU/Passes.h"
#include "dialects/cpu/IR/CpuOps.h"

#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Transforms/RegionUtils.h"

using namespace mlir;
using namespace fovea;

namespace fovea {
#define GEN_PASS_DEF_OUTLINEPARALLEL
#include "compiler/CPU/Passes.h.inc"
} // namespace fovea

static constexpr StringLiteral parallelFor = "fovea_parallel_for";

static Value cast(OpBuilder &b, Location loc, Value value, Type type) {
  if (value.getType() == type)
    return value;
  return UnrealizedConversionCastOp::create(b, loc, type, value).getResult(0);
}

/// Constants are made anew inside the task instead of travelling.
static void sinkConstants(cpu::ParallelOp op) {
  SetVector<Value> captured;
  getUsedValuesDefinedAbove(op.getBody(), captured);
  OpBuilder b = OpBuilder::atBlockBegin(&op.getBody().front());
  for (Value value : captured) {
    Operation *def = value.getDefiningOp();
    if (!def || !def->hasTrait<OpTrait::ConstantLike>())
      continue;
    Value copy = b.clone(*def)->getResult(0);
    value.replaceUsesWithIf(copy, [&](OpOperand &use) {
      return op.getBody().isAncestor(use.getOwner()->getParentRegion());
    });
  }
}

static void outline(cpu::ParallelOp op, func::FuncOp kernel, unsigned number,
                    const LLVMTypeConverter &types) {
  MLIRContext *ctx = op.getContext();
  Location loc = op.getLoc();
  Type ptr = LLVM::LLVMPointerType::get(ctx), i64 = IntegerType::get(ctx, 64);
  sinkConstants(op);
  SetVector<Value> captured;
  getUsedValuesDefinedAbove(op.getBody(), captured);
  SmallVector<Type> fields = llvm::map_to_vector(
      captured, [&](Value v) { return types.convertType(v.getType()); });
  auto closureType = LLVM::LLVMStructType::getLiteral(ctx, fields);

  // The task.
  OpBuilder b(kernel);
  auto task = func::FuncOp::create(
      b, loc, (kernel.getName() + "_task" + Twine(number)).str(),
      b.getFunctionType({ptr, i64, i64, i64}, {}));
  task.setPrivate();
  Block *entry = task.addEntryBlock();
  b.setInsertionPointToStart(entry);
  IRMapping mapping;
  for (auto [index, value] : llvm::enumerate(captured)) {
    Value address =
        LLVM::GEPOp::create(b, loc, ptr, closureType, entry->getArgument(0),
                            ArrayRef<LLVM::GEPArg>{0, int32_t(index)});
    Value loaded = LLVM::LoadOp::create(b, loc, fields[index], address);
    mapping.map(value, cast(b, loc, loaded, value.getType()));
  }
  auto asIndex = [&](Value v) {
    return arith::IndexCastOp::create(b, loc, b.getIndexType(), v);
  };
  Value begin = asIndex(entry->getArgument(1)),
        end = asIndex(entry->getArgument(2)),
        worker = asIndex(entry->getArgument(3));
  Value one = arith::ConstantIndexOp::create(b, loc, 1);
  scf::ForOp::create(b, loc, begin, end, one, ValueRange(),
                     [&](OpBuilder &body, Location, Value item, ValueRange) {
                       mapping.map(op.getItem(), item);
                       mapping.map(op.getWorker(), worker);
                       for (Operation &inner :
                            op.getBody().front().without_terminator())
                         body.clone(inner, mapping);
                       scf::YieldOp::create(body, loc);
                     });
  func::ReturnOp::create(b, loc);

  // The call. The closure lives in the entry block, so that a loop around the
  // call does not grow the stack.
  b.setInsertionPointToStart(&kernel.front());
  Value onlyOne = LLVM::ConstantOp::create(b, loc, i64, b.getI64IntegerAttr(1));
  Value closure = LLVM::AllocaOp::create(b, loc, ptr, closureType, onlyOne);
  b.setInsertionPoint(op);
  for (auto [index, value] : llvm::enumerate(captured)) {
    Value address =
        LLVM::GEPOp::create(b, loc, ptr, closureType, closure,
                            ArrayRef<LLVM::GEPArg>{0, int32_t(index)});
    LLVM::StoreOp::create(b, loc, cast(b, loc, value, fields[index]), address);
  }
  Value context = cpu::ContextOp::create(b, loc, ptr);
  Value count = arith::IndexCastOp::create(b, loc, i64, op.getCount());
  Value itemTime =
      arith::IndexCastOp::create(b, loc, i64, op.getItemNanoseconds());
  Value function = cast(
      b, loc,
      func::ConstantOp::create(b, loc, task.getFunctionType(), task.getName()),
      ptr);
  func::CallOp::create(b, loc, parallelFor, TypeRange(),
                       ValueRange{context, count, itemTime, function, closure});
  op.erase();
}

namespace {
struct OutlineParallel : fovea::impl::OutlineParallelBase<OutlineParallel> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    LowerToLLVMOptions options(&getContext());
    LLVMTypeConverter types(&getContext(), options);
    bool any = false;
    for (auto kernel : llvm::to_vector(module.getOps<func::FuncOp>())) {
      SmallVector<cpu::ParallelOp> ops;
      kernel.walk([&](cpu::ParallelOp op) { ops.push_back(op); });
      for (auto [number, op] : llvm::enumerate(ops))
        outline(op, kernel, number, types);
      any |= !ops.empty();
    }
    if (!any || module.lookupSymbol(parallelFor))
      return;
    OpBuilder b = OpBuilder::atBlockEnd(module.getBody());
    Type ptr = LLVM::LLVMPointerType::get(&getContext());
    auto declaration = func::FuncOp::create(
        b, module.getLoc(), parallelFor,
        b.getFunctionType({ptr, b.getI64Type(), b.getI64Type(), ptr, ptr}, {}));
    declaration.setPrivate();
  }
};
} // namespace
