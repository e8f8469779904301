// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The position of query 0 among the keys, which RoPE needs: the offset of the
// mask's causal alignment (rule M3) as host arithmetic. Private to this
// library.

#ifndef FOVEA_COMPILER_FRONTEND_QUERYOFFSET_H
#define FOVEA_COMPILER_FRONTEND_QUERYOFFSET_H

#include "dialects/attn/Expr/Expr.h"

namespace fovea::frontend {

/// Whether the offset can be computed before the kernel runs: from numbers,
/// parameters, extents and + - *, or one element t[b] per batch row.
bool isQueryOffset(expr::Expr offset);

} // namespace fovea::frontend

#endif // FOVEA_COMPILER_FRONTEND_QUERYOFFSET_H
