// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception
//
// Interval evaluation and the bisecting classifier against every point of the
// box, and at the ends of 64 bits (rule M5).

#include "compiler/Analysis/Interval.h"
#include "test/unit/Analysis/MaskDrawer.h"

#include <gtest/gtest.h>

using namespace fovea;
using namespace fovea::analysis;
using expr::Expr;
using expr::Var;

namespace {
Expr parse(expr::Context &context, const std::string &text) {
  expr::Scope scope;
  scope.addParam("p");
  scope.addParam("n");
  scope.addTensor("len", expr::Type::Int, 1);
  scope.addTensor("doc", expr::Type::Int, 1);
  expr::Diagnostic diagnostic;
  Expr mask = expr::parseMask(context, scope, text, diagnostic);
  EXPECT_TRUE(bool(mask)) << diagnostic.render(text);
  return mask ? mask : context.getBool(false);
}

Range boxOf(RangeEnvironment &environment, Var var, int64_t lo, int64_t hi) {
  return environment[var] = Range{lo, hi};
}
} // namespace

// Operations over all small ranges: every value inside, and the range no wider
// than the values where the operation is monotone.
TEST(IntervalTest, HoldsEveryValue) {
  expr::Context context;
  int checked = 0;
  for (const char *text :
       {"i + j", "i - j", "i * j", "i // j", "i % j", "min(i, j)", "max(i, j)",
        "abs(i)", "-i", "i // 3", "i // -3", "i % 4", "i % -4",
        "where(i < j, i, 7)"}) {
    Expr value = parse(context, std::string(text) + " < n").getOperand(0);
    bool tight = std::string(text).find('%') == std::string::npos;
    for (int64_t ilo = -6; ilo <= 6; ++ilo)
      for (int64_t ihi = ilo; ihi <= 7; ++ihi)
        for (int64_t jlo = -5; jlo <= 5; ++jlo)
          for (int64_t jhi = jlo; jhi <= 5; ++jhi) {
            RangeEnvironment ranges;
            boxOf(ranges, Var::i, ilo, ihi);
            boxOf(ranges, Var::j, jlo, jhi);
            Range range = evaluateRange(value, ranges);
            Range truth{std::numeric_limits<int64_t>::max(),
                        std::numeric_limits<int64_t>::min()};
            for (int64_t i = ilo; i <= ihi; ++i)
              for (int64_t j = jlo; j <= jhi; ++j) {
                expr::Environment point;
                point[Var::i] = i;
                point[Var::j] = j;
                int64_t v = expr::evaluate(value, point)->integer;
                truth = {std::min(truth.lo, v), std::max(truth.hi, v)};
              }
            ASSERT_LE(range.lo, truth.lo) << text;
            ASSERT_GE(range.hi, truth.hi) << text;
            if (tight && std::string(text).find("where") != 0)
              ASSERT_TRUE(range == truth) << text;
            ++checked;
          }
  }
  EXPECT_GT(checked, 50000);
}

// What 64-bit code computes, wrapping; the truth where exact evaluation has
// none.
static int64_t wrap(Expr e, const expr::Environment &point) {
  auto at = [&](unsigned k) {
    return static_cast<uint64_t>(wrap(e.getOperand(k), point));
  };
  switch (e.getKind()) {
  case expr::Kind::Add:
    return at(0) + at(1);
  case expr::Kind::Sub:
    return at(0) - at(1);
  case expr::Kind::Mul:
    return at(0) * at(1);
  case expr::Kind::Neg:
    return -at(0);
  case expr::Kind::And:
    return at(0) & at(1);
  default:
    break;
  }
  // The rest, over operands that are computed already.
  expr::Context context;
  llvm::SmallVector<Expr, 2> operands;
  for (Expr operand : e.getOperands())
    operands.push_back(operand.getType() == expr::Type::Bool
                           ? context.getBool(wrap(operand, point))
                           : context.getInt(wrap(operand, point)));
  Expr one = operands.empty() ? e : context.getUnfolded(e.getKind(), operands);
  std::optional<expr::Value> value = expr::evaluate(one, point);
  // Only |-2^63| and -2^63 // -1 are left, which wrap to themselves.
  return value ? value->integer : std::numeric_limits<int64_t>::min();
}

// At the ends of 64 bits: points drawn from a box of extreme values never
// contradict the box.
TEST(IntervalTest, SoundAtTheEndsOf64Bits) {
  expr::Context context;
  test::MaskDrawer drawer(7);
  const int64_t top = std::numeric_limits<int64_t>::max();
  const int64_t anchors[] = {-top - 1, -top,    -(top / 2), -4294967296,
                             -1,       0,       1,          2147483648,
                             top / 2,  top - 1, top};
  int decided = 0;
  for (const char *text :
       {"j <= i + N - M", "i * j < n", "i - p <= j and j <= i + p",
        "i // n == j // n", "(i - j) % n == 0", "abs(i - j) < p", "-i < j",
        "i * N + j < p * M", "max(i, j) - min(i, j) <= n", "i // -1 <= j"}) {
    Expr mask = parse(context, text);
    for (int round = 0; round < 3000; ++round) {
      auto draw = [&] {
        int64_t anchor = anchors[drawer.draw(0, 10)];
        int64_t shift = drawer.draw(-3, 3);
        return static_cast<int64_t>(static_cast<uint64_t>(anchor) +
                                    static_cast<uint64_t>(shift));
      };
      llvm::StringMap<int64_t> params{{"p", draw()}, {"n", draw()}};
      RangeEnvironment box;
      box.params = &params;
      expr::Environment point;
      point.params = &params;
      for (Var var : {Var::i, Var::j, Var::M, Var::N}) {
        int64_t x = draw(), y = draw();
        bool isAxis = var == Var::i || var == Var::j;
        box[var] =
            isAxis ? Range{std::min(x, y), std::max(x, y)} : Range::point(x);
        point[var] = x;
      }
      Truth truth = evaluateTruth(mask, box);
      TileClass tile = classify(mask, box);
      for (int sample = 0; sample < 4; ++sample) {
        for (Var var : {Var::i, Var::j})
          point[var] = sample == 0   ? box[var].lo
                       : sample == 1 ? box[var].hi
                                     : drawer.draw(box[var].lo, box[var].hi);
        bool value = wrap(mask, point);
        if (std::optional<expr::Value> exact = expr::evaluate(mask, point))
          EXPECT_EQ(exact->integer != 0, value) << text;
        if (truth != Truth::Maybe)
          EXPECT_EQ(value, truth == Truth::True) << text;
        if (tile != TileClass::Partial)
          EXPECT_EQ(value, tile == TileClass::Full) << text;
        decided += truth != Truth::Maybe;
      }
    }
  }
  EXPECT_GT(decided, 10000);
}

TEST(IntervalTest, CapAnswersPartial) {
  expr::Context context;
  Expr mask = parse(context, "(i - j) * (i - j) % 97 == 96");
  RangeEnvironment box;
  boxOf(box, Var::i, 0, 4);
  boxOf(box, Var::j, 0, 12);
  bool decided = true;
  EXPECT_EQ(classify(mask, box, 8, &decided), TileClass::Partial);
  EXPECT_FALSE(decided);
  EXPECT_EQ(classify(mask, box, 100000, &decided), TileClass::Empty);
  EXPECT_TRUE(decided);
}

TEST(IntervalTest, LoadsComeAsRanges) {
  expr::Context context;
  Expr mask = parse(context, "doc[i] == doc[j]");
  RangeEnvironment box;
  boxOf(box, Var::i, 0, 15);
  boxOf(box, Var::j, 16, 31);
  EXPECT_EQ(classify(mask, box), TileClass::Partial);
  // Documents of 16: the two halves of the keys never meet.
  auto load = [](Expr, llvm::ArrayRef<Range> index) -> std::optional<Range> {
    return Range{index[0].lo / 16, index[0].hi / 16};
  };
  box.load = load;
  EXPECT_EQ(classify(mask, box), TileClass::Empty);
  boxOf(box, Var::j, 0, 15);
  EXPECT_EQ(classify(mask, box), TileClass::Full);
}
