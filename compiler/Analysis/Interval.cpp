// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception
//
// Interval arithmetic over the nodes of an expression, and bisection.

#include "compiler/Analysis/Interval.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/MathExtras.h"

#include <algorithm>

using namespace fovea;
using namespace fovea::analysis;
using expr::Expr;
using expr::Kind;
using expr::Type;
using expr::Var;

static Range join(Range x, Range y) {
  return {std::min(x.lo, y.lo), std::max(x.hi, y.hi)};
}

/// The range between bounds, or everything when one of them overflowed.
static Range checked(bool overflows, int64_t lo, int64_t hi) {
  return overflows ? Range::all() : Range{lo, hi};
}

static Range add(Range x, Range y) {
  int64_t lo, hi;
  bool overflows = llvm::AddOverflow(x.lo, y.lo, lo);
  overflows |= static_cast<bool>(llvm::AddOverflow(x.hi, y.hi, hi));
  return checked(overflows, lo, hi);
}

static Range subtract(Range x, Range y) {
  int64_t lo, hi;
  bool overflows = llvm::SubOverflow(x.lo, y.hi, lo);
  overflows |= static_cast<bool>(llvm::SubOverflow(x.hi, y.lo, hi));
  return checked(overflows, lo, hi);
}

/// Extremes of an operation that is monotone in each operand.
template <typename Operation>
static Range atCorners(Range x, Range y, Operation operation) {
  Range result{std::numeric_limits<int64_t>::max(),
               std::numeric_limits<int64_t>::min()};
  for (int64_t a : {x.lo, x.hi})
    for (int64_t b : {y.lo, y.hi}) {
      std::optional<int64_t> value = operation(a, b);
      if (!value)
        return Range::all();
      result = join(result, Range::point(*value));
    }
  return result;
}

static Range multiply(Range x, Range y) {
  return atCorners(x, y, [](int64_t a, int64_t b) -> std::optional<int64_t> {
    int64_t product;
    if (llvm::MulOverflow(a, b, product))
      return std::nullopt;
    return product;
  });
}

/// Applies `part` to the divisors of either sign; a zero divisor gives 0.
template <typename Part> static Range divideBySign(Range divisor, Part part) {
  std::optional<Range> result;
  auto include = [&](Range range) {
    result = result ? join(*result, range) : range;
  };
  if (divisor.lo < 0)
    include(part(Range{divisor.lo, std::min<int64_t>(divisor.hi, -1)}));
  if (divisor.lo <= 0 && divisor.hi >= 0)
    include(Range::point(0));
  if (divisor.hi > 0)
    include(part(Range{std::max<int64_t>(divisor.lo, 1), divisor.hi}));
  return *result;
}

static Range floorDivide(Range x, Range y) {
  return divideBySign(
      y, [&](Range divisor) { return atCorners(x, divisor, expr::floorDiv); });
}

static Range remainder(Range x, Range y) {
  return divideBySign(y, [&](Range divisor) -> Range {
    if (divisor.isPoint()) {
      int64_t d = divisor.lo;
      std::optional<int64_t> first = expr::floorDiv(x.lo, d);
      if (first && first == expr::floorDiv(x.hi, d))
        return {*expr::floorMod(x.lo, d), *expr::floorMod(x.hi, d)};
    }
    if (divisor.lo > 0) {
      // A non-negative x is at least its remainder.
      int64_t hi = divisor.hi - 1;
      return {0, x.lo >= 0 ? std::min(hi, x.hi) : hi};
    }
    return {divisor.lo + 1, 0};
  });
}

static Range absolute(Range x) {
  if (x.lo >= 0)
    return x;
  if (x.lo == std::numeric_limits<int64_t>::min())
    return Range::all();
  if (x.hi <= 0)
    return {-x.hi, -x.lo};
  return {0, std::max(-x.lo, x.hi)};
}

Range fovea::analysis::evaluateRange(Expr expr,
                                     const RangeEnvironment &environment) {
  auto operand = [&](unsigned index) {
    return evaluateRange(expr.getOperand(index), environment);
  };
  switch (expr.getKind()) {
  case Kind::IntConst:
    return Range::point(expr.getInt());
  case Kind::Var:
    return environment[expr.getVar()];
  case Kind::Param: {
    if (!environment.params)
      return Range::all();
    auto it = environment.params->find(expr.getName());
    return it == environment.params->end() ? Range::all()
                                           : Range::point(it->second);
  }
  case Kind::Load: {
    llvm::SmallVector<Range, 4> indices;
    for (unsigned k = 0; k < expr.getNumOperands(); ++k)
      indices.push_back(operand(k));
    std::optional<Range> range;
    if (environment.load)
      range = environment.load(expr, indices);
    return range.value_or(Range::all());
  }
  case Kind::Neg:
    return subtract(Range::point(0), operand(0));
  case Kind::Add:
    return add(operand(0), operand(1));
  case Kind::Sub:
    return subtract(operand(0), operand(1));
  case Kind::Mul:
    return multiply(operand(0), operand(1));
  case Kind::Min: {
    Range x = operand(0), y = operand(1);
    return {std::min(x.lo, y.lo), std::min(x.hi, y.hi)};
  }
  case Kind::Max: {
    Range x = operand(0), y = operand(1);
    return {std::max(x.lo, y.lo), std::max(x.hi, y.hi)};
  }
  case Kind::Abs:
    return absolute(operand(0));
  case Kind::FloorDiv:
    return floorDivide(operand(0), operand(1));
  case Kind::Mod:
    return remainder(operand(0), operand(1));
  case Kind::Where:
    switch (evaluateTruth(expr.getOperand(0), environment)) {
    case Truth::True:
      return operand(1);
    case Truth::False:
      return operand(2);
    case Truth::Maybe:
      return join(operand(1), operand(2));
    }
    return Range::all();
  default:
    return Range::all();
  }
}

static Truth truthOf(bool always, bool never) {
  return always ? Truth::True : never ? Truth::False : Truth::Maybe;
}

static Truth compare(Kind kind, Range x, Range y) {
  switch (kind) {
  case Kind::Lt:
    return truthOf(x.hi < y.lo, x.lo >= y.hi);
  case Kind::Le:
    return truthOf(x.hi <= y.lo, x.lo > y.hi);
  case Kind::Gt:
    return compare(Kind::Lt, y, x);
  case Kind::Ge:
    return compare(Kind::Le, y, x);
  case Kind::Eq:
    return truthOf(x.isPoint() && y.isPoint() && x.lo == y.lo,
                   x.hi < y.lo || y.hi < x.lo);
  default: // Ne
    return truthOf(x.hi < y.lo || y.hi < x.lo,
                   x.isPoint() && y.isPoint() && x.lo == y.lo);
  }
}

Truth fovea::analysis::evaluateTruth(Expr expr,
                                     const RangeEnvironment &environment) {
  auto operand = [&](unsigned index) {
    return evaluateTruth(expr.getOperand(index), environment);
  };
  switch (expr.getKind()) {
  case Kind::BoolConst:
    return expr.getBool() ? Truth::True : Truth::False;
  case Kind::Load: {
    Range range = evaluateRange(expr, environment);
    return truthOf(range.lo >= 1, range.hi <= 0);
  }
  case Kind::Not: {
    Truth x = operand(0);
    return x == Truth::Maybe ? x
                             : (x == Truth::True ? Truth::False : Truth::True);
  }
  case Kind::And:
  case Kind::Or: {
    Truth absorbing = expr.is(Kind::And) ? Truth::False : Truth::True;
    Truth x = operand(0);
    if (x == absorbing)
      return x;
    Truth y = operand(1);
    if (y == absorbing)
      return y;
    return x == Truth::Maybe ? x : y;
  }
  case Kind::Where: {
    Truth condition = operand(0);
    if (condition != Truth::Maybe)
      return operand(condition == Truth::True ? 1 : 2);
    Truth x = operand(1);
    return x == operand(2) ? x : Truth::Maybe;
  }
  default:
    if (!expr.isComparison() || expr.getOperand(0).getType() != Type::Int)
      return Truth::Maybe;
    return compare(expr.getKind(),
                   evaluateRange(expr.getOperand(0), environment),
                   evaluateRange(expr.getOperand(1), environment));
  }
}

llvm::StringRef fovea::analysis::getTileClassName(TileClass tileClass) {
  switch (tileClass) {
  case TileClass::Empty:
    return "empty";
  case TileClass::Full:
    return "full";
  case TileClass::Partial:
    return "partial";
  }
  return "";
}

TileClass fovea::analysis::classify(Expr mask,
                                    const RangeEnvironment &environment,
                                    unsigned cap, bool *decided) {
  static constexpr Var axes[] = {Var::h, Var::i, Var::j};
  if (decided)
    *decided = true;
  auto undecided = [&] {
    if (decided)
      *decided = false;
    return TileClass::Partial;
  };
  llvm::SmallVector<RangeEnvironment, 16> pending;
  pending.push_back(environment);
  bool sawTrue = false, sawFalse = false;
  for (unsigned evaluations = 0; !pending.empty(); ++evaluations) {
    if (evaluations == cap)
      return undecided();
    RangeEnvironment box = pending.pop_back_val();
    Truth truth = evaluateTruth(mask, box);
    if (truth != Truth::Maybe) {
      (truth == Truth::True ? sawTrue : sawFalse) = true;
      if (sawTrue && sawFalse)
        return TileClass::Partial;
      continue;
    }
    // An axis that the mask does not use changes nothing.
    std::optional<Var> longest;
    auto length = [&](Var axis) {
      return static_cast<uint64_t>(box[axis].hi) -
             static_cast<uint64_t>(box[axis].lo);
    };
    for (Var axis : axes)
      if (mask.uses(axis) && length(axis) &&
          (!longest || length(axis) > length(*longest)))
        longest = axis;
    if (!longest)
      return undecided();
    RangeEnvironment half = box;
    int64_t middle =
        box[*longest].lo + static_cast<int64_t>(length(*longest) / 2);
    half[*longest].lo = middle + 1;
    pending.push_back(half);
    box[*longest].hi = middle;
    pending.push_back(box);
  }
  return sawTrue ? TileClass::Full : TileClass::Empty;
}
