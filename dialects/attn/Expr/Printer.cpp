// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception
//
// Expression to text: as few parentheses as the precedence rules allow, and
// conversions to float left out where the parser puts them back. The text
// parses to the very same expression.

#include "dialects/attn/Expr/Expr.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/ErrorHandling.h"

#include <charconv>
#include <cmath>

using namespace fovea::expr;
using llvm::StringRef;

namespace {
/// Binding strength, loosest first; as in Python.
enum Precedence : unsigned {
  Or = 1,
  And,
  Not,
  Compare,
  Sum,
  Term,
  Unary,
  Atom
};

class Printer {
public:
  Printer(Context &context, PrintOptions options)
      : context(context), options(options) {}

  std::string print(Expr expr) {
    if (options.sugar) {
      collectCausal(expr);
      if (causalAlignmentsDiffer)
        causalAlignment.reset();
    }
    print(expr, Precedence::Or);
    return std::move(text);
  }

private:
  /// The alignment that window() and others may leave out.
  void collectCausal(Expr expr) {
    if (std::optional<NamedMaskUse> use = matchNamedMask(context, expr)) {
      if (use->mask->aligns == NamedMask::Aligns::Required) {
        if (causalAlignment && !(*causalAlignment == *use->alignment))
          causalAlignmentsDiffer = true;
        causalAlignment = use->alignment;
      }
      return;
    }
    for (Expr operand : expr.getOperands())
      collectCausal(operand);
  }

  void printList(llvm::ArrayRef<Expr> list) {
    llvm::interleave(
        list, [&](Expr e) { print(e, Precedence::Or); }, [&] { text += ", "; });
  }

  void printAlignment(const Alignment &alignment) {
    switch (alignment.kind) {
    case Alignment::TopLeft:
      text += "top_left";
      return;
    case Alignment::BottomRight:
      text += "bottom_right";
      return;
    case Alignment::Offset:
      text += "offset(";
      print(alignment.offset, Precedence::Or);
      text += ")";
    }
  }

  bool printSugar(Expr expr) {
    using Aligns = NamedMask::Aligns;
    if (!options.sugar)
      return false;
    std::optional<NamedMaskUse> use = matchNamedMask(context, expr);
    if (!use)
      return false;
    text += use->mask->name;
    text += "(";
    printList(use->arguments);
    if (use->alignment) {
      bool isDefault = causalAlignment ? *causalAlignment == *use->alignment
                                       : !causalAlignmentsDiffer &&
                                             use->mask->aligns ==
                                                 Aligns::InheritedOrTopLeft &&
                                             *use->alignment == Alignment();
      if (use->mask->aligns == Aligns::Required || !isDefault) {
        if (!use->arguments.empty())
          text += ", ";
        printAlignment(*use->alignment);
      }
    }
    text += ")";
    return true;
  }

  /// `likeInt`: the parser converts an integer here to float.
  void printFloat(double value, bool likeInt) {
    char buffer[64];
    if (likeInt && std::trunc(value) == value && std::fabs(value) < 1e15 &&
        !std::signbit(value)) {
      text += std::to_string(static_cast<int64_t>(value));
      return;
    }
    auto [end, error] = std::to_chars(buffer, buffer + sizeof(buffer), value);
    (void)error; // the buffer holds any double
    StringRef digits(buffer, end - buffer);
    text += digits;
    if (digits.find_first_of(".en") == StringRef::npos)
      text += ".0";
  }

  void printOperator(Expr expr, StringRef symbol, Precedence left,
                     Precedence right) {
    Expr x = expr.getOperand(0), y = expr.getOperand(1);
    // Beside an operand that is a float in itself, integers are converted; a
    // quotient converts both.
    bool isDiv = expr.is(Kind::Div);
    auto convertible = [](Expr e) {
      return e.is(Kind::ToFloat) || e.is(Kind::FloatConst);
    };
    bool implicitX = isDiv || (x.getType() == Type::Float && !convertible(y));
    bool implicitY = isDiv || (x.getType() == Type::Float && !convertible(x));
    printOperand(x, left, implicitX);
    text += symbol;
    printOperand(y, right, implicitY);
  }

  void printOperand(Expr expr, Precedence context, bool implicit) {
    if (implicit && expr.is(Kind::ToFloat))
      expr = expr.getOperand(0);
    else if (implicit && expr.is(Kind::FloatConst))
      return printFloatConst(expr, context, true);
    print(expr, context);
  }

  void printFloatConst(Expr expr, Precedence context, bool likeInt) {
    bool parens = std::signbit(expr.getFloat()) && context > Precedence::Unary;
    text += parens ? "(" : "";
    printFloat(expr.getFloat(), likeInt);
    text += parens ? ")" : "";
  }

  void printCall(StringRef name, Expr expr, bool implicit) {
    text += name;
    text += "(";
    llvm::interleave(
        expr.getOperands(),
        [&](Expr e) { printOperand(e, Precedence::Or, implicit); },
        [&] { text += ", "; });
    text += ")";
  }

  /// min, max and where convert integers beside one float.
  void printMixedCall(StringRef name, Expr expr) {
    llvm::ArrayRef<Expr> operands = expr.getOperands();
    auto isFloatItself = [](Expr e) {
      return e.getType() == Type::Float && !e.is(Kind::ToFloat) &&
             !e.is(Kind::FloatConst);
    };
    bool implicit = llvm::any_of(operands, isFloatItself);
    printCall(name, expr, implicit);
  }

  void print(Expr expr, Precedence minimum) {
    auto needs = [&](Precedence own) { return own < minimum; };
    auto grouped = [&](Precedence own, llvm::function_ref<void()> body) {
      if (needs(own))
        text += "(";
      body();
      if (needs(own))
        text += ")";
    };
    auto binary = [&](StringRef symbol, Precedence own) {
      // Left-associative; a comparison takes no comparison on either side.
      Precedence tighter = static_cast<Precedence>(own + 1);
      grouped(own, [&] {
        printOperator(expr, symbol, own == Precedence::Compare ? tighter : own,
                      tighter);
      });
    };
    if (expr.getType() == Type::Bool && printSugar(expr))
      return;
    switch (expr.getKind()) {
    case Kind::IntConst:
      grouped(expr.getInt() < 0 ? Precedence::Unary : Precedence::Atom,
              [&] { text += std::to_string(expr.getInt()); });
      return;
    case Kind::BoolConst:
      text += expr.getBool() ? "true" : "false";
      return;
    case Kind::FloatConst:
      return printFloatConst(expr, minimum, false);
    case Kind::Var:
      text += getVarName(expr.getVar());
      return;
    case Kind::Param:
      text += expr.getName();
      return;
    case Kind::Load:
      text += expr.getName();
      if (expr.getNumOperands()) {
        text += "[";
        printList(expr.getOperands());
        text += "]";
      }
      return;
    case Kind::Neg:
      return grouped(Precedence::Unary, [&] {
        text += "-";
        // -(1) would read as the literal -1, and -1.0 likewise.
        Expr x = expr.getOperand(0);
        bool positiveLiteral =
            (x.is(Kind::IntConst) && x.getInt() >= 0) ||
            (x.is(Kind::FloatConst) && !std::signbit(x.getFloat()));
        print(x, positiveLiteral ? Precedence::Atom : Precedence::Unary);
      });
    case Kind::Not:
      return grouped(Precedence::Not, [&] {
        text += "not ";
        print(expr.getOperand(0), Precedence::Not);
      });
    case Kind::Or:
      return binary(" or ", Precedence::Or);
    case Kind::And:
      return printAnd(expr, minimum);
    case Kind::Eq:
      return binary(" == ", Precedence::Compare);
    case Kind::Ne:
      return binary(" != ", Precedence::Compare);
    case Kind::Lt:
      return binary(" < ", Precedence::Compare);
    case Kind::Le:
      return binary(" <= ", Precedence::Compare);
    case Kind::Gt:
      return binary(" > ", Precedence::Compare);
    case Kind::Ge:
      return binary(" >= ", Precedence::Compare);
    case Kind::Add:
      return binary(" + ", Precedence::Sum);
    case Kind::Sub:
      return binary(" - ", Precedence::Sum);
    case Kind::Mul:
      return binary(" * ", Precedence::Term);
    case Kind::FloorDiv:
      return binary(" // ", Precedence::Term);
    case Kind::Mod:
      return binary(" % ", Precedence::Term);
    case Kind::Div:
      return binary(" / ", Precedence::Term);
    case Kind::Min:
      return printMixedCall("min", expr);
    case Kind::Max:
      return printMixedCall("max", expr);
    case Kind::Where:
      return printMixedCall("where", expr);
    case Kind::Abs:
      return printCall("abs", expr, false);
    case Kind::Exp:
      return printCall("exp", expr, true);
    case Kind::Log:
      return printCall("log", expr, true);
    case Kind::Tanh:
      return printCall("tanh", expr, true);
    case Kind::Sqrt:
      return printCall("sqrt", expr, true);
    case Kind::Sin:
      return printCall("sin", expr, true);
    case Kind::Cos:
      return printCall("cos", expr, true);
    case Kind::ToFloat:
      return printCall("float", expr, false);
    }
  }

  static StringRef getSymbol(Kind comparison) {
    switch (comparison) {
    case Kind::Lt:
      return " < ";
    case Kind::Le:
      return " <= ";
    case Kind::Gt:
      return " > ";
    case Kind::Ge:
      return " >= ";
    default:
      return "";
    }
  }

  /// a <= b and b < c, both in one direction, as the chain a <= b < c.
  void printAnd(Expr expr, Precedence minimum) {
    Expr x = expr.getOperand(0), y = expr.getOperand(1);
    auto direction = [](Expr e) {
      switch (e.getKind()) {
      case Kind::Lt:
      case Kind::Le:
        return 1;
      case Kind::Gt:
      case Kind::Ge:
        return -1;
      default:
        return 0;
      }
    };
    auto isSugar = [&](Expr e) {
      return options.sugar && matchNamedMask(context, e);
    };
    bool chain = direction(x) && direction(x) == direction(y) &&
                 x.getOperand(1) == y.getOperand(0) &&
                 x.getOperand(1).getType() == Type::Int &&
                 !x.getOperand(1).isConstant() && !isSugar(x) && !isSugar(y);
    Precedence own = chain ? Precedence::Compare : Precedence::And;
    if (own < minimum)
      text += "(";
    if (chain) {
      print(x.getOperand(0), Precedence::Sum);
      text += getSymbol(x.getKind());
      print(x.getOperand(1), Precedence::Sum);
      text += getSymbol(y.getKind());
      print(y.getOperand(1), Precedence::Sum);
    } else {
      print(x, Precedence::And);
      text += " and ";
      print(y, Precedence::Not);
    }
    if (own < minimum)
      text += ")";
  }

  Context &context;
  PrintOptions options;
  std::string text;
  std::optional<Alignment> causalAlignment;
  bool causalAlignmentsDiffer = false;
};
} // namespace

std::string fovea::expr::print(Context &context, Expr expr,
                               PrintOptions options) {
  return Printer(context, options).print(expr);
}
