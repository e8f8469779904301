// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The error bounds in numbers: see ErrorBound.h for where they come from.

#include "compiler/Reference/ErrorBound.h"

#include <cmath>
#include <limits>

using namespace mlir;
using namespace fovea;
using namespace fovea::reference;

/// The multiple of the root of a sum of squared roundings that is not passed.
static constexpr double scoreFactor = 2;
/// The same where nothing but these roundings is in the sum.
static constexpr double operandFactor = 3;
/// The multiple of log2 n + 4.
static constexpr double sumFactor = 2;

ErrorBound::ErrorBound(Type element, int64_t keys, int64_t matrixTerms)
    : computeU(element.isF64() ? 0x1p-53 : 0x1p-24), matrixTerms(matrixTerms) {
  u = element.isBF16() ? 0x1p-8 : element.isF16() ? 0x1p-11 : computeU;
  auto n = static_cast<double>(std::max<int64_t>(keys, 1));
  rounds = std::log2(n) + 4;
  // Two terms of bf16 leave out 2^-16, and so do their three products. Three
  // hold all of f32; only their six products leave something out.
  static constexpr double termErrors[] = {0, 0x1p-8, 0x1p-15, 0x1p-24};
  termError = termErrors[matrixTerms];
  expError = matrixTerms == 1 || matrixTerms == 2 ? 0x1p-18 : 0;
  // Kernels flush what is below normal numbers; all numbers of f16 are above,
  // and a subnormal one is rounded by half the smallest of them.
  least = element.isF64() ? 0x1p-1020 : element.isF16() ? 0x1.1p-25 : 0x1p-124;
  leastProducts = matrixTerms == 0 ? 0 : n * 0x1p-123;
}

double ErrorBound::ofMatrixOperands(int64_t matrixTerms, int operands) {
  switch (matrixTerms) {
  case 1:
    return operandFactor * 0x1p-8 * std::sqrt(static_cast<double>(operands));
  case 2:
    return operandFactor * 0x1p-16 * std::sqrt(1.0 + operands);
  default:
    return operandFactor * 0x1p-24;
  }
}

double ErrorBound::ofOutput(double o, double absoluteSum, double scoreSum,
                            double operandError) const {
  // No weight times a value: nothing to round.
  if (absoluteSum == 0)
    return 0;
  return u * std::abs(o) + (termError + 2 * expError) * absoluteSum +
         computeU *
             (sumFactor * rounds * absoluteSum + scoreFactor * scoreSum) +
         (matrixTerms != 0 ? operandError : 0) + least + leastProducts;
}

double ErrorBound::ofLogSumExp(double lse, double scoreSum,
                               double operandError) const {
  return computeU *
             (sumFactor * (rounds + std::abs(lse)) + scoreFactor * scoreSum) +
         (matrixTerms != 0 ? operandError : 0) + expError;
}

double ErrorBound::ofAppended(double x, double largest) const {
  // A rotation or a norm in the compute type, and one rounding, which may fall
  // to either side of a tie.
  return 2 * u * std::abs(x) + 8 * computeU * largest + least;
}

double ErrorBound::ofDynamicAngle(mlir::Type element, double position) {
  ErrorBound bound(element, 0);
  return 1 + std::abs(position) * 0x1p-50 / (8 * bound.computeU);
}

std::string ErrorBound::describe() const {
  auto power = [](double x) { return "2^" + std::to_string(std::ilogb(x)); };
  std::string weights = expError == 0 ? power(termError)
                                      : "(" + power(termError) + " + " +
                                            power(2 * expError) + ")";
  return "each element of o within " + power(u) + " |o| + " +
         (matrixTerms != 0 ? weights + " sum_j p_j |v_j| + " : "") +
         power(sumFactor * computeU) + " (log2 n + 4) sum_j p_j |v_j| + " +
         power(scoreFactor * computeU) +
         " sum_j p_j r_j |v_j - o| of the exact o, for n keys attended to and "
         "r_j the magnitude of the roundings in score j" +
         (matrixTerms != 0 ? "; more where q k is rounded for matrix "
                             "units (docs/semantics.md)"
                           : "");
}

Judgement fovea::reference::judge(const Interpretation &interpretation,
                                  unsigned number, const Tensor &got,
                                  int64_t matrixTerms) {
  const auto &want = std::get<Tensor>(interpretation.results[number]);
  const std::optional<Tensor> &absolute = interpretation.absoluteSums[number],
                              &score = interpretation.scoreSums[number],
                              &operand = interpretation.operandErrors[number],
                              &appended = interpretation.appended[number];
  ErrorBound bound(want.elementType, interpretation.keys, matrixTerms);
  auto boundOf = [&](int64_t i) {
    if (appended)
      return appended->data[i] < 0
                 ? 0.0
                 : bound.ofAppended(want.data[i], appended->data[i]);
    if (absolute)
      return bound.ofOutput(want.data[i], absolute->data[i], score->data[i],
                            operand->data[i]);
    return bound.ofLogSumExp(want.data[i], score->data[i], operand->data[i]);
  };
  Judgement result;
  for (int64_t i = 0; i < want.size(); ++i) {
    double x = want.data[i], y = got.data[i];
    bool isKept = appended && appended->data[i] < 0;
    bool isEmpty =
        !appended && !absolute && x == -std::numeric_limits<double>::infinity();
    if (x == y || (std::isnan(x) && std::isnan(y)) ||
        (!std::isfinite(x) && !isKept && !isEmpty))
      continue;
    double allowed = isEmpty ? 0 : boundOf(i);
    double share = std::abs(x - y) / allowed;
    if (std::isnan(share))
      share = std::numeric_limits<double>::infinity();
    result.wrong += share > 1;
    if (share > result.share) {
      result.share = share;
      result.worst = i;
      result.bound = allowed;
    }
  }
  return result;
}
