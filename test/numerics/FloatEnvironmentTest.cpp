// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Compiled kernels under hosts' floating-point settings: flush-to-zero and
// denormals-are-zero set and clear, every rounding, sticky flags. Nothing of
// that may change a bit of the result, the host's settings must come back as
// they were, and subnormal numbers count as 0 (docs/semantics.md, Small
// numbers).

#include "test/numerics/Compile.h"
#include "test/numerics/GuardedTensor.h"

#include "runtime/include/fovea/kernel_abi.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVectorExtras.h"

#include <gtest/gtest.h>

#if defined(__x86_64__)
#include <xmmintrin.h>

using namespace mlir;
using namespace fovea;
using namespace fovea::numerics;
using reference::Tensor;

namespace {

/// The settings of a thread, for a scope.
class HostSettings {
public:
  explicit HostSettings(unsigned settings) : before(_mm_getcsr()) {
    _mm_setcsr(settings);
  }
  ~HostSettings() { _mm_setcsr(before); }

private:
  unsigned before;
};

class SmallNumbers : public ::testing::TestWithParam<const char *> {
protected:
  /// The size of what is subnormal, or for f16, whose arithmetic is f32's,
  /// small: 2^this.
  int exponent() const {
    StringRef dtype = GetParam();
    return dtype == "f64" ? -1030 : dtype == "f16" ? -20 : -130;
  }

  void check(int64_t rows, int64_t threads);

  uint64_t seed = 11;
  std::vector<Argument> arguments;
  std::unique_ptr<LoadedKernel> kernel;
};

void SmallNumbers::check(int64_t rows, int64_t threads) {
  std::map<std::string, int64_t> symbols = {{"B", 1}, {"M", rows}, {"N", 70}};
  Random random(seed);
  std::normal_distribution<double> normal;
  std::vector<Tensor> values;
  for (const Argument &argument : arguments) {
    SmallVector<int64_t> shape = argument.getShape(symbols);
    values.push_back(Tensor::filled(shape, parseElement(argument.element), 0));
    Tensor &tensor = values.back();
    // V is small in its even columns. Elsewhere it is normal, and often so
    // little that weight times value is not; and some keys are small all over.
    for (auto [number, value] : llvm::enumerate(tensor.data)) {
      int64_t column = number % shape.back(), row = number / shape.back();
      value = normal(random);
      if (argument.name == "v")
        value =
            std::ldexp(value, column % 2 == 0 ? exponent() : exponent() + 8);
      if (argument.name == "k" && row % 3 == 0)
        value = std::ldexp(value, exponent());
    }
  }

  ContextPtr context = createEagerContext(threads);
  ASSERT_NE(context, nullptr);
  fovea_options options = {sizeof(fovea_options), context.get(), nullptr, 0};
  // FTZ 0x8000, rounding 0x6000, masks 0x1f80, DAZ 0x40, flags 0x3f. The first
  // is what a kernel runs with.
  std::vector<Tensor> expected;
  for (unsigned settings : {0x9fc0u, 0x1f80u, 0x9f80u, 0x1fc0u, 0x3f80u,
                            0x5fbfu, 0x7f80u, 0xffffu}) {
    std::vector<GuardedTensor> tensors;
    for (const Tensor &value : values) {
      tensors.emplace_back(value.shape, value.strides(), value.elementType,
                           Flush::End);
      tensors.back().write(value);
    }
    auto views = llvm::map_to_vector(
        tensors, [](GuardedTensor &tensor) { return tensor.view(); });
    auto pointers =
        llvm::map_to_vector(views, [](const DLTensor &view) { return &view; });
    unsigned after;
    fovea_status status;
    {
      HostSettings host(settings);
      status = fovea_invoke(kernel->get(), pointers.data(), &options);
      after = _mm_getcsr();
    }
    EXPECT_EQ(status, FOVEA_OK) << fovea_last_error();
    EXPECT_EQ(after, settings);
    std::vector<Tensor> got;
    for (auto [argument, tensor] : llvm::zip_equal(arguments, tensors))
      if (argument.role == Argument::Output)
        got.push_back(tensor.read());
    if (expected.empty())
      expected = got;
    for (auto [one, other] : llvm::zip_equal(got, expected))
      EXPECT_EQ(one.data, other.data) << "settings " << settings;
  }

  // What is subnormal counted as 0, and f16's subnormal numbers did not.
  const Tensor &o = expected.front();
  bool isKept = StringRef(GetParam()) == "f16";
  int64_t zeros = 0, others = 0;
  for (int64_t x = 0; x < o.size(); ++x)
    if (x % o.shape.back() % 2 == 0)
      ++(o.data[x] == 0 ? zeros : others);
  if (isKept)
    EXPECT_GT(others, zeros);
  else
    EXPECT_EQ(others, 0);
}

TEST_P(SmallNumbers, AreTheSameForEveryHost) {
  KernelSpec spec;
  spec.dtype = GetParam();
  spec.heads = 2;
  spec.kvHeads = 1;
  spec.width = 16;
  spec.valueWidth = 12;
  spec.mask.text = "causal(bottom_right)";
  spec.lse = true;
  arguments = spec.getArguments();
  auto compiled = compileSpec(spec);
  ASSERT_TRUE(bool(compiled)) << llvm::toString(compiled.takeError());
  kernel = std::move(*compiled);
  for (int64_t rows : {3, 61}) // decode, and queries in tiles
    for (int64_t threads : {1, 2})
      ASSERT_NO_FATAL_FAILURE(check(rows, threads));
}

INSTANTIATE_TEST_SUITE_P(Types, SmallNumbers,
                         ::testing::Values("f32", "bf16", "f16", "f64"));

} // namespace
#endif // __x86_64__
