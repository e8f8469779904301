// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Loops over rows and vectors, conversions, strides (see Rows.h).

#include "compiler/CPU/Rows.h"
#include "compiler/CPU/VectorMath.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace fovea::cpu;

Value fovea::cpu::createIndex(ImplicitLocOpBuilder &b, int64_t value) {
  return arith::ConstantIndexOp::create(b, value);
}

Type fovea::cpu::getLaneType(FloatType element, int64_t lanes) {
  return lanes == 1 ? Type(element) : VectorType::get({lanes}, element);
}

static Type withElement(Type type, FloatType element) {
  if (auto vector = dyn_cast<VectorType>(type))
    return vector.cloneWith(std::nullopt, element);
  return element;
}

/// f64 to f32, rounded to odd: an inexact result gets an odd last bit, so that
/// rounding it again, to fewer bits, rounds as if from f64.
static Value roundToOdd(OpBuilder &b, Location loc, Value value) {
  FloatBuilder wide(b, loc, value.getType());
  FloatBuilder narrow(b, loc, withElement(value.getType(), b.getF32Type()));
  Value nearest =
      arith::TruncFOp::create(b, loc, narrow.getType(), value).getResult();
  Value back = arith::ExtFOp::create(b, loc, value.getType(), nearest);
  auto compare = [&](arith::CmpFPredicate predicate, Value x, Value y) {
    return arith::CmpFOp::create(b, loc, predicate, x, y).getResult();
  };
  // Magnitudes compare as bits without the sign.
  auto magnitude = [&](Value x) {
    return wide.select(wide.less(x, wide.constant(0.0)), wide.neg(x), x);
  };
  Value inexact = compare(arith::CmpFPredicate::ONE, back, value);
  Value tooLarge =
      compare(arith::CmpFPredicate::OGT, magnitude(back), magnitude(value));
  Value one = narrow.intConstant(1), bits = narrow.toBits(nearest);
  Value towardsZero = arith::SelectOp::create(
      b, loc, tooLarge, arith::SubIOp::create(b, loc, bits, one), bits);
  Value odd = arith::OrIOp::create(b, loc, towardsZero, one);
  return narrow.fromBits(
      arith::SelectOp::create(b, loc, inexact, odd, bits).getResult());
}

/// f32 to bf16, to nearest even, on integers of 32 bits. arith.truncf is a
/// library call, and the expansion of arith selects among 16-bit floats, one by
/// one.
static Value truncateToBFloat(OpBuilder &b, Location loc, Value value) {
  FloatBuilder math(b, loc, value.getType());
  Value bits = math.toBits(value), sixteen = math.intConstant(16);
  Value high = arith::ShRUIOp::create(b, loc, bits, sixteen);
  Value odd = arith::AndIOp::create(b, loc, high, math.intConstant(1));
  Value half = arith::AddIOp::create(b, loc, odd, math.intConstant(0x7fff));
  Value rounded = arith::ShRUIOp::create(
      b, loc, arith::AddIOp::create(b, loc, bits, half), sixteen);
  // A NaN stays one, quiet, whatever its low bits.
  Value quiet = arith::OrIOp::create(b, loc, high, math.intConstant(0x40));
  Value isNaN =
      arith::CmpFOp::create(b, loc, arith::CmpFPredicate::UNO, value, value);
  Value result = arith::SelectOp::create(b, loc, isNaN, quiet, rounded);
  Type narrowInt = b.getI16Type();
  if (auto vector = dyn_cast<VectorType>(value.getType()))
    narrowInt = vector.cloneWith(std::nullopt, narrowInt);
  result = arith::TruncIOp::create(b, loc, narrowInt, result);
  return arith::BitcastOp::create(
      b, loc, withElement(value.getType(), b.getBF16Type()), result);
}

Value fovea::cpu::convertFloat(OpBuilder &b, Location loc, Value value,
                               FloatType element) {
  auto from = cast<FloatType>(getElementTypeOrSelf(value.getType()));
  Type type = withElement(value.getType(), element);
  if (from == element)
    return value;
  if (from.getWidth() < element.getWidth()) {
    // Hardware has f16 to f32 only.
    if (from.getWidth() < 32 && element.getWidth() > 32)
      value = arith::ExtFOp::create(b, loc, withElement(type, b.getF32Type()),
                                    value);
    return arith::ExtFOp::create(b, loc, type, value);
  }
  if (from.getWidth() == element.getWidth()) // f16 and bf16
    value =
        arith::ExtFOp::create(b, loc, withElement(type, b.getF32Type()), value);
  else if (from.getWidth() > 32 && element.getWidth() < 32)
    value = roundToOdd(b, loc, value);
  if (element.isBF16())
    return truncateToBFloat(b, loc, value);
  return arith::TruncFOp::create(b, loc, type, value);
}

Value fovea::cpu::loadConverted(OpBuilder &b, Location loc, Type type,
                                Value memref, ValueRange indices) {
  auto stored = cast<FloatType>(memrefOf(memref).getElementType());
  Value value;
  if (auto vector = dyn_cast<VectorType>(type))
    value = vector::LoadOp::create(
        b, loc, vector.cloneWith(std::nullopt, stored), memref, indices);
  else
    value = memref::LoadOp::create(b, loc, memref, indices);
  return convertFloat(b, loc, value,
                      cast<FloatType>(getElementTypeOrSelf(type)));
}

void fovea::cpu::storeConverted(OpBuilder &b, Location loc, Value value,
                                Value memref, ValueRange indices) {
  value = convertFloat(b, loc, value,
                       cast<FloatType>(memrefOf(memref).getElementType()));
  if (isa<VectorType>(value.getType()))
    vector::StoreOp::create(b, loc, value, memref, indices);
  else
    memref::StoreOp::create(b, loc, value, memref, indices);
}

void fovea::cpu::forEachIndex(ImplicitLocOpBuilder &b, Value lower, Value upper,
                              int64_t step, function_ref<void(Value)> body) {
  auto loop = scf::ForOp::create(b, lower, upper, createIndex(b, step));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  body(loop.getInductionVar());
}

void fovea::cpu::forEachRow(ImplicitLocOpBuilder &b, Value memref,
                            int64_t first, int64_t last,
                            function_ref<void(ValueRange)> body) {
  OpBuilder::InsertionGuard guard(b);
  SmallVector<Value> indices;
  Value zero = createIndex(b, 0), one = createIndex(b, 1);
  for (int64_t dim = first; dim < last; ++dim) {
    Value size = b.createOrFold<memref::DimOp>(memref, dim);
    auto loop = scf::ForOp::create(b, zero, size, one);
    b.setInsertionPointToStart(loop.getBody());
    indices.push_back(loop.getInductionVar());
  }
  body(indices);
}

void fovea::cpu::forEachVector(ImplicitLocOpBuilder &b, int64_t count,
                               int64_t lanes,
                               function_ref<void(Value, int64_t)> body) {
  if (count == 0)
    return;
  lanes = std::min(lanes, count);
  int64_t whole = count - count % lanes;
  if (whole == lanes)
    body(createIndex(b, 0), lanes);
  else
    forEachIndex(b, createIndex(b, 0), createIndex(b, whole), lanes,
                 [&](Value offset) { body(offset, lanes); });
  if (whole != count)
    body(createIndex(b, whole), count - whole);
}

/// The memref of `metadata` with a unit inner stride. Not a memref.cast, which
/// would fold into the vector.load that depends on it.
static Value withUnitStride(ImplicitLocOpBuilder &b,
                            memref::ExtractStridedMetadataOp metadata) {
  MemRefType type = memrefOf(metadata.getSource());
  auto [strides, offset] = type.getStridesAndOffset();
  strides.back() = 1;
  type = MemRefType::get(
      type.getShape(), type.getElementType(),
      StridedLayoutAttr::get(type.getContext(), offset, strides),
      type.getMemorySpace());
  SmallVector<OpFoldResult> newStrides = metadata.getConstifiedMixedStrides();
  newStrides.back() = b.getIndexAttr(1);
  return memref::ReinterpretCastOp::create(
      b, type, metadata.getBaseBuffer(), metadata.getConstifiedMixedOffset(),
      metadata.getConstifiedMixedSizes(), newStrides);
}

void fovea::cpu::forEachStrideCase(
    ImplicitLocOpBuilder &b, ValueRange memrefs, int64_t vectorLanes,
    function_ref<void(ValueRange, int64_t)> body) {
  SmallVector<Value> views(memrefs);
  SmallVector<std::pair<unsigned, memref::ExtractStridedMetadataOp>> unknown;
  for (auto [number, memref] : llvm::enumerate(memrefs)) {
    int64_t stride = memrefOf(memref).getStridesAndOffset().first.back();
    if (!ShapedType::isDynamic(stride) && stride != 1)
      return body(memrefs, 1);
    if (stride != 1)
      unknown.emplace_back(number, nullptr);
  }
  if (unknown.empty())
    return body(memrefs, vectorLanes);
  Value unit;
  for (auto &[number, metadata] : unknown) {
    metadata = memref::ExtractStridedMetadataOp::create(b, memrefs[number]);
    Value test =
        arith::CmpIOp::create(b, arith::CmpIPredicate::eq,
                              metadata.getStrides().back(), createIndex(b, 1));
    unit = unit ? arith::AndIOp::create(b, unit, test).getResult() : test;
  }
  auto branch = scf::IfOp::create(b, unit, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  for (auto [number, metadata] : unknown)
    views[number] = withUnitStride(b, metadata);
  body(views, vectorLanes);
  b.setInsertionPointToStart(branch.elseBlock());
  body(memrefs, 1);
}
