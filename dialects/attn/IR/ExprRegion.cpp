// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Expressions to regions and regions to expressions (see ExprRegion.h).

#include "dialects/attn/IR/ExprRegion.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/TypeSwitch.h"

#include <charconv>
#include <cmath>

using namespace mlir;
using namespace fovea::attn;
using fovea::expr::Context;
using fovea::expr::Expr;
using fovea::expr::Kind;
using fovea::expr::Var;

//===----------------------------------------------------------------------===//
// Captures
//===----------------------------------------------------------------------===//

SmallVector<Capture> fovea::attn::getCaptures(TypeRange types,
                                              ArrayAttr names) {
  SmallVector<Capture> captures;
  for (auto [index, type] : llvm::enumerate(types))
    captures.push_back({names && index < names.size()
                            ? cast<StringAttr>(names[index]).str()
                            : "c" + std::to_string(index),
                        type});
  return captures;
}
SmallVector<Capture> fovea::attn::getCaptures(AttentionOp op) {
  return getCaptures(op.getCaptures().getTypes(), op.getCaptureNamesAttr());
}
SmallVector<Capture> fovea::attn::getCaptures(PartialOp op) {
  return getCaptures(op.getCaptures().getTypes(), op.getCaptureNamesAttr());
}

static std::optional<fovea::expr::Type> languageType(Type element) {
  if (element.isInteger(1))
    return fovea::expr::Type::Bool;
  if (isa<IntegerType>(element))
    return fovea::expr::Type::Int;
  if (isa<FloatType>(element))
    return fovea::expr::Type::Float;
  return std::nullopt;
}

fovea::expr::Scope fovea::attn::getScope(ArrayRef<Capture> captures,
                                         FloatType scoreType) {
  expr::Scope scope;
  for (const Capture &capture : captures) {
    if (capture.type.isInteger(64))
      scope.addParam(capture.name);
    else if (capture.type == scoreType)
      scope.addTensor(capture.name, expr::Type::Float, 0);
    else if (auto shaped = dyn_cast<ShapedType>(capture.type))
      if (std::optional<expr::Type> type =
              languageType(shaped.getElementType()))
        scope.addTensor(capture.name, *type, shaped.getRank());
  }
  return scope;
}

//===----------------------------------------------------------------------===//
// Expression to region
//===----------------------------------------------------------------------===//

namespace {
class RegionBuilder {
public:
  RegionBuilder(OpBuilder &builder, Location loc, ArrayRef<Capture> captures,
                FloatType scoreType)
      : b(builder), loc(loc), captures(captures), scoreType(scoreType) {}

  void build(Region &region, Expr root) {
    assert(region.empty() && "the region has a body already");
    OpBuilder::InsertionGuard guard(b);
    SmallVector<Type> types;
    if (scoreType)
      types.push_back(scoreType);
    types.append(NumIndexArgs, b.getI64Type());
    for (const Capture &capture : captures)
      types.push_back(capture.type);
    block = b.createBlock(&region, region.end(), types,
                          SmallVector<Location>(types.size(), loc));
    fovea::expr::walk(root, [&](Expr e) { values[e] = emit(e); });
    YieldOp::create(b, loc, values[root]);
  }

private:
  OpBuilder &b;
  Location loc;
  ArrayRef<Capture> captures;
  FloatType scoreType;
  Block *block = nullptr;
  llvm::DenseMap<Expr, Value> values;

  Value argument(unsigned index) {
    return block->getArgument(index + (scoreType ? 1 : 0));
  }
  Value capture(StringRef name) {
    for (auto [index, capture] : llvm::enumerate(captures))
      if (capture.name == name)
        return argument(NumIndexArgs + index);
    llvm_unreachable("the expression uses a name that is not captured");
  }
  Value integer(int64_t value) {
    return arith::ConstantIntOp::create(b, loc, value, 64);
  }

  Value emitDivision(Kind kind, Expr divisor, Value x, Value d) {
    bool isDiv = kind == Kind::FloorDiv;
    Value unsafe, safe = d;
    if (!divisor.is(Kind::IntConst) || divisor.isInt(0) || divisor.isInt(-1)) {
      Value next = arith::AddIOp::create(b, loc, d, integer(1));
      unsafe = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, next,
                                     integer(2));
      safe = arith::SelectOp::create(b, loc, unsafe, integer(1), d);
    }
    Value quotient = arith::FloorDivSIOp::create(b, loc, x, safe);
    if (!isDiv)
      return arith::SubIOp::create(
          b, loc, x, arith::MulIOp::create(b, loc, quotient, safe));
    if (!unsafe)
      return quotient;
    return arith::SelectOp::create(
        b, loc, unsafe, arith::MulIOp::create(b, loc, x, d), quotient);
  }

  Value emitComparison(Kind kind, Value x, Value y) {
    using I = arith::CmpIPredicate;
    using F = arith::CmpFPredicate;
    auto compare = [&](I integers, F floats) -> Value {
      if (isa<FloatType>(x.getType()))
        return arith::CmpFOp::create(b, loc, floats, x, y);
      return arith::CmpIOp::create(b, loc, integers, x, y);
    };
    switch (kind) {
    case Kind::Eq:
      return compare(I::eq, F::OEQ);
    case Kind::Ne:
      return compare(I::ne, F::UNE);
    case Kind::Lt:
      return compare(I::slt, F::OLT);
    case Kind::Le:
      return compare(I::sle, F::OLE);
    case Kind::Gt:
      return compare(I::sgt, F::OGT);
    case Kind::Ge:
      return compare(I::sge, F::OGE);
    default:
      llvm_unreachable("not a comparison");
    }
  }

  template <typename IntOp, typename FloatOp> Value either(Value x, Value y) {
    if (isa<FloatType>(x.getType()))
      return FloatOp::create(b, loc, x, y);
    return IntOp::create(b, loc, x, y);
  }

  Value emit(Expr e) {
    Value v[3];
    for (auto [index, operand] : llvm::enumerate(e.getOperands()))
      if (index < 3)
        v[index] = values[operand];
    switch (e.getKind()) {
    case Kind::IntConst:
      return integer(e.getInt());
    case Kind::BoolConst:
      return arith::ConstantIntOp::create(b, loc, e.getBool(), 1);
    case Kind::FloatConst:
      return arith::ConstantOp::create(b, loc,
                                       b.getFloatAttr(scoreType, e.getFloat()));
    case Kind::Var:
      return e.is(Var::s) ? block->getArgument(0)
                          : argument(static_cast<unsigned>(e.getVar()));
    case Kind::Param:
      return capture(e.getName());
    case Kind::Load: {
      Value source = capture(e.getName());
      if (!isa<ShapedType>(source.getType()))
        return source;
      Type type = e.getType() == fovea::expr::Type::Bool  ? b.getI1Type()
                  : e.getType() == fovea::expr::Type::Int ? b.getI64Type()
                                                          : Type(scoreType);
      SmallVector<Value> indices;
      for (Expr index : e.getOperands())
        indices.push_back(values[index]);
      return ElementOp::create(b, loc, type, source, indices);
    }
    case Kind::Neg:
      if (isa<FloatType>(v[0].getType()))
        return arith::NegFOp::create(b, loc, v[0]);
      return arith::SubIOp::create(b, loc, integer(0), v[0]);
    case Kind::Abs:
      if (isa<FloatType>(v[0].getType()))
        return math::AbsFOp::create(b, loc, v[0]);
      return math::AbsIOp::create(b, loc, v[0]);
    case Kind::Add:
      return either<arith::AddIOp, arith::AddFOp>(v[0], v[1]);
    case Kind::Sub:
      return either<arith::SubIOp, arith::SubFOp>(v[0], v[1]);
    case Kind::Mul:
      return either<arith::MulIOp, arith::MulFOp>(v[0], v[1]);
    case Kind::Min:
      return either<arith::MinSIOp, arith::MinimumFOp>(v[0], v[1]);
    case Kind::Max:
      return either<arith::MaxSIOp, arith::MaximumFOp>(v[0], v[1]);
    case Kind::FloorDiv:
    case Kind::Mod:
      return emitDivision(e.getKind(), e.getOperand(1), v[0], v[1]);
    case Kind::Div:
      return arith::DivFOp::create(b, loc, v[0], v[1]);
    case Kind::Exp:
      return math::ExpOp::create(b, loc, v[0]);
    case Kind::Log:
      return math::LogOp::create(b, loc, v[0]);
    case Kind::Tanh:
      return math::TanhOp::create(b, loc, v[0]);
    case Kind::Sqrt:
      return math::SqrtOp::create(b, loc, v[0]);
    case Kind::Sin:
      return math::SinOp::create(b, loc, v[0]);
    case Kind::Cos:
      return math::CosOp::create(b, loc, v[0]);
    case Kind::ToFloat:
      return arith::SIToFPOp::create(b, loc, scoreType, v[0]);
    case Kind::Eq:
    case Kind::Ne:
    case Kind::Lt:
    case Kind::Le:
    case Kind::Gt:
    case Kind::Ge:
      return emitComparison(e.getKind(), v[0], v[1]);
    case Kind::And:
      return arith::AndIOp::create(b, loc, v[0], v[1]);
    case Kind::Or:
      return arith::OrIOp::create(b, loc, v[0], v[1]);
    case Kind::Not:
      return arith::XOrIOp::create(b, loc, v[0],
                                   arith::ConstantIntOp::create(b, loc, 1, 1));
    case Kind::Where:
      return arith::SelectOp::create(b, loc, v[0], v[1], v[2]);
    }
    llvm_unreachable("unknown kind of expression");
  }
};
} // namespace

void fovea::attn::buildMaskRegion(OpBuilder &builder, Location loc,
                                  Region &region, Expr expr,
                                  ArrayRef<Capture> captures) {
  assert(expr.getType() == expr::Type::Bool && "a mask is a truth value");
  RegionBuilder(builder, loc, captures, FloatType()).build(region, expr);
}
void fovea::attn::buildScoreRegion(OpBuilder &builder, Location loc,
                                   Region &region, Expr expr,
                                   ArrayRef<Capture> captures,
                                   FloatType scoreType) {
  assert(expr.getType() == expr::Type::Float && "a score is a float");
  RegionBuilder(builder, loc, captures, scoreType).build(region, expr);
}

//===----------------------------------------------------------------------===//
// Region to expression
//===----------------------------------------------------------------------===//

namespace {
class RegionReader {
public:
  RegionReader(Context &context, Type scoreType, ArrayRef<Capture> captures)
      : context(context), scoreType(scoreType), captures(captures) {}

  std::optional<Expr> read(Block &block) {
    unsigned first = scoreType ? 1 : 0;
    if (block.getNumArguments() != first + NumIndexArgs + captures.size())
      return std::nullopt;
    if (scoreType)
      exprs[block.getArgument(0)] = context.getVar(Var::s);
    for (unsigned index = 0; index < NumIndexArgs; ++index)
      exprs[block.getArgument(first + index)] =
          context.getVar(static_cast<Var>(index));
    for (auto [index, capture] : llvm::enumerate(captures)) {
      BlockArgument arg = block.getArgument(first + NumIndexArgs + index);
      if (capture.type.isInteger(64))
        exprs[arg] = context.getParam(capture.name);
      else if (scoreType && capture.type == scoreType)
        exprs[arg] =
            context.getLoad(capture.name, fovea::expr::Type::Float, {});
      else if (isa<ShapedType>(capture.type))
        tensors[arg] = capture.name;
    }
    // What has no expression gets none; only a use by the yield matters.
    for (Operation &op : block) {
      if (auto yield = dyn_cast<YieldOp>(op)) {
        Expr result = exprs.lookup(yield.getValue());
        if (!result || result.getDepth() > fovea::expr::maxDepth)
          return std::nullopt;
        return result;
      }
      if (op.getNumResults() != 1 || op.getNumRegions() != 0)
        continue;
      Expr result = convert(&op);
      if (result && result.getDepth() <= fovea::expr::maxDepth)
        exprs[op.getResult(0)] = result;
    }
    return std::nullopt;
  }

private:
  Context &context;
  Type scoreType;
  ArrayRef<Capture> captures;
  llvm::DenseMap<Value, Expr> exprs;
  llvm::DenseMap<Value, StringRef> tensors;

  /// The divisor d of a safe divisor (d in {-1, 0} ? 1 : d); `condition`
  /// becomes the test.
  static Value matchSafeDivisor(Value value, Value *condition = nullptr) {
    auto select = value.getDefiningOp<arith::SelectOp>();
    if (!select || !matchPattern(select.getTrueValue(), m_One()))
      return Value();
    auto test = select.getCondition().getDefiningOp<arith::CmpIOp>();
    if (!test || test.getPredicate() != arith::CmpIPredicate::ult)
      return Value();
    auto next = test.getLhs().getDefiningOp<arith::AddIOp>();
    APInt two;
    if (!next || next.getLhs() != select.getFalseValue() ||
        !matchPattern(next.getRhs(), m_One()) ||
        !matchPattern(test.getRhs(), m_ConstantInt(&two)) || two != 2)
      return Value();
    if (condition)
      *condition = select.getCondition();
    return select.getFalseValue();
  }

  Expr divisorOf(Value value) {
    if (Value divisor = matchSafeDivisor(value))
      return exprs.lookup(divisor);
    return exprs.lookup(value);
  }

  /// u ? x * d : x floordiv safe
  Expr matchGuardedDivision(arith::SelectOp op) {
    auto product = op.getTrueValue().getDefiningOp<arith::MulIOp>();
    auto quotient = op.getFalseValue().getDefiningOp<arith::FloorDivSIOp>();
    Value condition;
    if (!product || !quotient)
      return Expr();
    Value divisor = matchSafeDivisor(quotient.getRhs(), &condition);
    if (!divisor || condition != op.getCondition() ||
        product.getLhs() != quotient.getLhs() || product.getRhs() != divisor)
      return Expr();
    return binary(Kind::FloorDiv, product.getLhs(), divisor);
  }

  /// x - (x floordiv d) * d
  Expr matchRemainder(arith::SubIOp op) {
    auto product = op.getRhs().getDefiningOp<arith::MulIOp>();
    if (!product)
      return Expr();
    auto quotient = product.getLhs().getDefiningOp<arith::FloorDivSIOp>();
    if (!quotient)
      return Expr();
    Expr x = exprs.lookup(op.getLhs()), d = divisorOf(product.getRhs());
    if (!x || !d || x != exprs.lookup(quotient.getLhs()) ||
        d != divisorOf(quotient.getRhs()))
      return Expr();
    return context.getUnfolded(Kind::Mod, {x, d});
  }

  Expr unary(Kind kind, Value x) {
    Expr operand = exprs.lookup(x);
    return operand ? context.getUnfolded(kind, {operand}) : Expr();
  }
  Expr binary(Kind kind, Value x, Value y) {
    Expr left = exprs.lookup(x), right = exprs.lookup(y);
    return left && right ? context.getUnfolded(kind, {left, right}) : Expr();
  }

  /// Kind of an integer comparison; the language compares i64 only, signed.
  static std::optional<Kind> kindOf(arith::CmpIPredicate predicate) {
    switch (predicate) {
    case arith::CmpIPredicate::eq:
      return Kind::Eq;
    case arith::CmpIPredicate::ne:
      return Kind::Ne;
    case arith::CmpIPredicate::slt:
      return Kind::Lt;
    case arith::CmpIPredicate::sle:
      return Kind::Le;
    case arith::CmpIPredicate::sgt:
      return Kind::Gt;
    case arith::CmpIPredicate::sge:
      return Kind::Ge;
    default:
      return std::nullopt;
    }
  }
  static std::optional<Kind> kindOf(arith::CmpFPredicate predicate) {
    switch (predicate) {
    case arith::CmpFPredicate::OEQ:
      return Kind::Eq;
    case arith::CmpFPredicate::UNE:
      return Kind::Ne;
    case arith::CmpFPredicate::OLT:
      return Kind::Lt;
    case arith::CmpFPredicate::OLE:
      return Kind::Le;
    case arith::CmpFPredicate::OGT:
      return Kind::Gt;
    case arith::CmpFPredicate::OGE:
      return Kind::Ge;
    default:
      return std::nullopt;
    }
  }

  Expr convertConstant(arith::ConstantOp op) {
    if (auto value = dyn_cast<IntegerAttr>(op.getValue())) {
      if (op.getType().isInteger(1))
        return context.getBool(value.getValue().getBoolValue());
      return context.getInt(value.getInt());
    }
    if (auto value = dyn_cast<FloatAttr>(op.getValue()))
      if (value.getValue().isFinite())
        return context.getFloat(value.getValueAsDouble());
    return Expr();
  }

  Expr convertElement(ElementOp op) {
    auto tensor = tensors.find(op.getSource());
    if (tensor == tensors.end())
      return Expr();
    SmallVector<Expr> indices;
    for (Value index : op.getIndices()) {
      Expr expr = exprs.lookup(index);
      if (!expr)
        return Expr();
      indices.push_back(expr);
    }
    return context.getLoad(tensor->second, *languageType(op.getType()),
                           indices);
  }

  Expr convert(Operation *op) {
    Type type = op->getResult(0).getType();
    bool isBool = type.isInteger(1);
    // i1, i64 and the score's type are all that the language knows.
    auto known = [&](Type type) {
      return isa<ShapedType>(type) || type.isInteger(1) || type.isInteger(64) ||
             type == scoreType;
    };
    if (!known(type) || !llvm::all_of(op->getOperandTypes(), known))
      return Expr();
    auto two = [&](Kind kind) {
      return binary(kind, op->getOperand(0), op->getOperand(1));
    };
    // i1 arithmetic other than and, or, not is none of the language's.
    auto number = [&](Kind kind) { return isBool ? Expr() : two(kind); };
    auto one = [&](Kind kind) { return unary(kind, op->getOperand(0)); };
    return llvm::TypeSwitch<Operation *, Expr>(op)
        .Case([&](arith::ConstantOp op) { return convertConstant(op); })
        .Case([&](ElementOp op) { return convertElement(op); })
        .Case([&](arith::AddIOp) { return number(Kind::Add); })
        .Case([&](arith::AddFOp) { return two(Kind::Add); })
        .Case([&](arith::SubIOp op) {
          if (isBool)
            return Expr();
          if (matchPattern(op.getLhs(), m_Zero()))
            return unary(Kind::Neg, op.getRhs());
          if (Expr remainder = matchRemainder(op))
            return remainder;
          return two(Kind::Sub);
        })
        .Case([&](arith::SubFOp) { return two(Kind::Sub); })
        .Case([&](arith::MulIOp) { return number(Kind::Mul); })
        .Case([&](arith::MulFOp) { return two(Kind::Mul); })
        .Case([&](arith::DivFOp) { return two(Kind::Div); })
        .Case([&](arith::FloorDivSIOp op) {
          Expr x = exprs.lookup(op.getLhs()), d = divisorOf(op.getRhs());
          // Under a guard this is the quotient by `safe`, not by d; only the
          // guarded forms around it stand for something.
          if (isBool || !x || !d || matchSafeDivisor(op.getRhs()))
            return Expr();
          return context.getUnfolded(Kind::FloorDiv, {x, d});
        })
        .Case([&](arith::MinSIOp) { return number(Kind::Min); })
        .Case([&](arith::MaxSIOp) { return number(Kind::Max); })
        .Case([&](arith::MinimumFOp) { return two(Kind::Min); })
        .Case([&](arith::MaximumFOp) { return two(Kind::Max); })
        .Case([&](arith::NegFOp) { return one(Kind::Neg); })
        .Case<math::AbsFOp, math::AbsIOp>([&](auto) { return one(Kind::Abs); })
        .Case([&](math::ExpOp) { return one(Kind::Exp); })
        .Case([&](math::LogOp) { return one(Kind::Log); })
        .Case([&](math::TanhOp) { return one(Kind::Tanh); })
        .Case([&](math::SqrtOp) { return one(Kind::Sqrt); })
        .Case([&](math::SinOp) { return one(Kind::Sin); })
        .Case([&](math::CosOp) { return one(Kind::Cos); })
        .Case([&](arith::SIToFPOp op) {
          return op.getIn().getType().isInteger(64) ? one(Kind::ToFloat)
                                                    : Expr();
        })
        .Case([&](arith::CmpIOp op) {
          std::optional<Kind> kind = kindOf(op.getPredicate());
          return kind && op.getLhs().getType().isInteger(64) ? two(*kind)
                                                             : Expr();
        })
        .Case([&](arith::CmpFOp op) {
          std::optional<Kind> kind = kindOf(op.getPredicate());
          return kind ? two(*kind) : Expr();
        })
        .Case([&](arith::AndIOp) { return isBool ? two(Kind::And) : Expr(); })
        .Case([&](arith::OrIOp) { return isBool ? two(Kind::Or) : Expr(); })
        .Case([&](arith::XOrIOp op) {
          return isBool && matchPattern(op.getRhs(), m_One())
                     ? unary(Kind::Not, op.getLhs())
                     : Expr();
        })
        .Case([&](arith::SelectOp op) {
          if (Expr division = matchGuardedDivision(op))
            return division;
          Expr condition = exprs.lookup(op.getCondition()),
               x = exprs.lookup(op.getTrueValue()),
               y = exprs.lookup(op.getFalseValue());
          if (!condition || !x || !y)
            return Expr();
          return context.getUnfolded(Kind::Where, {condition, x, y});
        })
        .Default([](Operation *) { return Expr(); });
  }
};
} // namespace

std::optional<Expr> fovea::attn::regionToExpr(Context &context, Region &region,
                                              bool isScore,
                                              ArrayRef<Capture> captures) {
  if (!region.hasOneBlock())
    return std::nullopt;
  Block &block = region.front();
  Type scoreType;
  if (isScore) {
    if (block.getNumArguments() == 0)
      return std::nullopt;
    scoreType = block.getArgument(0).getType();
  }
  return RegionReader(context, scoreType, captures).read(block);
}

//===----------------------------------------------------------------------===//
// Text
//===----------------------------------------------------------------------===//

namespace {
class Comparison {
public:
  bool same(Value a, Value b) {
    // Both sides are acyclic; a pair seen before is either the same or has
    // failed the whole comparison already.
    if (!known.insert({a, b}).second)
      return true;
    if (a.getType() != b.getType())
      return false;
    auto argA = dyn_cast<BlockArgument>(a), argB = dyn_cast<BlockArgument>(b);
    if (argA || argB)
      return argA && argB && argA.getArgNumber() == argB.getArgNumber();
    Operation *opA = a.getDefiningOp(), *opB = b.getDefiningOp();
    visited.insert(opA);
    return OperationEquivalence::isEquivalentTo(
        opA, opB, [&](Value x, Value y) { return success(same(x, y)); },
        /*markEquivalent=*/nullptr, OperationEquivalence::IgnoreLocations);
  }
  size_t countVisited() const { return visited.size(); }

private:
  llvm::DenseSet<std::pair<Value, Value>> known;
  llvm::SmallPtrSet<Operation *, 16> visited;
};
} // namespace

bool fovea::attn::areSameComputation(Region &a, Region &b) {
  if (!a.hasOneBlock() || !b.hasOneBlock() ||
      a.getArgumentTypes() != b.getArgumentTypes())
    return false;
  auto yieldA = dyn_cast<YieldOp>(a.front().back()),
       yieldB = dyn_cast<YieldOp>(b.front().back());
  if (!yieldA || !yieldB || !yieldA->getDiscardableAttrs().empty())
    return false;
  Comparison comparison;
  return comparison.same(yieldA.getValue(), yieldB.getValue()) &&
         comparison.countVisited() + 1 == a.front().getOperations().size();
}

/// The shortest decimal that rounds to the same f32, so that an f32 0.1 is
/// printed as 0.1.
static double shortestDecimal(double value) {
  float narrow = static_cast<float>(value);
  char buffer[32];
  char *end = std::to_chars(buffer, buffer + sizeof(buffer), narrow).ptr;
  double decimal = value;
  std::from_chars(buffer, end, decimal);
  return decimal;
}

std::optional<std::string>
fovea::attn::regionToText(Region &region, FloatType scoreType,
                          ArrayRef<Capture> captures) {
  Context context;
  std::optional<Expr> expr =
      regionToExpr(context, region, bool(scoreType), captures);
  if (!expr || expr->getTreeSize() > expr::maxNodes)
    return std::nullopt;
  if (scoreType && scoreType.isF32()) {
    llvm::DenseMap<Expr, Expr> constants;
    expr::walk(*expr, [&](Expr e) {
      if (e.is(Kind::FloatConst))
        constants[e] = context.getFloat(shortestDecimal(e.getFloat()));
    });
    expr = expr::substitute(context, *expr, constants);
  }
  expr::PrintOptions options;
  options.sugar = true;
  std::string text = expr::print(context, *expr, options);

  // The only proof that the text says the same is to read it.
  expr::Scope scope = getScope(captures, scoreType);
  expr::Diagnostic diagnostic;
  Expr parsed = scoreType ? parseScore(context, scope, text, diagnostic)
                          : parseMask(context, scope, text, diagnostic);
  if (!parsed)
    return std::nullopt;
  Region copy;
  OpBuilder builder(region.getContext());
  Location loc = UnknownLoc::get(region.getContext());
  if (scoreType)
    buildScoreRegion(builder, loc, copy, parsed, captures, scoreType);
  else
    buildMaskRegion(builder, loc, copy, parsed, captures);
  if (!areSameComputation(region, copy))
    return std::nullopt;
  return text;
}
