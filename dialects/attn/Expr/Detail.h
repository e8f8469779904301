// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception
//
// What the files of this library share: parsing a formula of the table of named
// masks with its arguments bound, and comparing numbers. Private to it.

#ifndef FOVEA_DIALECTS_ATTN_EXPR_DETAIL_H
#define FOVEA_DIALECTS_ATTN_EXPR_DETAIL_H

#include "dialects/attn/Expr/Expr.h"

#include "llvm/Support/ErrorHandling.h"

namespace fovea::expr::detail {

/// Parses a formula of the named-mask table. A name in `bindings` stands for
/// its expression; bound to a Load it stands for that tensor, whose indices in
/// the formula are right-aligned: leading ones are dropped (rule M6). Null when
/// the tensor has more dimensions than the formula has indices.
Expr parseFormula(Context &context, const llvm::StringMap<Expr> &bindings,
                  llvm::StringRef formula);

/// Whether the comparison `kind` (Eq to Ge) holds between two numbers.
template <typename T> bool compare(Kind kind, T x, T y) {
  switch (kind) {
  case Kind::Eq:
    return x == y;
  case Kind::Ne:
    return x != y;
  case Kind::Lt:
    return x < y;
  case Kind::Le:
    return x <= y;
  case Kind::Gt:
    return x > y;
  case Kind::Ge:
    return x >= y;
  default:
    llvm_unreachable("not a comparison");
  }
}

} // namespace fovea::expr::detail

#endif // FOVEA_DIALECTS_ATTN_EXPR_DETAIL_H
