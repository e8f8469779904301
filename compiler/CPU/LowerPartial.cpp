// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// attn-cpu-lower-partial: attn.partial on memref tiles becomes a call of a
// private function that holds the micro-kernel in vector, scf and memref
// operations (PartialKernel.h: which there are). The kernel is a function so
// that its scratch lies in its own stack frame and its registers do not depend
// on its caller. It must not be asked about tensors or other layouts; it says
// so.

#include "compiler/CPU/CodeGen.h"
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

/// The kernels; nothing for layouts that no kernel has.
enum class Kernel { RowLanes, DepthLanes, Matrix };

/// Keys of a block of V^T for matrix units, rows and elements of their tiles.
static constexpr int64_t matrixKeys = 64, matrixDepth = 32, matrixLanes = 16;

static std::optional<Kernel> kernelOfLayout(PartialOp op) {
  MLIRContext *ctx = op.getContext();
  AffineExpr m, n, d, e;
  bindDims(ctx, m, n, d, e);
  auto has = [&](ArrayRef<AffineExpr> q, ArrayRef<AffineExpr> k,
                 ArrayRef<AffineExpr> v, ArrayRef<AffineExpr> acc) {
    return op.getMaps() ==
           SmallVector<AffineMap>{
               AffineMap::get(4, 0, q, ctx), AffineMap::get(4, 0, k, ctx),
               AffineMap::get(4, 0, v, ctx), AffineMap::get(4, 0, acc, ctx)};
  };
  if (has({d, m}, {n, d}, {n, e}, {e, m}))
    return Kernel::RowLanes;
  if (has({m, d}, {n, d}, {n, e}, {m, e}))
    return Kernel::DepthLanes;
  AffineExpr term = getAffineConstantExpr(0, ctx);
  if (has({term, d.floorDiv(2), m, d % 2}, {n, term, d},
          {n.floorDiv(matrixKeys), term, e, n % matrixKeys}, {e, m}))
    return Kernel::Matrix;
  return std::nullopt;
}

/// Whole tiles of matrix units, side by side in memory.
static LogicalResult checkMatrixForm(PartialOp op) {
  MemRefType query = memrefOf(op.getQuery()), key = memrefOf(op.getKey()),
             value = memrefOf(op.getValue()), acc = memrefOf(op.getAcc());
  for (MemRefType type : {query, key, value})
    if (!type.getElementType().isBF16())
      return op.emitOpError("needs q, k and v of bf16 for matrix units");
  int64_t terms = query.getDimSize(0);
  if (terms < 1 || key.getDimSize(1) != terms || value.getDimSize(1) != terms)
    return op.emitOpError(
        "needs q, k and v of one number of terms for matrix units");
  if (op.getConfigAttr().getVector() != matrixLanes ||
      op.getTileRows() != 2 * matrixLanes)
    return op.emitOpError()
           << "needs " << 2 * matrixLanes << " rows in vectors of "
           << matrixLanes << " for matrix units";
  auto [strides, offset] = key.getStridesAndOffset();
  int64_t depth = 2 * query.getDimSize(1);
  if (depth % matrixDepth != 0 || acc.getDimSize(0) % matrixDepth != 0 ||
      ShapedType::isDynamic(strides[0]) || ShapedType::isDynamic(strides[1]) ||
      strides[0] < terms * depth || strides[1] < depth)
    return op.emitOpError() << "needs rows of k and columns of v padded to "
                            << matrixDepth << " for matrix units";
  for (MemRefType type : {query, value, acc})
    if (!type.areTrailingDimsContiguous(type.getRank() - 1) ||
        llvm::any_of(type.getShape().drop_front(), ShapedType::isDynamic))
      return op.emitOpError(
          "needs q, v and acc contiguous and of static shape, but for the "
          "blocks of v, for matrix units");
  return success();
}

/// The forms that the kernels are written for; anything else is reported.
static LogicalResult checkForm(PartialOp op) {
  if (!isa<MemRefType>(op.getQuery().getType()))
    return op.emitOpError("must be on memrefs here; bufferize first");
  ConfigAttr config = op.getConfigAttr();
  if (!config)
    return op.emitOpError("needs a config to be lowered");
  std::optional<Kernel> kernel = kernelOfLayout(op);
  if (!kernel)
    return op.emitOpError(
        "must have k and v as (n, d) and (n, e), and q and acc either "
        "transposed, (d, m) and (e, m), or not, (m, d) and (m, e); or the "
        "layouts for matrix units");
  for (Value operand :
       {op.getKey(), op.getValue(), op.getNextKey(), op.getNextValue()})
    if (operand && !memrefOf(operand).isLastDimUnitStride())
      return op.emitOpError(
          "needs k, v and what is next with unit inner stride");
  for (Value operand : {op.getQuery(), op.getAcc(), op.getMax(), op.getSum()})
    if (!memrefOf(operand).hasStaticShape() ||
        !memrefOf(operand).isLastDimUnitStride())
      return op.emitOpError(
          "needs q, acc, max and sum of static shape with unit inner stride");
  if (op.getUnzipped() && (*kernel != Kernel::DepthLanes ||
                           int64_t(*op.getUnzipped()) != config.getVector()))
    return op.emitOpError()
           << "can only be unzipped by the config's vector ("
           << config.getVector() << "), with q and acc not transposed";
  if (*kernel == Kernel::Matrix)
    return checkMatrixForm(op);
  Type compute = memrefOf(op.getAcc()).getElementType();
  for (Value operand : {op.getQuery(), op.getKey(), op.getValue()})
    if (memrefOf(operand).getElementType() != compute &&
        (*kernel == Kernel::RowLanes || operand == op.getQuery()))
      return op.emitOpError() << "needs q, k and v converted to " << compute;
  if (*kernel == Kernel::RowLanes && op.getTileRows() % config.getVector() != 0)
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
static func::FuncOp createKernelFunction(PartialOp op, Kernel kernel,
                                         SymbolTable &symbols) {
  OpBuilder b(op.getContext());
  auto parent = op->getParentOfType<FunctionOpInterface>();
  std::string name = (parent.getName() + "__partial").str();
  auto type = b.getFunctionType(op->getOperandTypes(), {});
  auto function = func::FuncOp::create(b, op.getLoc(), name, type);
  function.setPrivate();
  function->setAttr(
      "llvm.linkage",
      LLVM::LinkageAttr::get(op.getContext(), LLVM::Linkage::Internal));
  SmallVector<StringRef> attributes = {"noinline"};
  if (kernel == Kernel::Matrix)
    attributes.push_back(matrixUnitsAttr);
  function->setAttr("passthrough", b.getStrArrayAttr(attributes));
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
      Kernel kernel = *kernelOfLayout(op);
      if (kernel != Kernel::Matrix) {
        relaxRowStride(op.getKeyMutable());
        relaxRowStride(op.getValueMutable());
        for (MutableOperandRange next :
             {op.getNextKeyMutable(), op.getNextValueMutable()})
          for (OpOperand &rows : next)
            relaxRowStride(rows);
      }
      func::FuncOp function = createKernelFunction(op, kernel, symbols);
      if (kernel == Kernel::RowLanes)
        emitRowLanesKernel(op, function);
      else if (kernel == Kernel::DepthLanes)
        emitDepthLanesKernel(op, function);
      else
        emitMatrixKernel(op, function);
      OpBuilder b(op);
      func::CallOp::create(b, op.getLoc(), function, op->getOperands());
      op.erase();
    }
  }
};

} // namespace
