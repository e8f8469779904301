// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// From Spec to the kernel function at the attn phase: norms, RoPE, append to
// the cache and attention, in that order, each a destination-passing operation
// on tensors. Takes a Spec that parseSpec accepted; chooses nothing about code.

#include "compiler/Frontend/QueryOffset.h"
#include "compiler/Frontend/Spec.h"
#include "dialects/attn/IR/ExprRegion.h"
#include "dialects/attn/IR/Rope.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/Verifier.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace fovea;
using namespace fovea::frontend;

//===----------------------------------------------------------------------===//
// The position of the queries
//===----------------------------------------------------------------------===//

static bool isElementOfRow(expr::Expr e) {
  return e.is(expr::Kind::Load) && e.getNumOperands() == 1 &&
         e.getOperand(0).is(expr::Var::b);
}

static bool isHostArithmetic(expr::Expr e) {
  switch (e.getKind()) {
  case expr::Kind::IntConst:
  case expr::Kind::Param:
    return true;
  case expr::Kind::Var:
    return e.getVar() >= expr::Var::B && e.getVar() <= expr::Var::D;
  case expr::Kind::Neg:
  case expr::Kind::Add:
  case expr::Kind::Sub:
  case expr::Kind::Mul:
    return llvm::all_of(e.getOperands(), isHostArithmetic);
  default:
    return false;
  }
}

bool fovea::frontend::isQueryOffset(expr::Expr offset) {
  return isElementOfRow(offset) || isHostArithmetic(offset);
}

//===----------------------------------------------------------------------===//
// The kernel function
//===----------------------------------------------------------------------===//

namespace {

/// A dimension of an argument: a symbol, or a number if `symbol` is empty.
struct Dim {
  StringRef symbol;
  int64_t extent = ShapedType::kDynamic;
};

class KernelBuilder {
public:
  KernelBuilder(MLIRContext &context, const Spec &spec)
      : b(&context), spec(spec),
        loc(FileLineColLoc::get(&context, spec.fileName, spec.line,
                                spec.column)) {}

  OwningOpRef<ModuleOp> build();

private:
  void declareArguments();
  void declareTensor(StringRef name, StringRef role, ArrayRef<Dim> dims,
                     Type element, bool optional = false);
  void declareParam(const Spec::Param &param);
  func::FuncOp createFunction();
  void fillBody();

  Value argument(StringRef name) {
    return function.getArgument(argumentIndex.at(name));
  }
  /// A tensor to write to, with the shape of `like`.
  Value emptyLike(Value like);
  /// The extent of a dimension as i64.
  Value extent(Value tensor, int64_t dim);
  Value constant(int64_t value) {
    return arith::ConstantIntOp::create(b, loc, value, 64);
  }

  Value normalise(Value rows, StringRef weight);
  Value rotate(Value rows, Value positions, Value offset, Value length);
  attn::RopeScalingAttr scaling();
  Value queryOffset();
  Value hostValue(expr::Expr e);
  Value lengthsOf(Value past);
  Value attend(Value query, Value key, Value value, Value lengths,
               SmallVectorImpl<Value> &results);

  OpBuilder b;
  const Spec &spec;
  Location loc;
  func::FuncOp function;

  SmallVector<Type> types;
  SmallVector<DictionaryAttr> attributes;
  llvm::StringMap<unsigned> argumentIndex;
  SmallVector<unsigned> outputs; // arguments that are results too
  SmallVector<Attribute> symbols;
};

} // namespace

void KernelBuilder::declareTensor(StringRef name, StringRef role,
                                  ArrayRef<Dim> dims, Type element,
                                  bool optional) {
  SmallVector<int64_t> shape;
  SmallVector<Attribute> dimAttrs;
  for (const Dim &dim : dims) {
    shape.push_back(dim.symbol.empty() ? dim.extent : ShapedType::kDynamic);
    if (dim.symbol.empty()) {
      dimAttrs.push_back(b.getI64IntegerAttr(dim.extent));
      continue;
    }
    Attribute symbol = b.getStringAttr(dim.symbol);
    dimAttrs.push_back(symbol);
    if (!llvm::is_contained(symbols, symbol))
      symbols.push_back(symbol);
  }
  NamedAttrList attrs;
  attrs.append("attn.name", b.getStringAttr(name));
  attrs.append("attn.role", b.getStringAttr(role));
  attrs.append("attn.dims", b.getArrayAttr(dimAttrs));
  if (optional)
    attrs.append("attn.optional", b.getUnitAttr());
  if (role != "input")
    outputs.push_back(types.size());
  argumentIndex[name] = types.size();
  types.push_back(RankedTensorType::get(shape, element));
  attributes.push_back(attrs.getDictionary(b.getContext()));
}

void KernelBuilder::declareParam(const Spec::Param &param) {
  NamedAttrList attrs;
  attrs.append("attn.name", b.getStringAttr(param.name));
  attrs.append("attn.role", b.getStringAttr("param"));
  if (param.defaultValue)
    attrs.append("attn.default", b.getI64IntegerAttr(*param.defaultValue));
  argumentIndex[param.name] = types.size();
  types.push_back(b.getI64Type());
  attributes.push_back(attrs.getDictionary(b.getContext()));
}

static Type elementType(OpBuilder &b, DType dtype) {
  switch (dtype) {
  case DType::F16:
    return b.getF16Type();
  case DType::BF16:
    return b.getBF16Type();
  case DType::F32:
    return b.getF32Type();
  case DType::F64:
    return b.getF64Type();
  }
  llvm_unreachable("unknown dtype");
}

static Type elementType(OpBuilder &b, InputType type) {
  switch (type) {
  case InputType::I32:
    return b.getI32Type();
  case InputType::I64:
    return b.getI64Type();
  case InputType::F32:
    return b.getF32Type();
  case InputType::F64:
    return b.getF64Type();
  }
  llvm_unreachable("unknown type of input");
}

void KernelBuilder::declareArguments() {
  Type element = elementType(b, spec.dtype);
  Type compute = attn::getComputeType(element);
  auto symbolOr = [](StringRef symbol, std::optional<int64_t> extent) {
    return extent ? Dim{"", *extent} : Dim{symbol};
  };
  Dim batch = symbolOr("B", spec.batch), rows = symbolOr("M", spec.queryLength);
  Dim keys = spec.kvCache ? rows : symbolOr("N", spec.kvLength);
  Dim capacity{"C"}, heads{"", spec.queryHeads}, kvHeads{"", spec.kvHeads},
      width{"", spec.qkWidth}, valueWidth{"", spec.valueWidth};

  declareTensor("q", "input", {batch, rows, heads, width}, element);
  declareTensor("k", "input", {batch, keys, kvHeads, width}, element);
  declareTensor("v", "input", {batch, keys, kvHeads, valueWidth}, element);
  if (spec.kvCache)
    declareTensor("past", "input", {batch}, b.getI32Type());
  if (spec.qkNorm && spec.qkNorm->weight) {
    declareTensor("q_norm_weight", "input", {width}, compute);
    declareTensor("k_norm_weight", "input", {width}, compute);
  }
  if (spec.sinks)
    declareTensor("sinks", "input", {heads}, compute);
  if (spec.rope && spec.rope->explicitPositions) {
    if (spec.kvCache) {
      declareTensor("positions", "input", {batch, rows}, b.getI32Type());
    } else {
      declareTensor("q_positions", "input", {batch, rows}, b.getI32Type());
      declareTensor("k_positions", "input", {batch, keys}, b.getI32Type());
    }
  }
  for (const Spec::Input &input : spec.inputs) {
    SmallVector<Dim> dims;
    for (auto [symbol, extent] : llvm::zip_equal(input.symbols, input.extents))
      dims.push_back(symbol.empty() ? Dim{"", extent} : batch);
    declareTensor(input.name, "input", dims, elementType(b, input.type));
  }
  declareTensor("o", "output", {batch, rows, heads, valueWidth}, element);
  if (spec.lse)
    declareTensor("lse", "output", {batch, heads, rows}, compute,
                  /*optional=*/true);
  if (spec.kvCache) {
    declareTensor("k_cache", "inout", {batch, capacity, kvHeads, width},
                  element);
    declareTensor("v_cache", "inout", {batch, capacity, kvHeads, valueWidth},
                  element);
  }
  for (const Spec::Param &param : spec.params)
    declareParam(param);
}

func::FuncOp KernelBuilder::createFunction() {
  SmallVector<Type> results;
  for (unsigned index : outputs)
    results.push_back(types[index]);
  function = func::FuncOp::create(b, loc, spec.name,
                                  b.getFunctionType(types, results));
  function->setAttr("attn.symbols", b.getArrayAttr(symbols));
  for (auto [index, attrs] : llvm::enumerate(attributes))
    function.setArgAttrs(index, attrs);
  b.setInsertionPointToStart(function.addEntryBlock());
  return function;
}

OwningOpRef<ModuleOp> KernelBuilder::build() {
  OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
  b.setInsertionPointToStart(module->getBody());
  declareArguments();
  createFunction();
  fillBody();
  if (failed(verify(*module)))
    return {};
  return module;
}

//===----------------------------------------------------------------------===//
// Its body
//===----------------------------------------------------------------------===//

Value KernelBuilder::emptyLike(Value like) {
  return tensor::EmptyOp::create(
      b, loc, tensor::getMixedSizes(b, loc, like),
      cast<RankedTensorType>(like.getType()).getElementType());
}

Value KernelBuilder::extent(Value tensor, int64_t dim) {
  auto type = cast<RankedTensorType>(tensor.getType());
  if (!type.isDynamicDim(dim))
    return constant(type.getDimSize(dim));
  Value index = tensor::DimOp::create(b, loc, tensor, dim);
  return arith::IndexCastOp::create(b, loc, b.getI64Type(), index);
}

Value KernelBuilder::normalise(Value rows, StringRef weight) {
  if (!spec.qkNorm)
    return rows;
  Value weights = spec.qkNorm->weight ? argument(weight) : Value();
  auto op = attn::RmsNormOp::create(
      b, loc, rows.getType(), rows, weights, emptyLike(rows),
      b.getF64FloatAttr(spec.qkNorm->eps),
      spec.qkNorm->unitOffset ? b.getUnitAttr() : UnitAttr());
  return op->getResult(0);
}

attn::RopeScalingAttr KernelBuilder::scaling() {
  if (!spec.rope->scaling)
    return {};
  const Spec::Rope::Scaling &s = *spec.rope->scaling;
  auto only = [&](attn::RopeScalingKind kind, double value) {
    return llvm::APFloat(s.kind == kind ? value : 0.0);
  };
  using Kind = attn::RopeScalingKind;
  bool tables = s.kind == Kind::LongRope;
  return attn::RopeScalingAttr::get(
      b.getContext(), s.kind, llvm::APFloat(s.factor), s.originalLength,
      only(Kind::Yarn, s.betaFast), only(Kind::Yarn, s.betaSlow), s.truncate,
      llvm::APFloat(s.lowFreqFactor), llvm::APFloat(s.highFreqFactor),
      llvm::APFloat(s.attentionFactor),
      tables ? b.getDenseF64ArrayAttr(s.shortFactor) : DenseF64ArrayAttr(),
      tables ? b.getDenseF64ArrayAttr(s.longFactor) : DenseF64ArrayAttr());
}

Value KernelBuilder::rotate(Value rows, Value positions, Value offset,
                            Value length) {
  if (!spec.rope)
    return rows;
  auto op = attn::RopeOp::create(
      b, loc, rows.getType(), rows, positions, offset, length, emptyLike(rows),
      attn::RopeStyleAttr::get(b.getContext(), spec.rope->style),
      b.getF64FloatAttr(spec.rope->base),
      spec.rope->rotaryDim ? b.getI64IntegerAttr(*spec.rope->rotaryDim)
                           : IntegerAttr(),
      scaling());
  return op->getResult(0);
}

Value KernelBuilder::hostValue(expr::Expr e) {
  auto operand = [&](unsigned index) { return hostValue(e.getOperand(index)); };
  switch (e.getKind()) {
  case expr::Kind::IntConst:
    return constant(e.getInt());
  case expr::Kind::Param:
    return argument(e.getName());
  case expr::Kind::Var:
    switch (e.getVar()) {
    case expr::Var::B:
      return extent(argument("q"), 0);
    case expr::Var::M:
      return extent(argument("q"), 1);
    case expr::Var::N:
      return extent(argument("k"), 1);
    case expr::Var::H:
      return constant(spec.queryHeads);
    case expr::Var::G:
      return constant(spec.kvHeads);
    default:
      return constant(spec.qkWidth);
    }
  case expr::Kind::Neg:
    return arith::SubIOp::create(b, loc, constant(0), operand(0));
  case expr::Kind::Add:
    return arith::AddIOp::create(b, loc, operand(0), operand(1));
  case expr::Kind::Sub:
    return arith::SubIOp::create(b, loc, operand(0), operand(1));
  case expr::Kind::Mul:
    return arith::MulIOp::create(b, loc, operand(0), operand(1));
  default:
    llvm_unreachable("isQueryOffset refuses the rest");
  }
}

/// Where query 0 stands (M3); null for position 0.
Value KernelBuilder::queryOffset() {
  std::optional<expr::Alignment> alignment;
  if (spec.mask)
    alignment = expr::findAlignment(*spec.context, spec.mask);
  if (!alignment || alignment->kind == expr::Alignment::TopLeft)
    return {};
  if (alignment->kind == expr::Alignment::BottomRight)
    return arith::SubIOp::create(b, loc, extent(argument("k"), 1),
                                 extent(argument("q"), 1));
  if (isElementOfRow(alignment->offset))
    return argument(alignment->offset.getName());
  return hostValue(alignment->offset);
}

/// past[b] + M.
Value KernelBuilder::lengthsOf(Value past) {
  Value rows =
      arith::TruncIOp::create(b, loc, b.getI32Type(), extent(argument("q"), 1));
  Value result = emptyLike(past);
  AffineMap map = b.getMultiDimIdentityMap(1);
  auto op = linalg::GenericOp::create(
      b, loc, result.getType(), past, result, {map, map},
      {utils::IteratorType::parallel},
      [&](OpBuilder &inner, Location, ValueRange args) {
        Value sum = arith::AddIOp::create(inner, loc, args[0], rows);
        linalg::YieldOp::create(inner, loc, sum);
      });
  return op.getResult(0);
}

Value KernelBuilder::attend(Value query, Value key, Value value, Value lengths,
                            SmallVectorImpl<Value> &results) {
  // What the expressions use is captured, in the order of declaration.
  llvm::StringSet<> used = spec.usedNames();
  SmallVector<Value> captures;
  SmallVector<attn::Capture> named;
  SmallVector<StringRef> names;
  auto capture = [&](StringRef name) {
    if (!used.contains(name))
      return;
    captures.push_back(argument(name));
    named.push_back({name.str(), captures.back().getType()});
    names.push_back(name);
  };
  for (const Spec::Param &param : spec.params)
    capture(param.name);
  for (const Spec::Input &input : spec.inputs)
    capture(input.name);

  SmallVector<Value> destinations = {argument("o")};
  if (spec.lse)
    destinations.push_back(argument("lse"));
  auto op = attn::AttentionOp::create(
      b, loc, TypeRange(ValueRange(destinations)), query, key, value, lengths,
      spec.sinks ? argument("sinks") : Value(), /*origin=*/ValueRange(),
      /*extents=*/ValueRange(), captures, destinations,
      spec.scale ? b.getF64FloatAttr(*spec.scale) : FloatAttr(),
      attn::PrecisionAttr::get(b.getContext(), spec.precision),
      /*indexing_maps=*/ArrayAttr(),
      names.empty() ? ArrayAttr() : b.getStrArrayAttr(names),
      /*config=*/attn::ConfigAttr());
  if (spec.score)
    attn::buildScoreRegion(b, loc, op.getScore(), spec.score, named,
                           op.getComputeType());
  if (spec.mask)
    attn::buildMaskRegion(b, loc, op.getMask(), spec.mask, named);
  llvm::append_range(results, op->getResults());
  return op->getResult(0);
}

void KernelBuilder::fillBody() {
  bool cache = spec.kvCache;
  bool explicitPositions = spec.rope && spec.rope->explicitPositions;
  Value qPositions, kPositions, qOffset, kOffset;
  if (explicitPositions) {
    qPositions = argument(cache ? "positions" : "q_positions");
    kPositions = argument(cache ? "positions" : "k_positions");
  } else if (spec.rope && cache) {
    qOffset = kOffset = argument("past");
  } else if (spec.rope) {
    qOffset = queryOffset();
  }
  Value lengths = cache ? lengthsOf(argument("past")) : Value(), length;
  if (spec.rope && attn::ropeDependsOnLength(scaling()))
    length = cache ? lengths : extent(argument("k"), 1);

  Value query = rotate(normalise(argument("q"), "q_norm_weight"), qPositions,
                       qOffset, length);
  Value key = rotate(normalise(argument("k"), "k_norm_weight"), kPositions,
                     kOffset, length);
  Value value = argument("v");
  SmallVector<Value> caches;
  if (cache) {
    Value past = argument("past");
    auto append = [&](Value rows, StringRef name) {
      Value into = argument(name);
      auto op =
          attn::AppendOp::create(b, loc, into.getType(), rows, past, into);
      caches.push_back(op->getResult(0));
      return op->getResult(0);
    };
    key = append(key, "k_cache");
    value = append(value, "v_cache");
  }
  SmallVector<Value> results;
  attend(query, key, value, lengths, results);
  llvm::append_range(results, caches);
  func::ReturnOp::create(b, loc, results);
}

OwningOpRef<ModuleOp> fovea::frontend::buildModule(MLIRContext &context,
                                                   const Spec &spec) {
  DialectRegistry registry;
  registerDialects(registry);
  context.appendDialectRegistry(registry);
  context.loadAllAvailableDialects();
  return KernelBuilder(context, spec).build();
}

void fovea::frontend::registerDialects(DialectRegistry &registry) {
  registry.insert<attn::AttnDialect, arith::ArithDialect, func::FuncDialect,
                  linalg::LinalgDialect, math::MathDialect,
                  tensor::TensorDialect>();
}
