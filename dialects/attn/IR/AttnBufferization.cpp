// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// One-shot bufferization of the attn dialect: every operation is in
// destination-passing style, so one model serves all of them; a captured tensor
// becomes a memref for the region that reads it, too.

#include "dialects/attn/IR/AttnOps.h"

#include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Bufferization/IR/DstBufferizableOpInterfaceImpl.h"

using namespace mlir;
using namespace mlir::bufferization;
using namespace fovea::attn;

namespace {
template <typename Op>
struct DestinationModel
    : DstBufferizableOpInterfaceExternalModel<DestinationModel<Op>, Op> {
  static constexpr bool isRowOp =
      std::is_same_v<Op, RopeOp> || std::is_same_v<Op, RmsNormOp>;

  /// What a row operation finds in its destination does not matter: it writes
  /// every element.
  bool bufferizesToMemoryRead(Operation *op, OpOperand &operand,
                              const AnalysisState &) const {
    return !isRowOp ||
           !cast<DestinationStyleOpInterface>(op).isDpsInit(&operand);
  }

  /// Row operations may work in place: no element is read after it was written.
  bool bufferizesToElementwiseAccess(Operation *op, const AnalysisState &,
                                     ArrayRef<OpOperand *> operands) const {
    if constexpr (isRowOp) {
      auto rows = cast<Op>(op);
      return llvm::all_of(operands, [&](OpOperand *operand) {
        return operand == &rows.getInputMutable() ||
               operand == &rows.getOutputMutable();
      });
    }
    return false;
  }

  LogicalResult bufferize(Operation *op, RewriterBase &rewriter,
                          const BufferizationOptions &options,
                          BufferizationState &state) const {
    OpBuilder::InsertionGuard guard(rewriter);
    rewriter.setInsertionPoint(op);
    SmallVector<Value> operands;
    for (Value operand : op->getOperands()) {
      if (!isa<TensorType>(operand.getType())) {
        operands.push_back(operand);
        continue;
      }
      FailureOr<Value> buffer = getBuffer(rewriter, operand, options, state);
      if (failed(buffer))
        return failure();
      operands.push_back(*buffer);
    }
    OperationState newState(op->getLoc(), op->getName(), operands, TypeRange(),
                            op->getAttrs());
    newState.propertiesAttr = op->getPropertiesAsAttribute();
    for (unsigned i = 0; i < op->getNumRegions(); ++i)
      newState.addRegion();
    Operation *newOp = rewriter.create(newState);
    SmallVector<Value> captures;
    if constexpr (std::is_same_v<Op, AttentionOp> ||
                  std::is_same_v<Op, PartialOp>)
      captures = cast<Op>(newOp).getCaptures();
    for (auto [from, to] : llvm::zip(op->getRegions(), newOp->getRegions())) {
      rewriter.inlineRegionBefore(from, to, to.end());
      if (to.empty())
        continue;
      // Captures are the last arguments; nested reads see the tensor until
      // their own turn comes.
      Block &block = to.front();
      unsigned first = block.getNumArguments() - captures.size();
      rewriter.setInsertionPointToStart(&block);
      for (auto [index, capture] : llvm::enumerate(captures)) {
        BlockArgument arg = block.getArgument(first + index);
        if (!isa<TensorType>(arg.getType()))
          continue;
        auto memref = cast<MemRefType>(capture.getType());
        auto tensor =
            RankedTensorType::get(memref.getShape(), memref.getElementType());
        arg.setType(memref);
        auto toTensor = ToTensorOp::create(rewriter, op->getLoc(), tensor, arg);
        rewriter.replaceAllUsesExcept(arg, toTensor.getResult(), toTensor);
      }
    }
    SmallVector<Value> results;
    for (OpResult result : op->getOpResults())
      results.push_back(operands[cast<DestinationStyleOpInterface>(op)
                                     .getTiedOpOperand(result)
                                     ->getOperandNumber()]);
    replaceOpWithBufferizedValues(rewriter, op, results);
    return success();
  }
};

struct ElementModel
    : BufferizableOpInterface::ExternalModel<ElementModel, ElementOp> {
  bool bufferizesToMemoryRead(Operation *, OpOperand &,
                              const AnalysisState &) const {
    return true;
  }
  bool bufferizesToMemoryWrite(Operation *, OpOperand &,
                               const AnalysisState &) const {
    return false;
  }
  AliasingValueList getAliasingValues(Operation *, OpOperand &,
                                      const AnalysisState &) const {
    return {};
  }
  LogicalResult bufferize(Operation *op, RewriterBase &rewriter,
                          const BufferizationOptions &options,
                          BufferizationState &state) const {
    auto element = cast<ElementOp>(op);
    FailureOr<Value> buffer =
        getBuffer(rewriter, element.getSource(), options, state);
    if (failed(buffer))
      return failure();
    replaceOpWithNewBufferizedOp<ElementOp>(rewriter, op, element.getType(),
                                            *buffer, element.getIndices());
    return success();
  }
};
} // namespace

void fovea::attn::registerBufferizationModels(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *ctx, AttnDialect *) {
    AttentionOp::attachInterface<DestinationModel<AttentionOp>>(*ctx);
    RopeOp::attachInterface<DestinationModel<RopeOp>>(*ctx);
    RmsNormOp::attachInterface<DestinationModel<RmsNormOp>>(*ctx);
    AppendOp::attachInterface<DestinationModel<AppendOp>>(*ctx);
    PartialOp::attachInterface<DestinationModel<PartialOp>>(*ctx);
    MergeOp::attachInterface<DestinationModel<MergeOp>>(*ctx);
    FinalizeOp::attachInterface<DestinationModel<FinalizeOp>>(*ctx);
    GatherRowsOp::attachInterface<DestinationModel<GatherRowsOp>>(*ctx);
    ScatterRowsOp::attachInterface<DestinationModel<ScatterRowsOp>>(*ctx);
    ElementOp::attachInterface<ElementModel>(*ctx);
  });
}
