// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Elementary functions as straight-line arith operations, on f32 and
// f64, scalar or vector: what math.exp2 and its like become, since a kernel
// calls no library. Nothing here relies on fast-math flags; rounding must be to
// nearest. Accuracy (units in the last place of the result, worst seen): exp2,
// exp, log, log2, tanh at most 2; sin and cos at most 2 for f32 and 1e-15
// absolute for f64 while |x| <= 1e7. Infinities, NaN, zeros and subnormals
// behave as in C.

#ifndef FOVEA_COMPILER_CPU_VECTORMATH_H
#define FOVEA_COMPILER_CPU_VECTORMATH_H

#include "mlir/IR/Builders.h"

namespace fovea::cpu {

/// Builds element-wise arithmetic on one float type, scalar or vector.
class FloatBuilder {
public:
  FloatBuilder(mlir::OpBuilder &b, mlir::Location loc, mlir::Type type);

  mlir::Type getType() const { return type; }
  mlir::Type getIntType() const { return intType; }
  bool isDouble() const;

  mlir::Value constant(double value);
  mlir::Value intConstant(int64_t value);

  mlir::Value add(mlir::Value a, mlir::Value b);
  mlir::Value sub(mlir::Value a, mlir::Value b);
  mlir::Value mul(mlir::Value a, mlir::Value b);
  mlir::Value div(mlir::Value a, mlir::Value b);
  mlir::Value neg(mlir::Value a);
  /// a * b + c, rounded once.
  mlir::Value fma(mlir::Value a, mlir::Value b, mlir::Value c);
  /// a > b ? a : b, one instruction on x86; b if either is NaN.
  mlir::Value maxOrSecond(mlir::Value a, mlir::Value b);
  mlir::Value minOrSecond(mlir::Value a, mlir::Value b);
  mlir::Value less(mlir::Value a, mlir::Value b);
  mlir::Value equal(mlir::Value a, mlir::Value b);
  mlir::Value select(mlir::Value condition, mlir::Value a, mlir::Value b);

  mlir::Value toBits(mlir::Value a);
  mlir::Value fromBits(mlir::Value a);

  /// Coefficients of increasing degree.
  mlir::Value polynomial(mlir::Value x, llvm::ArrayRef<double> coefficients);

  /// exp(x) for x <= 0 (or NaN), the softmax's: results below the smallest
  /// normal number may become 0, since kernels run with flush-to-zero anyway.
  mlir::Value expNonPositive(mlir::Value x);

  /// 2^x on vectors of 16 f32 for AVX-512 (vreduceps and vscalefps), for every
  /// x; kernels flush what is below the normal numbers. 2^x of an integer is
  /// exact.
  mlir::Value exp2ByScale(mlir::Value x);
  /// The same within 2^-18 of the result, by two multiply-adds less.
  mlir::Value exp2ByScaleRoughly(mlir::Value x);

  mlir::Value exp2(mlir::Value x);
  mlir::Value exp(mlir::Value x);
  mlir::Value log(mlir::Value x);
  mlir::Value log2(mlir::Value x);
  mlir::Value tanh(mlir::Value x);
  mlir::Value sin(mlir::Value x);
  mlir::Value cos(mlir::Value x);

private:
  mlir::Value exp2ByScale(mlir::Value x, llvm::ArrayRef<double> coefficients);

  /// x rounded to an integer n as bits + n of a large power of two, and as a
  /// float.
  std::pair<mlir::Value, mlir::Value> roundToInt(mlir::Value shifted,
                                                 double magic);
  /// p * 2^n, for n beyond the exponent range, rounded once.
  mlir::Value scaleByPowerOfTwo(mlir::Value p, mlir::Value n);
  /// Exponent k and log(m) of x = 2^k m, as floats, for finite x > 0.
  std::pair<mlir::Value, mlir::Value> splitLog(mlir::Value x);
  /// The value of a logarithm at 0, infinity, negative numbers and NaN.
  mlir::Value logSpecialCases(mlir::Value x, mlir::Value result);
  /// sin(x + quadrants * pi/2), for f64.
  mlir::Value sinShifted(mlir::Value x, int64_t quadrants);
  mlir::Value sinOrCos(mlir::Value x, int64_t quadrants);

  mlir::OpBuilder &b;
  mlir::Location loc;
  mlir::Type type, intType;
};

} // namespace fovea::cpu

#endif // FOVEA_COMPILER_CPU_VECTORMATH_H
