// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// attn-cpu-lower-partial: attn.partial on memref tiles becomes a call of a
// private function that holds the micro-kernel in vector, scf and memref
// operations (PartialKernel.h: which there are). The kernel is a function so
// that its scratch lies in its own stack frame and its registers do not depend
// on its caller. It must not be asked about tensors or other layouts; it says
// so.

#include "compiler/CPU/PartialKernel.h"
#include "compiler/CPU/Passes.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/SymbolTable.h"

using namespace mlir;
using namespace fovea::attn;
using namespace fovea::cpu;

namespace fovea {
#define GEN_PASS_DEF_LOWERPARTIAL
#include "compiler/CPU/Passes.h.inc"
} // namespace fovea

/// What lies in the lanes of vectors; nothing for layouts that no kernel has.
enum class Lanes { Rows, Depth };

static std::optional<Lanes> lanesOfLayout(PartialOp op) {
  MLIRContext *ctx = op.getContext();
  AffineExpr m, n, d, e;
  bindDims(ctx, m, n, d, e);
  auto layout = [&](ArrayRef<AffineExpr> q, ArrayRef<AffineExpr> acc) {
    return SmallVector<AffineMap>{
        AffineMap::get(4, 0, q, ctx), AffineMap::get(4, 0, {n, d}, ctx),
        AffineMap::get(4, 0, {n, e}, ctx), AffineMap::get(4, 0, acc, ctx)};
  };
  if (llvm::equal(op.getMaps(), layout({d, m}, {e, m})))
    return Lanes::Rows;
  if (llvm::equal(op.getMaps(), layout({m, d}, {m, e})))
    return Lanes::Depth;
  return std::nullopt;
}

/// The forms that the kernels are written for; anything else is reported.
static LogicalResult checkForm(PartialOp op) {
  if (!isa<MemRefType>(op.getQuery().getType()))
    return op.emitOpError("must be on memrefs here; bufferize first");
  ConfigAttr config = op.getConfigAttr();
  if (!config)
    return op.emitOpError("needs a config to be lowered");
  std::optional<Lanes> lanes = lanesOfLayout(op);
  if (!lanes)
    return op.emitOpError(
        "must have k and v as (n, d) and (n, e), and q and acc either "
        "transposed, (d, m) and (e, m), or not, (m, d) and (m, e)");
  Type compute = memrefOf(op.getAcc()).getElementType();
  for (Value operand : {op.getQuery(), op.getKey(), op.getValue()})
    if (memrefOf(operand).getElementType() != compute &&
        (*lanes == Lanes::Rows || operand == op.getQuery()))
      return op.emitOpError() << "needs q, k and v converted to " << compute;
  for (Value operand : {op.getKey(), op.getValue()})
    if (!memrefOf(operand).isLastDimUnitStride())
      return op.emitOpError("needs k and v with unit inner stride");
  for (Value operand : {op.getQuery(), op.getAcc(), op.getMax(), op.getSum()})
    if (!memrefOf(operand).hasStaticShape() ||
        !memrefOf(operand).isLastDimUnitStride())
      return op.emitOpError(
          "needs q, acc, max and sum of static shape with unit inner stride");
  if (*lanes == Lanes::Rows && op.getTileRows() % config.getVector() != 0)
    return op.emitOpError() << "has " << op.getTileRows()
                            << " rows, not a multiple of the config's vector ("
                            << config.getVector() << ")";
  return success();
}

/// Key and value tiles of any origin have one type, rows at a dynamic distance,
/// so that kernels which differ in nothing else can be shared
/// (duplicate-function-elimination).
static void relaxRowStride(OpOperand &operand) {
  auto type = cast<MemRefType>(operand.get().getType());
  SmallVector<int64_t> strides;
  int64_t offset;
  if (failed(type.getStridesAndOffset(strides, offset)) || strides.back() != 1)
    return;
  auto relaxed = MemRefType::get(
      {ShapedType::kDynamic, type.getDimSize(1)}, type.getElementType(),
      StridedLayoutAttr::get(type.getContext(), ShapedType::kDynamic,
                             {ShapedType::kDynamic, 1}));
  if (relaxed == type)
    return;
  OpBuilder b(operand.getOwner());
  operand.set(memref::CastOp::create(b, operand.getOwner()->getLoc(), relaxed,
                                     operand.get()));
}

/// A private function for the kernel of `op`, with one argument per operand.
static func::FuncOp createKernelFunction(PartialOp op, SymbolTable &symbols) {
  OpBuilder b(op.getContext());
  auto parent = op->getParentOfType<FunctionOpInterface>();
  std::string name = (parent.getName() + "__partial").str();
  auto type = b.getFunctionType(op->getOperandTypes(), {});
  auto function = func::FuncOp::create(b, op.getLoc(), name, type);
  function.setPrivate();
  function->setAttr(
      "llvm.linkage",
      LLVM::LinkageAttr::get(op.getContext(), LLVM::Linkage::Internal));
  function->setAttr("passthrough", b.getStrArrayAttr({"noinline"}));
  symbols.insert(function, Block::iterator(parent));
  function.addEntryBlock();
  return function;
}

namespace {

struct LowerPartialPass : fovea::impl::LowerPartialBase<LowerPartialPass> {
  void runOnOperation() override {
    SmallVector<PartialOp> partials;
    getOperation().walk([&](PartialOp op) { partials.push_back(op); });
    SymbolTable symbols(getOperation());
    for (PartialOp op : partials) {
      if (failed(checkForm(op)))
        return signalPassFailure();
      relaxRowStride(op.getKeyMutable());
      relaxRowStride(op.getValueMutable());
      func::FuncOp function = createKernelFunction(op, symbols);
      if (*lanesOfLayout(op) == Lanes::Rows)
        emitRowLanesKernel(op, function);
      else
        emitDepthLanesKernel(op, function);
      OpBuilder b(op);
      func::CallOp::create(b, op.getLoc(), function, op->getOperands());
      op.erase();
    }
  }
};

} // namespace
