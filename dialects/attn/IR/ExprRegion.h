// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Mask and score regions as expressions (dialects/attn/Expr), and back. A
// captured i64 is a parameter of its name, a captured tensor a declared tensor,
// a captured float a tensor without dimensions.
//
// An expression becomes arith, math and attn.element operations that are total:
// no operand makes them trap. So where a divisor d may be 0 or -1 (0: the
// language says 0; -1: the least integer has no quotient), with u = d in
// {-1, 0}, `x // d` is u ? x * d : x floordiv safe and `x % d` is
// x - (x floordiv safe) * safe with safe = u ? 1 : d. Both are recognised on
// the way back, as is a plain arith.floordivsi.
//
// The way back covers what the language can say and answers nothing for the
// rest (other operations, other types, non-finite constants).

#ifndef FOVEA_DIALECTS_ATTN_IR_EXPRREGION_H
#define FOVEA_DIALECTS_ATTN_IR_EXPRREGION_H

#include "dialects/attn/Expr/Expr.h"
#include "dialects/attn/IR/AttnOps.h"

namespace fovea::attn {

/// What a region captures: name in the expression language, and type.
struct Capture {
  std::string name;
  mlir::Type type;
};

/// The captures of an attn.attention or attn.partial; unnamed ones are c0, c1,
/// ...
llvm::SmallVector<Capture> getCaptures(mlir::TypeRange types,
                                       mlir::ArrayAttr names);
llvm::SmallVector<Capture> getCaptures(AttentionOp op);
llvm::SmallVector<Capture> getCaptures(PartialOp op);

/// The names that an expression over these captures may use. `scoreType` is
/// null for a mask; captures of types that the language lacks are left out.
expr::Scope getScope(llvm::ArrayRef<Capture> captures,
                     mlir::FloatType scoreType);

/// Fills the empty `region` with one block that yields `expr`, a Bool over
/// variables, parameters and tensors among the captures.
void buildMaskRegion(mlir::OpBuilder &builder, mlir::Location loc,
                     mlir::Region &region, expr::Expr expr,
                     llvm::ArrayRef<Capture> captures);
/// The same for a Float, computed in `scoreType` (f32 or f64).
void buildScoreRegion(mlir::OpBuilder &builder, mlir::Location loc,
                      mlir::Region &region, expr::Expr expr,
                      llvm::ArrayRef<Capture> captures,
                      mlir::FloatType scoreType);

/// The expression that a mask or score region (`isScore`) yields; nothing if
/// the language cannot say it, or the region is empty.
std::optional<expr::Expr> regionToExpr(expr::Context &context,
                                       mlir::Region &region, bool isScore,
                                       llvm::ArrayRef<Capture> captures);

/// The mask or score as expressions; an absent mask is `true`, an absent score
/// is `s`.
template <typename Op>
std::optional<expr::Expr> getMaskExpr(expr::Context &context, Op op) {
  if (op.getMask().empty())
    return context.getBool(true);
  return regionToExpr(context, op.getMask(), /*isScore=*/false,
                      getCaptures(op));
}
template <typename Op>
std::optional<expr::Expr> getScoreExpr(expr::Context &context, Op op) {
  if (op.getScore().empty())
    return context.getVar(expr::Var::s);
  return regionToExpr(context, op.getScore(), /*isScore=*/true,
                      getCaptures(op));
}

/// Whether two regions compute the same value by the same operations, but for
/// the order and sharing of operations, and every operation is used.
bool areSameComputation(mlir::Region &a, mlir::Region &b);

/// Text in the expression language that parses back to the very same
/// computation; nothing if there is none.
std::optional<std::string> regionToText(mlir::Region &region,
                                        mlir::FloatType scoreType,
                                        llvm::ArrayRef<Capture> captures);

} // namespace fovea::attn

#endif // FOVEA_DIALECTS_ATTN_IR_EXPRREGION_H
