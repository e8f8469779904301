// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception
//
// The named masks: one table of formulas, which is at once what the parser
// expands, what the reference page shows and what recognition is checked
// against. A match proposes arguments from the shape of the expression and is
// accepted only if the formula with these arguments is that very node.

#include "dialects/attn/Expr/Detail.h"
#include "dialects/attn/Expr/Expr.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"

#include <limits>

using namespace fovea::expr;
using llvm::ArrayRef;
using llvm::StringRef;

//===----------------------------------------------------------------------===//
// The table
//===----------------------------------------------------------------------===//

using Aligns = NamedMask::Aligns;

static constexpr int64_t anyValue = std::numeric_limits<int64_t>::min();
static constexpr NamedMaskArgument countArgs[] = {{"n", false, 0}};
static constexpr NamedMaskArgument periodArgs[] = {{"n", false, 1}};
static constexpr NamedMaskArgument windowArgs[] = {{"l", false, -1},
                                                   {"r", false, -1}};
static constexpr NamedMaskArgument fixedArgs[] = {{"n", false, 1},
                                                  {"c", false, 0}};
static constexpr NamedMaskArgument dilatedArgs[] = {
    {"l", false, -1}, {"r", false, -1}, {"step", false, 1}};
static constexpr NamedMaskArgument tensorArgs[] = {{"t", true, anyValue}};
static constexpr NamedMaskArgument blockArgs[] = {{"t", true, anyValue},
                                                  {"n", false, 1}};

static constexpr NamedMask namedMasks[] = {
    {"causal",
     "causal(alignment)",
     "j <= q",
     "M3",
     "keys up to the query; the alignment is top_left (q = i), bottom_right (q "
     "= i + N - M) or offset(p) (q = i + p)",
     Aligns::Required,
     {}},
    {"window", "window(l, r[, alignment])",
     "(l < 0 or q - l <= j) and (r < 0 or j <= q + r)", "M4",
     "l keys before the query and r after it, itself not counted; -1 is "
     "unbounded",
     Aligns::Inherited, windowArgs},
    {"dilated", "dilated(l, r, step[, alignment])",
     "(l < 0 or q - l * step <= j) and (r < 0 or j <= q + r * step) and (j - "
     "q) % step == 0",
     "M4", "as window, counting every step-th key", Aligns::Inherited,
     dilatedArgs},
    {"prefix", "prefix(n)", "j < n", "M5", "the first n keys", Aligns::None,
     countArgs},
    {"chunk", "chunk(n[, alignment])", "q // n == j // n", "M5",
     "keys of the query's own chunk of n", Aligns::InheritedOrTopLeft,
     periodArgs},
    {"strided", "strided(n[, alignment])", "(q - j) % n == 0", "M5",
     "every n-th key counted from the query", Aligns::InheritedOrTopLeft,
     periodArgs},
    {"fixed", "fixed(n, c[, alignment])", "q // n == j // n or j % n >= n - c",
     "M5", "the query's own chunk of n and the last c keys of every chunk",
     Aligns::InheritedOrTopLeft, fixedArgs},
    {"global", "global(n[, alignment])", "q < n or j < n", "M5",
     "the first n positions attend to all and are attended by all",
     Aligns::InheritedOrTopLeft, countArgs},
    {"lengths", "lengths(t)", "j < t[b]", "M5",
     "keys before the length of the batch row", Aligns::None, tensorArgs},
    {"document", "document(t)", "t[b, i] == t[b, j]", "M5",
     "keys of the query's own document", Aligns::None, tensorArgs},
    {"dense", "dense(t)", "t[b, h, i, j]", "M6",
     "a boolean tensor, right-aligned", Aligns::None, tensorArgs},
    {"block", "block(t, n)", "t[b, h, i // n, j // n]", "M6",
     "a boolean tensor over n x n blocks, right-aligned", Aligns::None,
     blockArgs},
};

ArrayRef<NamedMask> fovea::expr::getNamedMasks() { return namedMasks; }

const NamedMask *fovea::expr::findNamedMask(StringRef name) {
  const auto *it = llvm::find_if(
      namedMasks, [&](const NamedMask &mask) { return mask.name == name; });
  return it == std::end(namedMasks) ? nullptr : it;
}

static constexpr DocRow variableDocs[] = {
    {"b", "batch index"},
    {"h", "query head index"},
    {"i", "query index, 0 <= i < M"},
    {"j", "key index, 0 <= j < N"},
    {"B", "batch size"},
    {"H", "number of query heads"},
    {"G", "number of key/value heads"},
    {"M", "number of queries"},
    {"N", "number of keys"},
    {"D", "width of a query and a key head"},
    {"s", "the scaled score (score expressions only)"},
};
ArrayRef<DocRow> fovea::expr::getVariableDocs() { return variableDocs; }

static constexpr DocRow functionDocs[] = {
    {"min(x, y, ...)", "the smallest"},
    {"max(x, y, ...)", "the largest"},
    {"abs(x)", "absolute value"},
    {"where(c, x, y)", "x where c holds, y elsewhere"},
    {"float(x)", "an integer as a float (scores only)"},
    {"exp(x)", "e to the x (scores only)"},
    {"log(x)", "natural logarithm (scores only)"},
    {"tanh(x)", "hyperbolic tangent (scores only)"},
    {"sqrt(x)", "square root (scores only)"},
    {"sin(x)", "sine (scores only)"},
    {"cos(x)", "cosine (scores only)"},
};
ArrayRef<DocRow> fovea::expr::getFunctionDocs() { return functionDocs; }

static constexpr DocRow operatorDocs[] = {
    {"x or y", "either holds"},
    {"x and y", "both hold"},
    {"not x", "x does not hold"},
    {"x == y, !=, <, <=, >, >=", "comparison; a < b <= c is a < b and b <= c"},
    {"x + y, x - y", "sum, difference"},
    {"x * y, x // y, x % y, x / y",
     "product; quotient rounded down and its remainder, with the sign of y (0 "
     "when y is 0), of integers; quotient of floats (scores only)"},
    {"-x, +x", "sign"},
};
ArrayRef<DocRow> fovea::expr::getOperatorDocs() { return operatorDocs; }

//===----------------------------------------------------------------------===//
// Expansion
//===----------------------------------------------------------------------===//

Expr fovea::expr::getQueryPosition(Context &context,
                                   const Alignment &alignment) {
  Expr i = context.getVar(Var::i);
  switch (alignment.kind) {
  case Alignment::TopLeft:
    return i;
  case Alignment::BottomRight:
    return context.sub(context.add(i, context.getVar(Var::N)),
                       context.getVar(Var::M));
  case Alignment::Offset:
    return context.add(i, alignment.offset);
  }
  return Expr();
}

Expr fovea::expr::expandNamedMask(Context &context, const NamedMaskUse &use) {
  llvm::StringMap<Expr> bindings;
  for (auto [argument, value] :
       llvm::zip_equal(use.mask->arguments, use.arguments))
    bindings[argument.name] = value;
  if (use.mask->aligns != Aligns::None)
    bindings["q"] =
        getQueryPosition(context, use.alignment.value_or(Alignment()));
  return detail::parseFormula(context, bindings, use.mask->formula);
}

//===----------------------------------------------------------------------===//
// Recognition
//===----------------------------------------------------------------------===//

namespace {
/// A bound of a window: q + distance (upper) or q - distance (lower).
struct Bound {
  Alignment alignment;
  Expr distance;
};

class Matcher {
public:
  Matcher(Context &context, Expr expr) : context(context), expr(expr) {}

  std::optional<NamedMaskUse> match() {
    switch (expr.getKind()) {
    case Kind::Le:
      matchCausal();
      matchWindow(Expr(), expr);
      matchWindow(expr, Expr());
      break;
    case Kind::Lt:
      // j < len[b] reads better than a prefix of it.
      if (isJ(expr.getOperand(0)) && expr.getOperand(1).is(Kind::IntConst))
        propose("prefix", {expr.getOperand(1)}, std::nullopt);
      else if (isJ(expr.getOperand(0)) && expr.getOperand(1).is(Kind::Param))
        propose("prefix", {expr.getOperand(1)}, std::nullopt);
      break;
    case Kind::Eq:
      matchChunk();
      matchStrided();
      break;
    case Kind::And:
      matchWindow(expr.getOperand(0), expr.getOperand(1));
      matchDilated();
      break;
    case Kind::Or:
      matchFixed();
      matchGlobal();
      break;
    default:
      break;
    }
    return result;
  }

private:
  static bool isJ(Expr e) { return e.is(Var::j); }

  void propose(StringRef name, ArrayRef<Expr> arguments,
               std::optional<Alignment> alignment) {
    if (result)
      return;
    NamedMaskUse use{findNamedMask(name), llvm::SmallVector<Expr, 3>(arguments),
                     alignment};
    for (auto [argument, value] :
         llvm::zip_equal(use.mask->arguments, use.arguments))
      if (value.is(Kind::IntConst) && value.getInt() < argument.minimum)
        return;
    if (expandNamedMask(context, use) == expr)
      result = std::move(use);
  }

  /// The alignment whose query position is exactly this expression.
  std::optional<Alignment> getAlignment(Expr position) {
    if (position.is(Var::i))
      return Alignment();
    Alignment bottomRight{Alignment::BottomRight, Expr()};
    if (position == getQueryPosition(context, bottomRight))
      return bottomRight;
    if (position.is(Kind::Add) && position.getOperand(0).is(Var::i))
      return Alignment{Alignment::Offset, position.getOperand(1)};
    return std::nullopt;
  }

  /// The readings of `e` as q + distance (kind Add) or q - distance (Sub).
  llvm::SmallVector<Bound, 2> getBounds(Expr e, Kind kind) {
    llvm::SmallVector<Bound, 2> bounds;
    std::optional<Alignment> whole = getAlignment(e);
    if (whole)
      bounds.push_back({*whole, context.getInt(0)});
    if (e.is(kind))
      if (std::optional<Alignment> left = getAlignment(e.getOperand(0)))
        bounds.push_back({*left, e.getOperand(1)});
    return bounds;
  }

  void matchCausal() {
    if (isJ(expr.getOperand(0)))
      if (std::optional<Alignment> alignment = getAlignment(expr.getOperand(1)))
        propose("causal", {}, alignment);
  }

  /// One side of a window; a run-time distance carries `distance < 0 or`. A
  /// null side is unbounded, which fits every alignment.
  llvm::SmallVector<Bound, 2> getSide(Expr side, bool lower) {
    if (side.is(Kind::Or))
      side = side.getOperand(1);
    if (!side.is(Kind::Le) || !isJ(side.getOperand(lower ? 1 : 0)))
      return {};
    return getBounds(side.getOperand(lower ? 0 : 1),
                     lower ? Kind::Sub : Kind::Add);
  }

  void matchSides(Expr lower, Expr upper,
                  llvm::function_ref<void(Expr, Expr, const Alignment &)> fn) {
    Expr unbounded = context.getInt(-1);
    if (!lower || !upper) {
      for (const Bound &bound : getSide(lower ? lower : upper, bool(lower)))
        fn(lower ? bound.distance : unbounded,
           lower ? unbounded : bound.distance, bound.alignment);
      return;
    }
    for (const Bound &left : getSide(lower, true))
      for (const Bound &right : getSide(upper, false))
        if (left.alignment == right.alignment)
          fn(left.distance, right.distance, left.alignment);
  }

  void matchWindow(Expr lower, Expr upper) {
    matchSides(lower, upper, [&](Expr l, Expr r, const Alignment &alignment) {
      propose("window", {l, r}, alignment);
    });
  }

  void matchDilated() {
    Expr sides = expr.getOperand(0), period = expr.getOperand(1);
    if (!period.is(Kind::Eq) || !period.getOperand(0).is(Kind::Mod))
      return;
    Expr step = period.getOperand(0).getOperand(1);
    auto undilated = [&](Expr distance) {
      if (distance == step)
        return context.getInt(1);
      if (distance.is(Kind::Mul))
        return distance.getOperand(0);
      if (distance.is(Kind::IntConst) && step.is(Kind::IntConst) &&
          distance.getInt() > 0 && step.getInt() > 0)
        return context.getInt(distance.getInt() / step.getInt());
      return distance;
    };
    auto tryMatch = [&](Expr l, Expr r, const Alignment &alignment) {
      propose("dilated", {undilated(l), undilated(r), step}, alignment);
    };
    if (sides.is(Kind::And)) {
      matchSides(sides.getOperand(0), sides.getOperand(1), tryMatch);
    } else {
      matchSides(sides, Expr(), tryMatch);
      matchSides(Expr(), sides, tryMatch);
    }
  }

  void matchChunk() {
    Expr left = expr.getOperand(0);
    if (left.is(Kind::FloorDiv))
      if (std::optional<Alignment> alignment = getAlignment(left.getOperand(0)))
        propose("chunk", {left.getOperand(1)}, alignment);
  }

  void matchStrided() {
    Expr left = expr.getOperand(0);
    if (left.is(Kind::Mod) && left.getOperand(0).is(Kind::Sub))
      if (std::optional<Alignment> alignment =
              getAlignment(left.getOperand(0).getOperand(0)))
        propose("strided", {left.getOperand(1)}, alignment);
  }

  void matchFixed() {
    Expr chunk = expr.getOperand(0), tail = expr.getOperand(1);
    if (!chunk.is(Kind::Eq) || !chunk.getOperand(0).is(Kind::FloorDiv) ||
        !tail.is(Kind::Ge))
      return;
    Expr quotient = chunk.getOperand(0);
    Expr n = quotient.getOperand(1), first = tail.getOperand(1);
    std::optional<Alignment> alignment = getAlignment(quotient.getOperand(0));
    if (!alignment)
      return;
    propose(
        "fixed",
        {n, first.is(Kind::Sub) ? first.getOperand(1) : context.sub(n, first)},
        alignment);
  }

  void matchGlobal() {
    Expr query = expr.getOperand(0), key = expr.getOperand(1);
    if (!query.is(Kind::Lt) || !key.is(Kind::Lt))
      return;
    if (std::optional<Alignment> alignment = getAlignment(query.getOperand(0)))
      propose("global", {query.getOperand(1)}, alignment);
  }

  Context &context;
  Expr expr;
  std::optional<NamedMaskUse> result;
};
} // namespace

std::optional<NamedMaskUse> fovea::expr::matchNamedMask(Context &context,
                                                        Expr expr) {
  if (expr.getType() != Type::Bool)
    return std::nullopt;
  return Matcher(context, expr).match();
}

static bool collectAlignments(Context &context, Expr expr,
                              std::optional<Alignment> &found) {
  if (std::optional<NamedMaskUse> use = matchNamedMask(context, expr)) {
    if (use->mask->aligns != Aligns::Required &&
        use->mask->aligns != Aligns::Inherited)
      return true;
    if (found && !(*found == *use->alignment))
      return false;
    found = use->alignment;
    return true;
  }
  return llvm::all_of(expr.getOperands(), [&](Expr operand) {
    return operand.getType() != Type::Bool ||
           collectAlignments(context, operand, found);
  });
}

std::optional<Alignment> fovea::expr::findAlignment(Context &context,
                                                    Expr expr) {
  std::optional<Alignment> found;
  if (!collectAlignments(context, expr, found))
    return std::nullopt;
  return found;
}
