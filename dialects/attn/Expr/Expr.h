// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception
//
// The expression language of masks and scores: immutable, hash-consed nodes
// owned by a Context, from text (parse*) and back (print), with named masks as
// sugar over plain expressions, and an exact evaluator. It knows no MLIR and
// no target; it must not be asked about tiles (compiler/Analysis) or for code.
//
// Meaning (rules M3, M4, M5):
// - integers are 64-bit, `//` and `%` floor as in Python, comparisons chain;
// - a result outside 64 bits is no value: constants are refused by the parser,
//   evaluate() reports it, the analyses answer "unknown";
// - division by a run-time zero gives 0 for `//` and for `%`, so that no
//   parameter can trap the host (a constant zero is refused by the parser);
// - `and`, `or` and where() do not fail because of the arm that is not taken.

#ifndef FOVEA_DIALECTS_ATTN_EXPR_EXPR_H
#define FOVEA_DIALECTS_ATTN_EXPR_EXPR_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/FoldingSet.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Allocator.h"
#include "llvm/Support/StringSaver.h"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace fovea::expr {

enum class Type : uint8_t { Int, Bool, Float };

/// The variables, in the order of the block arguments of a mask region; `s`,
/// the score, exists in score expressions only.
enum class Var : uint8_t { b, h, i, j, B, H, G, M, N, D, s };
inline constexpr unsigned numIndexVars = 10; // all but s
llvm::StringRef getVarName(Var var);

enum class Kind : uint8_t {
  // Leaves.
  IntConst,
  BoolConst,
  FloatConst,
  Var,
  Param, // a named i64 parameter
  Load,  // name[index, ...]: an element of a declared tensor
  // Numbers: operands and result have one type, Int or Float.
  Neg,
  Add,
  Sub,
  Mul,
  Min,
  Max,
  Abs,
  // Int only, flooring.
  FloorDiv,
  Mod,
  // Float only.
  Div,
  Exp,
  Log,
  Tanh,
  Sqrt,
  Sin,
  Cos,
  // Int to Float.
  ToFloat,
  // Two numbers of one type to Bool.
  Eq,
  Ne,
  Lt,
  Le,
  Gt,
  Ge,
  // Bool.
  And,
  Or,
  Not,
  // (Bool, T, T) to T, for every type T.
  Where,
};

class Context;
class Node;

/// A handle: one pointer. Two expressions of one Context are structurally
/// equal if and only if their handles are equal.
class Expr {
public:
  Expr() = default;
  explicit Expr(const Node *node) : node(node) {}

  explicit operator bool() const { return node != nullptr; }
  bool operator==(Expr other) const { return node == other.node; }
  bool operator!=(Expr other) const { return node != other.node; }

  Kind getKind() const;
  Type getType() const;
  bool is(Kind kind) const { return getKind() == kind; }
  bool is(Var var) const { return is(Kind::Var) && getVar() == var; }
  bool isInt(int64_t value) const {
    return is(Kind::IntConst) && getInt() == value;
  }
  bool isBool(bool value) const {
    return is(Kind::BoolConst) && getBool() == value;
  }
  bool isConstant() const { return getKind() <= Kind::FloatConst; }
  bool isComparison() const {
    return getKind() >= Kind::Eq && getKind() <= Kind::Ge;
  }

  int64_t getInt() const;          // IntConst
  bool getBool() const;            // BoolConst
  double getFloat() const;         // FloatConst
  Var getVar() const;              // Var
  llvm::StringRef getName() const; // Param, Load

  llvm::ArrayRef<Expr> getOperands() const;
  Expr getOperand(unsigned index) const { return getOperands()[index]; }
  unsigned getNumOperands() const { return getOperands().size(); }

  /// Nodes of the tree (shared nodes counted each time, saturating), and its
  /// depth.
  uint32_t getTreeSize() const;
  uint32_t getDepth() const;
  /// Whether the variable occurs anywhere below.
  bool uses(Var var) const;
  /// Whether a load occurs anywhere below.
  bool hasLoad() const;

  const void *getAsOpaquePointer() const { return node; }

private:
  const Node *node = nullptr;
};

/// Owns nodes; not thread-safe (use one per thread of work, they are cheap).
/// Builders fold constants (never into overflow, non-finite floats or
/// division by zero), drop identities (x + 0, x * 1, x // 1, `true and x`,
/// not not x, ...) and keep the order of operands. Operand types are the
/// caller's duty (asserted).
class Context {
public:
  Context();
  ~Context();
  Context(const Context &) = delete;
  Context &operator=(const Context &) = delete;

  Expr getInt(int64_t value);
  Expr getBool(bool value);
  Expr getFloat(double value);
  Expr getVar(Var var);
  Expr getParam(llvm::StringRef name);
  Expr getLoad(llvm::StringRef name, Type elementType,
               llvm::ArrayRef<Expr> indices);
  /// Any kind with operands; Load excepted.
  Expr get(Kind kind, llvm::ArrayRef<Expr> operands);
  /// The node itself, with no folding (Load excepted): what a conversion from
  /// another form uses to keep that form.
  Expr getUnfolded(Kind kind, llvm::ArrayRef<Expr> operands);

  Expr neg(Expr x) { return get(Kind::Neg, {x}); }
  Expr add(Expr x, Expr y) { return get(Kind::Add, {x, y}); }
  Expr sub(Expr x, Expr y) { return get(Kind::Sub, {x, y}); }
  Expr mul(Expr x, Expr y) { return get(Kind::Mul, {x, y}); }
  Expr floorDiv(Expr x, Expr y) { return get(Kind::FloorDiv, {x, y}); }
  Expr mod(Expr x, Expr y) { return get(Kind::Mod, {x, y}); }
  Expr logicalAnd(Expr x, Expr y) { return get(Kind::And, {x, y}); }
  Expr logicalOr(Expr x, Expr y) { return get(Kind::Or, {x, y}); }
  Expr logicalNot(Expr x) { return get(Kind::Not, {x}); }
  Expr where(Expr c, Expr x, Expr y) { return get(Kind::Where, {c, x, y}); }
  Expr toFloat(Expr x) { return get(Kind::ToFloat, {x}); }

private:
  Expr unique(Kind kind, Type type, int64_t payload, llvm::StringRef name,
              llvm::ArrayRef<Expr> operands);
  Expr fold(Kind kind, llvm::ArrayRef<Expr> operands);

  llvm::BumpPtrAllocator allocator;
  llvm::UniqueStringSaver strings;
  llvm::FoldingSet<Node> nodes;
};

/// The type of a node of this kind over operands of these types.
Type inferType(Kind kind, llvm::ArrayRef<Expr> operands);

/// The comparison with its sides exchanged (a < b is b > a), and the negated
/// one (a < b is not a >= b; exact for integers).
Kind swapComparison(Kind comparison);
Kind negateComparison(Kind comparison);

/// Floor division and remainder of the language; nothing on overflow.
std::optional<int64_t> floorDiv(int64_t x, int64_t y);
std::optional<int64_t> floorMod(int64_t x, int64_t y);

/// Calls fn once on every distinct node below and including root, operands
/// first.
void walk(Expr root, llvm::function_ref<void(Expr)> fn);

/// The expression with every node that `map` holds replaced, folded again.
Expr substitute(Context &context, Expr root,
                const llvm::DenseMap<Expr, Expr> &map);

//===----------------------------------------------------------------------===//
// Text
//===----------------------------------------------------------------------===//

struct TensorDecl {
  Type elementType = Type::Int;
  unsigned rank = 0;
};

/// The names that an expression may use besides variables and functions.
struct Scope {
  llvm::StringMap<TensorDecl> tensors; // declared inputs
  llvm::StringMap<char> params;        // i64 parameters (the value is unused)

  void addTensor(llvm::StringRef name, Type elementType, unsigned rank) {
    tensors[name] = {elementType, rank};
  }
  void addParam(llvm::StringRef name) { params[name] = 1; }
};

/// Whether the language itself uses the name (variable, function, named mask,
/// keyword), so that no input or parameter may carry it.
bool isReservedName(llvm::StringRef name);

/// What is wrong, where (byte offset and length in the text), and the way out
/// (may be empty).
struct Diagnostic {
  size_t offset = 0;
  size_t length = 1;
  std::string message;
  std::string hint;

  /// Three lines: the message, the text, carets; and the hint as a fourth.
  std::string render(llvm::StringRef text) const;
};

/// Limits of the parser: nesting of the text, depth and size of the tree.
inline constexpr unsigned maxNesting = 200;
inline constexpr unsigned maxDepth = 1000;
inline constexpr unsigned maxNodes = 10000;

/// A mask: result Bool; neither floats nor `/` nor `s`. Null on error.
Expr parseMask(Context &context, const Scope &scope, llvm::StringRef text,
               Diagnostic &diagnostic);
/// A score: result Float (an Int is converted); `s` is allowed. Null on error.
Expr parseScore(Context &context, const Scope &scope, llvm::StringRef text,
                Diagnostic &diagnostic);
/// Any result type, as in a score. Null on error.
Expr parse(Context &context, const Scope &scope, llvm::StringRef text,
           Diagnostic &diagnostic);

struct PrintOptions {
  /// Print recognised named masks by name. The text still parses back to the
  /// same expression.
  bool sugar = false;
};

/// Text with the fewest parentheses that parses back to the same expression.
/// (The context is written to by recognising sugar.)
std::string print(Context &context, Expr expr, PrintOptions options = {});

//===----------------------------------------------------------------------===//
// Named masks and the tables of the documentation
//===----------------------------------------------------------------------===//

/// Where query i stands among the keys: q = i (top_left), i + N - M
/// (bottom_right) or i + p (offset(p)). Rule M3.
struct Alignment {
  enum Kind { TopLeft, BottomRight, Offset } kind = TopLeft;
  Expr offset; // of Offset
  bool operator==(const Alignment &other) const {
    return kind == other.kind && offset == other.offset;
  }
};
/// The position of query i among the keys.
Expr getQueryPosition(Context &context, const Alignment &alignment);

/// One argument of a named mask; a constant below `minimum` is refused.
struct NamedMaskArgument {
  llvm::StringLiteral name;
  bool isTensor;
  int64_t minimum;
};

/// A named mask is its formula: the parser expands a call by parsing this text
/// with the arguments bound, q being the query's position.
struct NamedMask {
  /// None: q does not occur. Required: as in causal. Inherited: defaults to
  /// the alignment of the causal() in the same expression, refused if there is
  /// none. InheritedOrTopLeft: the same, with top_left if there is none.
  enum class Aligns { None, Required, Inherited, InheritedOrTopLeft };

  llvm::StringLiteral name;
  llvm::StringLiteral signature;
  llvm::StringLiteral formula;
  llvm::StringLiteral rule;
  llvm::StringLiteral summary;
  Aligns aligns;
  llvm::ArrayRef<NamedMaskArgument> arguments;
};
llvm::ArrayRef<NamedMask> getNamedMasks();
const NamedMask *findNamedMask(llvm::StringRef name);

/// Rows of the generated reference page.
struct DocRow {
  llvm::StringLiteral name;
  llvm::StringLiteral meaning;
};
llvm::ArrayRef<DocRow> getVariableDocs();
llvm::ArrayRef<DocRow> getFunctionDocs();
llvm::ArrayRef<DocRow> getOperatorDocs(); // loosest binding first

/// A recognised use of a named mask.
struct NamedMaskUse {
  const NamedMask *mask = nullptr;
  llvm::SmallVector<Expr, 3> arguments;
  std::optional<Alignment> alignment;
};
/// The expansion of the use; null when the formula's result is refused.
Expr expandNamedMask(Context &context, const NamedMaskUse &use);
/// Recognises the node itself (not what is below it) as a named mask whose
/// expansion is exactly this node.
std::optional<NamedMaskUse> matchNamedMask(Context &context, Expr expr);
/// The alignment of the causal and window masks in the expression, when there
/// is one and it is the same everywhere (the position of the queries for RoPE).
std::optional<Alignment> findAlignment(Context &context, Expr expr);

//===----------------------------------------------------------------------===//
// Evaluation
//===----------------------------------------------------------------------===//

struct Value {
  Type type = Type::Int;
  int64_t integer = 0; // Int, and Bool as 0 or 1
  double real = 0;     // Float

  static Value ofInt(int64_t v) { return {Type::Int, v, 0}; }
  static Value ofBool(bool v) { return {Type::Bool, v, 0}; }
  static Value ofFloat(double v) { return {Type::Float, 0, v}; }
};

enum class EvalError : uint8_t {
  None,
  Overflow,     // an integer result outside 64 bits
  MissingParam, // a parameter without a value
  MissingLoad,  // the load callback gave nothing
};

struct Environment {
  std::array<int64_t, numIndexVars> vars = {};
  double s = 0;
  const llvm::StringMap<int64_t> *params = nullptr;
  /// The element of a tensor; nothing when out of bounds or unknown.
  llvm::function_ref<std::optional<Value>(Expr load,
                                          llvm::ArrayRef<int64_t> indices)>
      load = nullptr;

  int64_t &operator[](Var var) { return vars[static_cast<unsigned>(var)]; }
  int64_t operator[](Var var) const { return vars[static_cast<unsigned>(var)]; }
};

/// The value, integers exact in 64 bits and floats in f64; nothing on an
/// error, which is then stored in *error (if given).
std::optional<Value> evaluate(Expr expr, const Environment &environment,
                              EvalError *error = nullptr);

} // namespace fovea::expr

namespace llvm {
template <> struct DenseMapInfo<fovea::expr::Expr> {
  using Pointer = const fovea::expr::Node *;
  static fovea::expr::Expr getEmptyKey() {
    return fovea::expr::Expr(
        reinterpret_cast<Pointer>(DenseMapInfo<void *>::getEmptyKey()));
  }
  static fovea::expr::Expr getTombstoneKey() {
    return fovea::expr::Expr(
        reinterpret_cast<Pointer>(DenseMapInfo<void *>::getTombstoneKey()));
  }
  static unsigned getHashValue(fovea::expr::Expr expr) {
    return DenseMapInfo<const void *>::getHashValue(expr.getAsOpaquePointer());
  }
  static bool isEqual(fovea::expr::Expr a, fovea::expr::Expr b) {
    return a == b;
  }
};
} // namespace llvm

#endif // FOVEA_DIALECTS_ATTN_EXPR_EXPR_H
