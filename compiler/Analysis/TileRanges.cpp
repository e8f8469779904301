// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception
//
// From mask to disjunctive normal form over linear rows (Lifter), from one
// conjunction to bounds on t (Eliminator), and the evaluation of the result.
// A row is the statement that its linear form is >= 0 (or == 0).

#include "compiler/Analysis/TileRanges.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/MathExtras.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

using namespace fovea;
using namespace fovea::analysis;
using expr::Expr;
using expr::Kind;
using expr::Type;
using expr::Var;
using llvm::SmallVector;

// The coefficients of a form sum to less than maxCoefficients in magnitude, so
// that with symbols up to maxSymbolMagnitude (2^31) a form, and every sum on
// the way to it in the expression, stays within 64 bits.
static constexpr int64_t maxCoefficients = int64_t(1) << 30;
static constexpr int64_t maxConstant = int64_t(1) << 60;

//===----------------------------------------------------------------------===//
// Linear forms over terms
//===----------------------------------------------------------------------===//

namespace {
/// A term: one of h, i, j, a division, a symbol, or (only while lifting) a min,
/// max, abs or where that is not split yet.
struct Term {
  enum Sort : uint8_t { Axis, Division, Symbol, Compound };
  Sort sort;
  unsigned index;
  auto operator<=>(const Term &) const = default;
};

enum AxisIndex : unsigned { AxisH, AxisI, AxisJ };

struct Linear {
  std::map<Term, int64_t> terms;
  int64_t constant = 0;
  /// False once anything was not linear or too large.
  bool valid = true;

  static Linear ofTerm(Term term) {
    Linear result;
    result.terms[term] = 1;
    return result;
  }
  static Linear ofConstant(int64_t constant) {
    Linear result;
    result.constant = constant;
    return result.check();
  }
  static Linear invalid() {
    Linear result;
    result.valid = false;
    return result;
  }

  Linear &check() {
    int64_t sum = 0;
    for (auto [term, coefficient] : terms)
      sum += std::abs(coefficient);
    if (sum >= maxCoefficients || constant > maxConstant ||
        constant < -maxConstant)
      valid = false;
    return *this;
  }

  Linear &addScaled(const Linear &other, int64_t scale) {
    valid &= other.valid;
    if (!valid)
      return *this;
    int64_t product = 0;
    for (auto [term, coefficient] : other.terms) {
      int64_t &mine = terms[term];
      valid &= !llvm::MulOverflow(coefficient, scale, product) &&
               !llvm::AddOverflow(mine, product, mine) &&
               std::abs(mine) < maxCoefficients;
      if (mine == 0)
        terms.erase(term);
    }
    valid &= !llvm::MulOverflow(other.constant, scale, product) &&
             !llvm::AddOverflow(constant, product, constant);
    return check();
  }

  bool operator<(const Linear &other) const {
    return std::tie(terms, constant) < std::tie(other.terms, other.constant);
  }
};

/// floordiv(numerator, divisor), a term that depends on h, i or j.
struct Division {
  Linear numerator;
  int64_t divisor;
};

struct Conjunction {
  SmallVector<Linear, 4> inequalities; // each >= 0
  SmallVector<Linear, 2> equalities;   // each == 0
  bool exact = true;
};
using Disjunction = std::vector<Conjunction>;

//===----------------------------------------------------------------------===//
// Mask to disjunctive normal form
//===----------------------------------------------------------------------===//

class Lifter {
public:
  Lifter(expr::Context &context, const TileRangeBudget &budget)
      : context(context), budget(budget) {
    getSymbol(context.getVar(Var::M));
    getSymbol(context.getVar(Var::N));
  }

  Disjunction lift(Expr condition, bool negated) {
    switch (condition.getKind()) {
    case Kind::BoolConst:
      return condition.getBool() != negated ? always() : never();
    case Kind::Not:
      return lift(condition.getOperand(0), !negated);
    case Kind::And:
    case Kind::Or: {
      Disjunction x = lift(condition.getOperand(0), negated);
      Disjunction y = lift(condition.getOperand(1), negated);
      return condition.is(Kind::And) != negated ? conjoin(x, y) : disjoin(x, y);
    }
    case Kind::Where: {
      Expr c = condition.getOperand(0);
      return disjoin(
          conjoin(lift(c, false), lift(condition.getOperand(1), negated)),
          conjoin(lift(c, true), lift(condition.getOperand(2), negated)));
    }
    case Kind::Load: {
      if (isAxial(condition))
        return unknown();
      Linear truth = Linear::ofTerm(getSymbol(
          context.where(condition, context.getInt(1), context.getInt(0))));
      return negated ? atLeastZero(truth, -1, 0) : atLeastZero(truth, 1, -1);
    }
    default:
      return liftComparison(condition, negated);
    }
  }

  llvm::SetVector<Expr> symbols;
  std::vector<Division> divisions;

  Term getSymbol(Expr symbol) {
    auto it = llvm::find(symbols, symbol);
    unsigned index = it - symbols.begin();
    if (it == symbols.end())
      symbols.insert(symbol);
    return {Term::Symbol, index};
  }

private:
  static bool isAxial(Expr e) {
    return e.uses(Var::h) || e.uses(Var::i) || e.uses(Var::j);
  }

  //===--- Disjunctions ---===//

  static Disjunction always() { return {Conjunction()}; }
  static Disjunction never() { return {}; }
  static Disjunction unknown() {
    Conjunction anything;
    anything.exact = false;
    return {anything};
  }

  Disjunction disjoin(Disjunction x, const Disjunction &y) {
    x.insert(x.end(), y.begin(), y.end());
    if (x.size() > budget.conjuncts)
      return unknown();
    return x;
  }

  Disjunction conjoin(const Disjunction &x, const Disjunction &y) {
    if (x.size() * y.size() > budget.conjuncts) {
      // Either side alone is a superset; the shorter one says more.
      Disjunction kept = x.size() <= y.size() ? x : y;
      for (Conjunction &conjunction : kept)
        conjunction.exact = false;
      return kept;
    }
    Disjunction result;
    for (const Conjunction &left : x)
      for (const Conjunction &right : y) {
        Conjunction both = left;
        llvm::append_range(both.inequalities, right.inequalities);
        llvm::append_range(both.equalities, right.equalities);
        both.exact &= right.exact;
        result.push_back(std::move(both));
      }
    return result;
  }

  //===--- Comparisons ---===//

  Disjunction liftComparison(Expr condition, bool negated) {
    if (!condition.isComparison() ||
        condition.getOperand(0).getType() != Type::Int)
      return unknown();
    Kind kind = negated ? expr::negateComparison(condition.getKind())
                        : condition.getKind();
    Linear difference = flatten(condition.getOperand(0));
    difference.addScaled(flatten(condition.getOperand(1)), -1);
    switch (kind) {
    case Kind::Ge:
      return atLeastZero(difference, 1, 0);
    case Kind::Gt:
      return atLeastZero(difference, 1, -1);
    case Kind::Le:
      return atLeastZero(difference, -1, 0);
    case Kind::Lt:
      return atLeastZero(difference, -1, -1);
    case Kind::Eq:
      if (!hasCompound(difference) && difference.valid) {
        Conjunction equal;
        equal.equalities.push_back(difference);
        return {equal};
      }
      return conjoin(atLeastZero(difference, 1, 0),
                     atLeastZero(difference, -1, 0));
    default: // Ne
      return disjoin(atLeastZero(difference, 1, -1),
                     atLeastZero(difference, -1, -1));
    }
  }

  static bool hasCompound(const Linear &linear) {
    return llvm::any_of(linear.terms, [](const auto &entry) {
      return entry.first.sort == Term::Compound;
    });
  }

  /// scale * linear + offset >= 0, with min, max, abs and where split.
  Disjunction atLeastZero(const Linear &linear, int64_t scale, int64_t offset) {
    Linear row = Linear::ofConstant(offset);
    row.addScaled(linear, scale);
    return splitCompounds(row, 0);
  }

  Disjunction splitCompounds(const Linear &row, unsigned depth) {
    if (!row.valid || depth > 16)
      return unknown();
    auto it = llvm::find_if(row.terms, [](const auto &entry) {
      return entry.first.sort == Term::Compound;
    });
    if (it == row.terms.end()) {
      Conjunction result;
      result.inequalities.push_back(row);
      return {result};
    }
    auto [term, coefficient] = *it;
    Expr compound = compounds[term.index];
    auto with = [&, term = term, coefficient = coefficient](Linear value,
                                                            int64_t sign) {
      Linear replaced = row;
      replaced.terms.erase(term);
      replaced.addScaled(value, sign * coefficient);
      return splitCompounds(replaced, depth + 1);
    };
    if (compound.is(Kind::Where)) {
      Expr c = compound.getOperand(0);
      return disjoin(
          conjoin(lift(c, false), with(flatten(compound.getOperand(1)), 1)),
          conjoin(lift(c, true), with(flatten(compound.getOperand(2)), 1)));
    }
    // max(x, y) >= z if x >= z or y >= z; z >= max(x, y) if both; so no case
    // needs to say which operand is the larger.
    Linear x = flatten(compound.getOperand(0));
    bool isAbs = compound.is(Kind::Abs);
    Disjunction first = with(x, 1);
    Disjunction second =
        isAbs ? with(x, -1) : with(flatten(compound.getOperand(1)), 1);
    bool isMin = compound.is(Kind::Min);
    return (coefficient > 0) != isMin ? disjoin(first, second)
                                      : conjoin(first, second);
  }

  //===--- Integers to linear forms ---===//

  Linear flatten(Expr e) {
    auto it = flattened.find(e);
    if (it != flattened.end())
      return it->second;
    Linear result = flattenUncached(e);
    flattened[e] = result;
    return result;
  }

  Linear flattenUncached(Expr e) {
    switch (e.getKind()) {
    case Kind::IntConst:
      return Linear::ofConstant(e.getInt());
    case Kind::Neg: {
      Linear result;
      return result.addScaled(flatten(e.getOperand(0)), -1);
    }
    case Kind::Add:
    case Kind::Sub: {
      Linear result = flatten(e.getOperand(0));
      return result.addScaled(flatten(e.getOperand(1)),
                              e.is(Kind::Add) ? 1 : -1);
    }
    case Kind::Mul: {
      Expr x = e.getOperand(0), y = e.getOperand(1);
      if (y.is(Kind::IntConst))
        std::swap(x, y);
      if (x.is(Kind::IntConst)) {
        Linear result;
        return result.addScaled(flatten(y), x.getInt());
      }
      break;
    }
    default:
      break;
    }
    if (!isAxial(e))
      return Linear::ofTerm(getSymbol(e));
    switch (e.getKind()) {
    case Kind::Var:
      return Linear::ofTerm({Term::Axis, e.is(Var::h)   ? AxisH
                                         : e.is(Var::i) ? AxisI
                                                        : AxisJ});
    case Kind::FloorDiv:
    case Kind::Mod:
      return flattenDivision(e);
    case Kind::Min:
    case Kind::Max:
    case Kind::Abs:
    case Kind::Where: {
      unsigned index = llvm::find(compounds, e) - compounds.begin();
      if (index == compounds.size())
        compounds.push_back(e);
      return Linear::ofTerm({Term::Compound, index});
    }
    default:
      return Linear::invalid();
    }
  }

  /// x // d and x % d = x - d * (x // d), total and exact, so that a negation
  /// never touches the division.
  Linear flattenDivision(Expr e) {
    Expr x = e.getOperand(0), y = e.getOperand(1);
    if (!y.is(Kind::IntConst) || y.isInt(0) || y.getInt() >= maxCoefficients ||
        y.getInt() <= -maxCoefficients)
      return Linear::invalid();
    if (Expr split = splitNumerator(e))
      return flatten(split);
    int64_t divisor = y.getInt();
    Linear numerator = flatten(x);
    Linear dividend;
    dividend.addScaled(numerator, divisor < 0 ? -1 : 1);
    Linear quotient = divide(dividend, std::abs(divisor));
    if (e.is(Kind::FloorDiv))
      return quotient;
    return numerator.addScaled(quotient, -divisor);
  }

  /// Moves the innermost min, max, abs or where out of a division, as a where.
  Expr splitNumerator(Expr division) {
    Expr found;
    expr::walk(division, [&](Expr e) {
      bool isCompound = e.is(Kind::Min) || e.is(Kind::Max) || e.is(Kind::Abs) ||
                        e.is(Kind::Where);
      if (!found && isCompound && isAxial(e))
        found = e;
    });
    if (!found || division.getTreeSize() > 200)
      return Expr();
    Expr x = found.getOperand(found.is(Kind::Where) ? 1 : 0);
    Expr y, condition;
    switch (found.getKind()) {
    case Kind::Where:
      condition = found.getOperand(0);
      y = found.getOperand(2);
      break;
    case Kind::Abs:
      condition = context.get(Kind::Ge, {x, context.getInt(0)});
      y = context.neg(x);
      break;
    default:
      y = found.getOperand(1);
      condition =
          context.get(found.is(Kind::Min) ? Kind::Le : Kind::Ge, {x, y});
    }
    auto replace = [&](Expr by) {
      llvm::DenseMap<Expr, Expr> map;
      map[found] = by;
      return expr::substitute(context, division, map);
    };
    return context.where(condition, replace(x), replace(y));
  }

  /// floordiv(dividend, divisor), divisor > 0, multiples of it pulled out.
  Linear divide(const Linear &dividend, int64_t divisor) {
    if (!dividend.valid)
      return Linear::invalid();
    Linear quotient, rest;
    bool axial = false;
    auto split = [&](int64_t value, int64_t &whole, int64_t &part) {
      whole = *expr::floorDiv(value, divisor);
      part = *expr::floorMod(value, divisor);
    };
    for (auto [term, coefficient] : dividend.terms) {
      if (term.sort == Term::Compound)
        return Linear::invalid(); // too large to be split
      int64_t whole, part;
      split(coefficient, whole, part);
      if (whole)
        quotient.terms[term] = whole;
      if (part) {
        rest.terms[term] = part;
        axial |= term.sort != Term::Symbol;
      }
    }
    split(dividend.constant, quotient.constant, rest.constant);
    if (rest.terms.empty())
      return quotient;
    if (!axial) {
      Expr sum = context.getInt(rest.constant);
      for (auto [term, part] : rest.terms)
        sum = context.add(
            sum, context.mul(context.getInt(part), symbols[term.index]));
      return quotient.addScaled(Linear::ofTerm(getSymbol(context.floorDiv(
                                    sum, context.getInt(divisor)))),
                                1);
    }
    auto [it, inserted] = divisionIndex.try_emplace(
        std::make_pair(rest, divisor), unsigned(divisions.size()));
    if (inserted)
      divisions.push_back({rest, divisor});
    return quotient.addScaled(Linear::ofTerm({Term::Division, it->second}), 1);
  }

  expr::Context &context;
  const TileRangeBudget &budget;
  std::vector<Expr> compounds;
  llvm::DenseMap<Expr, Linear> flattened;
  std::map<std::pair<Linear, int64_t>, unsigned> divisionIndex;
};

//===----------------------------------------------------------------------===//
// One conjunction to bounds on t
//===----------------------------------------------------------------------===//

using Row = SmallVector<int64_t, 16>;

/// Columns: t, the locals (axes and divisions), the symbols (those of the tile
/// first), 1.
class Eliminator {
public:
  Eliminator(const Lifter &lifter, int64_t tileSize,
             const TileRangeBudget &budget, unsigned &combinations)
      : lifter(lifter), tileSize(tileSize), budget(budget),
        combinations(combinations) {}

  enum class Outcome { Done, Empty, OutOfBudget };

  Outcome run(const Conjunction &conjunction, TileDisjunct &result) {
    exact = conjunction.exact;
    if (!build(conjunction))
      return Outcome::OutOfBudget;
    if (Outcome outcome = solveEqualities(); outcome != Outcome::Done)
      return outcome;
    while (std::optional<unsigned> local = chooseLocal())
      if (Outcome outcome = eliminate(*local); outcome != Outcome::Done)
        return outcome;
    dropImplied();
    return extract(result);
  }

private:
  unsigned numColumns() const { return firstSymbol + numSymbols + 1; }
  unsigned constantColumn() const { return numColumns() - 1; }
  unsigned tileSymbol(TileRanges::Symbol symbol) const {
    return firstSymbol + symbol;
  }
  unsigned exprSymbol(unsigned index) const {
    return firstSymbol + TileRanges::NumTileSymbols + index;
  }

  bool build(const Conjunction &conjunction) {
    std::set<Term> locals{{Term::Axis, AxisI}, {Term::Axis, AxisJ}};
    std::vector<Term> pending;
    auto collect = [&](const Linear &linear) {
      for (auto [term, coefficient] : linear.terms)
        if (term.sort != Term::Symbol && locals.insert(term).second)
          pending.push_back(term);
    };
    llvm::for_each(conjunction.inequalities, collect);
    llvm::for_each(conjunction.equalities, collect);
    unsigned numDivisions = 0;
    while (!pending.empty()) {
      Term term = pending.back();
      pending.pop_back();
      if (term.sort != Term::Division)
        continue;
      if (++numDivisions > budget.divisions)
        return false;
      collect(lifter.divisions[term.index].numerator);
    }
    for (Term term : locals)
      columns[term] = 1 + columns.size();
    firstSymbol = 1 + columns.size();
    numSymbols = TileRanges::NumTileSymbols + lifter.symbols.size();

    for (const Linear &linear : conjunction.inequalities)
      inequalities.push_back(toRow(linear, 1));
    for (const Linear &linear : conjunction.equalities)
      equalities.push_back(toRow(linear, 1));
    for (Term term : locals) {
      if (term.sort == Term::Axis)
        continue;
      const Division &division = lifter.divisions[term.index];
      Row low = toRow(division.numerator, 1);
      low[columns[term]] -= division.divisor;
      Row high = toRow(division.numerator, -1);
      high[columns[term]] += division.divisor;
      high[constantColumn()] += division.divisor - 1;
      inequalities.push_back(low);
      inequalities.push_back(high);
    }
    // The tile and the bounds of the problem; M and N are the first symbols.
    unsigned i = columns[{Term::Axis, AxisI}];
    unsigned j = columns[{Term::Axis, AxisJ}];
    addBase({{i, 1}, {tileSymbol(TileRanges::ILo), -1}}, 0);
    addBase({{i, -1}, {tileSymbol(TileRanges::IHi), 1}}, 0);
    addBase({{i, -1}, {exprSymbol(0), 1}}, -1);
    addBase({{j, 1}}, 0);
    addBase({{j, -1}, {exprSymbol(1), 1}}, -1);
    addBase({{j, 1}, {0, -tileSize}}, 0);
    addBase({{j, -1}, {0, tileSize}}, tileSize - 1);
    auto h = columns.find({Term::Axis, AxisH});
    if (h != columns.end()) {
      addBase({{h->second, 1}, {tileSymbol(TileRanges::HLo), -1}}, 0);
      addBase({{h->second, -1}, {tileSymbol(TileRanges::HHi), 1}}, 0);
    }
    return true;
  }

  Row toRow(const Linear &linear, int64_t sign) {
    Row row(numColumns(), 0);
    for (auto [term, coefficient] : linear.terms)
      row[term.sort == Term::Symbol ? exprSymbol(term.index) : columns[term]] =
          sign * coefficient;
    row[constantColumn()] = sign * linear.constant;
    return row;
  }

  void addBase(std::initializer_list<std::pair<unsigned, int64_t>> entries,
               int64_t constant) {
    Row row(numColumns(), 0);
    for (auto [column, coefficient] : entries)
      row[column] = coefficient;
    row[constantColumn()] = constant;
    inequalities.push_back(std::move(row));
  }

  //===--- Rows ---===//

  /// x * a + y * b, or false when it gets too large.
  bool combine(const Row &x, int64_t a, const Row &y, int64_t b, Row &result) {
    result.assign(numColumns(), 0);
    for (unsigned k = 0; k < numColumns(); ++k) {
      int64_t left, right;
      if (llvm::MulOverflow(x[k], a, left) ||
          llvm::MulOverflow(y[k], b, right) ||
          llvm::AddOverflow(left, right, result[k]))
        return false;
    }
    return true;
  }

  bool isTooLarge(const Row &row) const {
    int64_t sum = 0;
    for (unsigned k = 0; k < constantColumn(); ++k) {
      if (row[k] >= maxCoefficients || row[k] <= -maxCoefficients)
        return true;
      sum += std::abs(row[k]);
    }
    int64_t constant = row[constantColumn()];
    return sum >= maxCoefficients || constant > maxConstant ||
           constant < -maxConstant;
  }

  int64_t gcdOf(const Row &row) const {
    int64_t gcd = 0;
    for (unsigned k = 0; k < constantColumn(); ++k)
      gcd = std::gcd(gcd, row[k]);
    return gcd;
  }

  /// Divides by the common divisor; the constant rounds down, which loses no
  /// integer point. False for a row that no point satisfies.
  bool tighten(Row &row) const {
    int64_t gcd = gcdOf(row);
    if (gcd == 0)
      return row[constantColumn()] >= 0;
    for (unsigned k = 0; k < constantColumn(); ++k)
      row[k] /= gcd;
    row[constantColumn()] = *expr::floorDiv(row[constantColumn()], gcd);
    return true;
  }

  bool isConstant(const Row &row) const { return gcdOf(row) == 0; }

  //===--- Equalities ---===//

  Outcome solveEqualities() {
    while (!equalities.empty()) {
      Row equality = equalities.pop_back_val();
      int64_t gcd = gcdOf(equality);
      int64_t constant = equality[constantColumn()];
      if (gcd == 0 ? constant != 0 : constant % gcd != 0)
        return Outcome::Empty;
      if (gcd == 0)
        continue;
      for (int64_t &entry : equality)
        entry /= gcd;
      std::optional<unsigned> unit;
      for (unsigned k = 1; k < firstSymbol && !unit; ++k)
        if (std::abs(equality[k]) == 1)
          unit = k;
      if (!unit) {
        Row negated;
        if (!combine(equality, -1, equality, 0, negated))
          return Outcome::OutOfBudget;
        inequalities.push_back(equality);
        inequalities.push_back(negated);
        continue;
      }
      // local = -(rest) / sign, put into every other row.
      for (SmallVector<Row, 16> *rows : {&equalities, &inequalities})
        for (Row &row : *rows)
          if (row[*unit]) {
            Row replaced;
            if (!combine(row, 1, equality, -row[*unit] * equality[*unit],
                         replaced) ||
                isTooLarge(replaced))
              return Outcome::OutOfBudget;
            row = std::move(replaced);
          }
    }
    return normalise();
  }

  /// Tightens every row, keeps the tightest of equal ones, drops constants.
  Outcome normalise() {
    std::map<std::vector<int64_t>, int64_t> tightest;
    for (Row &row : inequalities) {
      if (!tighten(row))
        return Outcome::Empty;
      if (isConstant(row))
        continue;
      std::vector<int64_t> key(row.begin(), row.end() - 1);
      auto [it, inserted] = tightest.try_emplace(key, row.back());
      if (!inserted)
        it->second = std::min(it->second, row.back());
    }
    inequalities.clear();
    for (auto &[key, constant] : tightest) {
      std::vector<int64_t> opposite(key.size());
      llvm::transform(key, opposite.begin(), [](int64_t x) { return -x; });
      auto it = tightest.find(opposite);
      if (it != tightest.end() && constant + it->second < 0)
        return Outcome::Empty;
      Row row(key.begin(), key.end());
      row.push_back(constant);
      inequalities.push_back(std::move(row));
    }
    return inequalities.size() > budget.rows ? Outcome::OutOfBudget
                                             : Outcome::Done;
  }

  //===--- Fourier-Motzkin ---===//

  /// The local whose elimination is exact if there is one, and among those the
  /// one that makes the fewest rows.
  std::optional<unsigned> chooseLocal() {
    std::optional<unsigned> best;
    std::pair<bool, int64_t> bestCost;
    for (unsigned k = 1; k < firstSymbol; ++k) {
      int64_t lower = 0, upper = 0;
      bool unitLower = true, unitUpper = true;
      for (const Row &row : inequalities) {
        if (row[k] > 0) {
          ++lower;
          unitLower &= row[k] == 1;
        } else if (row[k] < 0) {
          ++upper;
          unitUpper &= row[k] == -1;
        }
      }
      if (!lower && !upper)
        continue;
      std::pair<bool, int64_t> cost{!unitLower && !unitUpper,
                                    lower * upper - lower - upper};
      if (!best || cost < bestCost) {
        best = k;
        bestCost = cost;
      }
    }
    return best;
  }

  Outcome eliminate(unsigned local) {
    SmallVector<Row, 16> rest, lower, upper, darkShadows;
    for (Row &row : inequalities)
      (row[local] > 0   ? lower
       : row[local] < 0 ? upper
                        : rest)
          .push_back(std::move(row));
    inequalities = std::move(rest);
    for (const Row &low : lower)
      for (const Row &high : upper) {
        if (++combinations > budget.combinations ||
            inequalities.size() > 4 * budget.rows)
          return Outcome::OutOfBudget;
        int64_t a = low[local], c = -high[local];
        int64_t gcd = std::gcd(a, c);
        Row shadow;
        if (!combine(low, c / gcd, high, a / gcd, shadow) || isTooLarge(shadow))
          return Outcome::OutOfBudget;
        if (a != 1 && c != 1) {
          // The dark shadow, in the scale of the real one.
          Row dark = shadow;
          dark[constantColumn()] -= llvm::divideCeil((a - 1) * (c - 1), gcd);
          darkShadows.push_back(std::move(dark));
        }
        inequalities.push_back(std::move(shadow));
      }
    for (const Row &dark : darkShadows)
      if (!isImplied(dark) && !llvm::any_of(inequalities, [&](const Row &row) {
            return isImpliedBy(dark, row);
          }))
        exact = false;
    return normalise();
  }

  /// Whether the row holds wherever the tile is not empty: a sum of the
  /// lengths of its sides, and a constant, none negative.
  bool isImplied(const Row &row) const {
    if (row[constantColumn()] < 0)
      return false;
    for (unsigned k = 0; k < constantColumn(); ++k) {
      bool isLow =
          k == tileSymbol(TileRanges::ILo) || k == tileSymbol(TileRanges::HLo);
      bool isHigh =
          k == tileSymbol(TileRanges::IHi) || k == tileSymbol(TileRanges::HHi);
      if (isLow ? row[k] > 0 || row[k] != -row[k + 1] : !isHigh && row[k] != 0)
        return false;
    }
    return row[tileSymbol(TileRanges::IHi)] ==
               -row[tileSymbol(TileRanges::ILo)] &&
           row[tileSymbol(TileRanges::HHi)] ==
               -row[tileSymbol(TileRanges::HLo)];
  }

  /// Whether the row follows from another one and the shape of the tile.
  bool isImpliedBy(const Row &row, const Row &other) {
    Row difference;
    return combine(row, 1, other, -1, difference) && isImplied(difference);
  }

  /// Drops rows that follow from one other row and the shape of the tile.
  void dropImplied() {
    SmallVector<Row, 16> kept;
    for (unsigned x = 0; x < inequalities.size(); ++x) {
      bool implied = isImplied(inequalities[x]);
      // Rows differ, so that no two can drop each other.
      for (unsigned y = 0; y < inequalities.size() && !implied; ++y)
        implied = x != y && isImpliedBy(inequalities[x], inequalities[y]);
      if (!implied)
        kept.push_back(inequalities[x]);
    }
    inequalities = std::move(kept);
  }

  Outcome extract(TileDisjunct &result) {
    result = TileDisjunct();
    result.exact = exact;
    for (const Row &row : inequalities) {
      AffineForm form;
      int64_t t = row[0];
      int64_t sign = t > 0 ? -1 : 1;
      for (unsigned k = firstSymbol; k < constantColumn(); ++k)
        form.coefficients.push_back(sign * row[k]);
      form.constant = sign * row[constantColumn()];
      if (t > 0)
        result.lower.push_back({std::move(form), t});
      else if (t < 0)
        result.upper.push_back({std::move(form), -t});
      else
        result.guards.push_back(std::move(form));
    }
    return Outcome::Done;
  }

  const Lifter &lifter;
  int64_t tileSize;
  const TileRangeBudget &budget;
  unsigned &combinations;
  std::map<Term, unsigned> columns;
  unsigned firstSymbol = 0, numSymbols = 0;
  SmallVector<Row, 16> inequalities, equalities;
  bool exact = true;
};
} // namespace

//===----------------------------------------------------------------------===//
// The whole
//===----------------------------------------------------------------------===//

bool TileRanges::isExact() const {
  auto exact = [](const TileDisjunct &disjunct) { return disjunct.exact; };
  return llvm::all_of(positive, exact) && llvm::all_of(negative, exact);
}

TileRanges fovea::analysis::computeTileRanges(expr::Context &context, Expr mask,
                                              int64_t tileSize,
                                              TileRangeBudget budget) {
  TileRanges ranges;
  ranges.tileSize = tileSize;
  Lifter lifter(context, budget);
  Disjunction attended = lifter.lift(mask, false);
  Disjunction masked = lifter.lift(mask, true);
  ranges.symbols.assign(lifter.symbols.begin(), lifter.symbols.end());
  unsigned numSymbols = TileRanges::NumTileSymbols + ranges.symbols.size();

  unsigned combinations = 0;
  auto solve = [&](const Disjunction &disjunction,
                   llvm::SmallVectorImpl<TileDisjunct> &result) {
    using Outcome = Eliminator::Outcome;
    for (const Conjunction &conjunction : disjunction) {
      TileDisjunct disjunct;
      Outcome outcome = Eliminator(lifter, tileSize, budget, combinations)
                            .run(conjunction, disjunct);
      if (outcome == Outcome::OutOfBudget) {
        // Every tile, without a claim; this elimination is short.
        Conjunction anything;
        anything.exact = false;
        unsigned uncounted = 0;
        outcome = Eliminator(lifter, tileSize, budget, uncounted)
                      .run(anything, disjunct);
      }
      if (outcome == Outcome::Done)
        result.push_back(std::move(disjunct));
    }
  };
  solve(attended, ranges.positive);
  solve(masked, ranges.negative);

  // Pairs out of bounds: the tile that crosses N, and every tile if the rows
  // pass M.
  auto makeForm = [&](int64_t constant) {
    AffineForm form;
    form.coefficients.assign(numSymbols, 0);
    form.constant = constant;
    return form;
  };
  const unsigned m = TileRanges::NumTileSymbols, n = m + 1;
  TileDisjunct crossing;
  crossing.lower.push_back({makeForm(1 - tileSize), tileSize});
  crossing.lower.back().form.coefficients[n] = 1;
  ranges.negative.push_back(crossing);
  TileDisjunct passing;
  passing.guards.push_back(makeForm(0));
  passing.guards.back().coefficients[TileRanges::IHi] = 1;
  passing.guards.back().coefficients[m] = -1;
  ranges.negative.push_back(passing);
  return ranges;
}

//===----------------------------------------------------------------------===//
// Evaluation
//===----------------------------------------------------------------------===//

static int64_t evaluateForm(const AffineForm &form,
                            llvm::ArrayRef<int64_t> symbols) {
  int64_t sum = form.constant;
  for (auto [coefficient, value] : llvm::zip_equal(form.coefficients, symbols))
    sum += coefficient * value;
  return sum;
}

/// The range of a disjunct, cut to [0, count), as [first, last + 1).
static std::pair<int64_t, int64_t>
evaluateDisjunct(const TileDisjunct &disjunct, llvm::ArrayRef<int64_t> symbols,
                 int64_t count) {
  for (const AffineForm &guard : disjunct.guards)
    if (evaluateForm(guard, symbols) < 0)
      return {0, 0};
  int64_t lo = 0, hi = count - 1;
  for (const TileBound &bound : disjunct.lower)
    lo = std::max(lo, -*expr::floorDiv(-evaluateForm(bound.form, symbols),
                                       bound.divisor));
  for (const TileBound &bound : disjunct.upper)
    hi = std::min(
        hi, *expr::floorDiv(evaluateForm(bound.form, symbols), bound.divisor));
  return lo > hi ? std::pair<int64_t, int64_t>(0, 0) : std::pair(lo, hi + 1);
}

static void appendSegment(llvm::SmallVectorImpl<Segment> &segments,
                          Segment segment) {
  if (!segments.empty() && segments.back().tileClass == segment.tileClass &&
      segments.back().decided == segment.decided)
    segments.back().end = segment.end;
  else
    segments.push_back(segment);
}

SmallVector<Segment>
fovea::analysis::getSegments(const TileRanges &ranges, const QueryTile &tile,
                             const expr::Environment &environment) {
  int64_t n = environment[Var::N];
  int64_t count = n <= 0 ? 0 : (n - 1) / ranges.tileSize + 1;
  SmallVector<Segment> segments;
  if (!count)
    return segments;
  SmallVector<int64_t> symbols{tile.iLo, tile.iHi, tile.hLo, tile.hHi};
  auto isSmall = [](int64_t value) {
    return value <= maxSymbolMagnitude && value >= -maxSymbolMagnitude;
  };
  bool usable = true;
  for (Expr symbol : ranges.symbols) {
    std::optional<expr::Value> value = expr::evaluate(symbol, environment);
    usable &= value.has_value();
    symbols.push_back(value ? value->integer : 0);
  }
  // A symbol without a value (overflow, a missing load) decides nothing.
  if (!usable || !llvm::all_of(symbols, isSmall)) {
    segments.push_back({0, count, TileClass::Partial, false});
    return segments;
  }

  // How many ranges of each of the four kinds begin (or end) at a tile.
  enum { Attended, SurelyAttended, Masked, SurelyMasked };
  std::map<int64_t, std::array<int, 4>> changes;
  changes[0];
  auto enter = [&](llvm::ArrayRef<TileDisjunct> disjuncts, unsigned kind) {
    for (const TileDisjunct &disjunct : disjuncts) {
      auto [begin, end] = evaluateDisjunct(disjunct, symbols, count);
      if (begin == end)
        continue;
      for (unsigned k = kind; k <= kind + disjunct.exact; ++k) {
        ++changes[begin][k];
        --changes[end][k];
      }
    }
  };
  enter(ranges.positive, Attended);
  enter(ranges.negative, Masked);
  changes[count];

  std::array<int, 4> active = {};
  for (auto it = changes.begin(); std::next(it) != changes.end(); ++it) {
    for (unsigned k = 0; k < 4; ++k)
      active[k] += it->second[k];
    Segment segment{it->first, std::next(it)->first};
    if (!active[Attended]) {
      segment.tileClass = TileClass::Empty;
    } else if (!active[Masked]) {
      // The tile has pairs (its rows and keys are in bounds, else `crossing` or
      // `passing` would hold), and none of them is masked.
      segment.tileClass = TileClass::Full;
    } else {
      segment.decided = active[SurelyAttended] && active[SurelyMasked];
    }
    appendSegment(segments, segment);
  }
  return segments;
}

SmallVector<Segment> fovea::analysis::classifyTiles(
    Expr mask, const TileRanges &ranges, const QueryTile &tile,
    const expr::Environment &environment,
    llvm::function_ref<std::optional<Range>(Expr load,
                                            llvm::ArrayRef<Range> indices)>
        load,
    unsigned cap) {
  int64_t m = environment[Var::M], n = environment[Var::N];
  SmallVector<Segment> result;
  for (const Segment &segment : getSegments(ranges, tile, environment)) {
    if (segment.decided) {
      appendSegment(result, segment);
      continue;
    }
    RangeEnvironment box;
    for (unsigned k = 0; k < expr::numIndexVars; ++k)
      box.vars[k] = Range::point(environment.vars[k]);
    box.params = environment.params;
    box.load = load;
    box[Var::h] = {tile.hLo, tile.hHi};
    box[Var::i] = {tile.iLo, std::min(tile.iHi, m - 1)};
    for (int64_t t = segment.begin; t < segment.end; ++t) {
      int64_t first = t * ranges.tileSize;
      bool inBounds = ranges.tileSize <= n - first && tile.iHi < m;
      box[Var::j] = {first, first + std::min(ranges.tileSize, n - first) - 1};
      Segment one{t, t + 1, TileClass::Empty, true};
      if (box[Var::i].lo <= box[Var::i].hi)
        one.tileClass = classify(mask, box, cap, &one.decided);
      if (one.tileClass == TileClass::Full && !inBounds)
        one.tileClass = TileClass::Partial;
      appendSegment(result, one);
    }
  }
  return result;
}
