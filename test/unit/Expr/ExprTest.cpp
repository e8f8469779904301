// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception
//
// The expression language: its meaning against Python on drawn expressions
// (rule M5), printing that parses back, named masks, and what is refused.

#include "dialects/attn/Expr/Expr.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/raw_ostream.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>

using namespace fovea::expr;

namespace {
Scope makeScope() {
  Scope scope;
  scope.addParam("p");
  scope.addParam("n");
  scope.addTensor("len", Type::Int, 1);
  scope.addTensor("doc", Type::Int, 2);
  scope.addTensor("keep", Type::Bool, 2);
  scope.addTensor("slope", Type::Float, 1);
  return scope;
}

class ExprTest : public ::testing::Test {
protected:
  Expr mask(llvm::StringRef text) {
    Expr result = parseMask(context, scope, text, diagnostic);
    EXPECT_TRUE(bool(result)) << diagnostic.render(text);
    return result ? result : context.getBool(false);
  }
  std::string errorOf(llvm::StringRef text, bool score = false) {
    diagnostic = {};
    Expr result = score ? parseScore(context, scope, text, diagnostic)
                        : parseMask(context, scope, text, diagnostic);
    EXPECT_FALSE(bool(result)) << text.str();
    return diagnostic.message + " | " + diagnostic.hint;
  }
  std::string sugar(llvm::StringRef text) {
    return print(context, mask(text), {.sugar = true});
  }

  Context context;
  Scope scope = makeScope();
  Diagnostic diagnostic;
};

/// Draws text with Python's grammar, with random parentheses and spaces.
class Drawer {
public:
  explicit Drawer(unsigned seed) : random(seed) {}

  std::string drawBool(int depth) {
    switch (depth <= 0 ? 0 : draw(7)) {
    case 1:
      return drawBool(depth - 1) + " and " + drawBool(depth - 1);
    case 2:
      return drawBool(depth - 1) + " or " + drawBool(depth - 1);
    case 3:
      return "not " + drawBool(depth - 1);
    case 4:
      return "(" + drawBool(depth - 1) + ")";
    case 5:
      return drawInt(depth - 1) + drawComparison() + drawInt(depth - 1) +
             drawComparison() + drawInt(depth - 1);
    default:
      return drawInt(depth - 1) + drawComparison() + drawInt(depth - 1);
    }
  }

private:
  unsigned draw(unsigned count) { return random() % count; }
  std::string drawComparison() {
    static const char *const symbols[] = {" == ", "!=", " < ",
                                          "<=",   ">",  " >= "};
    return symbols[draw(6)];
  }
  std::string drawInt(int depth) {
    if (depth <= 0)
      switch (draw(3)) {
      case 0:
        return std::to_string(draw(12));
      default:
        static const char *const names[] = {"i", "j", "M", "N", "p", "h"};
        return names[draw(6)];
      }
    auto operand = [&] { return drawInt(depth - 1); };
    switch (draw(11)) {
    case 0:
      return operand() + "+" + operand();
    case 1:
      return operand() + " - " + operand();
    case 2:
      return operand() + " * " + operand();
    case 3:
      return operand() + " // " + std::to_string(1 + draw(9));
    case 4:
      return operand() + " % " + std::to_string(1 + draw(9));
    case 5:
      return operand() + " // -" + std::to_string(1 + draw(9));
    case 6:
      return operand() + " % -" + std::to_string(1 + draw(9));
    case 7:
      return "-" + operand();
    case 8:
      return (draw(2) ? "min(" : "max(") + operand() + ", " + operand() + ")";
    case 9:
      return "abs(" + operand() + ")";
    default:
      return "(" + operand() + ")";
    }
  }

  std::mt19937 random;
};
} // namespace

// The truth of 2,000 drawn expressions at 8 points each, against Python.
TEST_F(ExprTest, AgreesWithPython) {
  llvm::ErrorOr<std::string> python = llvm::sys::findProgramByName("python3");
  if (!python)
    GTEST_SKIP() << "python3 is not installed";
  llvm::SmallString<128> script, output;
  int fd = -1;
  ASSERT_FALSE(llvm::sys::fs::createTemporaryFile("expr", "py", fd, script));
  ASSERT_FALSE(llvm::sys::fs::createTemporaryFile("expr", "out", output));
  std::string mine;
  Drawer drawer(1);
  std::mt19937 random(2);
  {
    llvm::raw_fd_ostream os(fd, true);
    for (int k = 0; k < 2000; ++k) {
      std::string text = drawer.drawBool(k % 6);
      Expr expr = mask(text);
      std::string printed = print(context, expr);
      EXPECT_EQ(mask(printed), expr) << text << "\n" << printed;
      for (int point = 0; point < 8; ++point) {
        Environment environment;
        llvm::StringMap<int64_t> params;
        auto draw = [&] { return static_cast<int64_t>(random() % 41) - 20; };
        int64_t i = environment[Var::i] = draw();
        int64_t j = environment[Var::j] = draw();
        int64_t h = environment[Var::h] = draw();
        int64_t m = environment[Var::M] = draw();
        int64_t n = environment[Var::N] = draw();
        params["p"] = draw();
        environment.params = &params;
        std::optional<Value> value = evaluate(expr, environment);
        ASSERT_TRUE(value.has_value()) << text;
        mine += value->integer ? "1" : "0";
        os << "i,j,h,M,N,p=" << i << "," << j << "," << h << "," << m << ","
           << n << "," << params["p"] << "\n"
           << "print(int(bool(" << text << ")),end='')\n";
      }
    }
  }
  std::optional<llvm::StringRef> redirects[] = {
      std::nullopt, llvm::StringRef(output), std::nullopt};
  ASSERT_EQ(llvm::sys::ExecuteAndWait(*python, {*python, script}, std::nullopt,
                                      redirects),
            0);
  auto buffer = llvm::MemoryBuffer::getFile(output);
  ASSERT_TRUE(bool(buffer));
  EXPECT_EQ((*buffer)->getBuffer().str(), mine);
  llvm::sys::fs::remove(script);
  llvm::sys::fs::remove(output);
}

TEST_F(ExprTest, PrintsFewParentheses) {
  for (const char *text :
       {"i - (j - 1) <= N - M", "-(i * j) // 3 == -i % 5", "not i == j",
        "(i + j) * 2 % 7 > 0 or j < 3 and not (i < 2 or j < 2)",
        "0 <= i - j < p", "i - -5 <= j"})
    EXPECT_EQ(print(context, mask(text)), text);
  Expr score = parseScore(context, scope, "50 * tanh(s / 50)", diagnostic);
  ASSERT_TRUE(bool(score));
  EXPECT_EQ(print(context, score), "50 * tanh(s / 50)");
  for (const char *text :
       {"s + slope[h] * (j - i)", "float(i + j)", "float(i) + float(j)",
        "where(i == j, s, -0.5)", "max(max(s, 2), 0.25)", "s * (i - j) / 3",
        "i / j", "exp(i) + 1e+30 * s", "-s - -1.5"}) {
    Expr e = parseScore(context, scope, text, diagnostic);
    ASSERT_TRUE(bool(e)) << diagnostic.render(text);
    EXPECT_EQ(print(context, e), text);
    EXPECT_EQ(parseScore(context, scope, print(context, e), diagnostic), e);
  }
}

TEST_F(ExprTest, FoldsOnConstruction) {
  Expr i = context.getVar(Var::i);
  EXPECT_EQ(context.add(i, context.getInt(0)), i);
  EXPECT_EQ(context.floorDiv(context.getInt(-7), context.getInt(2)),
            context.getInt(-4));
  EXPECT_EQ(context.mod(context.getInt(-7), context.getInt(2)),
            context.getInt(1));
  Expr top = context.getInt(std::numeric_limits<int64_t>::max());
  EXPECT_TRUE(context.add(top, context.getInt(1)).is(Kind::Add));
  Expr bottom = context.getInt(std::numeric_limits<int64_t>::min());
  EXPECT_TRUE(context.floorDiv(bottom, context.getInt(-1)).is(Kind::FloorDiv));
  EXPECT_EQ(mask("not not i < j"), mask("i < j"));
  EXPECT_EQ(mask("-9223372036854775808 < i").getOperand(0), bottom);
  EXPECT_TRUE(context.get(Kind::Abs, {bottom}).is(Kind::Abs));
  EXPECT_EQ(context.get(Kind::Where, {context.getBool(true), i, top}), i);
  EXPECT_EQ(context.get(Kind::Where, {context.getBool(false), i, top}), top);
}

TEST_F(ExprTest, FoldsFloatsThatStayFinite) {
  Expr s = context.getVar(Var::s), one = context.getFloat(1);
  EXPECT_EQ(context.sub(context.getFloat(5), context.getFloat(3)),
            context.getFloat(2));
  EXPECT_EQ(context.get(Kind::Div, {s, one}), s);
  EXPECT_TRUE(context.get(Kind::Div, {one, s}).is(Kind::Div));
  EXPECT_TRUE(context.get(Kind::Div, {one, context.getFloat(0)}).is(Kind::Div));
  // That of an infinite score is NaN.
  EXPECT_TRUE(context.sub(s, s).is(Kind::Sub));
}

TEST_F(ExprTest, SubstitutesInIndices) {
  Expr i = context.getVar(Var::i), j = context.getVar(Var::j);
  Expr load = context.getLoad("len", Type::Int, {i});
  llvm::DenseMap<Expr, Expr> map = {{i, j}};
  EXPECT_EQ(substitute(context, load, map),
            context.getLoad("len", Type::Int, {j}));
}

TEST_F(ExprTest, EvaluationReportsOverflow) {
  Environment environment;
  environment[Var::i] = std::numeric_limits<int64_t>::max();
  EvalError error = EvalError::None;
  EXPECT_FALSE(evaluate(mask("i + 1 > 0"), environment, &error));
  EXPECT_EQ(error, EvalError::Overflow);
  // The arm that is not taken does not matter.
  EXPECT_TRUE(evaluate(mask("i < 0 and i + 1 > 0"), environment, &error));
  // A run-time zero divides to 0 and leaves 0.
  EXPECT_EQ(evaluate(mask("i // j == 0 and i % j == 0"), environment)->integer,
            1);
  EXPECT_FALSE(evaluate(mask("i < n"), environment, &error));
  EXPECT_EQ(error, EvalError::MissingParam);
  EXPECT_FALSE(evaluate(mask("j < len[b]"), environment, &error));
  EXPECT_EQ(error, EvalError::MissingLoad);
}

TEST_F(ExprTest, NamedMasksExpand) {
  EXPECT_EQ(mask("causal(top_left)"), mask("j <= i"));
  EXPECT_EQ(mask("causal(bottom_right)"), mask("j <= i + N - M"));
  EXPECT_EQ(mask("causal(offset(p))"), mask("j <= i + p"));
  EXPECT_EQ(mask("window(3, 0, top_left)"), mask("i - 3 <= j and j <= i"));
  EXPECT_EQ(mask("window(-1, 2, bottom_right)"), mask("j <= i + N - M + 2"));
  EXPECT_EQ(mask("window(-1, -1, top_left)"), mask("true"));
  EXPECT_EQ(mask("window(p, 0, top_left)"),
            mask("(p < 0 or i - p <= j) and j <= i"));
  // The alignment comes from the causal mask, whichever stands first.
  EXPECT_EQ(mask("window(4, 0) and causal(bottom_right)"),
            mask("window(4, 0, bottom_right) and causal(bottom_right)"));
  EXPECT_EQ(mask("causal(offset(p)) and chunk(8)"),
            mask("j <= i + p and (i + p) // 8 == j // 8"));
  EXPECT_EQ(mask("chunk(8)"), mask("i // 8 == j // 8"));
  EXPECT_EQ(mask("strided(5)"), mask("(i - j) % 5 == 0"));
  EXPECT_EQ(mask("fixed(8, 2)"), mask("i // 8 == j // 8 or j % 8 >= 6"));
  EXPECT_EQ(mask("dilated(2, 1, 3, top_left)"),
            mask("i - 6 <= j and j <= i + 3 and (j - i) % 3 == 0"));
  EXPECT_EQ(mask("global(4)"), mask("i < 4 or j < 4"));
  EXPECT_EQ(mask("prefix(n)"), mask("j < n"));
  EXPECT_EQ(mask("lengths(len)"), mask("j < len[b]"));
  EXPECT_EQ(mask("document(doc)"), mask("doc[b, i] == doc[b, j]"));
  EXPECT_EQ(mask("dense(keep)"), mask("keep[i, j]"));
  EXPECT_EQ(mask("block(keep, 16)"), mask("keep[i // 16, j // 16]"));
}

TEST_F(ExprTest, NamedMasksArePrintedBack) {
  for (const char *text :
       {"causal(top_left)",
        "causal(bottom_right)",
        "causal(offset(p))",
        "causal(bottom_right) and window(4095, 0)",
        "window(5, 0, top_left)",
        "window(3, -1, bottom_right)",
        "window(p, n, offset(7))",
        "prefix(n)",
        "chunk(24)",
        "chunk(8, bottom_right)",
        "strided(5)",
        "fixed(32, 4)",
        "fixed(n, 3)",
        "dilated(8, 8, 3, top_left)",
        "dilated(p, 0, n, bottom_right)",
        "dilated(3, 1, n, top_left)",
        "global(16)",
        "not causal(top_left) or causal(bottom_right) and chunk(8, top_left)",
        "global(4) or window(64, 64, top_left)",
        "j < len[b]"}) {
    EXPECT_EQ(sugar(text), text);
    EXPECT_EQ(mask(sugar(text)), mask(text)) << text;
    EXPECT_EQ(mask(print(context, mask(text))), mask(text)) << text;
  }
  EXPECT_EQ(findAlignment(context, mask("window(4, 0) and "
                                        "causal(bottom_right)"))
                ->kind,
            Alignment::BottomRight);
  EXPECT_FALSE(findAlignment(context, mask("chunk(4)")));
  // One step to the right is no causal(offset(n)).
  EXPECT_EQ(
      findAlignment(context, mask("dilated(3, 1, n, bottom_right)"))->kind,
      Alignment::BottomRight);
}

TEST_F(ExprTest, RefusesWithRuleAndWayOut) {
  // `marked` is the text that the message is about, from `offset` on.
  auto expectError = [&](const char *text, const char *part, size_t offset,
                         const char *marked, bool isScore = false) {
    std::string error = errorOf(text, isScore);
    EXPECT_NE(error.find(part), std::string::npos) << text << ": " << error;
    EXPECT_EQ(diagnostic.offset, offset) << diagnostic.render(text);
    EXPECT_EQ(llvm::StringRef(text).substr(offset, diagnostic.length), marked)
        << diagnostic.render(text);
  };
  expectError("j <= i / 2", "'/' is not allowed in a mask", 7, "/");
  expectError("j < 0.5", "a float is not allowed in a mask", 4, "0.5");
  expectError("j // 0 == 1", "division by the constant 0", 5, "0");
  expectError("j % (2 - 2) == 1", "division by the constant 0", 4, "(2 - 2)");
  expectError("(i < j) + 1 > 0", "this is a truth value", 0, "(i < j)");
  expectError("(i < j) == (j < i)", "this is a truth value", 0, "(i < j)");
  expectError("i == (j < i)", "this is a truth value", 5, "(j < i)");
  expectError("-(i < j) < 0", "'-' takes numbers", 1, "(i < j)");
  expectError("i and j < 2", "'and' takes truth values", 0, "i");
  expectError("j < 2 and i", "'and' takes truth values", 10, "i");
  expectError("j < 2 or - i * 2", "'or' takes truth values", 9, "- i * 2");
  expectError("i < j and j < 2 + (i < 3 or j < 4)", "takes numbers", 18,
              "(i < 3 or j < 4)");
  expectError("not i < j + M + min(i, 3)[0]", "unexpected '['", 25, "[");
  expectError("len[i < j <= 3 and j < 2]", "an index takes integers", 4,
              "i < j <= 3 and j < 2");
  expectError("len[not (i < j)] < 2", "an index takes integers", 4,
              "not (i < j)");
  expectError("slope[i * 1.5 + 2.5]", "an index takes integers", 6,
              "i * 1.5 + 2.5", /*isScore=*/true);
  expectError("slope[-2.5]", "an index takes integers", 6, "-2.5",
              /*isScore=*/true);
  expectError("slope[exp(s)]", "an index takes integers", 6, "exp(s)",
              /*isScore=*/true);
  expectError("where(i < 2, j, j < 3) < 1", "two numbers or two truth values",
              16, "j < 3");
  expectError("min(i, len[b]) < tril", "unknown name", 17, "tril");
  expectError("chunk(-3)", "at least 1", 6, "-3");
  expectError("j <= i + lenn[b]", "did you mean 'len'", 9, "lenn");
  expectError("casual(top_left)", "did you mean 'causal'", 0, "casual");
  expectError("causal()", "rule M3", 7, ")");
  expectError("causal(left)", "unknown alignment", 7, "left");
  expectError("window(4, 0)", "rules M3, M4", 0, "window(4, 0)");
  expectError("causal(top_left) and window(4, 0) or causal(bottom_right)",
              "differ", 21, "window(4, 0)");
  expectError("window(-2, 0, top_left)", "at least -1", 7, "-2");
  expectError("chunk(0)", "at least 1", 6, "0");
  expectError("i", "a mask is a truth value", 0, "i");
  expectError("  i + j ", "a mask is a truth value", 2, "i + j");
  expectError("i = j", "'=='", 2, "=");
  expectError("i < j && j < 3", "write 'and'", 6, "&&");
  expectError("i == not j", "before a whole comparison", 5, "not");
  expectError("9223372036854775808 > i", "64 bits", 0, "9223372036854775808");
  expectError("9223372036854775807 + 1 > i", "leaves 64 bits", 0,
              "9223372036854775807 + 1");
  expectError("j < len", "needs indices", 4, "len");
  expectError("j < len[b, i]", "1 dimensions, 2", 4, "len[b, i]");
  expectError("j < i(2)", "takes no '('", 5, "(");
  expectError("s < 1", "score", 0, "s");
  expectError("", "unexpected end", 0, "");
  expectError("i < ", "unexpected end", 4, "");
  expectError("i < j)", "unexpected ')'", 5, ")");
  expectError("i < 3x", "a number ends", 4, "3x");
  expectError("i < \xc3\xa9", "unexpected", 4, "\xc3\xa9");
  expectError("slope[h] < 1", "float tensor", 0, "slope");
  expectError("i < j", "rule S3", 0, "i < j", /*isScore=*/true);
  expectError("s * 1e999", "out of range", 4, "1e999", /*isScore=*/true);
}

TEST_F(ExprTest, MarksTheLineThatIsWrong) {
  auto rendered = [&](const std::string &text) {
    errorOf(text);
    std::string all = diagnostic.render(text);
    return all.substr(all.find('\n') + 1);
  };
  EXPECT_EQ(rendered("j <= i + nn"), "j <= i + nn\n         ^~\n");
  EXPECT_EQ(rendered("j < 3 and\n\ti\t< nn and\ni < 4"),
            "\ti\t< nn and\n\t \t  ^~\n");
}

TEST_F(ExprTest, BoundsNestingDepthAndSize) {
  auto nested = [](unsigned count) {
    return std::string(count, '(') + "i < j" + std::string(count, ')');
  };
  mask(nested(maxNesting - 1));
  EXPECT_NE(errorOf(nested(100000)).find("nested"), std::string::npos);
  EXPECT_NE(errorOf(std::string(100000, '-') + "i < j").find("nested"),
            std::string::npos);
  std::string chain = "i";
  for (int k = 0; k < 2000; ++k)
    chain += " + j";
  EXPECT_NE(errorOf(chain + " < 0").find("deeper"), std::string::npos);
  // A chain repeats its middle: 40 of them nested are 2^40 operations.
  std::string chained = "i";
  for (int k = 0; k < 40; ++k)
    chained = "where(0 < " + chained + " < j, 1, 2)";
  EXPECT_NE(errorOf(chained + " < 3").find("10000"), std::string::npos);
}

TEST_F(ExprTest, SurvivesRandomBytes) {
  std::mt19937 random(3);
  const std::string pieces[] = {
      "i", "j", "(",   ")", "<",   "//", "window", ",",    "causal", "top_left",
      "[", "]", "len", "1", "and", "-",  "not",    "\xff", "where",  "offset"};
  for (int k = 0; k < 20000; ++k) {
    std::string text;
    for (unsigned n = random() % 12; n; --n)
      text += pieces[random() % std::size(pieces)] + " ";
    Diagnostic local;
    if (Expr e = parseMask(context, scope, text, local))
      EXPECT_EQ(parseMask(context, scope, print(context, e), local), e);
    else
      EXPECT_LE(local.offset, text.size());
  }
}
