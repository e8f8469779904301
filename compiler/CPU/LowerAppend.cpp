// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// attn-cpu-lower-append: attn.append on memrefs becomes loops that copy, with
// conversion, the rows that lie in the cache (rule K3). Any strides; vectors
// where both rows have a unit inner stride, single elements elsewhere. It must
// not be asked about tensors or rows of dynamic width.

#include "compiler/CPU/Passes.h"
#include "compiler/CPU/Rows.h"
#include "dialects/attn/IR/AttnOps.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace fovea::attn;
using namespace fovea::cpu;

namespace fovea {
#define GEN_PASS_DEF_LOWERAPPEND
#include "compiler/CPU/Passes.h.inc"
} // namespace fovea

static void emitAppend(ImplicitLocOpBuilder &b, AppendOp op, Value input,
                       Value cache, int64_t lanes) {
  int64_t rank = memrefOf(input).getRank();
  int64_t width = memrefOf(input).getDimSize(rank - 1);
  auto element = cast<FloatType>(memrefOf(input).getElementType());
  forEachRow(b, input, 0, 1, [&](ValueRange batch) {
    Value zero = createIndex(b, 0);
    Value rows = b.createOrFold<memref::DimOp>(input, 1);
    Value capacity = b.createOrFold<memref::DimOp>(cache, 1);
    Value loaded = memref::LoadOp::create(b, op.getPast(), batch);
    Value past = arith::IndexCastOp::create(b, b.getIndexType(), loaded);
    // Where these differences wrap, the range of rows is empty, as it should
    // be.
    Value from =
        arith::MaxSIOp::create(b, zero, arith::SubIOp::create(b, zero, past));
    Value to = arith::MinSIOp::create(b, rows,
                                      arith::SubIOp::create(b, capacity, past));
    forEachIndex(b, from, to, 1, [&](Value row) {
      Value target = arith::AddIOp::create(b, past, row);
      forEachRow(b, input, 2, rank - 1, [&](ValueRange inner) {
        forEachVector(b, width, lanes, [&](Value offset, int64_t lanes) {
          auto indices = [&](Value row) {
            SmallVector<Value> result = {batch[0], row};
            llvm::append_range(result, inner);
            result.push_back(offset);
            return result;
          };
          Value value = loadConverted(
              b, b.getLoc(), getLaneType(element, lanes), input, indices(row));
          storeConverted(b, b.getLoc(), value, cache, indices(target));
        });
      });
    });
  });
}

namespace {

struct LowerAppendPass : fovea::impl::LowerAppendBase<LowerAppendPass> {
  using LowerAppendBase::LowerAppendBase;

  LogicalResult lower(ImplicitLocOpBuilder &b, AppendOp op) {
    MemRefType input = memrefOf(op.getInput()), cache = memrefOf(op.getCache());
    if (input.getRank() < 3 || ShapedType::isDynamic(input.getShape().back()))
      return op.emitOpError("needs rows [B, M, ..., D] of static width");
    int64_t bits = std::max(input.getElementTypeBitWidth(),
                            cache.getElementTypeBitWidth());
    forEachStrideCase(b, {op.getInput(), op.getCache()}, vectorBits / bits,
                      [&](ValueRange memrefs, int64_t lanes) {
                        emitAppend(b, op, memrefs[0], memrefs[1], lanes);
                      });
    return success();
  }

  void runOnOperation() override {
    if (failed(lowerOperations<AppendOp>(
            getOperation(), [&](auto &b, auto op) { return lower(b, op); })))
      signalPassFailure();
  }
};

} // namespace
