// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The frequencies of rotary position embedding (rule P1), in f64, for every
// published scaling. This is the one place that knows the formulas: the
// reference interpreter evaluates it, and the lowering of attn.rope makes its
// tables from it. It knows nothing of tensors, positions or code.

#ifndef FOVEA_DIALECTS_ATTN_IR_ROPE_H
#define FOVEA_DIALECTS_ATTN_IR_ROPE_H

#include "dialects/attn/IR/AttnOps.h"
#include "llvm/ADT/SmallVector.h"

namespace fovea::attn {

/// The pair k of a row at position p is rotated by the angle p * inverse[k],
/// and both of its elements are multiplied by `magnitude` (the attention factor
/// of YaRN and longrope; 1 otherwise).
struct RopeFrequencies {
  llvm::SmallVector<double> inverse; // rotaryWidth / 2 of them, in radians
  double magnitude = 1.0;
};

/// Whether the frequencies change with the key length (dynamic, longrope).
bool ropeDependsOnLength(RopeScalingAttr scaling);

/// The frequencies for `rotaryWidth` (even, at least 2) rotated elements. A
/// null `scaling` leaves base^(-2k / rotaryWidth) as it is. `length`, the key
/// length, matters only where ropeDependsOnLength:
///
/// - longrope has two tables: the short one for length <= original_length, the
///   long one beyond it.
/// - dynamic with r = factor * max(length, L) / L - (factor - 1), where L is
///   original_length, multiplies frequency k by r^(-2k / (rotaryWidth - 2)),
///   which is what raising the base to base * r^(w / (w - 2)) amounts to. Up to
///   length L nothing changes.
RopeFrequencies computeRopeFrequencies(int64_t rotaryWidth, double base,
                                       RopeScalingAttr scaling,
                                       int64_t length = 0);

} // namespace fovea::attn

#endif // FOVEA_DIALECTS_ATTN_IR_ROPE_H
