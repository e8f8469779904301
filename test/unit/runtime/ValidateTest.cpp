// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Every rule by which fovea_invoke refuses a call, with its message, and what
// it must accept.

#include "TestKernel.h"

#include <gtest/gtest.h>

#include <climits>
#include <random>
#include <set>

using namespace fovea::test;

namespace {

class Validate : public testing::Test {
protected:
  fovea_status call() { return K.invoke({Q, KK, V, O, nullptr}); }
  void refused(fovea_status Expected, const std::string &Message) {
    fovea_status Status = call();
    EXPECT_STREQ(fovea_status_name(Status), fovea_status_name(Expected));
    EXPECT_EQ(fovea_last_error(), "test: " + Message);
    EXPECT_EQ(K.Calls, 0) << "the body ran on a refused call";
  }
  void accepted() {
    EXPECT_EQ(call(), FOVEA_OK) << fovea_last_error();
    EXPECT_EQ(K.Calls, 1);
  }

  TestKernel K = attentionKernel();
  Tensor Q{{2, 3, 2, 4}}, KK{{2, 5, 1, 4}}, V{{2, 5, 1, 3}}, O{{2, 3, 2, 3}};
};

} // namespace

//===-- The kernel --------------------------------------------------------===//

TEST_F(Validate, NullKernel) {
  EXPECT_EQ(fovea_invoke(nullptr, nullptr, nullptr),
            FOVEA_ERROR_INVALID_ARGUMENT);
}

TEST_F(Validate, AbiVersion) {
  K.K.abi_version = 7;
  EXPECT_EQ(call(), FOVEA_ERROR_ABI_VERSION);
  EXPECT_STREQ(fovea_last_error(), "the kernel was compiled for version 7 of "
                                   "the runtime's ABI, this is version 1");
}

TEST_F(Validate, BrokenDescriptors) {
  auto Broken = [](auto Break) {
    TestKernel Kernel = attentionKernel();
    Break(Kernel);
    Tensor Q({2, 3, 2, 4}), KK({2, 5, 1, 4}), V({2, 5, 1, 3}), O({2, 3, 2, 3});
    EXPECT_EQ(Kernel.invoke({Q, KK, V, O, nullptr}), FOVEA_ERROR_INTERNAL);
    EXPECT_STREQ(fovea_last_error(), "the kernel's descriptor is broken");
  };
  Broken([](TestKernel &B) { B.K.name = nullptr; });
  Broken([](TestKernel &B) { B.Args[1].rank = 9; });
  Broken([](TestKernel &B) { B.Args[1].rank = -1; });
  Broken([](TestKernel &B) { B.Args[0].dims[1] = sym(3); });
  Broken([](TestKernel &B) { B.Args[0].dtype_bits = 0; });
  Broken([](TestKernel &B) { B.Args[0].dtype_bits = 4; });
  Broken([](TestKernel &B) { B.Args[0].role = 3; });
  Broken([](TestKernel &B) { B.Args.resize(FOVEA_MAX_ARGS + 1); });
  Broken([](TestKernel &B) { B.Symbols.resize(FOVEA_MAX_SYMBOLS + 1); });
  Broken([](TestKernel &B) { B.Params.resize(FOVEA_MAX_PARAMS + 1); });
}

//===-- Tensors -----------------------------------------------------------===//

TEST_F(Validate, GoodCall) {
  K.Body = [&](const fovea_frame &F) {
    EXPECT_EQ(F.symbols[0], 2);
    EXPECT_EQ(F.symbols[1], 3);
    EXPECT_EQ(F.symbols[2], 5);
    EXPECT_EQ(F.args[0].data, Q.DL.data);
    EXPECT_EQ(std::vector<int64_t>(F.args[0].strides, F.args[0].strides + 4),
              (std::vector<int64_t>{24, 8, 4, 1}));
    EXPECT_EQ(F.args[4].data, nullptr);
    EXPECT_EQ(F.workspace, nullptr);
    EXPECT_EQ(F.context, fovea_default_context());
    EXPECT_EQ(F.workers, fovea_context_threads(F.context));
    return FOVEA_OK;
  };
  accepted();
}

TEST_F(Validate, NullArray) {
  EXPECT_EQ(fovea_invoke(K.get(), nullptr, nullptr),
            FOVEA_ERROR_INVALID_ARGUMENT);
  EXPECT_STREQ(fovea_last_error(), "test: the array of arguments is NULL");
}

TEST_F(Validate, NullTensor) {
  EXPECT_EQ(K.invoke({Q, nullptr, V, O, nullptr}),
            FOVEA_ERROR_INVALID_ARGUMENT);
  EXPECT_STREQ(fovea_last_error(),
               "test: argument 'k': expected a tensor, got NULL");
}

TEST_F(Validate, OptionalTensorIsChecked) {
  Tensor Lse({2, 2, 4});
  EXPECT_EQ(K.invoke({Q, KK, V, O, Lse}), FOVEA_ERROR_SHAPE);
  Tensor Good({2, 2, 3});
  EXPECT_EQ(K.invoke({Q, KK, V, O, Good}), FOVEA_OK);
}

TEST_F(Validate, NullShape) {
  Q.DL.shape = nullptr;
  refused(FOVEA_ERROR_INVALID_ARGUMENT, "argument 'q': its shape is NULL");
}

TEST_F(Validate, NullData) {
  V.DL.data = nullptr;
  refused(FOVEA_ERROR_INVALID_ARGUMENT,
          "argument 'v': its data is NULL but it is not empty");
}

TEST_F(Validate, NullDataOfEmptyTensors) {
  Tensor EmptyK({2, 0, 1, 4}), EmptyV({2, 0, 1, 3});
  EmptyK.DL.data = EmptyV.DL.data = nullptr;
  K.Body = [](const fovea_frame &F) {
    EXPECT_EQ(F.symbols[2], 0);
    return FOVEA_OK;
  };
  EXPECT_EQ(K.invoke({Q, EmptyK, EmptyV, O, nullptr}), FOVEA_OK);
}

TEST_F(Validate, Device) {
  Q.DL.device.device_type = kDLCUDA;
  refused(FOVEA_ERROR_DEVICE, "argument 'q': expected a tensor on the CPU "
                              "(device type 1), got device type 2");
}

TEST_F(Validate, Type) {
  Q.DL.dtype = {kDLBfloat, 16, 1};
  refused(FOVEA_ERROR_DTYPE,
          "argument 'q': expected elements of type f32, got bf16");
  Q.DL.dtype = {kDLFloat, 64, 1};
  refused(FOVEA_ERROR_DTYPE,
          "argument 'q': expected elements of type f32, got f64");
  Q.DL.dtype = {9, 3, 1};
  refused(FOVEA_ERROR_DTYPE, "argument 'q': expected elements of type f32, got "
                             "type code 9 with 3 bits");
}

TEST_F(Validate, Lanes) {
  Q.DL.dtype = {kDLFloat, 32, 4};
  refused(FOVEA_ERROR_DTYPE,
          "argument 'q': expected elements of type f32, got f32 x4");
}

TEST_F(Validate, Rank) {
  Q.DL.ndim = 3;
  refused(FOVEA_ERROR_RANK, "argument 'q': expected 4 dimensions, got 3");
  Q.DL.ndim = -1;
  refused(FOVEA_ERROR_RANK, "argument 'q': expected 4 dimensions, got -1");
}

TEST_F(Validate, StaticExtent) {
  Q.Shape[3] = 5;
  refused(FOVEA_ERROR_SHAPE, "argument 'q': dimension 3: expected 4, got 5");
}

TEST_F(Validate, NegativeExtent) {
  Q.Shape[1] = -1;
  refused(FOVEA_ERROR_SHAPE,
          "argument 'q': dimension 1: expected an extent of 0 or more, got -1");
}

TEST_F(Validate, SymbolsAgree) {
  V.Shape[1] = 4;
  refused(FOVEA_ERROR_SHAPE, "argument 'v': dimension 1: expected N = 5 as in "
                             "argument 'k', got 4");
  V.Shape[1] = 5;
  O.Shape[0] = 3;
  refused(FOVEA_ERROR_SHAPE, "argument 'o': dimension 0: expected B = 2 as in "
                             "argument 'q', got 3");
}

TEST_F(Validate, SymbolWithinOneArgument) {
  TestKernel Square({arg("x", FOVEA_INPUT, {sym(0), sym(0)})}, {"S"});
  Tensor Good({3, 3}), Bad({3, 2});
  EXPECT_EQ(Square.invoke({Good}), FOVEA_OK);
  EXPECT_EQ(Square.invoke({Bad}), FOVEA_ERROR_SHAPE);
}

TEST_F(Validate, SymbolOfAbsentArgumentIsZero) {
  TestKernel Absent({arg("x", FOVEA_INPUT, {sym(0)}, true)}, {"S"});
  Absent.Body = [](const fovea_frame &F) {
    EXPECT_EQ(F.symbols[0], 0);
    EXPECT_EQ(F.args[0].data, nullptr);
    return FOVEA_OK;
  };
  EXPECT_EQ(Absent.invoke({nullptr}), FOVEA_OK);
  EXPECT_EQ(Absent.Calls, 1);
}

TEST_F(Validate, TooManyElements) {
  TestKernel Big({arg("x", FOVEA_INPUT, {sym(0), sym(1)})}, {"A", "B"});
  char Byte[4];
  // Strides of 0 make it four bytes, but nobody can count its elements.
  Tensor Huge(Byte, {INT64_C(1) << 40, INT64_C(1) << 40}, {0, 0});
  EXPECT_EQ(Big.invoke({Huge}), FOVEA_ERROR_SHAPE);
  EXPECT_STREQ(fovea_last_error(),
               "test: argument 'x': expected fewer than 2^63 elements");
  // An extent of 0 anywhere makes the product 0.
  Tensor Empty(nullptr, {INT64_C(1) << 40, 0}, {INT64_C(1) << 40, 1});
  EXPECT_EQ(Big.invoke({Empty}), FOVEA_OK);
  Big.Args[0] = arg("x", FOVEA_INPUT, {sym(0), sym(0), sym(1)});
  Tensor Late(nullptr, {INT64_C(1) << 40, INT64_C(1) << 40, 0}, {0, 0, 0});
  EXPECT_EQ(Big.invoke({Late}), FOVEA_OK);
}

TEST_F(Validate, StridesPastTheAddressSpace) {
  Q.setStrides({24, INT64_MAX / 4, 4, 1});
  refused(FOVEA_ERROR_STRIDE,
          "argument 'q': dimension 1: with stride 2305843009213693951 and "
          "extent 3 it is larger than the address space");
  Q.setStrides({INT64_MIN / 16, 8, 4, 1});
  char Where[32];
  snprintf(Where, sizeof(Where), "%p", Q.DL.data);
  refused(FOVEA_ERROR_STRIDE, std::string("argument 'q': from ") + Where +
                                  " with byte offset 0 it leaves the address "
                                  "space");
  Q.setStrides({24, 8, 4, INT64_MIN});
  EXPECT_EQ(call(), FOVEA_ERROR_STRIDE);
  Q.setStrides({24, 8, INT64_MIN / 4, 1});
  EXPECT_EQ(call(), FOVEA_ERROR_STRIDE);
  Q.setStrides({INT64_MIN / 8, INT64_MAX / 16, 4, 1});
  EXPECT_EQ(call(), FOVEA_ERROR_STRIDE);
  EXPECT_EQ(K.Calls, 0);
}

TEST_F(Validate, ByteOffset) {
  alignas(4) static char Data[sizeof(float) * 48 + 4];
  Q.DL.data = Data;
  Q.DL.byte_offset = 4;
  K.Body = [&](const fovea_frame &F) {
    EXPECT_EQ(F.args[0].data, Data + 4);
    return FOVEA_OK;
  };
  accepted();
  Q.DL.byte_offset = UINT64_MAX - 3;
  EXPECT_EQ(call(), FOVEA_ERROR_STRIDE);
}

TEST_F(Validate, StridesThatMeanNothing) {
  KK.setStrides({20, 4, INT64_MIN, 1});
  K.Body = [&](const fovea_frame &F) {
    EXPECT_EQ(F.args[1].strides[2], 1);
    return FOVEA_OK;
  };
  accepted();
}

TEST_F(Validate, ZeroAndNegativeStridesOfInputs) {
  KK.setStrides({0, 0, 0, 0});
  V.DL.data = V.Memory.data() + 4 * 29;
  V.setStrides({-15, -3, 3, -1});
  K.Body = [&](const fovea_frame &F) {
    EXPECT_EQ(F.args[1].strides[1], 0);
    EXPECT_EQ(F.args[2].strides[0], -15);
    return FOVEA_OK;
  };
  accepted();
}

TEST_F(Validate, ZeroStrideOfOutput) {
  O.setStrides({0, 6, 3, 1});
  refused(FOVEA_ERROR_STRIDE,
          "argument 'o': dimension 0: expected a stride other than 0 in an "
          "output of extent 2, got 0");
}

TEST_F(Validate, NegativeStridesOfOutput) {
  O.DL.data = O.Memory.data() + 4 * 35;
  O.setStrides({-18, -6, -3, -1});
  accepted();
}

TEST_F(Validate, Alignment) {
  Q.DL.data = Q.Memory.data() + 2;
  EXPECT_EQ(call(), FOVEA_ERROR_ALIGNMENT);
  EXPECT_NE(std::string(fovea_last_error())
                .find("argument 'q': expected data aligned to 4 bytes, got 0x"),
            std::string::npos);
  Q.DL.byte_offset = 2;
  accepted();
}

//===-- Overlap -----------------------------------------------------------===//

TEST_F(Validate, OutputOverlapsItself) {
  O.setStrides({18, 6, 2, 1});
  refused(FOVEA_ERROR_OVERLAP,
          "argument 'o': expected strides that give each element of an output "
          "its own place, got overlapping elements");
  O.setStrides({18, 1, 9, 3});
  accepted();
}

TEST_F(Validate, OutputOverlapsAnInput) {
  std::vector<float> Buffer(100);
  Q.DL.data = Buffer.data();
  O.DL.data = Buffer.data() + 47;
  refused(FOVEA_ERROR_OVERLAP,
          "argument 'o': expected an output apart from all other arguments, "
          "got one that overlaps 'q'");
  O.DL.data = Buffer.data() + 48;
  accepted();
}

TEST_F(Validate, InputsMayOverlap) {
  KK.DL.data = Q.DL.data;
  accepted();
}

TEST_F(Validate, InoutOverlaps) {
  TestKernel Cache(
      {arg("new", FOVEA_INPUT, {2}), arg("cache", FOVEA_INOUT, {4})}, {});
  std::vector<float> Buffer(6);
  Tensor New(Buffer.data() + 3, {2}, {1}), C(Buffer.data(), {4}, {1}),
      Apart(Buffer.data() + 4, {2}, {1});
  EXPECT_EQ(Cache.invoke({New, C}), FOVEA_ERROR_OVERLAP);
  EXPECT_EQ(Cache.invoke({Apart, C}), FOVEA_OK);
  std::swap(Cache.Args[0], Cache.Args[1]);
  EXPECT_EQ(Cache.invoke({C, New}), FOVEA_ERROR_OVERLAP);
  EXPECT_EQ(Cache.invoke({C, Apart}), FOVEA_OK);
}

TEST_F(Validate, PackedSlicesAreApart) {
  // [B=2, M=3, q 2 heads | k 1 | v 1 | o 2] of width 4, 4, 4 and 4, side by
  // side in one buffer.
  int64_t B = sym(0), M = sym(1);
  TestKernel Packed({arg("q", FOVEA_INPUT, {B, M, 2, 4}),
                     arg("k", FOVEA_INPUT, {B, M, 1, 4}),
                     arg("v", FOVEA_INPUT, {B, M, 1, 4}),
                     arg("o", FOVEA_OUTPUT, {B, M, 2, 4})},
                    {"B", "M"});
  std::vector<float> Buffer(2 * 3 * 24);
  std::vector<int64_t> Strides = {72, 24, 4, 1};
  Tensor PQ(Buffer.data(), {2, 3, 2, 4}, Strides),
      PK(Buffer.data() + 8, {2, 3, 1, 4}, Strides),
      PV(Buffer.data() + 12, {2, 3, 1, 4}, Strides),
      PO(Buffer.data() + 16, {2, 3, 2, 4}, Strides),
      Shifted(Buffer.data() + 15, {2, 3, 2, 4}, Strides);
  EXPECT_EQ(Packed.invoke({PQ, PK, PV, PO}), FOVEA_OK) << fovea_last_error();
  EXPECT_EQ(Packed.invoke({PQ, PK, PV, Shifted}), FOVEA_ERROR_OVERLAP);
  // Heads interleaved: [B, M, heads, 3, width].
  std::vector<float> Heads(2 * 3 * 2 * 12);
  std::vector<int64_t> Inter = {72, 24, 12, 1};
  Tensor HQ(Heads.data(), {2, 3, 2, 4}, Inter),
      HK(Heads.data() + 4, {2, 3, 1, 4}, Inter),
      HO(Heads.data() + 8, {2, 3, 2, 4}, Inter);
  EXPECT_EQ(Packed.invoke({HQ, HK, HK, HO}), FOVEA_OK) << fovea_last_error();
}

// Against brute force: small random views of one buffer. Overlap must never be
// missed; views that are slices of one tensor must never be refused.
TEST_F(Validate, OverlapAgainstBruteForce) {
  TestKernel Two(
      {arg("in", FOVEA_INPUT, {sym(0), sym(1), sym(2)}, false, kDLInt, 16),
       arg("out", FOVEA_OUTPUT, {sym(3), sym(4), sym(5)}, false, kDLInt, 16)},
      {"A", "B", "C", "D", "E", "F"});
  std::vector<int16_t> Buffer(4096);
  std::mt19937 Random(7);
  auto Draw = [&](int Low, int High) {
    return std::uniform_int_distribution<int64_t>(Low, High)(Random);
  };
  auto Places = [&](const Tensor &T) {
    std::multiset<int64_t> Result;
    for (int64_t I = 0; I != T.Shape[0]; ++I)
      for (int64_t J = 0; J != T.Shape[1]; ++J)
        for (int64_t L = 0; L != T.Shape[2]; ++L)
          Result.insert((static_cast<int16_t *>(T.DL.data) - Buffer.data()) +
                        I * T.Strides[0] + J * T.Strides[1] + L * T.Strides[2]);
    return Result;
  };
  int Accepted = 0, Overlapping = 0;
  for (int Round = 0; Round != 20000; ++Round) {
    auto View = [&] {
      return Tensor(Buffer.data() + 2048 + Draw(-8, 8),
                    {Draw(1, 3), Draw(1, 3), Draw(1, 3)},
                    {Draw(-12, 12), Draw(-6, 6), Draw(-3, 3)}, kDLInt, 16);
    };
    Tensor In = View(), Out = View();
    std::multiset<int64_t> InPlaces = Places(In), OutPlaces = Places(Out);
    bool Shared = false;
    for (int64_t Place : OutPlaces)
      Shared |= InPlaces.count(Place) || OutPlaces.count(Place) > 1;
    Overlapping += Shared;
    if (Two.invoke({In, Out}) == FOVEA_OK) {
      ++Accepted;
      ASSERT_FALSE(Shared) << "round " << Round;
    }
  }
  EXPECT_GT(Accepted, 3000);
  EXPECT_GT(Overlapping, 3000);

  // Two boxes of one row-major [6, 5, 4] tensor that are apart along one
  // dimension.
  for (int Round = 0; Round != 5000; ++Round) {
    int64_t Extents[3] = {6, 5, 4}, Strides[3] = {20, 4, 1};
    int64_t Along = Draw(0, 2), Cut = Draw(1, (int)Extents[Along] - 1);
    int64_t Starts[2][3], Sizes[2][3];
    for (int Box = 0; Box != 2; ++Box)
      for (int D = 0; D != 3; ++D) {
        int64_t Low = 0, High = Extents[D];
        if (D == Along)
          (Box ? Low : High) = Cut;
        Starts[Box][D] = Draw((int)Low, (int)High - 1);
        Sizes[Box][D] = Draw(1, (int)(High - Starts[Box][D]));
      }
    auto Slice = [&](int Box) {
      int16_t *Start = Buffer.data();
      for (int D = 0; D != 3; ++D)
        Start += Starts[Box][D] * Strides[D];
      return Tensor(Start, {Sizes[Box][0], Sizes[Box][1], Sizes[Box][2]},
                    {20, 4, 1}, kDLInt, 16);
    };
    Tensor In = Slice(0), Out = Slice(1);
    ASSERT_EQ(Two.invoke({In, Out}), FOVEA_OK)
        << "round " << Round << ": " << fovea_last_error();
  }
}
