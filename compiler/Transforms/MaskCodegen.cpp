// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception
//
// Emission of the closed form and of the classifier (see MaskCodegen.h).
//
// 64-bit arithmetic without overflow: generated code works only where every
// number that it starts from is at most 2^31 in magnitude (checked at run time;
// elsewhere every tile is partial). The closed form keeps within 64 bits by its
// own limits; in the classifier a bound on the magnitude of every node follows
// its emission, and a node past 2^62 is unknown.

#include "compiler/Transforms/MaskCodegen.h"

#include "compiler/Analysis/TileRanges.h"
#include "dialects/attn/IR/ExprRegion.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace fovea;
using analysis::AffineForm;
using analysis::TileDisjunct;
using analysis::TileRanges;
using expr::Expr;
using expr::Kind;
using expr::Var;

static constexpr int64_t maxInput = analysis::maxSymbolMagnitude;

// Past this many ranges the closed form costs more than it saves.
static constexpr unsigned maxDisjuncts = 12;

//===----------------------------------------------------------------------===//
// Arithmetic on i64 and i1
//===----------------------------------------------------------------------===//

namespace {
struct Emitter {
  OpBuilder &b;
  Location loc;

  Value cst(int64_t value) {
    return arith::ConstantIntOp::create(b, loc, value, 64);
  }
  Value flag(bool value) {
    return arith::ConstantIntOp::create(b, loc, value, 1);
  }
  Value add(Value x, Value y) { return arith::AddIOp::create(b, loc, x, y); }
  Value sub(Value x, Value y) { return arith::SubIOp::create(b, loc, x, y); }
  Value mul(Value x, Value y) { return arith::MulIOp::create(b, loc, x, y); }
  Value min(Value x, Value y) { return arith::MinSIOp::create(b, loc, x, y); }
  Value max(Value x, Value y) { return arith::MaxSIOp::create(b, loc, x, y); }
  Value both(Value x, Value y) { return arith::AndIOp::create(b, loc, x, y); }
  Value either(Value x, Value y) { return arith::OrIOp::create(b, loc, x, y); }
  Value inverse(Value x) {
    return arith::XOrIOp::create(b, loc, x, flag(true));
  }
  Value select(Value c, Value x, Value y) {
    return arith::SelectOp::create(b, loc, c, x, y);
  }
  Value compare(arith::CmpIPredicate predicate, Value x, Value y) {
    return arith::CmpIOp::create(b, loc, predicate, x, y);
  }
  Value less(Value x, Value y) {
    return compare(arith::CmpIPredicate::slt, x, y);
  }
  Value lessEqual(Value x, Value y) {
    return compare(arith::CmpIPredicate::sle, x, y);
  }
  Value toInt(Value x) {
    return x.getType().isIndex()
               ? arith::IndexCastOp::create(b, loc, b.getI64Type(), x)
               : x;
  }
  Value toIndex(Value x) {
    return arith::IndexCastOp::create(b, loc, b.getIndexType(), x);
  }

  /// By a positive constant.
  Value floorDiv(Value x, int64_t divisor) {
    if (divisor == 1)
      return x;
    if (llvm::isPowerOf2_64(divisor))
      return arith::ShRSIOp::create(b, loc, x, cst(llvm::Log2_64(divisor)));
    return arith::FloorDivSIOp::create(b, loc, x, cst(divisor));
  }
  Value ceilDiv(Value x, int64_t divisor) {
    return divisor == 1 ? x : floorDiv(add(x, cst(divisor - 1)), divisor);
  }

  /// ceildiv(keys, tile) for any keys >= 0.
  Value countTiles(Value keys, int64_t tile) {
    return add(floorDiv(sub(keys, cst(1)), tile), cst(1));
  }

  /// The divisor, with 1 for 0 and -1, which could trap.
  Value safeDivisor(Value divisor) {
    Value unsafe =
        compare(arith::CmpIPredicate::ult, add(divisor, cst(1)), cst(2));
    return select(unsafe, cst(1), divisor);
  }
  /// x // divisor as the language has it: 0 for divisor 0.
  Value divide(Value x, Value divisor) {
    Value unsafe =
        compare(arith::CmpIPredicate::ult, add(divisor, cst(1)), cst(2));
    Value safe = select(unsafe, cst(1), divisor);
    Value quotient = arith::FloorDivSIOp::create(b, loc, x, safe);
    return select(unsafe, mul(x, divisor), quotient);
  }

  /// |x| <= 2^31
  Value isSmall(Value x) {
    return compare(arith::CmpIPredicate::ule, add(x, cst(maxInput)),
                   cst(2 * maxInput));
  }
};

bool isAxial(Expr e) {
  return e.uses(Var::h) || e.uses(Var::i) || e.uses(Var::j);
}

//===----------------------------------------------------------------------===//
// Expressions without h, i, j: one value each
//===----------------------------------------------------------------------===//

class PointEmitter : Emitter {
public:
  PointEmitter(OpBuilder &builder, Location loc,
               const llvm::StringMap<Value> &captures, const MaskBox &box)
      : Emitter{builder, loc}, captures(captures), box(box) {}

  /// i64 for an Int, i1 for a Bool; null when a capture is missing or the
  /// expression is one of floats.
  Value emit(Expr root) {
    expr::walk(root, [&](Expr e) {
      if (values.count(e))
        return;
      bool possible = llvm::all_of(e.getOperands(), [&](Expr operand) {
        return static_cast<bool>(values.lookup(operand));
      });
      values[e] = possible ? emitNode(e) : Value();
    });
    return values.lookup(root);
  }

private:
  Value emitVar(Var var) {
    switch (var) {
    case Var::b:
      return toInt(box.b);
    case Var::B:
      return toInt(box.batches);
    case Var::H:
      return toInt(box.heads);
    case Var::G:
      return toInt(box.kvHeads);
    case Var::M:
      return toInt(box.queries);
    case Var::N:
      return toInt(box.keys);
    case Var::D:
      return toInt(box.width);
    default:
      return Value();
    }
  }

  /// An element at clamped indices (as attn.element), 0 of an empty tensor.
  Value emitLoad(Expr e) {
    Value source = captures.lookup(e.getName());
    auto type = source ? dyn_cast<ShapedType>(source.getType()) : ShapedType();
    if (!type || !isa<IntegerType>(type.getElementType()) ||
        type.getRank() != static_cast<int64_t>(e.getNumOperands()))
      return Value();
    bool isMemRef = isa<MemRefType>(type);
    SmallVector<Value> indices;
    Value filled = flag(true);
    for (auto [dim, operand] : llvm::enumerate(e.getOperands())) {
      Value extent =
          isMemRef ? memref::DimOp::create(b, loc, source, dim).getResult()
                   : tensor::DimOp::create(b, loc, source, dim).getResult();
      Value last = sub(toInt(extent), cst(1));
      filled = both(filled, lessEqual(cst(0), last));
      indices.push_back(toIndex(max(min(values[operand], last), cst(0))));
    }
    Type result = e.getType() == expr::Type::Bool ? Type(b.getI1Type())
                                                  : Type(b.getI64Type());
    auto extend = [&](OpBuilder &at, Value element) {
      return element.getType() == result
                 ? element
                 : arith::ExtSIOp::create(at, loc, result, element).getResult();
    };
    auto branch = scf::IfOp::create(
        b, loc, filled,
        [&](OpBuilder &then, Location) {
          Value element =
              isMemRef ? memref::LoadOp::create(then, loc, source, indices)
                             .getResult()
                       : tensor::ExtractOp::create(then, loc, source, indices)
                             .getResult();
          scf::YieldOp::create(then, loc, extend(then, element));
        },
        [&](OpBuilder &otherwise, Location) {
          Value zero = arith::ConstantOp::create(otherwise, loc,
                                                 otherwise.getZeroAttr(result));
          scf::YieldOp::create(otherwise, loc, zero);
        });
    return branch.getResult(0);
  }

  Value emitNode(Expr e) {
    Value v[3];
    for (auto [index, operand] : llvm::enumerate(e.getOperands()))
      if (index < 3)
        v[index] = values.lookup(operand);
    using P = arith::CmpIPredicate;
    bool isFloat =
        e.getType() == expr::Type::Float ||
        (e.isComparison() && e.getOperand(0).getType() == expr::Type::Float);
    if (isFloat)
      return Value();
    switch (e.getKind()) {
    case Kind::IntConst:
      return cst(e.getInt());
    case Kind::BoolConst:
      return flag(e.getBool());
    case Kind::Var:
      return emitVar(e.getVar());
    case Kind::Param: {
      Value value = captures.lookup(e.getName());
      return value && value.getType().isInteger(64) ? value : Value();
    }
    case Kind::Load:
      return emitLoad(e);
    case Kind::Neg:
      return sub(cst(0), v[0]);
    case Kind::Abs:
      return max(v[0], sub(cst(0), v[0]));
    case Kind::Add:
      return add(v[0], v[1]);
    case Kind::Sub:
      return sub(v[0], v[1]);
    case Kind::Mul:
      return mul(v[0], v[1]);
    case Kind::Min:
      return min(v[0], v[1]);
    case Kind::Max:
      return max(v[0], v[1]);
    case Kind::FloorDiv:
      return divide(v[0], v[1]);
    case Kind::Mod: {
      Value safe = safeDivisor(v[1]);
      Value quotient = arith::FloorDivSIOp::create(b, loc, v[0], safe);
      return sub(v[0], mul(quotient, safe));
    }
    case Kind::Eq:
      return compare(P::eq, v[0], v[1]);
    case Kind::Ne:
      return compare(P::ne, v[0], v[1]);
    case Kind::Lt:
      return compare(P::slt, v[0], v[1]);
    case Kind::Le:
      return compare(P::sle, v[0], v[1]);
    case Kind::Gt:
      return compare(P::sgt, v[0], v[1]);
    case Kind::Ge:
      return compare(P::sge, v[0], v[1]);
    case Kind::And:
      return both(v[0], v[1]);
    case Kind::Or:
      return either(v[0], v[1]);
    case Kind::Not:
      return inverse(v[0]);
    case Kind::Where:
      return select(v[0], v[1], v[2]);
    default:
      return Value();
    }
  }

  const llvm::StringMap<Value> &captures;
  const MaskBox &box;
  llvm::DenseMap<Expr, Value> values;
};

//===----------------------------------------------------------------------===//
// The classifier as a function
//===----------------------------------------------------------------------===//

/// An Int over a box: values in [lo, hi], |value| <= magnitude; unknown without
/// values.
struct IntRange {
  Value lo, hi;
  int64_t magnitude = 0;
  explicit operator bool() const { return static_cast<bool>(lo); }
};
/// A Bool over a box: whether it may be true, and false, somewhere.
struct Possible {
  Value isTrue, isFalse;
};

constexpr int64_t maxMagnitude = int64_t(1) << 62;

/// Evaluates a mask over one box, as analysis::evaluateTruth.
class BoxEmitter : Emitter {
public:
  /// `points`: the values of the maximal subexpressions without h, i, j.
  BoxEmitter(OpBuilder &builder, Location loc,
             const llvm::DenseMap<Expr, Value> &points, IntRange h, IntRange i,
             IntRange j)
      : Emitter{builder, loc}, points(points), h(h), i(i), j(j) {}

  Possible truthOf(Expr e) {
    auto it = truths.find(e);
    if (it == truths.end())
      it = truths.try_emplace(e, emitTruth(e)).first;
    return it->second;
  }

private:
  Possible unknown() { return {flag(true), flag(true)}; }

  Possible emitTruth(Expr e) {
    if (e.is(Kind::BoolConst))
      return {flag(e.getBool()), flag(!e.getBool())};
    if (!isAxial(e)) {
      Value value = points.lookup(e);
      return value ? Possible{value, inverse(value)} : unknown();
    }
    switch (e.getKind()) {
    case Kind::Not: {
      Possible x = truthOf(e.getOperand(0));
      return {x.isFalse, x.isTrue};
    }
    case Kind::And:
    case Kind::Or: {
      Possible x = truthOf(e.getOperand(0)), y = truthOf(e.getOperand(1));
      if (e.is(Kind::And))
        return {both(x.isTrue, y.isTrue), either(x.isFalse, y.isFalse)};
      return {either(x.isTrue, y.isTrue), both(x.isFalse, y.isFalse)};
    }
    case Kind::Where: {
      Possible c = truthOf(e.getOperand(0));
      Possible x = truthOf(e.getOperand(1)), y = truthOf(e.getOperand(2));
      return {either(both(c.isTrue, x.isTrue), both(c.isFalse, y.isTrue)),
              either(both(c.isTrue, x.isFalse), both(c.isFalse, y.isFalse))};
    }
    default:
      return e.isComparison() ? emitComparison(e) : unknown();
    }
  }

  Possible emitComparison(Expr e) {
    IntRange x = rangeOf(e.getOperand(0)), y = rangeOf(e.getOperand(1));
    if (!x || !y)
      return unknown();
    switch (e.getKind()) {
    case Kind::Gt:
    case Kind::Ge:
      std::swap(x, y);
      [[fallthrough]];
    case Kind::Lt:
    case Kind::Le:
      if (e.is(Kind::Lt) || e.is(Kind::Gt))
        return {less(x.lo, y.hi), lessEqual(y.lo, x.hi)};
      return {lessEqual(x.lo, y.hi), less(y.lo, x.hi)};
    default:
      break;
    }
    Value meet = both(lessEqual(x.lo, y.hi), lessEqual(y.lo, x.hi));
    // Both are the same point if and only if the crossed ends agree.
    using P = arith::CmpIPredicate;
    Value differ =
        either(compare(P::ne, x.lo, y.hi), compare(P::ne, x.hi, y.lo));
    return e.is(Kind::Eq) ? Possible{meet, differ} : Possible{differ, meet};
  }

  IntRange rangeOf(Expr e) {
    auto it = ranges.find(e);
    if (it == ranges.end())
      it = ranges.try_emplace(e, emitRange(e)).first;
    return it->second;
  }

  static IntRange limited(IntRange range) {
    return range.magnitude <= maxMagnitude ? range : IntRange();
  }
  static int64_t product(int64_t x, int64_t y) {
    int64_t result;
    return llvm::MulOverflow(x, y, result) ? INT64_MAX : result;
  }

  IntRange emitRange(Expr e) {
    if (e.is(Kind::IntConst)) {
      int64_t value = e.getInt();
      if (value > maxMagnitude || value < -maxMagnitude)
        return {};
      return {cst(value), cst(value), std::abs(value)};
    }
    if (!isAxial(e)) {
      Value value = points.lookup(e);
      return value ? IntRange{value, value, maxInput} : IntRange();
    }
    if (e.is(Kind::Var))
      return e.is(Var::h) ? h : e.is(Var::i) ? i : j;
    if (e.is(Kind::Where))
      return emitWhere(e);
    if (e.is(Kind::Load))
      return {};
    IntRange x = rangeOf(e.getOperand(0));
    IntRange y = e.getNumOperands() > 1 ? rangeOf(e.getOperand(1)) : IntRange();
    if (!x || (e.getNumOperands() > 1 && !y))
      return {};
    int64_t sum = x.magnitude + y.magnitude; // each at most 2^62
    int64_t larger = std::max(x.magnitude, y.magnitude);
    switch (e.getKind()) {
    case Kind::Neg:
      return {sub(cst(0), x.hi), sub(cst(0), x.lo), x.magnitude};
    case Kind::Add:
      return limited({add(x.lo, y.lo), add(x.hi, y.hi), sum});
    case Kind::Sub:
      return limited({sub(x.lo, y.hi), sub(x.hi, y.lo), sum});
    case Kind::Min:
      return {min(x.lo, y.lo), min(x.hi, y.hi), larger};
    case Kind::Max:
      return {max(x.lo, y.lo), max(x.hi, y.hi), larger};
    case Kind::Abs: {
      // 0 or the nearer end, and the farther end.
      Value nearer = max(x.lo, sub(cst(0), x.hi));
      return {max(nearer, cst(0)), max(sub(cst(0), x.lo), x.hi), x.magnitude};
    }
    case Kind::Mul: {
      int64_t magnitude = product(x.magnitude, y.magnitude);
      if (magnitude > maxMagnitude)
        return {};
      SmallVector<Value, 4> corners{mul(x.lo, y.lo), mul(x.hi, y.hi)};
      if (isAxial(e.getOperand(0)) && isAxial(e.getOperand(1))) {
        corners.push_back(mul(x.lo, y.hi));
        corners.push_back(mul(x.hi, y.lo));
      }
      return hull(corners, magnitude);
    }
    case Kind::FloorDiv:
      return emitDivision(e, x, y);
    case Kind::Mod:
      return emitRemainder(e, x, y);
    default:
      return {};
    }
  }

  IntRange hull(ArrayRef<Value> corners, int64_t magnitude) {
    Value lo = corners[0], hi = corners[0];
    for (Value corner : corners.drop_front()) {
      lo = min(lo, corner);
      hi = max(hi, corner);
    }
    return {lo, hi, magnitude};
  }

  IntRange emitDivision(Expr e, IntRange x, IntRange y) {
    Expr divisor = e.getOperand(1);
    if (divisor.is(Kind::IntConst) && divisor.getInt() > 0)
      return {floorDiv(x.lo, divisor.getInt()),
              floorDiv(x.hi, divisor.getInt()), x.magnitude};
    if (isAxial(divisor))
      return {};
    return hull({divide(x.lo, y.lo), divide(x.hi, y.lo)}, x.magnitude);
  }

  /// Within one quotient the remainder grows with x; else it is anything.
  IntRange emitRemainder(Expr e, IntRange x, IntRange y) {
    Expr divisor = e.getOperand(1);
    if (isAxial(divisor))
      return {};
    bool isPositive = divisor.is(Kind::IntConst) && divisor.getInt() > 0;
    Value d = isPositive ? y.lo : safeDivisor(y.lo);
    auto quotientOf = [&](Value value) -> Value {
      if (isPositive)
        return floorDiv(value, divisor.getInt());
      return arith::FloorDivSIOp::create(b, loc, value, d);
    };
    Value first = quotientOf(x.lo), last = quotientOf(x.hi);
    Value same = compare(arith::CmpIPredicate::eq, first, last);
    Value base = mul(first, d);
    Value least = min(add(d, cst(1)), cst(0));
    Value most = max(sub(d, cst(1)), cst(0));
    return {select(same, sub(x.lo, base), least),
            select(same, sub(x.hi, base), most), y.magnitude};
  }

  IntRange emitWhere(Expr e) {
    Possible c = truthOf(e.getOperand(0));
    IntRange x = rangeOf(e.getOperand(1)), y = rangeOf(e.getOperand(2));
    if (!x || !y)
      return {};
    auto pick = [&](Value fromX, Value fromY, Value joined) {
      return select(c.isTrue, select(c.isFalse, joined, fromX), fromY);
    };
    return {pick(x.lo, y.lo, min(x.lo, y.lo)),
            pick(x.hi, y.hi, max(x.hi, y.hi)),
            std::max(x.magnitude, y.magnitude)};
  }

  const llvm::DenseMap<Expr, Value> &points;
  IntRange h, i, j;
  llvm::DenseMap<Expr, Possible> truths;
  llvm::DenseMap<Expr, IntRange> ranges;
};

/// The maximal subexpressions without h, i, j that are no constants.
void collectPoints(Expr e, llvm::SetVector<Expr> &points) {
  if (e.isConstant())
    return;
  if (!isAxial(e)) {
    points.insert(e);
    return;
  }
  for (Expr operand : e.getOperands())
    collectPoints(operand, points);
}

bool hasAxialLoad(Expr mask) {
  bool found = false;
  expr::walk(mask, [&](Expr e) { found |= e.is(Kind::Load) && isAxial(e); });
  return found;
}

/// func @name(hLo, hHi, iLo, iHi, jLo, jHi, points...) -> i64: the class of the
/// box by bisection, as analysis::classify, with a stack of boxes in memory.
func::FuncOp emitClassifierFunction(ModuleOp module, Location loc,
                                    StringRef name, Expr mask,
                                    ArrayRef<Expr> pointExprs,
                                    TypeRange pointTypes) {
  OpBuilder builder(module.getContext());
  Type i64 = builder.getI64Type();
  SmallVector<Type> types(6, i64);
  llvm::append_range(types, pointTypes);
  auto function =
      func::FuncOp::create(loc, name, builder.getFunctionType(types, i64));
  function.setPrivate();
  SymbolTable(module).insert(function); // renames where the name is taken
  Block *entry = function.addEntryBlock();
  builder.setInsertionPointToStart(entry);
  Emitter e{builder, loc};

  llvm::DenseMap<Expr, Value> points;
  Value usable = e.flag(true);
  for (auto [index, point] : llvm::enumerate(pointExprs)) {
    Value value = entry->getArgument(6 + index);
    points[point] = value;
    if (value.getType() == i64)
      usable = e.both(usable, e.isSmall(value));
  }
  for (unsigned k = 0; k < 6; ++k)
    usable = e.both(usable, e.isSmall(entry->getArgument(k)));

  // A mask that reads data cannot be decided by halving: try little.
  int64_t cap = hasAxialLoad(mask) ? 8 : analysis::defaultClassifierCap;
  auto stackType = MemRefType::get({cap + 2, 6}, i64);
  Value stack = memref::AllocaOp::create(builder, loc, stackType);
  auto index = [&](OpBuilder &at, Value row, unsigned column) {
    return SmallVector<Value, 2>{
        arith::IndexCastOp::create(at, loc, at.getIndexType(), row),
        arith::ConstantIndexOp::create(at, loc, column)};
  };
  auto push = [&](OpBuilder &at, Value row, ArrayRef<Value> box) {
    for (auto [column, value] : llvm::enumerate(box))
      memref::StoreOp::create(at, loc, value, stack, index(at, row, column));
  };
  push(builder, e.cst(0),
       SmallVector<Value>(entry->getArguments().take_front(6)));

  // State: boxes on the stack, evaluations, seen true, seen false, stuck.
  SmallVector<Value> initial{e.cst(1), e.cst(0), e.flag(false), e.flag(false),
                             e.inverse(usable)};
  SmallVector<Type> stateTypes{i64, i64, builder.getI1Type(),
                               builder.getI1Type(), builder.getI1Type()};
  auto loop = scf::WhileOp::create(
      builder, loc, stateTypes, initial,
      [&](OpBuilder &before, Location, ValueRange state) {
        Emitter e{before, loc};
        Value more =
            e.both(e.less(e.cst(0), state[0]), e.less(state[1], e.cst(cap)));
        Value open = e.inverse(e.either(e.both(state[2], state[3]), state[4]));
        scf::ConditionOp::create(before, loc, e.both(more, open), state);
      },
      [&](OpBuilder &after, Location, ValueRange state) {
        Emitter e{after, loc};
        Value top = e.sub(state[0], e.cst(1));
        SmallVector<Value> box;
        for (unsigned column = 0; column < 6; ++column)
          box.push_back(memref::LoadOp::create(after, loc, stack,
                                               index(after, top, column)));
        auto range = [&](unsigned axis) {
          return IntRange{box[2 * axis], box[2 * axis + 1], maxInput};
        };
        Possible truth =
            BoxEmitter(after, loc, points, range(0), range(1), range(2))
                .truthOf(mask);
        Value maybe = e.both(truth.isTrue, truth.isFalse);
        Value decided = e.inverse(maybe);
        // The longest axis among those that the mask uses.
        Value axis = e.cst(0), longest = e.cst(0);
        static constexpr Var axes[] = {Var::h, Var::i, Var::j};
        for (auto [k, var] : llvm::enumerate(axes)) {
          if (!mask.uses(var))
            continue;
          Value length = e.sub(box[2 * k + 1], box[2 * k]);
          Value longer = e.less(longest, length);
          axis = e.select(longer, e.cst(k), axis);
          longest = e.max(longest, length);
        }
        Value isPoint = e.lessEqual(longest, e.cst(0));
        Value halve = e.both(maybe, e.inverse(isPoint));
        auto split = scf::IfOp::create(
            after, loc, halve,
            [&](OpBuilder &then, Location) {
              Emitter e{then, loc};
              SmallVector<Value> lower = box, upper = box;
              for (unsigned k = 0; k < 3; ++k) {
                Value mine =
                    e.compare(arith::CmpIPredicate::eq, axis, e.cst(k));
                Value length = e.sub(box[2 * k + 1], box[2 * k]);
                Value middle = e.add(box[2 * k], e.floorDiv(length, 2));
                lower[2 * k + 1] = e.select(mine, middle, box[2 * k + 1]);
                upper[2 * k] =
                    e.select(mine, e.add(middle, e.cst(1)), box[2 * k]);
              }
              push(then, top, upper);
              push(then, state[0], lower);
              scf::YieldOp::create(then, loc, e.add(state[0], e.cst(1)));
            },
            [&](OpBuilder &otherwise, Location) {
              scf::YieldOp::create(otherwise, loc, top);
            });
        scf::YieldOp::create(
            after, loc,
            ValueRange{split.getResult(0), e.add(state[1], e.cst(1)),
                       e.either(state[2], e.both(decided, truth.isTrue)),
                       e.either(state[3], e.both(decided, truth.isFalse)),
                       e.both(maybe, isPoint)});
      });
  Value left = e.less(e.cst(0), loop.getResult(0));
  Value mixed = e.both(loop.getResult(2), loop.getResult(3));
  Value open = e.either(e.either(left, mixed), loop.getResult(4));
  auto number = [&](TileClass tileClass) {
    return e.cst(static_cast<int64_t>(tileClass));
  };
  Value result = e.select(open, number(TileClass::Partial),
                          e.select(loop.getResult(2), number(TileClass::Full),
                                   number(TileClass::Empty)));
  func::ReturnOp::create(builder, loc, result);
  return function;
}

//===----------------------------------------------------------------------===//
// The closed form
//===----------------------------------------------------------------------===//

/// A range of tiles [lo, hi], empty when lo > hi.
struct EmittedRange {
  Value lo, hi;
  bool exact;
};

class RangeEmitter : Emitter {
public:
  RangeEmitter(OpBuilder &builder, Location loc, ArrayRef<Value> symbols,
               Value count, Value usable)
      : Emitter{builder, loc}, symbols(symbols), count(count), usable(usable) {}

  EmittedRange emit(const TileDisjunct &disjunct) {
    Value last = sub(count, cst(1));
    Value lo = cst(0), hi = last;
    for (const analysis::TileBound &bound : disjunct.lower)
      lo = max(lo, ceilDiv(emitForm(bound.form), bound.divisor));
    for (const analysis::TileBound &bound : disjunct.upper)
      hi = min(hi, floorDiv(emitForm(bound.form), bound.divisor));
    Value holds;
    for (const AffineForm &guard : disjunct.guards) {
      Value one = lessEqual(cst(0), emitForm(guard));
      holds = holds ? both(holds, one) : one;
    }
    if (holds)
      hi = select(holds, hi, cst(-1));
    // Numbers that could overflow decide nothing: every tile is in the range.
    return {select(usable, lo, cst(0)), select(usable, hi, last),
            disjunct.exact};
  }

private:
  Value emitForm(const AffineForm &form) {
    Value sum;
    for (auto [coefficient, symbol] :
         llvm::zip_equal(form.coefficients, symbols)) {
      if (!coefficient)
        continue;
      if (sum && coefficient == -1) {
        sum = sub(sum, symbol);
        continue;
      }
      Value term = coefficient == 1 ? symbol : mul(cst(coefficient), symbol);
      sum = sum ? add(sum, term) : term;
    }
    if (!sum)
      return cst(form.constant);
    return form.constant ? add(sum, cst(form.constant)) : sum;
  }

  ArrayRef<Value> symbols;
  Value count, usable;
};
} // namespace

static TileClassifier emitAllPartial(OpBuilder &builder, Location loc,
                                     Value count) {
  Emitter e{builder, loc};
  TileClassifier classifier;
  classifier.lo = e.toIndex(e.cst(0));
  classifier.hi = e.toIndex(count);
  classifier.classOf = [](OpBuilder &at, Location loc, Value) {
    return Emitter{at, loc}.cst(static_cast<int64_t>(TileClass::Partial));
  };
  return classifier;
}

namespace {
/// The closed form of a mask and the values of its symbols.
struct EmittedForm {
  TileRanges ranges;
  SmallVector<Value> symbols;
  Value count;  // of the tiles
  Value usable; // i1: every symbol is small
};
} // namespace

/// Nothing if a symbol has no value.
static std::optional<EmittedForm> emitForm(Emitter &e, PointEmitter &points,
                                           expr::Context &context, Expr mask,
                                           const MaskBox &box, int64_t kvTile) {
  EmittedForm form;
  form.count = e.countTiles(e.toInt(box.keys), kvTile);
  form.ranges = analysis::computeTileRanges(context, mask, kvTile);
  if (form.ranges.positive.size() + form.ranges.negative.size() >
      maxDisjuncts) {
    analysis::TileRangeBudget few;
    few.conjuncts = maxDisjuncts / 3;
    form.ranges = analysis::computeTileRanges(context, mask, kvTile, few);
  }
  form.symbols = {e.toInt(box.iLo), e.toInt(box.iHi), e.toInt(box.hLo),
                  e.toInt(box.hHi)};
  form.usable = e.flag(true);
  for (Expr symbol : form.ranges.symbols) {
    Value value = points.emit(symbol);
    if (!value)
      return std::nullopt;
    form.usable = e.both(form.usable, e.isSmall(value));
    form.symbols.push_back(value);
  }
  return form;
}

/// The first and the last tile of any range; count and -1 if all are empty.
static std::pair<Value, Value> emitHull(Emitter &e, Value count,
                                        ArrayRef<EmittedRange> ranges) {
  Value lo = count, hi = e.cst(-1);
  for (const EmittedRange &range : ranges) {
    Value some = e.lessEqual(range.lo, range.hi);
    lo = e.min(lo, e.select(some, range.lo, count));
    hi = e.max(hi, e.select(some, range.hi, e.cst(-1)));
  }
  return {lo, hi};
}

TileClassifier fovea::emitTileClassifier(OpBuilder &builder, Location loc,
                                         expr::Context &context, Expr mask,
                                         const llvm::StringMap<Value> &captures,
                                         const MaskBox &box, int64_t kvTile) {
  Emitter e{builder, loc};
  Value keys = e.toInt(box.keys), queries = e.toInt(box.queries);
  PointEmitter pointEmitter(builder, loc, captures, box);
  std::optional<EmittedForm> form =
      emitForm(e, pointEmitter, context, mask, box, kvTile);
  if (!form)
    return emitAllPartial(builder, loc, e.countTiles(keys, kvTile));
  auto &[ranges, symbols, count, usable] = *form;

  RangeEmitter rangeEmitter(builder, loc, symbols, count, usable);
  SmallVector<EmittedRange> attended, masked;
  for (const TileDisjunct &disjunct : ranges.positive)
    attended.push_back(rangeEmitter.emit(disjunct));
  for (const TileDisjunct &disjunct : ranges.negative)
    masked.push_back(rangeEmitter.emit(disjunct));

  TileClassifier classifier;
  auto [lo, hi] = emitHull(e, count, attended);
  classifier.lo = e.toIndex(lo);
  classifier.hi = e.toIndex(e.add(hi, e.cst(1)));

  // The classifier's arguments that are the same for all tiles.
  func::FuncOp function;
  SmallVector<Value> fixed, points;
  if (!ranges.isExact()) {
    llvm::SetVector<Expr> pointExprs;
    collectPoints(mask, pointExprs);
    SmallVector<Expr> used;
    for (Expr point : pointExprs)
      if (Value value = pointEmitter.emit(point)) {
        used.push_back(point);
        points.push_back(value);
      }
    Operation *parent = builder.getInsertionBlock()->getParentOp();
    auto kernel = isa<func::FuncOp>(parent)
                      ? cast<func::FuncOp>(parent)
                      : parent->getParentOfType<func::FuncOp>();
    auto module = parent->getParentOfType<ModuleOp>();
    std::string name =
        (kernel ? kernel.getName().str() : std::string()) + "_tile_class";
    function = emitClassifierFunction(module, loc, name, mask, used,
                                      ValueRange(points).getTypes());
    fixed = {symbols[TileRanges::HLo], symbols[TileRanges::HHi],
             symbols[TileRanges::ILo],
             e.min(symbols[TileRanges::IHi], e.sub(queries, e.cst(1)))};
  }

  Value rowsInBounds = e.less(symbols[TileRanges::IHi], queries);
  classifier.classOf = [=](OpBuilder &at, Location loc, Value tile) -> Value {
    Emitter e{at, loc};
    auto number = [&](TileClass tileClass) {
      return e.cst(static_cast<int64_t>(tileClass));
    };
    Value t = e.toInt(tile);
    auto within = [&](ArrayRef<EmittedRange> ranges, bool exactOnly) {
      Value any = e.flag(false);
      for (const EmittedRange &range : ranges)
        if (range.exact || !exactOnly)
          any = e.either(
              any, e.both(e.lessEqual(range.lo, t), e.lessEqual(t, range.hi)));
      return any;
    };
    Value isAttended = within(attended, false);
    Value isMasked = within(masked, false);
    Value closed = e.select(
        isAttended,
        e.select(isMasked, number(TileClass::Partial), number(TileClass::Full)),
        number(TileClass::Empty));
    if (!function)
      return closed;
    Value sure = e.both(within(attended, true), within(masked, true));
    Value ask = e.both(e.both(isAttended, isMasked), e.inverse(sure));
    auto branch = scf::IfOp::create(
        at, loc, ask,
        [&](OpBuilder &then, Location) {
          Emitter e{then, loc};
          Value first = e.mul(t, e.cst(kvTile));
          Value last = e.add(first, e.cst(kvTile - 1));
          SmallVector<Value> arguments(fixed);
          arguments.push_back(first);
          arguments.push_back(e.min(last, e.sub(keys, e.cst(1))));
          llvm::append_range(arguments, points);
          Value result =
              func::CallOp::create(then, loc, function, arguments).getResult(0);
          // Pairs out of bounds keep a tile from being full.
          Value inBounds = e.both(rowsInBounds, e.less(last, keys));
          Value isFull = e.compare(arith::CmpIPredicate::eq, result,
                                   number(TileClass::Full));
          Value crosses = e.both(isFull, e.inverse(inBounds));
          scf::YieldOp::create(
              then, loc,
              e.select(crosses,
                       Emitter{then, loc}.cst(
                           static_cast<int64_t>(TileClass::Partial)),
                       result));
        },
        [&](OpBuilder &otherwise, Location) {
          scf::YieldOp::create(otherwise, loc, closed);
        });
    return branch.getResult(0);
  };
  return classifier;
}

/// The expression of a mask region, if it is one, and the captured values by
/// their names.
static std::optional<Expr> readMask(expr::Context &context, Region &mask,
                                    ValueRange captures, ArrayAttr names,
                                    llvm::StringMap<Value> &values) {
  SmallVector<attn::Capture> captured =
      attn::getCaptures(captures.getTypes(), names);
  for (auto [capture, value] : llvm::zip_equal(captured, captures))
    values[capture.name] = value;
  return mask.empty()
             ? std::optional(context.getBool(true))
             : attn::regionToExpr(context, mask, /*isScore=*/false, captured);
}

TileClassifier fovea::emitTileClassifier(OpBuilder &builder, Location loc,
                                         Region &mask, ValueRange captures,
                                         ArrayAttr names, const MaskBox &box,
                                         int64_t kvTile) {
  expr::Context context;
  llvm::StringMap<Value> values;
  std::optional<Expr> expr = readMask(context, mask, captures, names, values);
  if (!expr) {
    Emitter e{builder, loc};
    return emitAllPartial(builder, loc,
                          e.countTiles(e.toInt(box.keys), kvTile));
  }
  return emitTileClassifier(builder, loc, context, *expr, values, box, kvTile);
}

Value fovea::emitKeyEnd(OpBuilder &builder, Location loc, Region &mask,
                        ValueRange captures, ArrayAttr names,
                        const MaskBox &box) {
  expr::Context context;
  llvm::StringMap<Value> values;
  std::optional<Expr> expr = readMask(context, mask, captures, names, values);
  if (!expr)
    return box.keys;
  // A key is a tile of one.
  Emitter e{builder, loc};
  PointEmitter points(builder, loc, values, box);
  std::optional<EmittedForm> form =
      emitForm(e, points, context, *expr, box, /*kvTile=*/1);
  if (!form)
    return box.keys;
  RangeEmitter rangeEmitter(builder, loc, form->symbols, form->count,
                            form->usable);
  SmallVector<EmittedRange> attended;
  for (const TileDisjunct &disjunct : form->ranges.positive)
    attended.push_back(rangeEmitter.emit(disjunct));
  Value last = emitHull(e, form->count, attended).second;
  return e.toIndex(e.add(last, e.cst(1)));
}
