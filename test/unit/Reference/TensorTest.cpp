// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The reference interpreter's tensors: rounding and strided memory.

#include "compiler/Reference/Tensor.h"
#include "mlir/IR/MLIRContext.h"
#include <cmath>
#include <gtest/gtest.h>
#include <limits>

using namespace mlir;
using namespace fovea::reference;

namespace {

class TensorTest : public ::testing::Test {
protected:
  MLIRContext context;
  Type f64 = Float64Type::get(&context), f32 = Float32Type::get(&context),
       f16 = Float16Type::get(&context), bf16 = BFloat16Type::get(&context);
  Type integer(unsigned width) { return IntegerType::get(&context, width); }
};

TEST_F(TensorTest, RoundsToNearestEven) {
  EXPECT_EQ(roundTo(bf16, 257.0), 256.0); // a tie, to even
  EXPECT_EQ(roundTo(bf16, 259.0), 260.0);
  EXPECT_EQ(roundTo(f16, 2049.0), 2048.0);
  EXPECT_EQ(roundTo(f32, 1.0 + std::ldexp(1.0, -24)), 1.0);
  EXPECT_EQ(roundTo(f64, 0.1), 0.1);
  EXPECT_TRUE(std::isinf(roundTo(f16, 65520.0)));
  EXPECT_TRUE(std::isnan(roundTo(bf16, std::nan(""))));
}

TEST_F(TensorTest, LoadsStridedMemory) {
  float memory[] = {0, 1, 2, 3, 4, 5};
  llvm::Expected<Tensor> columns = load(memory, {3, 2}, {1, 3}, f32);
  ASSERT_TRUE(static_cast<bool>(columns));
  EXPECT_EQ(columns->data, (std::vector<double>{0, 3, 1, 4, 2, 5}));
  llvm::Expected<Tensor> broadcast = load(memory + 5, {2, 2}, {0, -1}, f32);
  ASSERT_TRUE(static_cast<bool>(broadcast));
  EXPECT_EQ(broadcast->data, (std::vector<double>{5, 4, 5, 4}));
  llvm::Expected<Tensor> none = load(nullptr, {0, 7}, {7, 1}, f32);
  ASSERT_TRUE(static_cast<bool>(none));
  EXPECT_TRUE(none->data.empty());
}

TEST_F(TensorTest, StoresEachTypeAsItLoadsIt) {
  const std::vector<double> values = {-3, 0, 1, 100};
  for (Type type : {f64, f32, f16, bf16, integer(64), integer(32), integer(16),
                    integer(8)}) {
    Tensor tensor{{4}, type, values};
    alignas(8) char memory[8 * 8] = {};
    llvm::cantFail(store(tensor, memory, {2}));
    llvm::Expected<Tensor> back = load(memory, {4}, {2}, type);
    ASSERT_TRUE(static_cast<bool>(back));
    EXPECT_EQ(back->data, values);
    // Only the elements of the view were written.
    int64_t bytes = *elementBytes(type);
    for (int64_t at = bytes; at < 2 * bytes; ++at)
      EXPECT_EQ(memory[at], 0);
  }
}

TEST_F(TensorTest, StoringRoundsOnce) {
  Tensor tensor{{1}, f16, {1.0 + std::ldexp(1.0, -11) + std::ldexp(1.0, -40)}};
  uint16_t bits;
  llvm::cantFail(store(tensor, &bits, {1}));
  // By way of f32 this would tie and go down to 0x3c00.
  EXPECT_EQ(bits, 0x3c01);
}

TEST_F(TensorTest, RefusesWhatItCannotHold) {
  int64_t wide = (int64_t(1) << 53) + 1;
  EXPECT_EQ(toString(load(&wide, {1}, {1}, integer(64)).takeError()),
            "an integer is 2^53 or more, which the reference cannot hold "
            "exactly");
  EXPECT_EQ(toString(load(&wide, {1}, {1}, integer(4)).takeError()),
            "the element type is not one that the reference reads from memory");
  EXPECT_EQ(toString(load(&wide, {-1}, {1}, f32).takeError()),
            "a tensor cannot have the extent -1");
  EXPECT_EQ(toString(checkShape({0, int64_t(1) << 40, int64_t(1) << 40})),
            "a tensor has too many elements");
}

} // namespace
