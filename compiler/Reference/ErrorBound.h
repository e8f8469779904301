// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// How far a kernel's results may be from the reference's: the bounds of
// docs/semantics.md ("Error bounds"), for everyone who compares the two. They
// are made of what the reference counts beside its results (Interpretation)
// and are no property of a target, except for what matrix units round.
//
// Derivation. u is half the distance from 1 to the next number of the compute
// type, and each operation x of a kernel is off by at most u |x|.
//
// Scores. A dot product is a chain of D fused multiply-adds in the order of d,
// so its error is a sum of errors e_d <= u |S_d| where S_d is the chain's value
// after d steps; scale, score expression and the subtraction of the maximum add
// one each. Errors of roundings are unrelated to each other, and such sums
// are not larger than a small multiple of the root of the sum of squares
// (Higham and Mary, "A new approach to probabilistic rounding error analysis",
// 2019); inputs that make all roundings fall to one side, such as a query and a
// key of equal elements each, are not covered. So score j is off by at most c u
// r_j, c = 2, with
//
//   r_j^2 = scale^2 (sum_d S_d^2 + |q|^2 |k_j|^2) + s_j^2 + (s_j - max)^2,
//
// where |q| |k_j| stands for what norms and RoPE do to q and k in the compute
// type; RoPE with dynamic scaling makes it larger (ofDynamicAngle). For
// products of random signs r_j is about 1.2 scale |q| |k_j|, for products of
// one sign about sqrt(D / 3) s_j. A score expression f turns the first three
// into their image, |f(s + r) - f(s - r)| / 2, and adds |s| and, as functions
// are off by 2 units in the last place, 2 |f(s)|.
//
// Weights. p_j is off by a factor exp of the score's error, so by c u r_j, and
// by 4 u, the 2 units in the last place of exp. The weights' sum is off alike,
// hence o by the sum over j of p_j c u r_j |v_j - o|: a common factor of all
// weights cancels. That sum over u is Interpretation::scoreSums.
//
// Sums. Products with V are added in blocks of 64 keys, blocks to the
// accumulator, and parts of the keys are merged: chains of 64 and n / 64
// roundings, each of at most u w with w = sum_j p_j |v_j|
// (Interpretation::absoluteSums), so again of the root of their number.
// log2 n + 4 is above that root for n up to 65536, and also pays for exp,
// the factors that rescale the accumulator, and the division at the end.
//
// The last rounding, to T, is u_T |o|.
//
// Matrix units. What norms and RoPE make of q and k is f32, and is rounded to T
// for tile products. An element is then off by at most u_T of itself, the score
// by the sum of scale q_d k_d times these roundings, 1 or 2 of them in each
// product, unrelated again. Here nothing else is in the sum, so c = 3: score j
// moves by at most
//
//   e_j = 3 u_T |scale| sqrt(m sum_d (q_d k_d)^2),
//
// m being how many of q and k were made so; or as far as f goes from s to s +-
// e_j. That is no small number, so it goes through exp unabridged: weights are
// off by a factor between exp(-e_j) and exp(e_j), o hence by
//
//   sum_j p_j (exp(e_j) - 1) |v_j - o| / sum_j p_j exp(-e_j),
//
// and LSE by ln sum_j p_j exp(e_j): Interpretation::operandErrors. Their
// products with the other errors are left out.
//
// An element of f16 is the sum of two terms of bf16: exactly as stored, to
// 2^-16 of itself behind norms and RoPE. Second terms are at most 2^-8 of their
// elements, and the products of two of them are left out: 2^-16 of a product of
// elements. So u_T is 2^-16 here, and m is one more. Weights too are two terms,
// to 2^-16, and leave out 2^-16 of their products: in place of u_T w below
// comes 2^-15 w.
//
// An element of f32 whose products may be made so is the sum of three terms:
// exactly, for each term has 8 bits and a sign. For 2^e <= |x| < 2^(e+1) the
// second is at most 2^(e-8) and the third 2^(e-17), so the products of terms
// that are left out (1 and 2, 2 and 1, 2 and 2) are 2^-24 of a product of
// elements: u_T is 2^-24, m is 1. Weights likewise lose 2^-24 w and nothing
// else; they have the exp of other kernels, and the product of 64 keys is added
// to the accumulator in one. Terms below 2^-126 count as 0, so elements are off
// by up to that, and score j by 2^-125 |scale| sum_d (|q_d| + |k_d|).
//
// Weights for bf16 and f16 come from a shorter exp, off by at most 2^-18
// p_j, and are then rounded to T, by at most u_T p_j; the sum that o is divided
// by, and LSE, are of the weights before that. So LSE is off by at most 2^-18
// more, and o by u_T w + 2^-18 (w + |o|), at most (u_T + 2^-17) w. This holds
// as it stands, however the roundings fall: weights may all be equal. Chains
// within a tile are shorter than those above. Tile products and their sums
// below 2^-126 count as 0: at most 8 of them for a key, 2^-123 n in all, since
// the weight of the largest score is 1 or more.

#ifndef FOVEA_COMPILER_REFERENCE_ERRORBOUND_H
#define FOVEA_COMPILER_REFERENCE_ERRORBOUND_H

#include "compiler/Reference/Interpreter.h"

namespace fovea::reference {

/// The bounds of the errors of results.
class ErrorBound {
public:
  /// For results of `element`, f64, f32, f16 or bf16, over at most `keys` keys,
  /// of code for matrix units with 1, 2 or 3 terms of an element, or not (0).
  ErrorBound(mlir::Type element, int64_t keys, int64_t matrixTerms = 0);

  /// What e_j of matrix units is made of where `operands` of q and k are
  /// results of norms and RoPE: 3 2^-8 sqrt(operands), for two terms 3 2^-16
  /// sqrt(1 + operands), for three 3 2^-24.
  static double ofMatrixOperands(int64_t matrixTerms, int operands);

  /// The bound of O, as a sentence.
  std::string describe() const;

  /// Of an element of O.
  double ofOutput(double o, double absoluteSum, double scoreSum,
                  double operandError = 0) const;
  /// Of an LSE, which is of the compute type.
  double ofLogSumExp(double lse, double scoreSum,
                     double operandError = 0) const;
  /// Of an element that was appended to a cache; `largest` is the largest
  /// magnitude of its row.
  double ofAppended(double x, double largest) const;
  /// What `largest` is multiplied by for a row that RoPE with dynamic scaling
  /// has turned: frequencies computed in the call leave the angle at `position`
  /// off by position * 2^-50, beside the 8 u of what is done in the compute
  /// type.
  static double ofDynamicAngle(mlir::Type element, double position);

private:
  double u, computeU;   ///< of the element and of the compute type
  double expError;      ///< of weights before they are rounded, beside computeU
  double termError;     ///< of products with weights on matrix units
  double least;         ///< what underflow can do
  double leastProducts; ///< the same in products with weights on matrix units
  double rounds;        ///< log2 n + 4
  int64_t matrixTerms;
};

/// A kernel's result beside the reference's.
struct Judgement {
  double share = 0;   ///< the largest error, as a share of its bound
  int64_t wrong = 0;  ///< elements past their bounds
  int64_t worst = -1; ///< the position of the largest share, if it is not 0
  double bound = 0;   ///< that element's bound
};

/// Judges `got` by result `number` of the reference: O, LSE or a cache. An
/// element of a cache to which nothing was appended must be as it was. Where
/// the reference is NaN or infinite, the inputs were, and nothing is promised;
/// but the LSE of a row without keys is -inf (rule M2). The interpretation must
/// have its error sums.
Judgement judge(const Interpretation &interpretation, unsigned number,
                const Tensor &got, int64_t matrixTerms = 0);

} // namespace fovea::reference

#endif // FOVEA_COMPILER_REFERENCE_ERRORBOUND_H
