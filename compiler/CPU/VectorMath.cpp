// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Elementary functions as arith operations. The polynomials are
// minimax fits (Remez exchange, 200-bit arithmetic) in relative error; the
// reductions are the textbook ones: base 2 with an exact remainder, mantissa
// and exponent, pi/2 in two parts with fused multiply-add (Cody and Waite).

#include "compiler/CPU/VectorMath.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/TypeUtilities.h"

#include <cmath>
#include <limits>

using namespace mlir;
using namespace fovea::cpu;

namespace {

/// What differs between f32 and f64.
struct Format {
  int64_t mantissaBits, bias;
  double minNormal;
  /// 1.5 * 2^mantissaBits: adding it rounds to an integer, in its low bits.
  double magic;
  /// exp2 is 0 below `underflow`, infinite from `overflow` on.
  double exp2Underflow, exp2Overflow;
  ArrayRef<double> exp2, exp, tanh, log;
  double ln2Hi, ln2Lo;
};

constexpr double exp2F32[] = {1.0,           0.693147206,   0.240226469,
                              0.0555032878,  0.00961848888, 0.00133999311,
                              0.000153458327};
/// On [0, 1], 1 at 0.
constexpr double exp2F32FromZero[] = {
    1.0,           0.693147044443, 0.240229305552,   0.0554852806202,
    0.00967545156, 0.00124678464,  0.000216129149696};
constexpr double exp2F32FromZeroRoughly[] = {1.0, 0.69304484129, 0.241280198097,
                                             0.0522424727678, 0.0134266838431};
constexpr double exp2F64[] = {
    0.999999999999999997,    0.69314718055994533,      0.240226506959101562,
    0.0555041086648199208,   0.00961812910758833759,   0.00133335581467901191,
    0.000154035304625114389, 0.0000152527334897879969, 1.3215433091171484e-6,
    1.01781981087775565e-7,  7.0741053598010984e-9,    4.43526921448855192e-10};
constexpr double expF32[] = {1.0,          1.00000004,   0.499999921,
                             0.166664202,  0.0416682252, 0.00837481575,
                             0.00138368646};
constexpr double expF64[] = {
    0.999999999999999997,   1.00000000000000003,     0.500000000000001768,
    0.166666666666661685,   0.0416666666664927781,   0.00833333333355937684,
    0.00138888889512211263, 0.000198412694324544428, 0.0000248014865243867576,
    2.75576227351516222e-6, 2.7632292238695906e-7,   2.49942387816224215e-8};
/// (tanh(x) / x - 1) / x^2 in x^2, |x| <= 0.625.
constexpr double tanhF32[] = {-0.333333309, 0.133332098,    -0.0539472043,
                              0.0217029672, -0.00818267423, 0.00214753729};
constexpr double tanhF64[] = {
    -0.33333333333332878,     0.133333333332649154,
    -0.0539682539324824103,   0.021869487601969816,
    -0.00886322131935067255,  0.00359199157157486819,
    -0.00145497048134175216,  0.000586352503846705509,
    -0.000228633285107972769, 0.0000772192327101283575,
    -0.0000161075734231018952};
/// (log((1 + s) / (1 - s)) / s - 2) / s^2 in s^2, sqrt(1/2) <= m < sqrt(2).
constexpr double logF32[] = {0.666666656, 0.400003353, 0.285373013,
                             0.235822962};
constexpr double logF64[] = {0.666666666666673446, 0.399999999994143306,
                             0.285714287424726221, 0.222221985637308766,
                             0.181835648532924937, 0.153140361913366776,
                             0.147961017628094705};
/// (sin(x) / x - 1) / x^2 and (cos(x) - 1 + x^2 / 2) / x^4 in x^2, |x| <= pi/4.
constexpr double sinF64[] = {-0.16666666666666632,     0.00833333333332241913,
                             -0.000198412698298124075, 2.75573136935804478e-6,
                             -2.5050758385368315e-8,   1.58968118457521642e-10};
constexpr double cosF64[] = {
    0.0416666666666665995, -0.00138888888888741313, 0.0000248015872894870137,
    -2.755731435378972e-7, 2.08757234791745808e-9,  -1.13596588538603191e-11};

constexpr double log2E = 1.44269504088896340736;
constexpr double ln2 = 0.69314718055994530942;

const Format formatF32 = {23,      127,    0x1p-126,    0x1.8p23,
                          -151.0,  129.0,  exp2F32,     expF32,
                          tanhF32, logF32, 0x1.62e4p-1, 0x1.7f7d1cp-20};
const Format formatF64 = {
    52,      1023,   0x1p-1022,       0x1.8p52,
    -1077.0, 1025.0, exp2F64,         expF64,
    tanhF64, logF64, 0x1.62e42feep-1, 0x1.a39ef35793c76p-33};

const Format &formatOf(bool isDouble) {
  return isDouble ? formatF64 : formatF32;
}

} // namespace

FloatBuilder::FloatBuilder(OpBuilder &b, Location loc, Type type)
    : b(b), loc(loc), type(type) {
  intType =
      b.getIntegerType(getElementTypeOrSelf(type).getIntOrFloatBitWidth());
  if (auto vector = dyn_cast<VectorType>(type))
    intType = vector.cloneWith(std::nullopt, intType);
}

bool FloatBuilder::isDouble() const {
  return getElementTypeOrSelf(type).isF64();
}

Value FloatBuilder::constant(double value) {
  TypedAttr attr = b.getFloatAttr(getElementTypeOrSelf(type), value);
  if (auto vector = dyn_cast<VectorType>(type))
    attr = SplatElementsAttr::get(vector, attr);
  return arith::ConstantOp::create(b, loc, attr);
}
Value FloatBuilder::intConstant(int64_t value) {
  TypedAttr attr = b.getIntegerAttr(getElementTypeOrSelf(intType), value);
  if (auto vector = dyn_cast<VectorType>(intType))
    attr = SplatElementsAttr::get(vector, attr);
  return arith::ConstantOp::create(b, loc, attr);
}
Value FloatBuilder::add(Value x, Value y) {
  return arith::AddFOp::create(b, loc, x, y);
}
Value FloatBuilder::sub(Value x, Value y) {
  return arith::SubFOp::create(b, loc, x, y);
}
Value FloatBuilder::mul(Value x, Value y) {
  return arith::MulFOp::create(b, loc, x, y);
}
Value FloatBuilder::div(Value x, Value y) {
  return arith::DivFOp::create(b, loc, x, y);
}
Value FloatBuilder::neg(Value x) { return arith::NegFOp::create(b, loc, x); }
Value FloatBuilder::fma(Value x, Value y, Value z) {
  // Not vector.fma, which becomes llvm.fmuladd and may be rounded twice.
  return math::FmaOp::create(b, loc, x, y, z);
}
Value FloatBuilder::less(Value x, Value y) {
  return arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OLT, x, y);
}
Value FloatBuilder::equal(Value x, Value y) {
  return arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ, x, y);
}
Value FloatBuilder::select(Value condition, Value x, Value y) {
  return arith::SelectOp::create(b, loc, condition, x, y);
}
Value FloatBuilder::maxOrSecond(Value x, Value y) {
  Value greater =
      arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGT, x, y);
  return select(greater, x, y);
}
Value FloatBuilder::minOrSecond(Value x, Value y) {
  return select(less(x, y), x, y);
}
Value FloatBuilder::toBits(Value x) {
  return arith::BitcastOp::create(b, loc, intType, x);
}
Value FloatBuilder::fromBits(Value x) {
  return arith::BitcastOp::create(b, loc, type, x);
}

Value FloatBuilder::polynomial(Value x, ArrayRef<double> coefficients) {
  Value result = constant(coefficients.back());
  for (double coefficient : llvm::reverse(coefficients.drop_back()))
    result = fma(result, x, constant(coefficient));
  return result;
}

std::pair<Value, Value> FloatBuilder::roundToInt(Value shifted, double magic) {
  return {toBits(shifted), sub(shifted, constant(magic))};
}

Value FloatBuilder::expNonPositive(Value x) {
  const Format &format = formatOf(isDouble());
  // With the exponent bias in the shift, the low bits of the rounded sum are
  // the biased exponent, and 0 (a scale of zero) for everything at the clamp.
  double magic = format.magic + double(format.bias);
  x = maxOrSecond(constant(-double(format.bias) * ln2), x);
  auto [bits, n] = roundToInt(fma(x, constant(log2E), constant(magic)), magic);
  Value rest = fma(x, constant(log2E), neg(n));
  Value scale =
      arith::ShLIOp::create(b, loc, bits, intConstant(format.mantissaBits));
  return mul(polynomial(rest, format.exp2), fromBits(scale));
}

Value FloatBuilder::exp2ByScale(Value x) {
  return exp2ByScale(x, exp2F32FromZero);
}

Value FloatBuilder::exp2ByScaleRoughly(Value x) {
  return exp2ByScale(x, exp2F32FromZeroRoughly);
}

Value FloatBuilder::exp2ByScale(Value x, ArrayRef<double> coefficients) {
  auto intrinsic = [&](StringRef name, ValueRange operands) -> Value {
    return LLVM::CallIntrinsicOp::create(b, loc, type, b.getStringAttr(name),
                                         operands)
        .getResult(0);
  };
  auto integer = [&](int64_t value, int64_t bits) -> Value {
    return arith::ConstantOp::create(
        b, loc, b.getIntegerAttr(b.getIntegerType(bits), value));
  };
  // No lane is masked; rounding as MXCSR says.
  Value all = integer(-1, 16), current = integer(4, 32);
  // x - floor(x), 0 for infinities. The scale's exponent is floor(x) again.
  constexpr int64_t fromFloor = 9;
  Value fraction =
      intrinsic("llvm.x86.avx512.mask.reduce.ps.512",
                {x, integer(fromFloor, 32), constant(0.0), all, current});
  return intrinsic(
      "llvm.x86.avx512.mask.scalef.ps.512",
      {polynomial(fraction, coefficients), x, constant(0.0), all, current});
}

Value FloatBuilder::scaleByPowerOfTwo(Value p, Value n) {
  const Format &format = formatOf(isDouble());
  // Two factors, each a normal number: the first product is exact, so a
  // subnormal result is rounded once and an infinite one is right.
  auto factor = [&](Value exponent) {
    Value biased =
        arith::AddIOp::create(b, loc, exponent, intConstant(format.bias));
    return fromBits(arith::ShLIOp::create(b, loc, biased,
                                          intConstant(format.mantissaBits)));
  };
  Value half = arith::ShRSIOp::create(b, loc, n, intConstant(1));
  Value rest = arith::SubIOp::create(b, loc, n, half);
  return mul(mul(p, factor(half)), factor(rest));
}

/// The bits of a float of the format.
static int64_t bitsOf(double value, bool isDouble) {
  return isDouble ? llvm::bit_cast<int64_t>(value)
                  : llvm::bit_cast<int32_t>(float(value));
}

Value FloatBuilder::exp2(Value x) {
  const Format &format = formatOf(isDouble());
  x = maxOrSecond(constant(format.exp2Underflow), x);
  x = minOrSecond(constant(format.exp2Overflow), x);
  auto [bits, n] = roundToInt(add(x, constant(format.magic)), format.magic);
  Value exponent = arith::SubIOp::create(
      b, loc, bits, intConstant(bitsOf(format.magic, isDouble())));
  return scaleByPowerOfTwo(polynomial(sub(x, n), format.exp2), exponent);
}

Value FloatBuilder::exp(Value x) {
  const Format &format = formatOf(isDouble());
  x = maxOrSecond(constant(format.exp2Underflow * ln2), x);
  x = minOrSecond(constant(format.exp2Overflow * ln2), x);
  auto [bits, n] =
      roundToInt(fma(x, constant(log2E), constant(format.magic)), format.magic);
  Value exponent = arith::SubIOp::create(
      b, loc, bits, intConstant(bitsOf(format.magic, isDouble())));
  Value rest = fma(n, constant(-format.ln2Hi), x);
  rest = fma(n, constant(-format.ln2Lo), rest);
  return scaleByPowerOfTwo(polynomial(rest, format.exp), exponent);
}

std::pair<Value, Value> FloatBuilder::splitLog(Value x) {
  const Format &format = formatOf(isDouble());
  // Subnormals are made normal first.
  double shift = double(format.mantissaBits + 2);
  Value small = less(x, constant(format.minNormal));
  Value normal =
      select(small, mul(x, constant(std::ldexp(1.0, int(shift)))), x);
  Value bits = toBits(normal);
  Value offset = arith::SubIOp::create(
      b, loc, bits, intConstant(bitsOf(std::sqrt(0.5), isDouble())));
  Value k =
      arith::ShRSIOp::create(b, loc, offset, intConstant(format.mantissaBits));
  Value mantissa = fromBits(arith::SubIOp::create(
      b, loc, bits,
      arith::ShLIOp::create(b, loc, k, intConstant(format.mantissaBits))));
  // k as a float, without the 64-bit conversion that AVX2 lacks.
  Value exponent =
      sub(fromBits(arith::AddIOp::create(
              b, loc, k, intConstant(bitsOf(format.magic, isDouble())))),
          constant(format.magic));
  exponent = select(small, sub(exponent, constant(shift)), exponent);

  Value f = sub(mantissa, constant(1.0));
  Value s = div(f, add(f, constant(2.0)));
  Value z = mul(s, s);
  Value r = mul(z, polynomial(z, format.log));
  Value halfSquare = mul(mul(f, constant(0.5)), f);
  // log(1 + f) = f - (f^2/2 - s (f^2/2 + r)): the leading term is exact.
  Value log = sub(f, sub(halfSquare, mul(s, add(halfSquare, r))));
  return {exponent, log};
}

Value FloatBuilder::logSpecialCases(Value x, Value result) {
  double infinity = std::numeric_limits<double>::infinity();
  Value zero = constant(0.0);
  result = select(equal(x, constant(infinity)), x, result);
  result = select(equal(x, zero), constant(-infinity), result);
  Value negativeOrNaN =
      arith::CmpFOp::create(b, loc, arith::CmpFPredicate::ULT, x, zero);
  return select(negativeOrNaN,
                constant(std::numeric_limits<double>::quiet_NaN()), result);
}

Value FloatBuilder::log(Value x) {
  const Format &format = formatOf(isDouble());
  auto [k, log] = splitLog(x);
  Value low = fma(k, constant(format.ln2Lo), log);
  return logSpecialCases(x, fma(k, constant(format.ln2Hi), low));
}

Value FloatBuilder::log2(Value x) {
  auto [k, log] = splitLog(x);
  // The product is carried with its rounding error, for k = 0 and x near 1.
  double hi = isDouble() ? log2E : double(float(log2E));
  double lo = isDouble() ? 2.0355273740931033e-17 : log2E - hi;
  Value high = mul(log, constant(hi));
  Value error = fma(log, constant(hi), neg(high));
  Value low = fma(log, constant(lo), error);
  return logSpecialCases(x, add(k, add(high, low)));
}

Value FloatBuilder::tanh(Value x) {
  const Format &format = formatOf(isDouble());
  Value magnitude = math::AbsFOp::create(b, loc, x);
  // 1 - 2 / (exp(2|x|) + 1), which is 1 for infinity and keeps NaN.
  Value e = exp(add(magnitude, magnitude));
  Value large = sub(constant(1.0), div(constant(2.0), add(e, constant(1.0))));
  Value z = mul(magnitude, magnitude);
  Value small = fma(mul(magnitude, z), polynomial(z, format.tanh), magnitude);
  Value result = select(less(magnitude, constant(0.625)), small, large);
  return math::CopySignOp::create(b, loc, result, x);
}

Value FloatBuilder::sinShifted(Value x, int64_t quadrants) {
  // pi/2 in two parts. n * hi - x is exact under a fused multiply-add.
  constexpr double piHalfHi = 1.57079632679489661923,
                   piHalfLo = 6.123233995736766e-17,
                   twoOverPi = 0.63661977236758134308;
  const Format &format = formatF64;
  auto [bits, n] = roundToInt(
      fma(x, constant(twoOverPi), constant(format.magic)), format.magic);
  Value r = fma(n, constant(-piHalfHi), x);
  r = fma(n, constant(-piHalfLo), r);
  Value z = mul(r, r);
  Value sine = fma(mul(r, z), polynomial(z, sinF64), r);
  sine = math::CopySignOp::create(b, loc, sine, r); // keeps -0
  // 1 - z/2 with its rounding error put back.
  Value halfSquare = mul(z, constant(0.5));
  Value head = sub(constant(1.0), halfSquare);
  Value lost = sub(sub(constant(1.0), head), halfSquare);
  Value cosine = add(head, fma(mul(z, z), polynomial(z, cosF64), lost));

  Value quadrant = arith::AddIOp::create(b, loc, bits, intConstant(quadrants));
  auto bit = [&](int64_t mask) -> Value {
    Value masked = arith::AndIOp::create(b, loc, quadrant, intConstant(mask));
    return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne, masked,
                                 intConstant(0));
  };
  Value result = select(bit(1), cosine, sine);
  return select(bit(2), neg(result), result);
}

Value FloatBuilder::sinOrCos(Value x, int64_t quadrants) {
  if (isDouble())
    return sinShifted(x, quadrants);
  // f32 arguments need the longer reduction anyway.
  Type wide = b.getF64Type();
  if (auto vector = dyn_cast<VectorType>(type))
    wide = vector.cloneWith(std::nullopt, wide);
  Value result =
      FloatBuilder(b, loc, wide)
          .sinShifted(arith::ExtFOp::create(b, loc, wide, x), quadrants);
  return arith::TruncFOp::create(b, loc, type, result);
}

Value FloatBuilder::sin(Value x) { return sinOrCos(x, 0); }
Value FloatBuilder::cos(Value x) { return sinOrCos(x, 1); }
