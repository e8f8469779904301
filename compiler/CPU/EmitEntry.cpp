// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The C ABI of a kernel (runtime/include/fovea/kernel_abi.h): for the public
// function @NAME on memrefs, @NAME__<suffix>(frame) -> status unpacks the frame
// into memref descriptors and calls it, @NAME__<suffix>_workspace(symbols,
// params, workers) -> bytes calls @NAME_workspace. cpu.workers, cpu.workspace
// and cpu.context become arguments of @NAME, cpu.require an early return of its
// status. Needs the argument attributes of a kernel function (attn.dims and so
// on); must run after outlining and before the conversion to LLVM.

#include "compiler/CPU/Passes.h"
#include "dialects/cpu/IR/CpuOps.h"

#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace fovea;

namespace fovea {
#define GEN_PASS_DEF_EMITENTRY
#include "compiler/CPU/Passes.h.inc"
} // namespace fovea

// Byte offsets in the structs of kernel_abi.h.
static constexpr int64_t pointerBytes = 8;
static constexpr int64_t viewBytes = 72, viewStrides = 8;
enum FrameField : int64_t {
  FrameContext = 0,
  FrameSymbols = 8,
  FrameParams = 16,
  FrameArgs = 24,
  FrameWorkspace = 32,
  FrameWorkers = 40
};

namespace {
/// Loads at constant byte offsets.
struct Memory {
  OpBuilder &b;
  Location loc;
  Value at(Value base, int64_t offset, Type type) const {
    Type ptr = LLVM::LLVMPointerType::get(b.getContext());
    Value address =
        LLVM::GEPOp::create(b, loc, ptr, b.getI8Type(), base,
                            ArrayRef<LLVM::GEPArg>{int32_t(offset)});
    return LLVM::LoadOp::create(b, loc, type, address);
  }
};

class EntryEmitter {
public:
  EntryEmitter(func::FuncOp kernel, StringRef suffix)
      : kernel(kernel), ctx(kernel.getContext()), loc(kernel.getLoc()), b(ctx),
        options(ctx), types(ctx, options), ptr(LLVM::LLVMPointerType::get(ctx)),
        i64(IntegerType::get(ctx, 64)), suffix(suffix) {}

  LogicalResult run();

private:
  LogicalResult readAttributes();
  void addRuntimeArguments();
  void returnStatus();
  func::FuncOp makeFunction(StringRef name, ArrayRef<Type> inputs, Type result);
  SmallVector<Value> unpack(Value symbols, Value params, Value views);

  func::FuncOp kernel;
  MLIRContext *ctx;
  Location loc;
  OpBuilder b;
  LowerToLLVMOptions options;
  LLVMTypeConverter types;
  Type ptr, i64;
  StringRef suffix;
  SmallVector<StringRef> symbolNames;
  unsigned originalArguments = 0;
};

LogicalResult EntryEmitter::readAttributes() {
  auto symbols = kernel->getAttrOfType<ArrayAttr>("attn.symbols");
  if (!symbols)
    return kernel.emitOpError("is no kernel function: attn.symbols is missing");
  for (auto symbol : symbols.getAsValueRange<StringAttr>())
    symbolNames.push_back(symbol);
  for (BlockArgument arg : kernel.getArguments()) {
    if (!isa<MemRefType>(arg.getType()))
      continue;
    auto dims =
        kernel.getArgAttrOfType<ArrayAttr>(arg.getArgNumber(), "attn.dims");
    if (!dims ||
        int64_t(dims.size()) != cast<MemRefType>(arg.getType()).getRank())
      return kernel.emitOpError() << "argument " << arg.getArgNumber()
                                  << " needs attn.dims, one per dimension";
    for (Attribute dim : dims)
      if (auto symbol = dyn_cast<StringAttr>(dim);
          symbol && !llvm::is_contained(symbolNames, symbol.getValue()))
        return kernel.emitOpError()
               << "attn.dims names " << symbol << ", which is no symbol";
  }
  return success();
}

/// What the cpu operations stand for becomes arguments (workspace, workers,
/// context) of the kernel and of its size function.
void EntryEmitter::addRuntimeArguments() {
  originalArguments = kernel.getNumArguments();
  Type workspaceType = MemRefType::get({ShapedType::kDynamic}, b.getI8Type());
  for (Type type : {workspaceType, Type(b.getIndexType()), ptr})
    (void)kernel.insertArgument(kernel.getNumArguments(), type, {}, loc);
  auto replace = [&](Operation *op, unsigned index) {
    op->getResult(0).replaceAllUsesWith(
        kernel.getArgument(originalArguments + index));
    op->erase();
  };
  kernel.walk([&](Operation *op) {
    if (isa<cpu::WorkspaceOp>(op))
      replace(op, 0);
    else if (isa<cpu::WorkersOp>(op))
      replace(op, 1);
    else if (isa<cpu::ContextOp>(op))
      replace(op, 2);
  });
}

/// The kernel returns a status: ok at its end, or that of a failed requirement.
void EntryEmitter::returnStatus() {
  Type i32 = b.getI32Type();
  auto type = b.getFunctionType(kernel.getArgumentTypes(), i32);
  kernel.setFunctionType(type);
  kernel.walk([&](func::ReturnOp op) {
    b.setInsertionPoint(op);
    Value ok = arith::ConstantIntOp::create(b, loc, 0, 32);
    func::ReturnOp::create(b, loc, ok);
    op.erase();
  });
  SmallVector<cpu::RequireOp> requirements;
  kernel.walk([&](cpu::RequireOp op) { requirements.push_back(op); });
  for (cpu::RequireOp op : requirements) {
    Block *block = op->getBlock();
    Block *rest = block->splitBlock(std::next(op->getIterator()));
    Block *leave = b.createBlock(&kernel.getBody(), kernel.getBody().end());
    Value status = arith::ConstantIntOp::create(b, loc, op.getStatus(), 32);
    func::ReturnOp::create(b, loc, status);
    b.setInsertionPoint(op);
    cf::CondBranchOp::create(b, loc, op.getCondition(), rest, ValueRange(),
                             leave, ValueRange());
    op.erase();
  }
}

func::FuncOp EntryEmitter::makeFunction(StringRef name, ArrayRef<Type> inputs,
                                        Type result) {
  b.setInsertionPointAfter(kernel);
  auto function =
      func::FuncOp::create(b, loc, name, b.getFunctionType(inputs, result));
  b.setInsertionPointToStart(function.addEntryBlock());
  return function;
}

/// The kernel's own arguments, out of the symbol, parameter and view arrays.
/// With no views (the size function) the memrefs have extents and no memory.
SmallVector<Value> EntryEmitter::unpack(Value symbols, Value params,
                                        Value views) {
  Memory memory{b, loc};
  SmallVector<Value> values;
  int64_t tensorIndex = 0, paramIndex = 0;
  auto constant = [&](int64_t value) -> Value {
    return LLVM::ConstantOp::create(b, loc, i64, b.getI64IntegerAttr(value));
  };
  for (unsigned index = 0; index < originalArguments; ++index) {
    Type type = kernel.getArgument(index).getType();
    auto memref = dyn_cast<MemRefType>(type);
    if (!memref) {
      values.push_back(memory.at(params, pointerBytes * paramIndex++, i64));
      continue;
    }
    int64_t view = viewBytes * tensorIndex++;
    auto descriptor =
        MemRefDescriptor::poison(b, loc, types.convertType(memref));
    Value data = views ? memory.at(views, view, ptr)
                       : LLVM::ZeroOp::create(b, loc, ptr).getResult();
    descriptor.setAllocatedPtr(b, loc, data);
    descriptor.setAlignedPtr(b, loc, data);
    descriptor.setOffset(b, loc, constant(0));
    auto dims = kernel.getArgAttrOfType<ArrayAttr>(index, "attn.dims");
    for (auto [d, dim] : llvm::enumerate(dims)) {
      Value size;
      if (auto symbol = dyn_cast<StringAttr>(dim))
        size = memory.at(
            symbols,
            pointerBytes *
                std::distance(symbolNames.begin(),
                              llvm::find(symbolNames, symbol.getValue())),
            i64);
      else
        size = constant(cast<IntegerAttr>(dim).getInt());
      descriptor.setSize(b, loc, d, size);
      descriptor.setStride(
          b, loc, d,
          views ? memory.at(views, view + viewStrides + pointerBytes * d, i64)
                : constant(0));
    }
    values.push_back(
        UnrealizedConversionCastOp::create(b, loc, type, Value(descriptor))
            .getResult(0));
  }
  return values;
}

LogicalResult EntryEmitter::run() {
  auto module = kernel->getParentOfType<ModuleOp>();
  auto sizeFn = module.lookupSymbol<func::FuncOp>(
      (kernel.getName() + "_workspace").str());
  if (!sizeFn)
    return kernel.emitOpError(
        "has no size function; run attn-cpu-plan-workspace");
  if (failed(readAttributes()))
    return failure();
  kernel->removeAttr("attn.symbols");
  std::string entryName = (kernel.getName() + "__" + suffix).str();
  addRuntimeArguments();
  returnStatus();
  Memory memory{b, loc};

  auto entry = makeFunction(entryName, {ptr}, b.getI32Type());
  Value frame = entry.getArgument(0);
  SmallVector<Value> args = unpack(memory.at(frame, FrameSymbols, ptr),
                                   memory.at(frame, FrameParams, ptr),
                                   memory.at(frame, FrameArgs, ptr));
  auto asIndex = [&](Value v) {
    return arith::IndexCastOp::create(b, loc, b.getIndexType(), v);
  };
  auto workspaceType = MemRefType::get({ShapedType::kDynamic}, b.getI8Type());
  auto workspace =
      MemRefDescriptor::poison(b, loc, types.convertType(workspaceType));
  Value memoryBase = memory.at(frame, FrameWorkspace, ptr);
  workspace.setAllocatedPtr(b, loc, memoryBase);
  workspace.setAlignedPtr(b, loc, memoryBase);
  workspace.setConstantOffset(b, loc, 0);
  // The runtime has checked the size; nothing here reads it.
  workspace.setConstantSize(b, loc, 0, std::numeric_limits<int64_t>::max());
  workspace.setConstantStride(b, loc, 0, 1);
  args.push_back(UnrealizedConversionCastOp::create(b, loc, workspaceType,
                                                    Value(workspace))
                     .getResult(0));
  args.push_back(asIndex(memory.at(frame, FrameWorkers, i64)));
  args.push_back(memory.at(frame, FrameContext, ptr));
  auto call = func::CallOp::create(b, loc, kernel, args);
  func::ReturnOp::create(b, loc, call.getResult(0));

  // The size function takes the workers in place of cpu.workers.
  (void)sizeFn.insertArgument(sizeFn.getNumArguments(), b.getIndexType(), {},
                              loc);
  Value workers = sizeFn.getArguments().back();
  sizeFn.walk([&](cpu::WorkersOp op) {
    op.getResult().replaceAllUsesWith(workers);
    op.erase();
  });
  auto sizeEntry = makeFunction(entryName + "_workspace", {ptr, ptr, i64}, i64);
  SmallVector<Value> sizeArgs =
      unpack(sizeEntry.getArgument(0), sizeEntry.getArgument(1), Value());
  sizeArgs.push_back(asIndex(sizeEntry.getArgument(2)));
  auto sizeCall = func::CallOp::create(b, loc, sizeFn, sizeArgs);
  func::ReturnOp::create(b, loc, sizeCall.getResult(0));

  kernel.setPrivate();
  sizeFn.setPrivate();
  for (unsigned index = 0; index < kernel.getNumArguments(); ++index)
    kernel.setArgAttrs(index, ArrayRef<NamedAttribute>());
  return success();
}

struct EmitEntry : fovea::impl::EmitEntryBase<EmitEntry> {
  using EmitEntryBase::EmitEntryBase;
  void runOnOperation() override {
    for (auto kernel : llvm::to_vector(getOperation().getOps<func::FuncOp>())) {
      if (!kernel.isPublic() || kernel.isExternal() ||
          !kernel->hasAttr("attn.symbols"))
        continue;
      if (failed(EntryEmitter(kernel, suffix).run()))
        return signalPassFailure();
    }
  }
};
} // namespace
