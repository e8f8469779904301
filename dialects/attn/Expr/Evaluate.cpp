// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception
//
// Evaluation of an expression at one point: integers exactly in 64 bits or not
// at all, floats in f64. It is written to be read and serves as the truth in
// tests; it must not be asked for speed.

#include "dialects/attn/Expr/Detail.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/MathExtras.h"

#include <algorithm>
#include <cmath>
#include <limits>

using namespace fovea::expr;

namespace {
class Evaluator {
public:
  explicit Evaluator(const Environment &environment)
      : environment(environment) {}

  std::optional<Value> evaluate(Expr expr) {
    switch (expr.getKind()) {
    case Kind::IntConst:
      return Value::ofInt(expr.getInt());
    case Kind::BoolConst:
      return Value::ofBool(expr.getBool());
    case Kind::FloatConst:
      return Value::ofFloat(expr.getFloat());
    case Kind::Var:
      return expr.is(Var::s) ? Value::ofFloat(environment.s)
                             : Value::ofInt(environment[expr.getVar()]);
    case Kind::Param:
      return evaluateParam(expr);
    case Kind::Load:
      return evaluateLoad(expr);
    case Kind::Not: {
      std::optional<Value> x = evaluate(expr.getOperand(0));
      return x ? std::optional(Value::ofBool(!x->integer)) : std::nullopt;
    }
    case Kind::And:
    case Kind::Or: {
      std::optional<Value> x = evaluate(expr.getOperand(0));
      if (!x || (x->integer != 0) == expr.is(Kind::Or))
        return x;
      return evaluate(expr.getOperand(1));
    }
    case Kind::Where: {
      std::optional<Value> c = evaluate(expr.getOperand(0));
      return c ? evaluate(expr.getOperand(c->integer ? 1 : 2)) : std::nullopt;
    }
    default:
      break;
    }
    std::optional<Value> x = evaluate(expr.getOperand(0));
    if (!x)
      return std::nullopt;
    Value y;
    if (expr.getNumOperands() > 1) {
      std::optional<Value> second = evaluate(expr.getOperand(1));
      if (!second)
        return std::nullopt;
      y = *second;
    }
    if (expr.is(Kind::ToFloat))
      return Value::ofFloat(static_cast<double>(x->integer));
    if (x->type == Type::Float)
      return evaluateFloat(expr.getKind(), x->real, y.real);
    std::optional<Value> result =
        evaluateInt(expr.getKind(), x->integer, y.integer);
    return result ? result : fail(EvalError::Overflow);
  }

  EvalError error = EvalError::None;

private:
  std::optional<Value> fail(EvalError why) {
    error = why;
    return std::nullopt;
  }

  std::optional<Value> evaluateParam(Expr expr) {
    if (!environment.params)
      return fail(EvalError::MissingParam);
    auto it = environment.params->find(expr.getName());
    if (it == environment.params->end())
      return fail(EvalError::MissingParam);
    return Value::ofInt(it->second);
  }

  std::optional<Value> evaluateLoad(Expr expr) {
    llvm::SmallVector<int64_t, 4> indices;
    for (Expr operand : expr.getOperands()) {
      std::optional<Value> index = evaluate(operand);
      if (!index)
        return std::nullopt;
      indices.push_back(index->integer);
    }
    std::optional<Value> value;
    if (environment.load)
      value = environment.load(expr, indices);
    return value ? value : fail(EvalError::MissingLoad);
  }

  static std::optional<Value> checked(bool overflows, int64_t value) {
    return overflows ? std::nullopt : std::optional(Value::ofInt(value));
  }

  static std::optional<Value> evaluateInt(Kind kind, int64_t x, int64_t y) {
    int64_t result = 0;
    switch (kind) {
    case Kind::Neg:
      return checked(llvm::SubOverflow<int64_t>(0, x, result), result);
    case Kind::Abs:
      return checked(x == std::numeric_limits<int64_t>::min(),
                     x < 0 ? -static_cast<uint64_t>(x) : x);
    case Kind::Add:
      return checked(llvm::AddOverflow(x, y, result), result);
    case Kind::Sub:
      return checked(llvm::SubOverflow(x, y, result), result);
    case Kind::Mul:
      return checked(llvm::MulOverflow(x, y, result), result);
    case Kind::Min:
      return Value::ofInt(std::min(x, y));
    case Kind::Max:
      return Value::ofInt(std::max(x, y));
    case Kind::FloorDiv: {
      std::optional<int64_t> quotient = floorDiv(x, y);
      return checked(!quotient, quotient.value_or(0));
    }
    case Kind::Mod: {
      std::optional<int64_t> remainder = floorMod(x, y);
      return checked(!remainder, remainder.value_or(0));
    }
    default:
      return Value::ofBool(detail::compare(kind, x, y));
    }
  }

  static std::optional<Value> evaluateFloat(Kind kind, double x, double y) {
    switch (kind) {
    case Kind::Neg:
      return Value::ofFloat(-x);
    case Kind::Abs:
      return Value::ofFloat(std::fabs(x));
    case Kind::Add:
      return Value::ofFloat(x + y);
    case Kind::Sub:
      return Value::ofFloat(x - y);
    case Kind::Mul:
      return Value::ofFloat(x * y);
    case Kind::Div:
      return Value::ofFloat(x / y);
    case Kind::Min:
      // NaN propagates, as in arith.minimumf.
      return Value::ofFloat(std::isnan(x) || x < y ? x : y);
    case Kind::Max:
      return Value::ofFloat(std::isnan(x) || x > y ? x : y);
    case Kind::Exp:
      return Value::ofFloat(std::exp(x));
    case Kind::Log:
      return Value::ofFloat(std::log(x));
    case Kind::Tanh:
      return Value::ofFloat(std::tanh(x));
    case Kind::Sqrt:
      return Value::ofFloat(std::sqrt(x));
    case Kind::Sin:
      return Value::ofFloat(std::sin(x));
    case Kind::Cos:
      return Value::ofFloat(std::cos(x));
    default:
      return Value::ofBool(detail::compare(kind, x, y));
    }
  }

  const Environment &environment;
};
} // namespace

std::optional<Value> fovea::expr::evaluate(Expr expr,
                                           const Environment &environment,
                                           EvalError *error) {
  Evaluator evaluator(environment);
  std::optional<Value> result = evaluator.evaluate(expr);
  if (error)
    *error = evaluator.error;
  return result;
}
