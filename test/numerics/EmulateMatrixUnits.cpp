// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// See EmulateMatrixUnits.h. A tile is a buffer on the stack; an accumulator and
// the product on top of it share one. TDPBF16PS is a function that follows the
// pseudo code in Intel's manual: products of even and of odd elements are
// summed in two chains of fused multiply-adds, the two are added, and their sum
// is added to the accumulator, with denormals flushed. Kernels run with MXCSR
// set to do that.

#include "test/numerics/EmulateMatrixUnits.h"

#include "mlir/Dialect/AMX/AMXDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;

namespace {

Value index(ImplicitLocOpBuilder &b, int64_t value) {
  return arith::ConstantIndexOp::create(b, value);
}

/// Loops [0, count).
template <typename Body>
void forEach(ImplicitLocOpBuilder &b, int64_t count, Body body) {
  auto loop = scf::ForOp::create(b, index(b, 0), index(b, count), index(b, 1));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  body(loop.getInductionVar());
}

constexpr int64_t lanes = 16;

/// `value` in every element of a vector.
Value splat(ImplicitLocOpBuilder &b, int64_t value) {
  auto type = VectorType::get({lanes}, b.getI32Type());
  return arith::ConstantOp::create(
      b, SplatElementsAttr::get(type, b.getI32IntegerAttr(value)));
}
Value splatFloat(ImplicitLocOpBuilder &b, float value) {
  auto type = VectorType::get({lanes}, b.getF32Type());
  return arith::ConstantOp::create(
      b, SplatElementsAttr::get(type, b.getF32FloatAttr(value)));
}

/// void tdp(a, b, c): c += a * b
func::FuncOp makeProduct(ModuleOp module) {
  OpBuilder at = OpBuilder::atBlockEnd(module.getBody());
  ImplicitLocOpBuilder b(module.getLoc(), at);
  auto pairs = MemRefType::get({lanes, 2 * lanes}, b.getBF16Type());
  auto sums = MemRefType::get({lanes, lanes}, b.getF32Type());
  auto function = func::FuncOp::create(
      b, "emulated_tdpbf16ps", b.getFunctionType({pairs, pairs, sums}, {}));
  function.setPrivate();
  function->setAttr("passthrough", b.getStrArrayAttr({"noinline"}));
  b.setInsertionPointToStart(function.addEntryBlock());
  Value left = function.getArgument(0), right = function.getArgument(1),
        result = function.getArgument(2);
  auto floats = VectorType::get({lanes}, b.getF32Type()),
       words = VectorType::get({lanes}, b.getI32Type()),
       stored = VectorType::get({2 * lanes}, b.getBF16Type());
  forEach(b, lanes, [&](Value row) {
    Value zero = splatFloat(b, 0);
    auto loop = scf::ForOp::create(b, index(b, 0), index(b, lanes), index(b, 1),
                                   ValueRange{zero, zero});
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(loop.getBody());
      Value pair = loop.getInductionVar();
      Value both = vector::BitCastOp::create(
          b, words,
          vector::LoadOp::create(b, stored, right,
                                 ValueRange{pair, index(b, 0)}));
      Value halves[] = {arith::ShLIOp::create(b, both, splat(b, 16)),
                        arith::AndIOp::create(b, both, splat(b, 0xffff0000))};
      SmallVector<Value> next;
      for (int64_t half : {0, 1}) {
        Value at = arith::AddIOp::create(
            b, arith::MulIOp::create(b, pair, index(b, 2)), index(b, half));
        Value stored = memref::LoadOp::create(b, left, ValueRange{row, at});
        Value factor = arith::ExtFOp::create(b, b.getF32Type(), stored);
        next.push_back(math::FmaOp::create(
            b, vector::BroadcastOp::create(b, floats, factor),
            arith::BitcastOp::create(b, floats, halves[half]),
            loop.getRegionIterArg(half)));
      }
      scf::YieldOp::create(b, next);
    }
    Value sum = arith::AddFOp::create(b, loop.getResult(0), loop.getResult(1));
    Value before =
        vector::LoadOp::create(b, floats, result, ValueRange{row, index(b, 0)});
    vector::StoreOp::create(b, arith::AddFOp::create(b, before, sum), result,
                            ValueRange{row, index(b, 0)});
  });
  func::ReturnOp::create(b);
  return function;
}

class Emulation {
public:
  explicit Emulation(ModuleOp module) : module(module) {}

  void run() {
    SmallVector<Operation *> ops;
    module.walk([&](Operation *op) {
      if (isa<amx::TileZeroOp, amx::TileLoadOp, amx::TileStoreOp,
              amx::TileMulFOp, LLVM::CallIntrinsicOp>(op))
        ops.push_back(op);
    });
    for (Operation *op : ops) {
      ImplicitLocOpBuilder b(op->getLoc(), op);
      if (auto zero = dyn_cast<amx::TileZeroOp>(op))
        emitZero(b, zero);
      else if (auto load = dyn_cast<amx::TileLoadOp>(op))
        emitCopy(b, load.getRes(), load.getBase(), load.getIndices(),
                 load.getStride(), /*loads=*/true);
      else if (auto store = dyn_cast<amx::TileStoreOp>(op))
        emitCopy(b, store.getVal(), store.getBase(), store.getIndices(),
                 store.getStride(), /*loads=*/false);
      else if (auto product = dyn_cast<amx::TileMulFOp>(op))
        emitProduct(b, product);
      else if (Value result = emitIntrinsic(b, cast<LLVM::CallIntrinsicOp>(op)))
        op->getResult(0).replaceAllUsesWith(result);
      else
        continue;
      dead.push_back(op);
    }
    for (Operation *op : llvm::reverse(dead))
      op->erase();
  }

private:
  Value bufferOf(Value tile) {
    Value &buffer = buffers[tile];
    if (!buffer) {
      auto type = cast<amx::TileType>(tile.getType());
      auto function = tile.getDefiningOp()->getParentOfType<func::FuncOp>();
      OpBuilder b = OpBuilder::atBlockBegin(&function.front());
      buffer = memref::AllocaOp::create(
          b, tile.getLoc(),
          MemRefType::get(type.getShape(), type.getElementType()),
          b.getI64IntegerAttr(64));
    }
    return buffer;
  }

  void emitZero(ImplicitLocOpBuilder &b, amx::TileZeroOp op) {
    Value buffer = bufferOf(op.getRes());
    forEach(b, lanes, [&](Value row) {
      vector::StoreOp::create(b, splatFloat(b, 0), buffer,
                              ValueRange{row, index(b, 0)});
    });
  }

  /// Copies between a tile and memory, whose rows are `stride` elements or a
  /// step of the last dimension but one apart.
  void emitCopy(ImplicitLocOpBuilder &b, Value tile, Value memory,
                ValueRange indices, Value stride, bool loads) {
    auto type = cast<amx::TileType>(tile.getType());
    auto metadata = memref::ExtractStridedMetadataOp::create(b, memory);
    Value offset = metadata.getOffset();
    for (auto [at, step] : llvm::zip_equal(indices, metadata.getStrides()))
      offset =
          arith::AddIOp::create(b, offset, arith::MulIOp::create(b, at, step));
    if (!stride)
      stride = metadata.getStrides().drop_back().back();
    auto rows = MemRefType::get(
        type.getShape(), type.getElementType(),
        StridedLayoutAttr::get(b.getContext(), ShapedType::kDynamic,
                               {ShapedType::kDynamic, 1}));
    Value view = memref::ReinterpretCastOp::create(
        b, rows, metadata.getBaseBuffer(), OpFoldResult(offset),
        ArrayRef<OpFoldResult>{b.getIndexAttr(type.getDimSize(0)),
                               b.getIndexAttr(type.getDimSize(1))},
        ArrayRef<OpFoldResult>{stride, b.getIndexAttr(1)});
    Value buffer = memref::CastOp::create(b, rows, bufferOf(tile));
    func::FuncOp &copy = copies[rows];
    if (!copy)
      copy = makeCopy(rows);
    func::CallOp::create(
        b, copy, loads ? ValueRange{view, buffer} : ValueRange{buffer, view});
  }

  /// void copy(from, to)
  func::FuncOp makeCopy(MemRefType rows) {
    OpBuilder at = OpBuilder::atBlockEnd(module.getBody());
    ImplicitLocOpBuilder b(module.getLoc(), at);
    auto function = func::FuncOp::create(
        b, "emulated_copy_" + std::to_string(copies.size()),
        b.getFunctionType({rows, rows}, {}));
    function.setPrivate();
    function->setAttr("passthrough", b.getStrArrayAttr({"noinline"}));
    b.setInsertionPointToStart(function.addEntryBlock());
    forEach(b, rows.getDimSize(0), [&](Value row) {
      ValueRange arguments = function.getArguments();
      Value moved = vector::LoadOp::create(
          b, VectorType::get({rows.getDimSize(1)}, rows.getElementType()),
          arguments[0], ValueRange{row, index(b, 0)});
      vector::StoreOp::create(b, moved, arguments[1],
                              ValueRange{row, index(b, 0)});
    });
    func::ReturnOp::create(b);
    return function;
  }

  void emitProduct(ImplicitLocOpBuilder &b, amx::TileMulFOp op) {
    Value sums = buffers[op.getRes()] = bufferOf(op.getAcc());
    if (!op.getAcc().hasOneUse())
      llvm::report_fatal_error("an accumulator tile is used twice");
    if (!product)
      product = makeProduct(module);
    func::CallOp::create(
        b, product,
        ValueRange{bufferOf(op.getLhs()), bufferOf(op.getRhs()), sums});
  }

  /// vreduceps to the fraction above floor, and vscalefps.
  static Value emitIntrinsic(ImplicitLocOpBuilder &b,
                             LLVM::CallIntrinsicOp op) {
    StringRef name = op.getIntrin();
    if (name == "llvm.x86.avx512.mask.reduce.ps.512") {
      Value x = op.getOperand(0);
      Value fraction = arith::SubFOp::create(b, x, math::FloorOp::create(b, x));
      Value isInfinite = arith::CmpFOp::create(
          b, arith::CmpFPredicate::OEQ, math::AbsFOp::create(b, x),
          splatFloat(b, std::numeric_limits<float>::infinity()));
      return arith::SelectOp::create(b, isInfinite, splatFloat(b, 0), fraction);
    }
    if (name == "llvm.x86.avx512.mask.scalef.ps.512") {
      Value p = op.getOperand(0), x = op.getOperand(1);
      // Far enough to flush or overflow; a NaN is in p, too.
      Value n = arith::MaxNumFOp::create(b, math::FloorOp::create(b, x),
                                         splatFloat(b, -250));
      n = arith::MinNumFOp::create(b, n, splatFloat(b, 250));
      Value exponent = arith::FPToSIOp::create(
          b, VectorType::get({lanes}, b.getI32Type()), n);
      Value half = arith::ShRSIOp::create(b, exponent, splat(b, 1));
      Value rest = arith::SubIOp::create(b, exponent, half);
      for (Value part : {half, rest}) {
        Value bits = arith::ShLIOp::create(
            b, arith::AddIOp::create(b, part, splat(b, 127)), splat(b, 23));
        p = arith::MulFOp::create(
            b, p, arith::BitcastOp::create(b, p.getType(), bits));
      }
      return p;
    }
    return Value();
  }

  ModuleOp module;
  func::FuncOp product;
  llvm::DenseMap<Type, func::FuncOp> copies;
  llvm::DenseMap<Value, Value> buffers;
  SmallVector<Operation *> dead;
};

} // namespace

void fovea::numerics::emulateMatrixUnits(ModuleOp module) {
  Emulation(module).run();
}
