// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception
//
// What the parser and the table of named masks share: parsing a formula of the
// table with its arguments bound. Private to this library.

#ifndef FOVEA_DIALECTS_ATTN_EXPR_DETAIL_H
#define FOVEA_DIALECTS_ATTN_EXPR_DETAIL_H

#include "dialects/attn/Expr/Expr.h"

namespace fovea::expr::detail {

/// Parses a formula of the named-mask table. A name in `bindings` stands for
/// its expression; bound to a Load it stands for that tensor, whose indices in
/// the formula are right-aligned: leading ones are dropped (rule M6). Null when
/// the tensor has more dimensions than the formula has indices.
Expr parseFormula(Context &context, const llvm::StringMap<Expr> &bindings,
                  llvm::StringRef formula);

} // namespace fovea::expr::detail

#endif // FOVEA_DIALECTS_ATTN_EXPR_DETAIL_H
