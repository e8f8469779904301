// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The operations of the attn dialect: verifiers (each message cites its rule),
// memory effects and shape reification. Syntax is in AttnSyntax.cpp, tiling in
// AttnTiling.cpp.

#include "dialects/attn/IR/AttnOps.h"
#include "dialects/attn/Expr/Expr.h"
#include "dialects/attn/IR/AttnSyntax.h"
#include "dialects/attn/IR/Rope.h"

#include "mlir/IR/AffineMap.h"
#include "mlir/IR/OpImplementation.h"

using namespace mlir;
using namespace fovea::attn;

#define GET_OP_CLASSES
#include "dialects/attn/IR/AttnOps.cpp.inc"

//===----------------------------------------------------------------------===//
// Shared helpers
//===----------------------------------------------------------------------===//

FloatType fovea::attn::getComputeType(Type elementType) {
  if (elementType.isF64())
    return Float64Type::get(elementType.getContext());
  return Float32Type::get(elementType.getContext());
}

bool fovea::attn::isRowOpResult(Value tensor) {
  return isa_and_present<RopeOp, RmsNormOp>(tensor.getDefiningOp());
}

static ShapedType shaped(Value value) {
  return cast<ShapedType>(value.getType());
}

/// Reads of memref inputs, reads and writes of memref destinations; operations
/// on tensors have no effects.
static void addDestinationEffects(
    DestinationStyleOpInterface op,
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>
        &effects) {
  for (OpOperand &operand : op->getOpOperands()) {
    if (!isa<MemRefType>(operand.get().getType()))
      continue;
    effects.emplace_back(MemoryEffects::Read::get(), &operand);
    if (op.isDpsInit(&operand))
      effects.emplace_back(MemoryEffects::Write::get(), &operand);
  }
}

/// Results have the shapes of the destinations they are tied to.
static LogicalResult reifyFromInits(DestinationStyleOpInterface op,
                                    OpBuilder &b,
                                    ReifiedRankedShapedTypeDims &shapes) {
  for (OpResult result : op->getOpResults())
    shapes.push_back(tensor::getMixedSizes(b, op->getLoc(),
                                           op.getTiedOpOperand(result)->get()));
  return success();
}

#define FOVEA_DESTINATION_OP(OP)                                               \
  void OP::getEffects(                                                         \
      SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>      \
          &e) {                                                                \
    addDestinationEffects(cast<DestinationStyleOpInterface>(getOperation()),   \
                          e);                                                  \
  }                                                                            \
  LogicalResult OP::reifyResultShapes(OpBuilder &b,                            \
                                      ReifiedRankedShapedTypeDims &shapes) {   \
    return reifyFromInits(cast<DestinationStyleOpInterface>(getOperation()),   \
                          b, shapes);                                          \
  }
FOVEA_DESTINATION_OP(AttentionOp)
FOVEA_DESTINATION_OP(RopeOp)
FOVEA_DESTINATION_OP(RmsNormOp)
FOVEA_DESTINATION_OP(AppendOp)
FOVEA_DESTINATION_OP(PartialOp)
FOVEA_DESTINATION_OP(MergeOp)
FOVEA_DESTINATION_OP(FinalizeOp)
FOVEA_DESTINATION_OP(GatherRowsOp)
FOVEA_DESTINATION_OP(ScatterRowsOp)
#undef FOVEA_DESTINATION_OP

static bool compatible(int64_t a, int64_t b) {
  return ShapedType::isDynamic(a) || ShapedType::isDynamic(b) || a == b;
}

/// All shaped operands are tensors, or all are memrefs; results only on
/// tensors.
static LogicalResult verifyOneSemantics(Operation *op) {
  bool tensors = false, memrefs = false;
  for (Type type : op->getOperandTypes()) {
    tensors |= isa<RankedTensorType>(type);
    memrefs |= isa<MemRefType>(type);
  }
  if (tensors && memrefs)
    return op->emitOpError("mixes tensors and memrefs");
  auto dps = cast<DestinationStyleOpInterface>(op);
  size_t expected = memrefs ? 0 : dps.getNumDpsInits();
  if (op->getNumResults() != expected)
    return op->emitOpError()
           << "returns one tensor per destination, or nothing on "
              "memrefs; expected "
           << expected << " results, got " << op->getNumResults();
  for (OpResult result : op->getOpResults())
    if (result.getType() != dps.getTiedOpOperand(result)->get().getType())
      return op->emitOpError("result type differs from its destination's");
  return success();
}

/// The region, if present, has the arguments that AttnOps.h lays down.
static LogicalResult verifyScalarRegion(Operation *op, Region &region,
                                        bool isScore, Type scoreType,
                                        ValueRange captures) {
  StringRef what = isScore ? "score" : "mask", rule = isScore ? "S3" : "M5";
  if (region.empty())
    return success();
  Block &block = region.front();
  SmallVector<Type> expected;
  if (isScore)
    expected.push_back(scoreType);
  expected.append(NumIndexArgs, IntegerType::get(op->getContext(), 64));
  llvm::append_range(expected, captures.getTypes());
  // A captured tensor's extents may be less known inside than outside.
  auto fits = [](Type inside, Type outside) {
    return inside == outside ||
           tensor::CastOp::areCastCompatible(outside, inside) ||
           memref::CastOp::areCastCompatible(outside, inside);
  };
  if (block.getNumArguments() != expected.size() ||
      !llvm::all_of_zip(block.getArgumentTypes(), expected, fits))
    return op->emitOpError()
           << what << " region must take " << (isScore ? "(s, " : "(")
           << "b, h, i, j, B, H, G, M, N, D, captures...), i64 "
              "indices and the captures' types (rule "
           << rule << ")";
  auto yield = dyn_cast<YieldOp>(block.getTerminator());
  Type yielded =
      isScore ? scoreType : Type(IntegerType::get(op->getContext(), 1));
  if (!yield || yield.getValue().getType() != yielded)
    return op->emitOpError() << what << " region must end in attn.yield of "
                             << yielded << " (rule " << rule << ")";
  for (Operation &inner : block.without_terminator()) {
    Dialect *dialect = inner.getDialect();
    if (!isa<ElementOp>(inner) &&
        !isa_and_nonnull<arith::ArithDialect, math::MathDialect>(dialect))
      return inner.emitOpError()
             << "is not allowed in a " << what
             << " region: only arith, math and attn.element "
                "are (rule "
             << rule << ")";
    if (!isScore)
      for (Value result : inner.getResults())
        if (isa<FloatType>(result.getType()))
          return inner.emitOpError("computes a float; masks are integer and "
                                   "boolean expressions (rule M5)");
  }
  return success();
}

static LogicalResult verifyCaptureNames(Operation *op, ValueRange captures,
                                        std::optional<ArrayAttr> names) {
  if (!names)
    return success();
  if (names->size() != captures.size())
    return op->emitOpError("needs one name per capture");
  llvm::SmallDenseSet<StringRef> seen;
  for (StringRef name : names->getAsValueRange<StringAttr>()) {
    bool isName =
        !name.empty() && !llvm::isDigit(name[0]) &&
        llvm::all_of(name, [](char c) { return llvm::isAlnum(c) || c == '_'; });
    if (!isName || fovea::expr::isReservedName(name))
      return op->emitOpError()
             << "capture name '" << name
             << "' must be an identifier that the expression language does not "
                "use itself (rule M5)";
    if (!seen.insert(name).second)
      return op->emitOpError()
             << "captures two values named '" << name << "' (rule M5)";
  }
  return success();
}

/// The captures with their names, and the two regions that read them.
template <typename Op>
static LogicalResult verifyExpressions(Op op, FloatType compute) {
  ValueRange captures = op.getCaptures();
  if (failed(verifyCaptureNames(op, captures, op.getCaptureNames())) ||
      failed(verifyScalarRegion(op, op.getScore(), true, compute, captures)) ||
      failed(verifyScalarRegion(op, op.getMask(), false, compute, captures)))
    return failure();
  return success();
}

//===----------------------------------------------------------------------===//
// attn.attention
//===----------------------------------------------------------------------===//

SmallVector<AffineMap> AttentionOp::getMaps() {
  if (std::optional<ArrayAttr> maps = getIndexingMaps())
    return llvm::map_to_vector(maps->getAsValueRange<AffineMapAttr>(),
                               [](AffineMap map) { return map; });
  MLIRContext *ctx = getContext();
  AffineExpr b, g, r, m, n, d, e;
  bindDims(ctx, b, g, r, m, n, d, e);
  int64_t group =
      shaped(getKey()).getDimSize(2) > 0
          ? shaped(getQuery()).getDimSize(2) / shaped(getKey()).getDimSize(2)
          : 1;
  AffineExpr h = g * group + r;
  SmallVector<AffineMap> maps = {AffineMap::get(7, 0, {b, m, h, d}, ctx),
                                 AffineMap::get(7, 0, {b, n, g, d}, ctx),
                                 AffineMap::get(7, 0, {b, n, g, e}, ctx),
                                 AffineMap::get(7, 0, {b, m, h, e}, ctx)};
  if (hasLse())
    maps.push_back(AffineMap::get(7, 0, {b, h, m}, ctx));
  return maps;
}

/// The dimension of an operand that `map` indexes by an expression using loop
/// dimension `dim`.
static std::optional<unsigned> dimensionOf(AffineMap map, unsigned dim) {
  for (auto [position, expr] : llvm::enumerate(map.getResults()))
    if (expr.isFunctionOfDim(dim))
      return position;
  return std::nullopt;
}

namespace {
enum LoopDim : unsigned {
  DimB,
  DimG,
  DimR,
  DimM,
  DimN,
  DimD,
  DimE,
  NumLoopDims
};
} // namespace

static int64_t extentOf(Value value, AffineMap map, unsigned dim) {
  return shaped(value).getDimSize(*dimensionOf(map, dim));
}

int64_t AttentionOp::getQueryHeads() {
  return extentOf(getQuery(), getMaps()[0], DimG);
}
int64_t AttentionOp::getKvHeads() {
  return extentOf(getKey(), getMaps()[1], DimG);
}
int64_t AttentionOp::getQkWidth() {
  return extentOf(getQuery(), getMaps()[0], DimD);
}
int64_t AttentionOp::getValueWidth() {
  return extentOf(getValue(), getMaps()[2], DimE);
}
double AttentionOp::getScaleOrDefault() {
  if (std::optional<APFloat> scale = getScale())
    return scale->convertToDouble();
  return 1.0 / std::sqrt(double(getQkWidth()));
}
int64_t AttentionOp::getMatrixTerms() {
  SmallVector<Type> types;
  for (Value operand : {getQuery(), getKey(), getValue()})
    types.push_back(shaped(operand).getElementType());
  if (!llvm::all_equal(types))
    return 0;
  if (types[0].isF32())
    return getPrecision() == Precision::BF16x6 ? 3 : 0;
  return types[0].isBF16() ? 1 : types[0].isF16() ? 2 : 0;
}
FloatType AttentionOp::getComputeType() {
  return fovea::attn::getComputeType(shaped(getQuery()).getElementType());
}

/// Each operand is indexed by exactly the loop dimensions of its role, each by
/// itself but for the query head g * R + r.
static LogicalResult verifyMaps(AttentionOp op, ArrayRef<AffineMap> maps) {
  MLIRContext *ctx = op.getContext();
  using Dims = SmallVector<unsigned>;
  SmallVector<Dims> roles = {{DimB, DimG, DimM, DimD},
                             {DimB, DimG, DimN, DimD},
                             {DimB, DimG, DimN, DimE},
                             {DimB, DimG, DimM, DimE}};
  if (op.hasLse())
    roles.push_back({DimB, DimG, DimM});
  SmallVector<Value> operands = {op.getQuery(), op.getKey(), op.getValue()};
  llvm::append_range(operands, op.getOutputs());
  if (maps.size() != operands.size())
    return op.emitOpError("needs one indexing map per q, k, v and output");
  const char *names[] = {"q", "k", "v", "o", "lse"};
  for (auto [index, map] : llvm::enumerate(maps)) {
    bool folded = index == 0 || index >= 3;
    if (map.getNumDims() != NumLoopDims || map.getNumSymbols() != 0 ||
        map.getNumResults() != roles[index].size() ||
        shaped(operands[index]).getRank() != int64_t(map.getNumResults()))
      return op.emitOpError()
             << "indexing map of " << names[index]
             << " must go from (b, g, r, m, n, d, e) to the "
             << roles[index].size() << " dimensions of its operand";
    for (unsigned dim : roles[index]) {
      unsigned uses = 0;
      for (AffineExpr expr : map.getResults()) {
        if (!expr.isFunctionOfDim(dim))
          continue;
        ++uses;
        AffineExpr plain = getAffineDimExpr(dim, ctx);
        if (dim == DimG && folded) {
          // Any constant R is checked against the head counts afterwards.
          AffineExpr r = getAffineDimExpr(DimR, ctx);
          AffineExpr rest = expr - r;
          bool ok = false;
          rest = simplifyAffineExpr(rest, NumLoopDims, 0);
          if (rest == plain)
            ok = true;
          else if (auto mul = dyn_cast<AffineBinaryOpExpr>(rest))
            ok = mul.getKind() == AffineExprKind::Mul &&
                 mul.getLHS() == plain && isa<AffineConstantExpr>(mul.getRHS());
          if (!ok)
            return op.emitOpError() << "head of " << names[index]
                                    << " must be indexed by g * group + r";
        } else if (expr != plain) {
          return op.emitOpError() << "indexing map of " << names[index]
                                  << " must be a permutation of its dimensions";
        }
      }
      if (uses != 1)
        return op.emitOpError() << "indexing map of " << names[index]
                                << " must use each of its dimensions once";
    }
  }
  return success();
}

LogicalResult AttentionOp::verify() {
  if (failed(verifyOneSemantics(*this)))
    return failure();
  if (getOutputs().empty() || getOutputs().size() > 2)
    return emitOpError("has the outputs o and, if asked, lse (rule R1)");
  for (Value operand : {getQuery(), getKey(), getValue(), getOutput()})
    if (shaped(operand).getRank() != 4)
      return emitOpError("q, k, v and o have 4 dimensions (rule S1)");
  if (hasLse() && shaped(getLse()).getRank() != 3)
    return emitOpError("lse has the 3 dimensions batch, head, row (rule R1)");
  if (!getIndexingMaps() &&
      (shaped(getKey()).isDynamicDim(2) || shaped(getQuery()).isDynamicDim(2)))
    return emitOpError("head counts must be static (rule S1)");
  SmallVector<AffineMap> maps = getMaps();
  if (failed(verifyMaps(*this, maps)))
    return failure();

  auto at = [&](Value value, unsigned map, unsigned dim) {
    return extentOf(value, maps[map], dim);
  };
  int64_t heads = getQueryHeads(), kvHeads = getKvHeads();
  if (ShapedType::isDynamic(heads) || ShapedType::isDynamic(kvHeads) ||
      heads < 1 || kvHeads < 1)
    return emitOpError("head counts must be static and positive (rule S1)");
  if (heads % kvHeads != 0)
    return emitOpError() << "query heads (" << heads
                         << ") must be a multiple of kv heads (" << kvHeads
                         << ") (rule S1)";
  MLIRContext *ctx = getContext();
  AffineExpr folded = getAffineDimExpr(DimG, ctx) * (heads / kvHeads) +
                      getAffineDimExpr(DimR, ctx);
  for (unsigned index : {0u, 3u, 4u})
    if (index < maps.size() &&
        maps[index].getResult(*dimensionOf(maps[index], DimG)) != folded)
      return emitOpError() << "head must be indexed by g * " << heads / kvHeads
                           << " + r for these head counts (rule S1)";
  int64_t width = getQkWidth(), valueWidth = getValueWidth();
  if (ShapedType::isDynamic(width) || ShapedType::isDynamic(valueWidth) ||
      width < 1 || valueWidth < 1)
    return emitOpError("head widths must be static and at least 1 (rule R4)");
  if (width != at(getKey(), 1, DimD))
    return emitOpError() << "q and k differ in head width: " << width << " and "
                         << at(getKey(), 1, DimD) << " (rule S1)";
  if (kvHeads != at(getValue(), 2, DimG))
    return emitOpError() << "k and v differ in heads: " << kvHeads << " and "
                         << at(getValue(), 2, DimG) << " (rule S1)";
  if (!compatible(at(getKey(), 1, DimN), at(getValue(), 2, DimN)))
    return emitOpError("k and v differ in key length (rule S1)");
  for (auto [value, map] : {std::pair<Value, unsigned>(getKey(), 1),
                            std::pair<Value, unsigned>(getValue(), 2),
                            std::pair<Value, unsigned>(getOutput(), 3)})
    if (!compatible(at(getQuery(), 0, DimB), at(value, map, DimB)))
      return emitOpError("operands differ in batch (rule S1)");
  if (at(getOutput(), 3, DimG) != heads ||
      !compatible(at(getOutput(), 3, DimM), at(getQuery(), 0, DimM)) ||
      at(getOutput(), 3, DimE) != valueWidth)
    return emitOpError(
        "o must have q's batch, rows and heads and v's width (rule R2)");
  FloatType compute = getComputeType();
  for (Value operand : {getKey(), getValue(), getOutput()})
    if (fovea::attn::getComputeType(shaped(operand).getElementType()) !=
        compute)
      return emitOpError("f64 does not mix with narrower types (rule S1)");
  if (getPrecision() != Precision::Full)
    for (Value operand : {getQuery(), getKey(), getValue()})
      if (!shaped(operand).getElementType().isF32())
        return emitOpError()
               << "precision " << stringifyPrecision(getPrecision())
               << " is for q, k and v of f32 (rule S8)";
  if (hasLse()) {
    if (shaped(getLse()).getElementType() != compute)
      return emitOpError() << "lse must be " << compute << " (rule R1)";
    if (at(getLse(), 4, DimG) != heads ||
        !compatible(at(getLse(), 4, DimM), at(getQuery(), 0, DimM)) ||
        !compatible(at(getLse(), 4, DimB), at(getQuery(), 0, DimB)))
      return emitOpError("lse must have q's batch, heads and rows (rule R1)");
  }
  if (getLengths() && (shaped(getLengths()).getRank() != 1 ||
                       !compatible(shaped(getLengths()).getDimSize(0),
                                   at(getQuery(), 0, DimB))))
    return emitOpError("lengths holds one integer per batch row (rule K1)");
  if (getSinks() && (shaped(getSinks()).getRank() != 1 ||
                     !compatible(shaped(getSinks()).getDimSize(0), heads)))
    return emitOpError("sinks holds one logit per query head (rule M7)");
  if (!getOrigin().empty() && getOrigin().size() != 4)
    return emitOpError("origin is (b, h, i, j)");
  if (!getExtents().empty() && getExtents().size() != 5)
    return emitOpError("extents are (B, H, G, M, N)");
  if (getOrigin().empty() != getExtents().empty())
    return emitOpError("origin and extents come together");
  if (std::optional<APFloat> scale = getScale(); scale && !scale->isFinite())
    return emitOpError("scale must be finite (rule S1)");
  return verifyExpressions(*this, compute);
}

//===----------------------------------------------------------------------===//
// Row operations
//===----------------------------------------------------------------------===//

static LogicalResult verifySameShape(Operation *op, Value input, Value output) {
  ShapedType in = shaped(input), out = shaped(output);
  if (in.getRank() < 1 || in.getRank() != out.getRank() ||
      !llvm::all_of_zip(in.getShape(), out.getShape(), compatible))
    return op->emitOpError("input and output must have one shape");
  if (in.isDynamicDim(in.getRank() - 1) || out.isDynamicDim(out.getRank() - 1))
    return op->emitOpError("the last dimension must be static (rule R4)");
  return success();
}

int64_t RopeOp::getRotaryWidth() {
  ShapedType type = shaped(getInput());
  return getRotaryDim().value_or(type.getDimSize(type.getRank() - 1));
}

LogicalResult RopeOp::verify() {
  if (failed(verifyOneSemantics(*this)) ||
      failed(verifySameShape(*this, getInput(), getOutput())))
    return failure();
  ShapedType type = shaped(getInput());
  int64_t width = type.getDimSize(type.getRank() - 1),
          rotary = getRotaryWidth();
  if (rotary < 2 || rotary % 2 != 0 || rotary > width)
    return emitOpError() << "rotary_dim must be even and in [2, " << width
                         << "], got " << rotary << " (rule P1)";
  if (!(getBase().convertToDouble() > 0) || !getBase().isFinite())
    return emitOpError("base must be positive and finite (rule P1)");
  if (getPositions() && getOffset())
    return emitOpError("takes positions or an offset, not both (rule P1)");
  if (getPositions()) {
    ShapedType positions = shaped(getPositions());
    if (positions.getRank() < 1 || positions.getRank() >= type.getRank() ||
        !llvm::all_of(llvm::seq<int64_t>(0, positions.getRank()),
                      [&](int64_t dim) {
                        return compatible(positions.getDimSize(dim),
                                          type.getDimSize(dim));
                      }))
      return emitOpError(
          "positions must have the shape of the leading dimensions "
          "of the input (rule P1)");
  } else if (type.getRank() < 3) {
    return emitOpError(
        "an offset needs an input [B, M, ..., D]; give positions "
        "(rule P1)");
  }
  auto perCallOrBatchRow = [&](Value value) {
    auto perRow = dyn_cast<ShapedType>(value.getType());
    return !perRow || (perRow.getRank() == 1 &&
                       compatible(perRow.getDimSize(0), type.getDimSize(0)));
  };
  if (getOffset() && !perCallOrBatchRow(getOffset()))
    return emitOpError(
        "offset is one i64 or one integer per batch row (rule P1)");
  if (getLength()) {
    if (!perCallOrBatchRow(getLength()))
      return emitOpError(
          "length is one i64 or one integer per batch row (rule P1)");
    if (isa<ShapedType>(getLength().getType()) && type.getRank() < 3)
      return emitOpError(
          "a length per batch row needs an input [B, M, ..., D] (rule P1)");
  }
  if (RopeScalingAttr scaling = getScalingAttr()) {
    bool needsLength = ropeDependsOnLength(scaling);
    if (needsLength != bool(getLength()))
      return emitOpError() << stringifyRopeScalingKind(scaling.getKind())
                           << (needsLength ? " scaling needs"
                                           : " scaling takes no")
                           << " length (rule P1)";
    if (scaling.getKind() == RopeScalingKind::LongRope &&
        scaling.getShortFactor().size() != rotary / 2)
      return emitOpError() << "longrope needs " << rotary / 2
                           << " factors, one per frequency (rule P1)";
  } else if (getLength()) {
    return emitOpError(
        "length is for dynamic and longrope scaling only (rule P1)");
  }
  return success();
}

LogicalResult RmsNormOp::verify() {
  if (failed(verifyOneSemantics(*this)) ||
      failed(verifySameShape(*this, getInput(), getOutput())))
    return failure();
  ShapedType type = shaped(getInput());
  if (getWeight() && (shaped(getWeight()).getRank() != 1 ||
                      shaped(getWeight()).getDimSize(0) !=
                          type.getDimSize(type.getRank() - 1)))
    return emitOpError(
        "weight must be one vector of the input's last dimension");
  if (!(getEps().convertToDouble() >= 0) || !getEps().isFinite())
    return emitOpError("eps must be finite and not negative");
  return success();
}

LogicalResult AppendOp::verify() {
  if (failed(verifyOneSemantics(*this)))
    return failure();
  ShapedType input = shaped(getInput()), cache = shaped(getCache());
  if (input.getRank() < 2 || input.getRank() != cache.getRank() ||
      !compatible(input.getDimSize(0), cache.getDimSize(0)) ||
      !llvm::all_of_zip(input.getShape().drop_front(2),
                        cache.getShape().drop_front(2), compatible))
    return emitOpError(
        "input and cache may differ in dimension 1 only (rule K3)");
  if (shaped(getPast()).getRank() != 1 ||
      !compatible(shaped(getPast()).getDimSize(0), input.getDimSize(0)))
    return emitOpError("past holds one integer per batch row (rule K3)");
  return success();
}

//===----------------------------------------------------------------------===//
// The partial form
//===----------------------------------------------------------------------===//

MutableOperandRange PartialOp::getDpsInitsMutable() {
  return MutableOperandRange(getOperation(), getAccMutable().getOperandNumber(),
                             3);
}
MutableOperandRange MergeOp::getDpsInitsMutable() {
  return MutableOperandRange(getOperation(), getAccMutable().getOperandNumber(),
                             3);
}

static AffineMap defaultAccMap(MLIRContext *ctx) {
  return AffineMap::getMultiDimIdentityMap(2, ctx);
}
AffineMap MergeOp::getAccLayout() {
  return getAccMapAttr() ? getAccMapAttr().getValue()
                         : defaultAccMap(getContext());
}
AffineMap FinalizeOp::getAccLayout() {
  return getAccMapAttr() ? getAccMapAttr().getValue()
                         : defaultAccMap(getContext());
}

SmallVector<AffineMap> PartialOp::getMaps() {
  if (std::optional<ArrayAttr> maps = getIndexingMaps())
    return llvm::map_to_vector(maps->getAsValueRange<AffineMapAttr>(),
                               [](AffineMap map) { return map; });
  MLIRContext *ctx = getContext();
  AffineExpr m, n, d, e;
  bindDims(ctx, m, n, d, e);
  return {AffineMap::get(4, 0, {m, d}, ctx), AffineMap::get(4, 0, {n, d}, ctx),
          AffineMap::get(4, 0, {n, e}, ctx), AffineMap::get(4, 0, {m, e}, ctx)};
}

namespace {
/// What an operand says about the extent of one dimension of attn.partial.
struct LaidOutDim {
  int64_t extent;
  bool isSplit; ///< in blocks: `extent` is what they have room for
};
} // namespace

/// Where `map` puts loop dimension `dim` in `shape`: in one dimension of its
/// own, or in two as (dim floordiv c, ..., dim mod c). `positions` counts the
/// dimensions taken.
static std::optional<LaidOutDim> layOutDim(AffineMap map,
                                           ArrayRef<int64_t> shape,
                                           unsigned dim, unsigned &positions) {
  AffineExpr plain = getAffineDimExpr(dim, map.getContext());
  SmallVector<unsigned, 2> at;
  for (auto [position, expr] : llvm::enumerate(map.getResults()))
    if (expr.isFunctionOfDim(dim))
      at.push_back(position);
  positions += at.size();
  if (at.size() == 1 && map.getResult(at[0]) == plain)
    return LaidOutDim{shape[at[0]], /*isSplit=*/false};
  if (at.size() != 2 || ShapedType::isDynamic(shape[at[1]]) ||
      shape[at[1]] == 0)
    return std::nullopt;
  int64_t block = shape[at[1]], blocks = shape[at[0]];
  if (map.getResult(at[0]) != plain.floorDiv(block) ||
      map.getResult(at[1]) != plain % block)
    return std::nullopt;
  return LaidOutDim{ShapedType::isDynamic(blocks) ? blocks : blocks * block,
                    /*isSplit=*/true};
}

/// Whether a dimension holds the terms of elements.
static bool isTermsResult(AffineExpr expr) {
  auto constant = dyn_cast<AffineConstantExpr>(expr);
  return constant && constant.getValue() == 0;
}

int64_t PartialOp::getTileRows() { return shaped(getMax()).getDimSize(0); }

bool PartialOp::hasUnzippedQuery() {
  return getUnzipped() && shaped(getKey()).getElementType().isBF16();
}
bool PartialOp::hasUnzippedAcc() {
  return getUnzipped() && shaped(getValue()).getElementType().isBF16();
}

LogicalResult PartialOp::verify() {
  if (failed(verifyOneSemantics(*this)))
    return failure();
  if (getAt().size() != 4)
    return emitOpError("at is (b, g, row0, j0)");
  if (getExtents().size() != 3)
    return emitOpError("extents are (B, M, N)");
  SmallVector<AffineMap> maps = getMaps();
  Value operands[] = {getQuery(), getKey(), getValue(), getAcc()};
  const char *names[] = {"q", "k", "v", "acc"};
  const unsigned roles[][2] = {{0, 2}, {1, 2}, {1, 3}, {0, 3}};
  if (maps.size() != 4)
    return emitOpError("needs one indexing map per q, k, v and acc");
  // One extent per loop dimension.
  int64_t extents[4] = {ShapedType::kDynamic, ShapedType::kDynamic,
                        ShapedType::kDynamic, ShapedType::kDynamic};
  SmallVector<std::tuple<unsigned, unsigned, int64_t>> rooms;
  for (unsigned index : {0u, 1u, 2u, 3u}) {
    AffineMap map = maps[index];
    ArrayRef<int64_t> shape = shaped(operands[index]).getShape();
    bool good = map.getNumDims() == 4 && map.getNumSymbols() == 0 &&
                map.getNumResults() == shape.size();
    unsigned positions = 0;
    for (AffineExpr expr : map.getResults())
      positions += index != 3 && isTermsResult(expr);
    for (unsigned dim : roles[index]) {
      std::optional<LaidOutDim> laidOut;
      if (good)
        laidOut = layOutDim(map, shape, dim, positions);
      if (!laidOut)
        return emitOpError()
               << "indexing map of " << names[index]
               << " must be a permutation of its two dimensions of (m, n, d, "
                  "e), each whole or split by floordiv and mod, and 0 for "
                  "terms of q, k or v";
      if (laidOut->isSplit) {
        rooms.emplace_back(index, dim, laidOut->extent);
        continue;
      }
      if (!compatible(extents[dim], laidOut->extent))
        return emitOpError() << names[index] << " does not fit the other tiles";
      if (ShapedType::isDynamic(extents[dim]))
        extents[dim] = laidOut->extent;
    }
    if (positions != shape.size())
      return emitOpError() << "indexing map of " << names[index]
                           << " has a result that is none of its dimensions";
  }
  for (auto [index, dim, room] : rooms)
    if (!ShapedType::isDynamic(room) && !ShapedType::isDynamic(extents[dim]) &&
        room < extents[dim])
      return emitOpError() << names[index] << " does not fit the other tiles";
  struct {
    StringRef name, other;
    Value next, like;
  } hints[] = {{"next_key", "k", getNextKey(), getKey()},
               {"next_value", "v", getNextValue(), getValue()}};
  for (auto [name, other, next, like] : hints)
    if (next &&
        (shaped(next).getElementType() != shaped(like).getElementType() ||
         failed(verifyCompatibleShape(shaped(next).getShape().drop_front(),
                                      shaped(like).getShape().drop_front()))))
      return emitOpError() << name << " must hold rows like those of " << other;
  FloatType compute =
      fovea::attn::getComputeType(shaped(getQuery()).getElementType());
  for (Value state : {getAcc(), getMax(), getSum()})
    if (shaped(state).getElementType() != compute)
      return emitOpError() << "state must be " << compute << " (rule S1)";
  for (Value state : {getMax(), getSum()})
    if (shaped(state).getRank() != 1 ||
        !compatible(shaped(state).getDimSize(0), extents[0]))
      return emitOpError("max and sum hold one value per row of the tile");
  if (getUnzipped() && *getUnzipped() < 1)
    return emitOpError("unzipped must be positive");
  if (getGroup() < 1 || getKvHeads() < 1)
    return emitOpError("group and kv_heads must be positive (rule S1)");
  if (!getScale().isFinite())
    return emitOpError("scale must be finite (rule S1)");
  return verifyExpressions(*this, compute);
}

static LogicalResult verifyState(Operation *op, Value acc, Value max, Value sum,
                                 AffineMap map) {
  if (map.getNumDims() != 2 || !map.isPermutation() ||
      shaped(acc).getRank() != 2)
    return op->emitOpError("acc_map must be a permutation of (m, e)");
  int64_t rows = shaped(acc).getDimSize(*dimensionOf(map, 0));
  for (Value state : {max, sum})
    if (shaped(state).getRank() != 1 ||
        !compatible(shaped(state).getDimSize(0), rows))
      return op->emitOpError("max and sum hold one value per row of acc");
  Type element = shaped(acc).getElementType();
  if (!element.isF32() && !element.isF64())
    return op->emitOpError("state must be f32 or f64 (rule S1)");
  for (Value state : {max, sum})
    if (shaped(state).getElementType() != element)
      return op->emitOpError("state must have one element type (rule S1)");
  return success();
}

LogicalResult MergeOp::verify() {
  if (failed(verifyOneSemantics(*this)) ||
      failed(
          verifyState(*this, getAcc(), getMax(), getSum(), getAccLayout())) ||
      failed(verifyState(*this, getOtherAcc(), getOtherMax(), getOtherSum(),
                         getAccLayout())))
    return failure();
  if (shaped(getAcc()).getElementType() !=
          shaped(getOtherAcc()).getElementType() ||
      !llvm::all_of_zip(shaped(getAcc()).getShape(),
                        shaped(getOtherAcc()).getShape(), compatible))
    return emitOpError("both states must have one shape and type (rule R2)");
  return success();
}

LogicalResult FinalizeOp::verify() {
  if (failed(verifyOneSemantics(*this)) ||
      failed(verifyState(*this, getAcc(), getMax(), getSum(), getAccLayout())))
    return failure();
  if (getOutputs().empty() || getOutputs().size() > 2)
    return emitOpError("has the outputs o and, if asked, lse (rule R1)");
  ShapedType acc = shaped(getAcc()), o = shaped(getOutputs()[0]);
  AffineMap map = getAccLayout();
  if (o.getRank() != 2 ||
      !compatible(o.getDimSize(0), acc.getDimSize(*dimensionOf(map, 0))) ||
      !compatible(o.getDimSize(1), acc.getDimSize(*dimensionOf(map, 1))))
    return emitOpError("o must be [m, e] for the acc given (rule R2)");
  if (getOutputs().size() == 2) {
    ShapedType lse = shaped(getOutputs()[1]);
    if (lse.getRank() != 1 || lse.getElementType() != acc.getElementType() ||
        !compatible(lse.getDimSize(0), o.getDimSize(0)))
      return emitOpError("lse must be [m] of the state's type (rule R1)");
  }
  if (getSinks() &&
      (shaped(getSinks()).getRank() != 1 ||
       !compatible(shaped(getSinks()).getDimSize(0), o.getDimSize(0))))
    return emitOpError("sinks holds one logit per row of the tile (rule M7)");
  return success();
}

template <typename Op> static AffineMap rowsTensorMap(Op op, Value whole) {
  if (op.getMapAttr())
    return op.getMapAttr().getValue();
  MLIRContext *ctx = op.getContext();
  AffineExpr b, h, i, d;
  bindDims(ctx, b, h, i, d);
  // [b, i, h, d] for q, k, v, o; [b, h, i] for lse.
  if (shaped(whole).getRank() == 3)
    return AffineMap::get(4, 0, {b, h, i}, ctx);
  return AffineMap::get(4, 0, {b, i, h, d}, ctx);
}
AffineMap GatherRowsOp::getTensorMap() {
  return rowsTensorMap(*this, getSource());
}
AffineMap ScatterRowsOp::getTensorMap() {
  return rowsTensorMap(*this, getDest());
}

static LogicalResult verifyRows(Operation *op, Value whole, Value tile,
                                AffineMap map, int64_t group) {
  if (failed(verifyOneSemantics(op)))
    return failure();
  if (group < 1)
    return op->emitOpError("group must be positive (rule S1)");
  ShapedType wholeType = shaped(whole), tileType = shaped(tile);
  bool withWidth = tileType.getRank() == 2;
  if ((tileType.getRank() != 1 && !withWidth) || map.getNumDims() != 4 ||
      !map.isProjectedPermutation() ||
      wholeType.getRank() != tileType.getRank() + 2 ||
      map.getNumResults() != unsigned(wholeType.getRank()) ||
      bool(dimensionOf(map, 3)) != withWidth)
    return op->emitOpError(
        "a tile is [l, d] of a 4-dimensional tensor or [l] of a "
        "3-dimensional one, and map a permutation of (b, h, i, d)");
  if (withWidth && !compatible(tileType.getDimSize(1),
                               wholeType.getDimSize(*dimensionOf(map, 3))))
    return op->emitOpError("tile and tensor differ in width");
  return success();
}
LogicalResult GatherRowsOp::verify() {
  return verifyRows(*this, getSource(), getDest(), getTensorMap(), getGroup());
}
LogicalResult ScatterRowsOp::verify() {
  return verifyRows(*this, getDest(), getSource(), getTensorMap(), getGroup());
}

//===----------------------------------------------------------------------===//
// attn.element
//===----------------------------------------------------------------------===//

LogicalResult ElementOp::verify() {
  ShapedType type = shaped(getSource());
  if (type.getRank() != int64_t(getIndices().size()))
    return emitOpError() << "needs " << type.getRank() << " indices, got "
                         << getIndices().size() << " (rule M5)";
  Type element = type.getElementType(), result = getResult().getType();
  bool fits = isa<FloatType>(element) ? isa<FloatType>(result)
              : element.isInteger(1)  ? result.isInteger(1)
                                      : result.isInteger(64);
  if (!fits)
    return emitOpError()
           << "reads " << element << " as " << result
           << "; integers are read as i64, booleans as i1, floats as "
              "the region's type (rule M5)";
  return success();
}

void ElementOp::getEffects(
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>
        &effects) {
  if (isa<MemRefType>(getSource().getType()))
    effects.emplace_back(MemoryEffects::Read::get(), &getSourceMutable());
}
