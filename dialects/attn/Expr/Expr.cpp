// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception
//
// Nodes, their uniquing, and the folds done on construction. A fold never
// changes a value: it stops where integers overflow, where a float is no
// longer finite and at a division by zero; float identities that fail for
// signed zeros or NaN (x + 0.0, x * 0.0) are left alone.

#include "dialects/attn/Expr/Expr.h"

#include "dialects/attn/Expr/Detail.h"

#include "llvm/ADT/SmallPtrSet.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/bit.h"
#include "llvm/Support/ErrorHandling.h"
#include "llvm/Support/MathExtras.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>

using namespace fovea::expr;
using llvm::ArrayRef;
using llvm::StringRef;

namespace fovea::expr {
class Node : public llvm::FoldingSetNode {
public:
  Node(Kind kind, Type type, int64_t payload, StringRef name,
       ArrayRef<Expr> operands)
      : kind(kind), type(type), payload(payload), name(name),
        operands(operands) {
    if (kind == Kind::Var)
      vars = 1u << payload;
    load = kind == Kind::Load;
    uint64_t size = 1;
    for (Expr operand : operands) {
      depth = std::max(depth, operand.getDepth() + 1);
      size += operand.getTreeSize();
      vars |= getNode(operand)->vars;
      load |= getNode(operand)->load;
    }
    treeSize = static_cast<uint32_t>(
        std::min<uint64_t>(size, std::numeric_limits<uint32_t>::max()));
  }

  static const Node *getNode(Expr expr) {
    return static_cast<const Node *>(expr.getAsOpaquePointer());
  }

  static void profile(llvm::FoldingSetNodeID &id, Kind kind, Type type,
                      int64_t payload, StringRef name,
                      ArrayRef<Expr> operands) {
    id.AddInteger(static_cast<unsigned>(kind));
    id.AddInteger(static_cast<unsigned>(type));
    id.AddInteger(payload);
    id.AddString(name);
    for (Expr operand : operands)
      id.AddPointer(operand.getAsOpaquePointer());
  }
  void Profile(llvm::FoldingSetNodeID &id) const {
    profile(id, kind, type, payload, name, operands);
  }

  Kind kind;
  Type type;
  bool load = false;
  uint16_t vars = 0;
  uint32_t depth = 1;
  uint32_t treeSize = 1;
  int64_t payload;
  StringRef name;
  ArrayRef<Expr> operands;
};
} // namespace fovea::expr

//===----------------------------------------------------------------------===//
// Handles
//===----------------------------------------------------------------------===//

Kind Expr::getKind() const { return node->kind; }
Type Expr::getType() const { return node->type; }
int64_t Expr::getInt() const {
  assert(is(Kind::IntConst));
  return node->payload;
}
bool Expr::getBool() const {
  assert(is(Kind::BoolConst));
  return node->payload != 0;
}
double Expr::getFloat() const {
  assert(is(Kind::FloatConst));
  return llvm::bit_cast<double>(node->payload);
}
Var Expr::getVar() const {
  assert(is(Kind::Var));
  return static_cast<Var>(node->payload);
}
StringRef Expr::getName() const {
  assert(is(Kind::Param) || is(Kind::Load));
  return node->name;
}
ArrayRef<Expr> Expr::getOperands() const { return node->operands; }
uint32_t Expr::getTreeSize() const { return node->treeSize; }
uint32_t Expr::getDepth() const { return node->depth; }
bool Expr::uses(Var var) const {
  return (node->vars >> static_cast<unsigned>(var)) & 1;
}
bool Expr::hasLoad() const { return node->load; }

StringRef fovea::expr::getVarName(Var var) {
  static constexpr StringRef names[] = {"b", "h", "i", "j", "B", "H",
                                        "G", "M", "N", "D", "s"};
  return names[static_cast<unsigned>(var)];
}

//===----------------------------------------------------------------------===//
// Integer arithmetic
//===----------------------------------------------------------------------===//

std::optional<int64_t> fovea::expr::floorDiv(int64_t x, int64_t y) {
  if (y == 0)
    return 0;
  if (y == -1) {
    int64_t result;
    if (llvm::SubOverflow<int64_t>(0, x, result))
      return std::nullopt;
    return result;
  }
  int64_t quotient = x / y;
  return quotient - ((x % y != 0) && ((x < 0) != (y < 0)));
}

std::optional<int64_t> fovea::expr::floorMod(int64_t x, int64_t y) {
  if (y == 0 || y == -1)
    return 0;
  int64_t remainder = x % y;
  if (remainder != 0 && ((remainder < 0) != (y < 0)))
    remainder += y;
  return remainder;
}

Kind fovea::expr::swapComparison(Kind comparison) {
  switch (comparison) {
  case Kind::Lt:
    return Kind::Gt;
  case Kind::Le:
    return Kind::Ge;
  case Kind::Gt:
    return Kind::Lt;
  case Kind::Ge:
    return Kind::Le;
  default:
    return comparison;
  }
}

Kind fovea::expr::negateComparison(Kind comparison) {
  switch (comparison) {
  case Kind::Eq:
    return Kind::Ne;
  case Kind::Ne:
    return Kind::Eq;
  case Kind::Lt:
    return Kind::Ge;
  case Kind::Le:
    return Kind::Gt;
  case Kind::Gt:
    return Kind::Le;
  case Kind::Ge:
    return Kind::Lt;
  default:
    llvm_unreachable("not a comparison");
  }
}

//===----------------------------------------------------------------------===//
// Context
//===----------------------------------------------------------------------===//

Context::Context() : strings(allocator) {}
Context::~Context() = default;

Expr Context::unique(Kind kind, Type type, int64_t payload, StringRef name,
                     ArrayRef<Expr> operands) {
  llvm::FoldingSetNodeID id;
  Node::profile(id, kind, type, payload, name, operands);
  void *position = nullptr;
  if (Node *node = nodes.FindNodeOrInsertPos(id, position))
    return Expr(node);
  // Nodes own nothing outside the allocator, so none is ever destroyed.
  ArrayRef<Expr> owned = operands.copy(allocator);
  Node *node = new (allocator.Allocate<Node>()) Node(
      kind, type, payload, name.empty() ? name : strings.save(name), owned);
  nodes.InsertNode(node, position);
  return Expr(node);
}

Expr Context::getInt(int64_t value) {
  return unique(Kind::IntConst, Type::Int, value, "", {});
}
Expr Context::getBool(bool value) {
  return unique(Kind::BoolConst, Type::Bool, value, "", {});
}
Expr Context::getFloat(double value) {
  return unique(Kind::FloatConst, Type::Float, llvm::bit_cast<int64_t>(value),
                "", {});
}
Expr Context::getVar(Var var) {
  return unique(Kind::Var, var == Var::s ? Type::Float : Type::Int,
                static_cast<int64_t>(var), "", {});
}
Expr Context::getParam(StringRef name) {
  return unique(Kind::Param, Type::Int, 0, name, {});
}
Expr Context::getLoad(StringRef name, Type elementType,
                      ArrayRef<Expr> indices) {
  return unique(Kind::Load, elementType, 0, name, indices);
}

Type fovea::expr::inferType(Kind kind, ArrayRef<Expr> operands) {
  switch (kind) {
  case Kind::Eq:
  case Kind::Ne:
  case Kind::Lt:
  case Kind::Le:
  case Kind::Gt:
  case Kind::Ge:
  case Kind::And:
  case Kind::Or:
  case Kind::Not:
    return Type::Bool;
  case Kind::ToFloat:
    return Type::Float;
  case Kind::Where:
    return operands[1].getType();
  default:
    return operands[0].getType();
  }
}

Expr Context::getUnfolded(Kind kind, ArrayRef<Expr> operands) {
  assert(kind > Kind::Load && "leaves and loads have builders of their own");
  return unique(kind, inferType(kind, operands), 0, "", operands);
}

Expr Context::get(Kind kind, ArrayRef<Expr> operands) {
  if (Expr folded = fold(kind, operands))
    return folded;
  return getUnfolded(kind, operands);
}

static std::optional<int64_t> foldInts(Kind kind, int64_t x, int64_t y) {
  int64_t result;
  switch (kind) {
  case Kind::Neg:
    if (llvm::SubOverflow<int64_t>(0, x, result))
      return std::nullopt;
    return result;
  case Kind::Abs:
    if (x == std::numeric_limits<int64_t>::min())
      return std::nullopt;
    return x < 0 ? -x : x;
  case Kind::Add:
    if (llvm::AddOverflow(x, y, result))
      return std::nullopt;
    return result;
  case Kind::Sub:
    if (llvm::SubOverflow(x, y, result))
      return std::nullopt;
    return result;
  case Kind::Mul:
    if (llvm::MulOverflow(x, y, result))
      return std::nullopt;
    return result;
  case Kind::Min:
    return std::min(x, y);
  case Kind::Max:
    return std::max(x, y);
  case Kind::FloorDiv:
    return y == 0 ? std::nullopt : fovea::expr::floorDiv(x, y);
  case Kind::Mod:
    return y == 0 ? std::nullopt : fovea::expr::floorMod(x, y);
  default:
    return std::nullopt;
  }
}

static std::optional<double> foldFloats(Kind kind, double x, double y) {
  switch (kind) {
  case Kind::Neg:
    return -x;
  case Kind::Abs:
    return std::fabs(x);
  case Kind::Add:
    return x + y;
  case Kind::Sub:
    return x - y;
  case Kind::Mul:
    return x * y;
  case Kind::Div:
    return x / y;
  case Kind::Min:
    return std::min(x, y);
  case Kind::Max:
    return std::max(x, y);
  default:
    return std::nullopt;
  }
}

Expr Context::fold(Kind kind, ArrayRef<Expr> operands) {
  Expr x = operands[0];
  Expr y = operands.size() > 1 ? operands[1] : Expr();
  auto isIntConst = [](Expr e) { return !e || e.is(Kind::IntConst); };
  auto isFloatConst = [](Expr e) { return !e || e.is(Kind::FloatConst); };
  bool isComparison = kind >= Kind::Eq && kind <= Kind::Ge;

  switch (kind) {
  case Kind::And:
  case Kind::Or: {
    bool absorbing = kind == Kind::Or;
    if (x.isBool(absorbing) || y.isBool(!absorbing) || x == y)
      return x;
    if (y.isBool(absorbing) || x.isBool(!absorbing))
      return y;
    return Expr();
  }
  case Kind::Not:
    if (x.is(Kind::BoolConst))
      return getBool(!x.getBool());
    return x.is(Kind::Not) ? x.getOperand(0) : Expr();
  case Kind::Where:
    if (x.is(Kind::BoolConst))
      return operands[x.getBool() ? 1 : 2];
    return operands[1] == operands[2] ? operands[1] : Expr();
  case Kind::ToFloat:
    if (x.is(Kind::IntConst))
      return getFloat(static_cast<double>(x.getInt()));
    return Expr();
  default:
    break;
  }

  if (isComparison) {
    if (x.is(Kind::IntConst) && y.is(Kind::IntConst))
      return getBool(detail::compare(kind, x.getInt(), y.getInt()));
    if (x.is(Kind::FloatConst) && y.is(Kind::FloatConst))
      return getBool(detail::compare(kind, x.getFloat(), y.getFloat()));
    // NaN differs from itself, so only integers are equal to themselves.
    if (x == y && x.getType() == Type::Int)
      return getBool(detail::compare(kind, 0, 0));
    return Expr();
  }

  if (isIntConst(x) && isIntConst(y)) {
    if (std::optional<int64_t> value =
            foldInts(kind, x.getInt(), y ? y.getInt() : 0))
      return getInt(*value);
    return Expr();
  }
  if (isFloatConst(x) && isFloatConst(y)) {
    std::optional<double> value =
        foldFloats(kind, x.getFloat(), y ? y.getFloat() : 0);
    return value && std::isfinite(*value) ? getFloat(*value) : Expr();
  }

  bool isInt = x.getType() == Type::Int;
  auto isOne = [](Expr e) {
    return e.isInt(1) || (e.is(Kind::FloatConst) && e.getFloat() == 1.0);
  };
  switch (kind) {
  case Kind::Neg:
    return x.is(Kind::Neg) ? x.getOperand(0) : Expr();
  case Kind::Add:
    if (x.isInt(0))
      return y;
    return y.isInt(0) ? x : Expr();
  case Kind::Sub:
    if (y.isInt(0))
      return x;
    return isInt && x == y ? getInt(0) : Expr();
  case Kind::Mul:
    if (isOne(x) || y.isInt(0))
      return y;
    return isOne(y) || x.isInt(0) ? x : Expr();
  case Kind::Div:
    return isOne(y) ? x : Expr();
  case Kind::FloorDiv:
    return y.isInt(1) ? x : Expr();
  case Kind::Mod:
    return y.isInt(1) ? getInt(0) : Expr();
  case Kind::Min:
  case Kind::Max:
    return x == y ? x : Expr();
  default:
    return Expr();
  }
}

//===----------------------------------------------------------------------===//
// Traversal
//===----------------------------------------------------------------------===//

static void walkImpl(Expr expr, llvm::SmallPtrSetImpl<const void *> &seen,
                     llvm::function_ref<void(Expr)> fn) {
  if (!seen.insert(expr.getAsOpaquePointer()).second)
    return;
  for (Expr operand : expr.getOperands())
    walkImpl(operand, seen, fn);
  fn(expr);
}

void fovea::expr::walk(Expr root, llvm::function_ref<void(Expr)> fn) {
  llvm::SmallPtrSet<const void *, 32> seen;
  walkImpl(root, seen, fn);
}

Expr fovea::expr::substitute(Context &context, Expr root,
                             const llvm::DenseMap<Expr, Expr> &map) {
  llvm::DenseMap<Expr, Expr> done(map);
  walk(root, [&](Expr expr) {
    if (done.count(expr))
      return;
    llvm::SmallVector<Expr, 4> operands;
    for (Expr operand : expr.getOperands())
      operands.push_back(done.lookup(operand));
    Expr result = expr;
    if (ArrayRef<Expr>(operands) != expr.getOperands())
      result = expr.is(Kind::Load)
                   ? context.getLoad(expr.getName(), expr.getType(), operands)
                   : context.get(expr.getKind(), operands);
    done[expr] = result;
  });
  return done.lookup(root);
}
