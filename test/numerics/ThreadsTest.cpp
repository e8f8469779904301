// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Rule D1 by repetition: the same call gives the same bits on 1 to 64 threads,
// ten thousand times. Half of the calls run on a pool, which may leave some of
// its threads asleep, half on threads made for each loop, which all take part.
// More threads than processors stop at places of their own.

#include "test/numerics/Compile.h"

#include "runtime/include/fovea/kernel_abi.h"

#include "llvm/ADT/SmallVectorExtras.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>

using namespace fovea;
using namespace fovea::numerics;

namespace {

constexpr int64_t maxThreads = 64, repeats = 10000;

/// An argument of f32 in memory of its own.
struct Tensor {
  Tensor(const Argument &argument, llvm::ArrayRef<int64_t> extents,
         std::mt19937_64 &random)
      : name(argument.name), shape(extents.begin(), extents.end()) {
    int64_t size = 1;
    for (int64_t extent : shape)
      size *= extent;
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < size; ++i)
      data.push_back(normal(random));
    view = {data.data(),
            {kDLCPU, 0},
            static_cast<int32_t>(shape.size()),
            {kDLFloat, 32, 1},
            shape.data(),
            /*strides=*/nullptr,
            0};
  }
  Tensor(const Tensor &) = delete;

  std::string name;
  std::vector<int64_t> shape;
  std::vector<float> data;
  DLTensor view;
};

ContextPtr makePool(int64_t threads) {
  fovea_context *context = nullptr;
  fovea_context_create(threads, &context);
  return ContextPtr(context);
}

struct Shape {
  const char *name;
  int64_t batches, queries, keys;
  std::optional<int64_t> cacheBytes = std::nullopt;
};

class Threads : public ::testing::TestWithParam<Shape> {};

TEST_P(Threads, ChangeNoBit) {
  KernelSpec spec;
  spec.dtype = "f32";
  spec.heads = 8;
  spec.kvHeads = 4;
  spec.width = 16;
  spec.valueWidth = 12;
  spec.mask.text = "causal(bottom_right)";
  spec.lse = true;
  const Shape &shape = GetParam();
  auto kernel = compileSpec(spec, shape.cacheBytes);
  ASSERT_TRUE(bool(kernel)) << llvm::toString(kernel.takeError());

  std::mt19937_64 random(5);
  std::vector<std::unique_ptr<Tensor>> tensors;
  std::vector<const DLTensor *> pointers;
  std::vector<Tensor *> outputs;
  for (const Argument &argument : spec.getArguments()) {
    auto extents = argument.getShape(
        {{"B", shape.batches}, {"M", shape.queries}, {"N", shape.keys}});
    tensors.push_back(std::make_unique<Tensor>(argument, extents, random));
    pointers.push_back(&tensors.back()->view);
    if (argument.role == Argument::Output)
      outputs.push_back(tensors.back().get());
  }
  ASSERT_EQ(outputs.size(), 2u);

  std::vector<std::vector<float>> expected;
  int64_t calls = 0;
  for (int64_t threads = 1; threads <= maxThreads; ++threads)
    for (auto make : {makePool, createEagerContext}) {
      ContextPtr context = make(threads);
      ASSERT_TRUE(context);
      fovea_options options = {sizeof(fovea_options), context.get(), nullptr,
                               0};
      for (int64_t i = 0; i <= repeats / (2 * 2 * maxThreads); ++i, ++calls) {
        for (Tensor *output : outputs)
          std::fill(output->data.begin(), output->data.end(), -1.0f);
        ASSERT_EQ(fovea_invoke((*kernel)->get(), pointers.data(), &options),
                  FOVEA_OK)
            << fovea_last_error();
        if (expected.empty())
          expected = {outputs[0]->data, outputs[1]->data};
        for (auto [output, bits] : llvm::zip_equal(outputs, expected))
          ASSERT_EQ(std::memcmp(output->data.data(), bits.data(),
                                bits.size() * sizeof(float)),
                    0)
              << output->name << " on " << threads << " threads, call "
              << calls;
      }
    }
  EXPECT_GE(calls, repeats / 2);
}

// Parts of the keys that are merged; tiles of queries, in rounds of kv heads;
// as many tiles for a chunk of 128 keys as there is work for the threads.
INSTANTIATE_TEST_SUITE_P(
    Shapes, Threads,
    ::testing::Values(Shape{"decode", 3, 1, 2100}, Shape{"prefill", 3, 70, 90},
                      Shape{"chunks", 1, 140, 300, 32 << 10}),
    [](const auto &info) { return info.param.name; });

} // namespace
