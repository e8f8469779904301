// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The formulas of RoPE's frequencies and their scalings; see Rope.h. Each
// follows its paper as the model libraries read it, in f64 throughout.

#include "dialects/attn/IR/Rope.h"
#include <algorithm>
#include <cmath>
#include <numbers>

using namespace fovea::attn;

namespace {

constexpr double twoPi = 2.0 * std::numbers::pi;

/// Dynamic NTK: the base grows with the length beyond the training length.
void scaleDynamic(RopeFrequencies &f, RopeScalingAttr scaling, int64_t length) {
  double factor = scaling.getFactor().convertToDouble();
  double original = static_cast<double>(scaling.getOriginalLength());
  double effective = std::max(static_cast<double>(length), original);
  double ratio = factor * effective / original - (factor - 1.0);
  // With two rotated elements there is one frequency, 1, for every base.
  double pairs = static_cast<double>(f.inverse.size());
  for (size_t k = 1; k < f.inverse.size(); ++k)
    f.inverse[k] *= std::pow(ratio, -static_cast<double>(k) / (pairs - 1.0));
}

/// YaRN (arXiv 2309.00071): fast frequencies stay, slow ones are interpolated,
/// with a linear ramp over the index between the two.
void scaleYarn(RopeFrequencies &f, RopeScalingAttr scaling, double base) {
  double factor = scaling.getFactor().convertToDouble();
  double original = static_cast<double>(scaling.getOriginalLength());
  double width = 2.0 * static_cast<double>(f.inverse.size());
  // The (fractional) index of the frequency that turns `rotations` times over
  // the training length.
  auto indexOf = [&](double rotations) {
    return width * std::log(original / (rotations * twoPi)) /
           (2.0 * std::log(base));
  };
  double low = indexOf(scaling.getBetaFast().convertToDouble());
  double high = indexOf(scaling.getBetaSlow().convertToDouble());
  if (scaling.getTruncate()) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, width - 1.0);
  if (low == high)
    high += 0.001;
  for (size_t k = 0; k < f.inverse.size(); ++k) {
    double ramp =
        std::clamp((static_cast<double>(k) - low) / (high - low), 0.0, 1.0);
    f.inverse[k] = f.inverse[k] / factor * ramp + f.inverse[k] * (1.0 - ramp);
  }
  double attention = scaling.getAttentionFactor().convertToDouble();
  if (attention == 0.0)
    attention = factor > 1.0 ? 0.1 * std::log(factor) + 1.0 : 1.0;
  f.magnitude = attention;
}

/// Llama 3.1: wavelengths beyond the training length are interpolated, short
/// ones stay, those between are blended by how often they turn.
void scaleLlama3(RopeFrequencies &f, RopeScalingAttr scaling) {
  double factor = scaling.getFactor().convertToDouble();
  double original = static_cast<double>(scaling.getOriginalLength());
  double lowFactor = scaling.getLowFreqFactor().convertToDouble();
  double highFactor = scaling.getHighFreqFactor().convertToDouble();
  for (double &inverse : f.inverse) {
    double turns = original * inverse / twoPi;
    if (turns < lowFactor) {
      inverse /= factor;
    } else if (turns <= highFactor && lowFactor != highFactor) {
      double smooth = (turns - lowFactor) / (highFactor - lowFactor);
      inverse = (1.0 - smooth) * inverse / factor + smooth * inverse;
    }
  }
}

/// LongRoPE (arXiv 2402.13753): a divisor of its own for each frequency, from
/// one of two lists.
void scaleLongRope(RopeFrequencies &f, RopeScalingAttr scaling,
                   int64_t length) {
  bool beyond = length > scaling.getOriginalLength();
  llvm::ArrayRef<double> divisors =
      (beyond ? scaling.getLongFactor() : scaling.getShortFactor())
          .asArrayRef();
  for (auto [inverse, divisor] : llvm::zip_equal(f.inverse, divisors))
    inverse /= divisor;
  double factor = scaling.getFactor().convertToDouble();
  double attention = scaling.getAttentionFactor().convertToDouble();
  if (attention == 0.0)
    attention = factor > 1.0
                    ? std::sqrt(1.0 + std::log(factor) /
                                          std::log(static_cast<double>(
                                              scaling.getOriginalLength())))
                    : 1.0;
  f.magnitude = attention;
}

} // namespace

bool fovea::attn::ropeDependsOnLength(RopeScalingAttr scaling) {
  return scaling && (scaling.getKind() == RopeScalingKind::Dynamic ||
                     scaling.getKind() == RopeScalingKind::LongRope);
}

RopeFrequencies fovea::attn::computeRopeFrequencies(int64_t rotaryWidth,
                                                    double base,
                                                    RopeScalingAttr scaling,
                                                    int64_t length) {
  RopeFrequencies f;
  for (int64_t k = 0; k < rotaryWidth / 2; ++k)
    f.inverse.push_back(std::pow(base, -2.0 * static_cast<double>(k) /
                                           static_cast<double>(rotaryWidth)));
  if (!scaling)
    return f;
  switch (scaling.getKind()) {
  case RopeScalingKind::Linear:
    for (double &inverse : f.inverse)
      inverse /= scaling.getFactor().convertToDouble();
    break;
  case RopeScalingKind::Dynamic:
    scaleDynamic(f, scaling, length);
    break;
  case RopeScalingKind::Yarn:
    scaleYarn(f, scaling, base);
    break;
  case RopeScalingKind::Llama3:
    scaleLlama3(f, scaling);
    break;
  case RopeScalingKind::LongRope:
    scaleLongRope(f, scaling, length);
    break;
  }
  return f;
}
