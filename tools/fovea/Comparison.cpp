// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Error bounds and the comparison with the reference.

#include "tools/fovea/Comparison.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

#include <cmath>

using namespace mlir;
using llvm::Expected;

namespace fovea {
namespace {

/// Half the distance from 1 to the next number (u), and the error that
/// underflow may cause: the smallest normal where kernels flush what is below
/// it, half a step of the subnormals (and the error of what is rounded) in f16.
struct Precision {
  double u, smallest;
};
Precision precisionOf(DType dtype) {
  if (dtype.name == "bf16")
    return {0x1p-8, 0x1p-126};
  if (dtype.name == "f16")
    return {0x1p-11, 0x1.1p-25};
  if (dtype.name == "f32")
    return {0x1p-24, 0x1p-126};
  return {0x1p-53, 0x1p-1022};
}

constexpr double f32u = 0x1p-24;

/// The type that scores and state are kept in (rule S1).
double computeU(DType dtype) { return dtype.bits == 64 ? 0x1p-53 : f32u; }

double rounds(int64_t keys) {
  return std::log2(static_cast<double>(std::max<int64_t>(keys, 1))) + 4;
}

/// Of one element of O, as a multiple of sum p|v|.
double outputFactor(DType dtype, int64_t keys) {
  if (dtype.name == "bf16")
    return 1.05 * precisionOf(dtype).u;
  if (dtype.name == "f16")
    return 1.25 * precisionOf(dtype).u;
  return 4 * precisionOf(dtype).u * rounds(keys);
}

/// One output's elements against their bounds.
class Comparer {
public:
  Comparer(Comparison &result, const TensorArg &arg,
           const reference::Tensor &expected, const reference::Tensor &actual)
      : result(result), arg(arg), expected(expected), actual(actual) {}

  /// `bound(i)` is that of the element at position i.
  void run(llvm::function_ref<double(int64_t)> bound) {
    for (int64_t i = 0; i != expected.size(); ++i)
      check(i, bound(i));
  }

private:
  Comparison &result;
  const TensorArg &arg;
  const reference::Tensor &expected, &actual;

  void check(int64_t i, double bound) {
    double want = expected.data[i], got = actual.data[i];
    // Where the reference itself is NaN, the inputs were, and nothing is
    // promised.
    if (std::isnan(want) || want == got)
      return;
    double share = std::abs(got - want) / bound;
    if (std::isnan(share) || std::isinf(want))
      share = INFINITY;
    if (share <= result.share)
      return;
    result.share = share;
    std::string text;
    llvm::raw_string_ostream os(text);
    os << arg.name << "[";
    llvm::interleaveComma(indexOf(i), os);
    os << "] is " << llvm::format("%.9g", got) << ", the reference says "
       << llvm::format("%.9g", want) << ", the bound is "
       << llvm::format("%.3g", bound);
    result.worst = text;
  }

  SmallVector<int64_t> indexOf(int64_t position) const {
    SmallVector<int64_t> index(expected.shape.size());
    for (size_t d = index.size(); d-- != 0;) {
      index[d] = position % expected.shape[d];
      position /= expected.shape[d];
    }
    return index;
  }
};

} // namespace

std::string describeBound(DType dtype) {
  if (dtype.name == "bf16")
    return "each element of o within 1.05 * 2^-8 * sum_j p_j |v_j| of the "
           "exact "
           "value, for |score| <= 64";
  if (dtype.name == "f16")
    return "each element of o within 1.25 * 2^-11 * sum_j p_j |v_j| of the "
           "exact value, for |score| <= 64";
  return std::string("each element of o within 4 * ") +
         (dtype.bits == 64 ? "2^-53" : "2^-24") +
         " * (log2 n + 4) * sum_j p_j |v_j| of the exact value, for n keys and "
         "|score| <= 64";
}

Expected<reference::Interpretation>
runReference(Compilation &compilation, ArrayRef<const HostTensor *> tensors,
             ArrayRef<int64_t> params) {
  func::FuncOp function = compilation.function();
  const KernelInterface &kernel = compilation.kernel();
  SmallVector<reference::RuntimeValue> arguments;
  for (size_t i = 0; i != kernel.args.size(); ++i) {
    Type element =
        cast<ShapedType>(function.getArgumentTypes()[i]).getElementType();
    Expected<reference::Tensor> loaded =
        reference::load(tensors[i]->data(), tensors[i]->shape(),
                        tensors[i]->strides(), element);
    if (!loaded)
      return loaded.takeError();
    arguments.push_back(std::move(*loaded));
  }
  for (int64_t param : params)
    arguments.push_back(param);
  return reference::interpret(function, arguments, {/*absoluteSums=*/true});
}

Expected<Comparison> compare(Compilation &compilation,
                             const reference::Interpretation &expected,
                             ArrayRef<const HostTensor *> tensors,
                             int64_t keys) {
  const KernelInterface &kernel = compilation.kernel();
  func::FuncOp function = compilation.function();
  Comparison result;
  size_t output = 0;
  for (size_t i = 0; i != kernel.args.size(); ++i) {
    const TensorArg &arg = kernel.args[i];
    if (arg.role == ArgRole::Input)
      continue;
    size_t number = output++;
    if (!tensors[i])
      continue;
    const auto &want = std::get<reference::Tensor>(expected.results[number]);
    Expected<reference::Tensor> got = reference::load(
        tensors[i]->data(), tensors[i]->shape(), tensors[i]->strides(),
        cast<ShapedType>(function.getArgumentTypes()[i]).getElementType());
    if (!got)
      return got.takeError();
    Comparer comparer(result, arg, want, *got);
    Precision precision = precisionOf(arg.dtype);
    double compute = computeU(kernel.args[0].dtype);
    if (const std::optional<reference::Tensor> &sums =
            expected.absoluteSums[number]) {
      double factor = outputFactor(arg.dtype, keys);
      comparer.run([&](int64_t e) {
        return factor * sums->data[e] + precision.smallest;
      });
    } else if (arg.role == ArgRole::Output) {
      // LSE: a sum of scores in the compute type.
      comparer.run([&](int64_t e) {
        return 4 * compute * rounds(keys) *
               std::max(1.0, std::abs(want.data[e]));
      });
    } else {
      // Rows written to a cache: a rotation or a norm in the compute type, and
      // one rounding, which may fall to either side of a tie.
      int64_t width = std::max<int64_t>(want.shape.back(), 1);
      comparer.run([&](int64_t e) {
        double largest = 0;
        int64_t row = e / width * width;
        for (int64_t d = 0; d != width; ++d)
          if (!std::isnan(want.data[row + d]))
            largest = std::max(largest, std::abs(want.data[row + d]));
        return 2 * precision.u * std::abs(want.data[e]) +
               8 * compute * largest + precision.smallest;
      });
    }
  }
  return result;
}

} // namespace fovea
