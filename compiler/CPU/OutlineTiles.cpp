// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Operations on tiles become calls of private functions, one for all that are
// alike but for the values they work on. Tiling emits the same packing,
// transposing and finishing for every shape of work, and each of these lowers
// to hundreds of instructions: compiled once, and apart from the control flow
// around them, they cost neither compile time nor space twice. From attn row
// operations, merges and finalizations and linalg.transpose on memrefs to
// func.call.

#include "compiler/CPU/Passes.h"
#include "dialects/attn/IR/AttnOps.h"
#include "dialects/cpu/IR/CpuOps.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace fovea;
using namespace fovea::attn;

namespace fovea {
#define GEN_PASS_DEF_OUTLINETILES
#include "compiler/CPU/Passes.h.inc"
} // namespace fovea

/// What must agree for two operations to share code: everything but the
/// operands themselves. A value used twice by one operation is not told from
/// two values.
static Attribute signature(Operation *op) {
  Builder b(op->getContext());
  SmallVector<Attribute> types =
      llvm::map_to_vector(op->getOperandTypes(),
                          [](Type t) -> Attribute { return TypeAttr::get(t); });
  return b.getArrayAttr({b.getStringAttr(op->getName().getStringRef()),
                         op->getAttrDictionary(), b.getArrayAttr(types)});
}

namespace {
struct OutlineTiles : fovea::impl::OutlineTilesBase<OutlineTiles> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    llvm::MapVector<Attribute, SmallVector<Operation *>> alike;
    module.walk([&](Operation *op) {
      if (!isa<GatherRowsOp, ScatterRowsOp, RopeOp, RmsNormOp, MergeOp,
               FinalizeOp, linalg::TransposeOp, cpu::SplitOp, cpu::UnzipOp>(
              op) ||
          op->getNumResults() != 0)
        return;
      alike[signature(op)].push_back(op);
    });
    SymbolTable symbols(module);
    for (auto &[key, ops] : alike)
      outline(ops, symbols);
  }

  static void outline(ArrayRef<Operation *> ops, SymbolTable &symbols) {
    Operation *first = ops.front();
    Location loc = first->getLoc();
    auto kernel = first->getParentOfType<func::FuncOp>();
    OpBuilder b(kernel);
    std::string name =
        (kernel.getName() + "_" + first->getName().stripDialect()).str();
    auto function = func::FuncOp::create(
        b, loc, name, b.getFunctionType(first->getOperandTypes(), {}));
    function.setPrivate();
    // LLVM would inline them back into every task.
    function->setAttr("passthrough", b.getStrArrayAttr({"noinline"}));
    symbols.insert(function, kernel->getIterator());
    Block *entry = function.addEntryBlock();
    b.setInsertionPointToStart(entry);
    // By position, not by value: an operand may occur twice.
    Operation *body = b.clone(*first);
    body->setOperands(entry->getArguments());
    func::ReturnOp::create(b, loc);
    for (Operation *op : ops) {
      b.setInsertionPoint(op);
      func::CallOp::create(b, op->getLoc(), function, op->getOperands());
      op->erase();
    }
  }
};
} // namespace
