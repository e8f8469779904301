// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception
//
// Text to expression: a recursive-descent parser with Python's precedence. It
// checks types and names as it goes, stops at the first error and says where it
// is, which rule it breaks and what to write instead. Text is untrusted: depth,
// nesting and size are bounded.

#include "dialects/attn/Expr/Detail.h"
#include "dialects/attn/Expr/Expr.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/ADT/Twine.h"

#include <charconv>
#include <cmath>

using namespace fovea::expr;
using llvm::StringRef;
using llvm::Twine;

std::string Diagnostic::render(StringRef text) const {
  // Only the line that holds the offset is shown.
  size_t begin = text.rfind('\n', offset);
  begin = begin == StringRef::npos ? 0 : begin + 1;
  begin = std::min(begin, offset);
  StringRef line = text.substr(begin).take_until(
      [](char c) { return c == '\n' || c == '\r'; });
  std::string out = "error: " + message + "\n" + line.str() + "\n";
  for (size_t k = begin; k < offset; ++k)
    out += k < text.size() && text[k] == '\t' ? '\t' : ' ';
  out += "^";
  size_t end = std::min(offset + length, begin + line.size());
  if (end > offset + 1)
    out.append(end - offset - 1, '~');
  out += "\n";
  if (!hint.empty())
    out += "hint: " + hint + "\n";
  return out;
}

//===----------------------------------------------------------------------===//
// Tokens
//===----------------------------------------------------------------------===//

namespace {
enum class Token : uint8_t { End, Int, Float, Name, Symbol, Bad };

struct Lexeme {
  Token token = Token::End;
  StringRef text;
  size_t offset = 0;

  bool is(StringRef symbol) const {
    return (token == Token::Symbol || token == Token::Name) && text == symbol;
  }
};

Lexeme lex(StringRef text, size_t offset) {
  while (offset < text.size() && llvm::isSpace(text[offset]))
    ++offset;
  StringRef rest = text.substr(offset);
  if (rest.empty())
    return {Token::End, "", offset};
  auto make = [&](Token token, size_t length) {
    return Lexeme{token, rest.substr(0, length), offset};
  };
  auto isWord = [](char c) { return llvm::isAlnum(c) || c == '_'; };
  if (llvm::isAlpha(rest[0]) || rest[0] == '_')
    return make(Token::Name, rest.take_while(isWord).size());
  if (llvm::isDigit(rest[0]) ||
      (rest[0] == '.' && rest.size() > 1 && llvm::isDigit(rest[1]))) {
    size_t end = rest.take_while(llvm::isDigit).size();
    Token token = Token::Int;
    if (end < rest.size() && rest[end] == '.') {
      token = Token::Float;
      end += 1 + rest.substr(end + 1).take_while(llvm::isDigit).size();
    }
    if (end < rest.size() && (rest[end] == 'e' || rest[end] == 'E')) {
      size_t digits = end + 1;
      if (digits < rest.size() && (rest[digits] == '+' || rest[digits] == '-'))
        ++digits;
      size_t count = rest.substr(digits).take_while(llvm::isDigit).size();
      if (count) {
        token = Token::Float;
        end = digits + count;
      }
    }
    size_t word = rest.substr(end).take_while(isWord).size();
    return word ? make(Token::Bad, end + word) : make(token, end);
  }
  for (StringRef symbol : {"//", "**", "==", "!=", "<=", ">=", "&&", "||"})
    if (rest.starts_with(symbol))
      return make(Token::Symbol, 2);
  if (StringRef("+-*/%()[],<>=!&|^~").contains(rest[0]))
    return make(Token::Symbol, 1);
  // One whole UTF-8 sequence, so that no caret splits a character.
  size_t length = 1;
  while (length < rest.size() && (rest[length] & 0xC0) == 0x80)
    ++length;
  return make(Token::Bad, length);
}

constexpr llvm::StringLiteral functionNames[] = {"min",   "max", "abs", "where",
                                                 "float", "exp", "log", "tanh",
                                                 "sqrt",  "sin", "cos"};
constexpr llvm::StringLiteral keywords[] = {
    "and", "or",   "not", "true", "True",     "False",        "false",
    "if",  "else", "in",  "is",   "top_left", "bottom_right", "offset"};

std::optional<Var> findVar(StringRef name) {
  for (unsigned k = 0; k <= static_cast<unsigned>(Var::s); ++k)
    if (getVarName(static_cast<Var>(k)) == name)
      return static_cast<Var>(k);
  return std::nullopt;
}

StringRef getTypeName(Type type) {
  switch (type) {
  case Type::Int:
    return "an integer";
  case Type::Bool:
    return "a truth value";
  case Type::Float:
    return "a float";
  }
  return "";
}

enum class Mode : uint8_t { Mask, Score, Formula };

/// An expression and the text that it came from.
struct Parsed {
  Expr expr;
  size_t begin = 0;
  size_t end = 0;
  explicit operator bool() const { return bool(expr); }
};

//===----------------------------------------------------------------------===//
// Parser
//===----------------------------------------------------------------------===//

class Parser {
public:
  Parser(Context &context, const Scope &scope, StringRef text, Mode mode,
         Diagnostic &diagnostic)
      : context(context), scope(scope), text(text), mode(mode),
        diagnostic(diagnostic) {}

  /// The alignment for masks that leave theirs out.
  std::optional<Alignment> inherited;
  /// Bound names, in a formula of the named-mask table.
  const llvm::StringMap<Expr> *bindings = nullptr;

  // What was seen, to decide the inherited alignment.
  std::optional<Alignment> causalAlignment;
  bool causalAlignmentsDiffer = false;
  bool leftAlignmentOut = false;
  bool resolving = false; // the alignment in `inherited` is decided

  Expr parse() {
    next();
    Parsed result = parseOr();
    if (!result)
      return Expr();
    if (current.token != Token::End)
      return unexpected("after the expression");
    return result.expr;
  }

private:
  //===--- Errors ---===//

  Expr fail(size_t offset, size_t length, const Twine &message,
            const Twine &hint = "") {
    diagnostic = {offset, std::max<size_t>(length, 1), message.str(),
                  hint.str()};
    return Expr();
  }
  Expr fail(const Lexeme &at, const Twine &message, const Twine &hint = "") {
    return fail(at.offset, at.text.size(), message, hint);
  }
  Expr fail(const Parsed &at, const Twine &message, const Twine &hint = "") {
    return fail(at.begin, at.end - at.begin, message, hint);
  }

  Expr unexpected(const Twine &where) {
    if (current.token == Token::End)
      return fail(current, "unexpected end of the expression " + where);
    StringRef hint = llvm::StringSwitch<StringRef>(current.text)
                         .Case("=", "equality is written '=='")
                         .Cases({"&", "&&"}, "write 'and'")
                         .Cases({"|", "||"}, "write 'or'")
                         .Cases({"!", "~"}, "write 'not'")
                         .Case("**", "there is no power; multiply")
                         .Case("^", "there is no power and no exclusive or")
                         .Cases({"if", "else"}, "write where(c, x, y)")
                         .Case("not", "write 'not' before a whole comparison, "
                                      "or put it in parentheses")
                         .Default("");
    if (current.token == Token::Bad && llvm::isDigit(current.text[0]))
      hint = "a number ends where a letter begins; put an operator between";
    return fail(current, "unexpected '" + current.text + "' " + where, hint);
  }

  /// Python's edit-distance help over every name that would be right here.
  std::string nearest(StringRef name) {
    std::string best;
    unsigned bestDistance = std::max<size_t>(name.size() / 3, 1) + 1;
    auto consider = [&](StringRef candidate) {
      unsigned distance = name.edit_distance(candidate, true, bestDistance);
      if (distance < bestDistance && distance < candidate.size()) {
        bestDistance = distance;
        best = candidate.str();
      }
    };
    // Sorted, so that a tie does not depend on hashing.
    llvm::SmallVector<StringRef> names;
    for (const auto &entry : scope.tensors)
      names.push_back(entry.getKey());
    for (const auto &entry : scope.params)
      names.push_back(entry.getKey());
    llvm::sort(names);
    llvm::for_each(names, consider);
    llvm::for_each(functionNames, consider);
    for (const NamedMask &mask : getNamedMasks())
      consider(mask.name);
    for (StringRef word : {"and", "or", "not", "true", "false"})
      consider(word);
    return best.empty() ? std::string() : "did you mean '" + best + "'?";
  }

  //===--- Tokens ---===//

  void next() {
    previousEnd = current.offset + current.text.size();
    current = lex(text, current.offset + current.text.size());
  }
  bool accept(StringRef symbol) {
    if (!current.is(symbol))
      return false;
    next();
    return true;
  }
  bool expect(StringRef symbol, const Twine &where) {
    if (accept(symbol))
      return true;
    unexpected(where + ", expected '" + symbol + "'");
    return false;
  }

  //===--- Building ---===//

  Parsed finish(Expr expr, size_t begin, size_t end) {
    Parsed result{expr, begin, end};
    if (!expr)
      return result;
    if (expr.getDepth() > maxDepth)
      return {fail(result, "expression is deeper than " + Twine(maxDepth) +
                               " operations")};
    if (expr.getTreeSize() > maxNodes)
      return {fail(result,
                   "expression has more than " + Twine(maxNodes) +
                       " operations once named masks and chains are expanded")};
    return result;
  }

  Parsed build(Kind kind, llvm::ArrayRef<Expr> operands, size_t begin,
               size_t end) {
    Expr result = context.get(kind, operands);
    // Constants that did not fold overflow (a zero divisor is refused before).
    if (result.getType() == Type::Int && result.getKind() == kind &&
        llvm::all_of(operands, [](Expr e) { return e.is(Kind::IntConst); }))
      return {fail(begin, end - begin,
                   "constant expression leaves 64 bits (rule M5)")};
    if (result.getType() == Type::Float && result.getKind() == kind &&
        kind <= Kind::Div &&
        llvm::all_of(operands, [](Expr e) { return e.is(Kind::FloatConst); }))
      return {fail(begin, end - begin,
                   "constant expression is not a finite float")};
    return finish(result, begin, end);
  }

  bool checkNumber(const Parsed &x, StringRef what) {
    if (x.expr.getType() != Type::Bool)
      return true;
    fail(x, what + " takes numbers, this is a truth value (rule M5)",
         "use where(c, 1, 0) for a number, or 'and', 'or', 'not'");
    return false;
  }
  bool checkBool(const Parsed &x, StringRef what) {
    if (x.expr.getType() == Type::Bool)
      return true;
    fail(x,
         what + " takes truth values, this is " +
             getTypeName(x.expr.getType()) + " (rule M5)",
         "compare it, for example with '!= 0'");
    return false;
  }
  bool checkInt(const Parsed &x, StringRef what) {
    if (x.expr.getType() == Type::Int)
      return true;
    fail(x, what + " takes integers, this is " + getTypeName(x.expr.getType()) +
                " (rule M5)");
    return false;
  }
  bool checkScore(const Lexeme &at, const Twine &what) {
    if (mode == Mode::Score)
      return true;
    fail(at, what + " is not allowed in a mask: masks are exact (rule M5)",
         "use integers; '//' divides and rounds down");
    return false;
  }

  Expr convert(Expr x) {
    return x.getType() == Type::Int ? context.toFloat(x) : x;
  }
  /// Both float when one of them is.
  void unify(Expr &x, Expr &y) {
    if (x.getType() != y.getType()) {
      x = convert(x);
      y = convert(y);
    }
  }

  //===--- Grammar, loosest first ---===//

  struct Nesting {
    explicit Nesting(Parser &parser) : parser(parser) { ++parser.nesting; }
    ~Nesting() { --parser.nesting; }
    Parser &parser;
  };
  bool checkNesting() {
    if (nesting <= maxNesting)
      return true;
    fail(current, "expression is nested more than " + Twine(maxNesting) +
                      " levels deep");
    return false;
  }

  template <typename Operand>
  Parsed parseLogical(StringRef word, Kind kind, Operand operand) {
    Parsed x = operand();
    while (x && current.is(word)) {
      next();
      Parsed y = operand();
      if (!y || !checkBool(x, kind == Kind::Or ? "'or'" : "'and'") ||
          !checkBool(y, kind == Kind::Or ? "'or'" : "'and'"))
        return {};
      x = build(kind, {x.expr, y.expr}, x.begin, y.end);
    }
    return x;
  }

  Parsed parseOr() {
    Nesting level(*this);
    if (!checkNesting())
      return {};
    return parseLogical("or", Kind::Or, [&] {
      return parseLogical("and", Kind::And, [&] { return parseNot(); });
    });
  }

  Parsed parseNot() {
    if (!current.is("not"))
      return parseComparison();
    Nesting level(*this);
    if (!checkNesting())
      return {};
    size_t begin = current.offset;
    next();
    Parsed x = parseNot();
    if (!x || !checkBool(x, "'not'"))
      return {};
    return build(Kind::Not, {x.expr}, begin, x.end);
  }

  static std::optional<Kind> getComparison(const Lexeme &lexeme) {
    if (lexeme.token != Token::Symbol)
      return std::nullopt;
    return llvm::StringSwitch<std::optional<Kind>>(lexeme.text)
        .Case("==", Kind::Eq)
        .Case("!=", Kind::Ne)
        .Case("<", Kind::Lt)
        .Case("<=", Kind::Le)
        .Case(">", Kind::Gt)
        .Case(">=", Kind::Ge)
        .Default(std::nullopt);
  }

  Parsed parseComparison() {
    Parsed x = parseSum();
    Parsed chain;
    while (x) {
      std::optional<Kind> kind = getComparison(current);
      if (!kind)
        return chain ? chain : x;
      std::string what = "'" + current.text.str() + "'";
      next();
      Parsed y = parseSum();
      if (!y || !checkNumber(x, what) || !checkNumber(y, what))
        return {};
      Expr left = x.expr, right = y.expr;
      unify(left, right);
      Parsed link = build(*kind, {left, right}, x.begin, y.end);
      if (!link)
        return {};
      chain = chain ? build(Kind::And, {chain.expr, link.expr}, chain.begin,
                            link.end)
                    : link;
      if (!chain)
        return {};
      x = y;
    }
    return {};
  }

  Parsed parseSum() {
    Parsed x = parseTerm();
    while (x && (current.is("+") || current.is("-"))) {
      Lexeme symbol = current;
      next();
      Parsed y = parseTerm();
      x = y ? arithmetic(symbol, x, y) : Parsed();
    }
    return x;
  }

  Parsed parseTerm() {
    Parsed x = parseUnary();
    while (x && (current.is("*") || current.is("/") || current.is("//") ||
                 current.is("%"))) {
      Lexeme symbol = current;
      next();
      Parsed y = parseUnary();
      x = y ? arithmetic(symbol, x, y) : Parsed();
    }
    return x;
  }

  Parsed arithmetic(const Lexeme &symbol, const Parsed &x, const Parsed &y) {
    std::string what = "'" + symbol.text.str() + "'";
    if (!checkNumber(x, what) || !checkNumber(y, what))
      return {};
    Kind kind = llvm::StringSwitch<Kind>(symbol.text)
                    .Case("+", Kind::Add)
                    .Case("-", Kind::Sub)
                    .Case("*", Kind::Mul)
                    .Case("/", Kind::Div)
                    .Case("//", Kind::FloorDiv)
                    .Default(Kind::Mod);
    Expr left = x.expr, right = y.expr;
    if (kind == Kind::FloorDiv || kind == Kind::Mod) {
      if (!checkInt(x, what) || !checkInt(y, what))
        return {};
    } else if (kind == Kind::Div) {
      if (!checkScore(symbol, "'/'"))
        return {};
      left = convert(left);
      right = convert(right);
    } else {
      unify(left, right);
    }
    bool divides = kind >= Kind::FloorDiv && kind <= Kind::Div;
    if (divides && (right.isInt(0) ||
                    (right.is(Kind::FloatConst) && right.getFloat() == 0.0)))
      return {fail(y, "division by the constant 0 (rule M5)")};
    return build(kind, {left, right}, x.begin, y.end);
  }

  Parsed parseUnary() {
    if (!current.is("-") && !current.is("+"))
      return parsePrimary();
    Nesting level(*this);
    if (!checkNesting())
      return {};
    Lexeme sign = current;
    next();
    // The most negative integer is a literal with its sign.
    if (sign.is("-") && current.token == Token::Int)
      return parseInt(sign.offset);
    Parsed x = parseUnary();
    if (!x || !checkNumber(x, sign.is("-") ? "'-'" : "'+'"))
      return {};
    if (sign.is("+"))
      return {x.expr, sign.offset, x.end};
    return build(Kind::Neg, {x.expr}, sign.offset, x.end);
  }

  /// A literal, negative when its sign at `minus` belongs to it.
  Parsed parseInt(std::optional<size_t> minus = std::nullopt) {
    size_t begin = minus.value_or(current.offset);
    Lexeme literal = current;
    next();
    if (literal.text.size() > 1 && literal.text[0] == '0')
      return {fail(literal, "a decimal number does not begin with 0")};
    std::string digits = (minus ? "-" : "") + literal.text.str();
    int64_t value;
    if (StringRef(digits).getAsInteger(10, value))
      return {fail(literal, "integer does not fit into 64 bits (rule M5)")};
    return finish(context.getInt(value), begin, previousEnd);
  }

  Parsed parseFloat() {
    Lexeme literal = current;
    if (!checkScore(literal, "a float"))
      return {};
    next();
    double value = 0;
    auto [end, error] =
        std::from_chars(literal.text.begin(), literal.text.end(), value);
    if (error != std::errc() || end != literal.text.end() ||
        !std::isfinite(value))
      return {fail(literal, "float is out of range")};
    return finish(context.getFloat(value), literal.offset, previousEnd);
  }

  Parsed parsePrimary() {
    switch (current.token) {
    case Token::Int:
      return parseInt();
    case Token::Float:
      return parseFloat();
    case Token::Name:
      return parseName();
    case Token::Symbol:
      if (current.is("(")) {
        size_t begin = current.offset;
        next();
        Parsed x = parseOr();
        if (!x || !expect(")", "after a parenthesised expression"))
          return {};
        return {x.expr, begin, previousEnd};
      }
      [[fallthrough]];
    default:
      return {unexpected("where a value should be")};
    }
  }

  Parsed parseName() {
    Lexeme name = current;
    if (bindings && bindings->count(name.text))
      return parseBound();
    StringRef word = name.text;
    for (StringRef keyword : {"and", "or", "not", "if", "else", "in", "is"})
      if (word == keyword)
        return {unexpected("where a value should be")};
    next();
    if (word == "true" || word == "True" || word == "false" || word == "False")
      return finish(context.getBool(word[0] == 't' || word[0] == 'T'),
                    name.offset, previousEnd);
    if (std::optional<Var> var = findVar(word)) {
      if (*var == Var::s && !checkScore(name, "the score 's'"))
        return {};
      if (!refuseSuffix(name, "a variable"))
        return {};
      return finish(context.getVar(*var), name.offset, previousEnd);
    }
    if (scope.params.count(word)) {
      if (!refuseSuffix(name, "an integer parameter"))
        return {};
      return finish(context.getParam(word), name.offset, previousEnd);
    }
    auto tensor = scope.tensors.find(word);
    if (tensor != scope.tensors.end())
      return parseLoad(name, tensor->second);
    if (llvm::is_contained(functionNames, word))
      return parseFunction(name);
    if (const NamedMask *mask = findNamedMask(word))
      return parseNamedMask(name, *mask);
    if (word == "top_left" || word == "bottom_right" || word == "offset")
      return {fail(name, "an alignment stands only in a named mask (rule M3)",
                   "causal(" + word + ")")};
    return {fail(name, "unknown name '" + word + "'", nearest(word))};
  }

  bool refuseSuffix(const Lexeme &name, StringRef what) {
    if (!current.is("[") && !current.is("("))
      return true;
    fail(current, "'" + name.text + "' is " + what + " and takes no '" +
                      current.text + "'");
    return false;
  }

  /// Comma-separated expressions up to `close`.
  bool parseList(StringRef close, llvm::SmallVectorImpl<Parsed> &list) {
    if (accept(close))
      return true;
    do {
      Parsed x = parseOr();
      if (!x)
        return false;
      list.push_back(x);
    } while (accept(","));
    return expect(close, "in a list");
  }

  Parsed parseLoad(const Lexeme &name, const TensorDecl &tensor) {
    llvm::SmallVector<Parsed, 4> list;
    if (tensor.rank) {
      if (!current.is("["))
        return {fail(name,
                     "'" + name.text + "' is a tensor with " +
                         Twine(tensor.rank) + " dimensions and needs indices",
                     "write " + name.text + "[...]")};
      next();
      if (!parseList("]", list))
        return {};
      if (list.size() != tensor.rank)
        return {fail(name.offset, previousEnd - name.offset,
                     "'" + name.text + "' has " + Twine(tensor.rank) +
                         " dimensions, " + Twine(list.size()) +
                         " indices are given")};
    }
    if (tensor.elementType == Type::Float &&
        !checkScore(name, "the float tensor '" + name.text + "'"))
      return {};
    llvm::SmallVector<Expr, 4> indices;
    for (const Parsed &index : list) {
      if (!checkInt(index, "an index"))
        return {};
      indices.push_back(index.expr);
    }
    return finish(context.getLoad(name.text, tensor.elementType, indices),
                  name.offset, previousEnd);
  }

  Parsed parseFunction(const Lexeme &name) {
    StringRef word = name.text;
    llvm::SmallVector<Parsed, 4> list;
    if (!expect("(", "after the function '" + word + "'") ||
        !parseList(")", list))
      return {};
    size_t end = previousEnd;
    bool variadic = word == "min" || word == "max";
    size_t wanted = variadic ? 2 : word == "where" ? 3 : 1;
    if (list.size() < wanted || (!variadic && list.size() > wanted))
      return {fail(name, "'" + word + "' takes " +
                             (variadic ? "at least " : "") + Twine(wanted) +
                             (wanted == 1 ? " argument, " : " arguments, ") +
                             Twine(list.size()) + " given")};
    auto what = "'" + word.str() + "'";
    if (variadic) {
      Kind kind = word == "min" ? Kind::Min : Kind::Max;
      Parsed x = list[0];
      for (const Parsed &y : llvm::drop_begin(list)) {
        if (!checkNumber(x, what) || !checkNumber(y, what))
          return {};
        Expr left = x.expr, right = y.expr;
        unify(left, right);
        x = build(kind, {left, right}, name.offset, end);
        if (!x)
          return {};
      }
      return x;
    }
    if (word == "where") {
      if (!checkBool(list[0], "the condition of 'where'"))
        return {};
      Expr x = list[1].expr, y = list[2].expr;
      if ((x.getType() == Type::Bool) != (y.getType() == Type::Bool))
        return {fail(list[2],
                     "'where' takes two numbers or two truth values, not one "
                     "of each (rule M5)")};
      unify(x, y);
      return build(Kind::Where, {list[0].expr, x, y}, name.offset, end);
    }
    if (!checkNumber(list[0], what))
      return {};
    if (word == "abs")
      return build(Kind::Abs, {list[0].expr}, name.offset, end);
    if (!checkScore(name, what))
      return {};
    Expr x = convert(list[0].expr);
    if (word == "float")
      return finish(x, name.offset, end);
    Kind kind = llvm::StringSwitch<Kind>(word)
                    .Case("exp", Kind::Exp)
                    .Case("log", Kind::Log)
                    .Case("tanh", Kind::Tanh)
                    .Case("sqrt", Kind::Sqrt)
                    .Case("sin", Kind::Sin)
                    .Default(Kind::Cos);
    return build(kind, {x}, name.offset, end);
  }

  //===--- Named masks ---===//

  bool parseAlignment(std::optional<Alignment> &alignment) {
    if (accept("top_left")) {
      alignment = Alignment();
      return true;
    }
    if (accept("bottom_right")) {
      alignment = Alignment{Alignment::BottomRight, Expr()};
      return true;
    }
    if (!current.is("offset"))
      return true; // none; the caller decides
    next();
    if (!expect("(", "after 'offset'"))
      return false;
    Parsed p = parseOr();
    if (!p || !checkInt(p, "offset()") || !expect(")", "after the offset"))
      return false;
    alignment = Alignment{Alignment::Offset, p.expr};
    return true;
  }

  /// A tensor by its name alone; stands as a load at zeros, which carries the
  /// element type and the rank.
  Parsed parseTensorArgument(const NamedMask &mask) {
    Lexeme name = current;
    auto tensor = scope.tensors.find(name.text);
    if (name.token != Token::Name || tensor == scope.tensors.end())
      return {fail(name, "'" + mask.name + "' takes the name of an input",
                   nearest(name.text))};
    next();
    Type wanted = mask.rule == "M6" ? Type::Bool : Type::Int;
    if (tensor->second.elementType != wanted)
      return {
          fail(name, "'" + mask.name + "' takes a tensor of " +
                         (wanted == Type::Bool ? "truth values" : "integers") +
                         " (rule " + mask.rule + ")")};
    llvm::SmallVector<Expr, 4> zeros(tensor->second.rank, context.getInt(0));
    return finish(context.getLoad(name.text, wanted, zeros), name.offset,
                  previousEnd);
  }

  Parsed parseNamedMask(const Lexeme &name, const NamedMask &mask) {
    using Aligns = NamedMask::Aligns;
    if (!expect("(", "after the named mask '" + name.text + "'"))
      return {};
    NamedMaskUse use{&mask, {}, std::nullopt};
    bool first = true;
    auto separator = [&] {
      if (first || accept(",")) {
        first = false;
        return true;
      }
      unexpected("in " + mask.signature + ", expected ','");
      return false;
    };
    for (const NamedMaskArgument &argument : mask.arguments) {
      if (!separator())
        return {};
      Parsed x = argument.isTensor ? parseTensorArgument(mask) : parseOr();
      if (!x ||
          (!argument.isTensor && !checkInt(x, ("'" + mask.name + "'").str())))
        return {};
      if (x.expr.is(Kind::IntConst) && x.expr.getInt() < argument.minimum)
        return {fail(x,
                     "'" + argument.name + "' of " + mask.signature +
                         " is at least " + Twine(argument.minimum) + " (rule " +
                         mask.rule + ")",
                     argument.minimum == -1 ? "-1 is unbounded" : "")};
      use.arguments.push_back(x.expr);
    }
    Lexeme alignmentAt = current;
    if (mask.aligns == Aligns::Required) {
      alignmentAt = current;
      if (!parseAlignment(use.alignment))
        return {};
    } else if (mask.aligns != Aligns::None && current.is(",")) {
      next();
      alignmentAt = current;
      if (!parseAlignment(use.alignment))
        return {};
      if (!use.alignment)
        return {unexpected("in " + mask.signature +
                           ", expected top_left, bottom_right or offset(p)")};
    }
    if (mask.aligns == Aligns::Required && !use.alignment) {
      if (current.is(")"))
        return {fail(alignmentAt, "'causal' needs its alignment (rule M3)",
                     "causal(top_left), causal(bottom_right) or "
                     "causal(offset(p))")};
      return {fail(current,
                   "unknown alignment '" + current.text + "' (rule M3)",
                   "top_left, bottom_right or offset(p)")};
    }
    if (!expect(")", "in " + mask.signature))
      return {};
    size_t end = previousEnd;
    if (mask.aligns == Aligns::Required) {
      if (causalAlignment && !(*causalAlignment == *use.alignment))
        causalAlignmentsDiffer = true;
      causalAlignment = use.alignment;
    } else if (mask.aligns != Aligns::None && !use.alignment) {
      leftAlignmentOut = true;
      use.alignment = inherited;
      if (!inherited && resolving &&
          (mask.aligns == Aligns::Inherited || causalAlignmentsDiffer))
        return {fail(name.offset, end - name.offset,
                     causalAlignmentsDiffer
                         ? "'" + mask.name +
                               "' has no alignment of its own and the causal "
                               "masks beside it differ in theirs (rules M3, "
                               "M4)"
                         : "'" + mask.name +
                               "' needs an alignment: there is no causal mask "
                               "beside it to take it from (rules M3, M4)",
                     "add top_left, bottom_right or offset(p) as its last "
                     "argument")};
    }
    Expr expanded = expandNamedMask(context, use);
    if (!expanded)
      return {fail(name.offset, end - name.offset,
                   "the arguments do not fit " + mask.signature +
                       ", which is " + mask.formula + " (rule " + mask.rule +
                       ")")};
    return finish(expanded, name.offset, end);
  }

  Parsed parseBound() {
    Lexeme name = current;
    Expr bound = bindings->lookup(name.text);
    next();
    if (!bound.is(Kind::Load) || !current.is("["))
      return {bound, name.offset, previousEnd};
    next();
    llvm::SmallVector<Parsed, 4> list;
    if (!parseList("]", list))
      return {};
    size_t rank = bound.getNumOperands();
    if (rank > list.size())
      return {fail(name, "the tensor has too many dimensions")};
    llvm::SmallVector<Expr, 4> indices;
    for (const Parsed &index : llvm::ArrayRef(list).take_back(rank))
      indices.push_back(index.expr);
    return {context.getLoad(bound.getName(), bound.getType(), indices),
            name.offset, previousEnd};
  }

  Context &context;
  const Scope &scope;
  StringRef text;
  Mode mode;
  Diagnostic &diagnostic;
  Lexeme current;
  size_t previousEnd = 0;
  unsigned nesting = 0;
};
} // namespace

Expr detail::parseFormula(Context &context,
                          const llvm::StringMap<Expr> &bindings,
                          StringRef formula) {
  Scope scope;
  Diagnostic ignored;
  Parser parser(context, scope, formula, Mode::Formula, ignored);
  parser.bindings = &bindings;
  return parser.parse();
}

static Expr parseText(Context &context, const Scope &scope, StringRef text,
                      Mode mode, Diagnostic &diagnostic) {
  // A window may stand before the causal mask that it takes its alignment from,
  // so the text is read once to see which there are.
  Parser first(context, scope, text, mode, diagnostic);
  Expr result = first.parse();
  if (!result || !first.leftAlignmentOut)
    return result;
  Parser second(context, scope, text, mode, diagnostic);
  second.resolving = true;
  second.causalAlignmentsDiffer = first.causalAlignmentsDiffer;
  if (!first.causalAlignmentsDiffer)
    second.inherited = first.causalAlignment;
  return second.parse();
}

static Expr wrongResult(StringRef text, Diagnostic &diagnostic,
                        const Twine &message, StringRef hint) {
  size_t begin = text.size() - text.ltrim().size();
  diagnostic = {begin, std::max<size_t>(text.trim().size(), 1), message.str(),
                hint.str()};
  return Expr();
}

Expr fovea::expr::parseMask(Context &context, const Scope &scope,
                            StringRef text, Diagnostic &diagnostic) {
  Expr result = parseText(context, scope, text, Mode::Mask, diagnostic);
  if (result && result.getType() != Type::Bool)
    return wrongResult(text, diagnostic,
                       "a mask is a truth value, this is " +
                           getTypeName(result.getType()) + " (rule M1)",
                       "compare it, for example with '!= 0'");
  return result;
}

Expr fovea::expr::parseScore(Context &context, const Scope &scope,
                             StringRef text, Diagnostic &diagnostic) {
  Expr result = parseText(context, scope, text, Mode::Score, diagnostic);
  if (result && result.getType() == Type::Bool)
    return wrongResult(text, diagnostic,
                       "a score is a float, this is a truth value (rule S3)",
                       "where(c, s, -1e4) makes a score of a condition; a "
                       "condition to attend belongs in the mask");
  return result && result.getType() == Type::Int ? context.toFloat(result)
                                                 : result;
}

Expr fovea::expr::parse(Context &context, const Scope &scope, StringRef text,
                        Diagnostic &diagnostic) {
  return parseText(context, scope, text, Mode::Score, diagnostic);
}

bool fovea::expr::isReservedName(StringRef name) {
  return findVar(name) || llvm::is_contained(functionNames, name) ||
         llvm::is_contained(keywords, name) || findNamedMask(name);
}
