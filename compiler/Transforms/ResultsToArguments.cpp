// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Bufferized kernel functions return the memory of their destinations; a caller
// passed that memory, so nothing need be returned. Each result that is not
// already its destination (the argument of role output or inout in the same
// position among those) is copied there. Functions that are no kernels
// (attn.symbols) are left alone.

#include "compiler/Transforms/Passes.h"

using namespace mlir;
using namespace fovea;

namespace fovea {
#define GEN_PASS_DEF_RESULTSTOARGUMENTS
#include "compiler/Transforms/Passes.h.inc"
} // namespace fovea

namespace {
struct ResultsToArguments
    : fovea::impl::ResultsToArgumentsBase<ResultsToArguments> {
  void runOnOperation() override {
    func::FuncOp kernel = getOperation();
    if (!kernel->hasAttr("attn.symbols") || kernel.isExternal())
      return;
    SmallVector<Value> destinations;
    for (BlockArgument arg : kernel.getArguments()) {
      auto role =
          kernel.getArgAttrOfType<StringAttr>(arg.getArgNumber(), "attn.role");
      if (role && (role == "output" || role == "inout"))
        destinations.push_back(arg);
    }
    auto returnOp = cast<func::ReturnOp>(kernel.front().getTerminator());
    if (returnOp.getNumOperands() != destinations.size()) {
      kernel.emitOpError() << "returns " << returnOp.getNumOperands()
                           << " results for " << destinations.size()
                           << " output arguments";
      return signalPassFailure();
    }
    OpBuilder builder(returnOp);
    for (auto [result, destination] :
         llvm::zip_equal(returnOp.getOperands(), destinations))
      if (result != destination)
        memref::CopyOp::create(builder, returnOp.getLoc(), result, destination);
    returnOp->setOperands({});
    kernel.setFunctionType(
        builder.getFunctionType(kernel.getArgumentTypes(), TypeRange()));
  }
};
} // namespace
