// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Options, parameters, workspace, choice of the variant, the body's status and
// the floating-point environment.

#include "TestKernel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

using namespace fovea::test;

extern "C" bool foveaMayUseTiles(); // of the runtime's own header, which is C

//===-- Options and parameters --------------------------------------------===//

namespace {
struct Options {
  fovea_options Head;
  int64_t Window, Scale;
};

TestKernel paramKernel() {
  return TestKernel({}, {}, {{"window", -1, 1, 0}, {"scale", 0, 0, 0}});
}
} // namespace

TEST(Options, ParametersArePassed) {
  TestKernel K = paramKernel();
  K.Body = [](const fovea_frame &F) {
    EXPECT_EQ(F.params[0], 17);
    EXPECT_EQ(F.params[1], 42);
    return FOVEA_OK;
  };
  Options Given = {{sizeof(Options), nullptr, nullptr, 0}, 17, 42};
  EXPECT_EQ(K.invoke({}, &Given), FOVEA_OK);
  EXPECT_EQ(K.Calls, 1);
}

TEST(Options, DefaultsWhereAbsent) {
  TestKernel K = paramKernel();
  Options Given = {{offsetof(Options, Window), nullptr, nullptr, 0}, 17, 42};
  EXPECT_EQ(K.invoke({}, &Given), FOVEA_ERROR_INVALID_ARGUMENT);
  EXPECT_STREQ(fovea_last_error(), "test: parameter 'scale' has no default and "
                                   "options end before it");
  EXPECT_EQ(K.invoke({}), FOVEA_ERROR_INVALID_ARGUMENT);
  EXPECT_STREQ(fovea_last_error(),
               "test: parameter 'scale' has no default and options are NULL");
  EXPECT_EQ(K.Calls, 0);

  K.Params[1].has_default = 1;
  K.Params[1].default_value = 5;
  K.Body = [](const fovea_frame &F) {
    EXPECT_EQ(F.params[0], -1);
    EXPECT_EQ(F.params[1], 5);
    return FOVEA_OK;
  };
  EXPECT_EQ(K.invoke({}, &Given), FOVEA_OK);
  EXPECT_EQ(K.invoke({}), FOVEA_OK);
  EXPECT_EQ(K.Calls, 2);

  K.Body = [](const fovea_frame &F) {
    EXPECT_EQ(F.params[0], 17);
    EXPECT_EQ(F.params[1], 5);
    return FOVEA_OK;
  };
  Given.Head.size = offsetof(Options, Scale);
  EXPECT_EQ(K.invoke({}, &Given), FOVEA_OK);
}

TEST(Options, FieldsPastTheSizeAreNotRead) {
  TestKernel K({}, {});
  K.needWorkspace(128);
  // Only `size` and `context` are there.
  struct {
    size_t Size;
    const fovea_context *Context;
  } Short = {16, nullptr};
  EXPECT_EQ(K.invoke({}, &Short), FOVEA_OK);
  size_t OnlySize = sizeof(size_t);
  EXPECT_EQ(K.invoke({}, &OnlySize), FOVEA_OK);
}

TEST(Options, BadSizes) {
  TestKernel K = paramKernel();
  for (size_t Size : {size_t(0), size_t(4), size_t(47), size_t(56), SIZE_MAX}) {
    Options Given = {{Size, nullptr, nullptr, 0}, 17, 42};
    EXPECT_EQ(K.invoke({}, &Given), FOVEA_ERROR_INVALID_ARGUMENT);
    EXPECT_EQ(fovea_last_error(),
              "test: options.size is " + std::to_string(Size) +
                  ", expected the size of the options struct, at most 48");
  }
  EXPECT_EQ(K.Calls, 0);
}

TEST(Options, ContextIsUsed) {
  Context Three(3);
  TestKernel K({}, {});
  K.Body = [&](const fovea_frame &F) {
    EXPECT_EQ(F.context, static_cast<fovea_context *>(Three));
    EXPECT_EQ(F.workers, 3);
    return FOVEA_OK;
  };
  fovea_options Given = options(Three);
  EXPECT_EQ(K.invoke({}, &Given), FOVEA_OK);
  EXPECT_EQ(K.Calls, 1);
}

//===-- Workspace ---------------------------------------------------------===//

TEST(Workspace, AllocatedForTheCall) {
  TestKernel K({}, {});
  K.needWorkspace(1000);
  K.Body = [](const fovea_frame &F) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(F.workspace) % 64, 0u);
    std::fill_n(static_cast<char *>(F.workspace), 1000, 1);
    return FOVEA_OK;
  };
  EXPECT_EQ(K.invoke({}), FOVEA_OK);
  EXPECT_EQ(K.Calls, 1);
}

TEST(Workspace, GivenByTheCaller) {
  TestKernel K({}, {});
  K.needWorkspace(128);
  alignas(64) char Memory[256];
  K.Body = [&](const fovea_frame &F) {
    EXPECT_EQ(F.workspace, Memory);
    return FOVEA_OK;
  };
  fovea_options Given = options(nullptr, Memory, 128);
  EXPECT_EQ(K.invoke({}, &Given), FOVEA_OK);
  EXPECT_EQ(K.Calls, 1);

  Given.workspace_size = 127;
  EXPECT_EQ(K.invoke({}, &Given), FOVEA_ERROR_WORKSPACE_TOO_SMALL);
  EXPECT_STREQ(fovea_last_error(),
               "test: expected a workspace of 128 bytes, got 127");

  Given = options(nullptr, Memory + 32, 128);
  EXPECT_EQ(K.invoke({}, &Given), FOVEA_ERROR_ALIGNMENT);
  EXPECT_EQ(K.Calls, 1);
}

TEST(Workspace, OverlapsAnArgument) {
  alignas(64) float Memory[64];
  TestKernel K({arg("x", FOVEA_INPUT, {16})}, {});
  K.needWorkspace(128);
  Tensor Inside(Memory + 31, {16}, {1}), Past(Memory + 32, {16}, {1});
  fovea_options Given = options(nullptr, Memory, 256);
  EXPECT_EQ(K.invoke({Inside}, &Given), FOVEA_ERROR_OVERLAP);
  EXPECT_STREQ(fovea_last_error(), "test: expected a workspace apart from all "
                                   "arguments, got one that overlaps 'x'");
  EXPECT_EQ(K.invoke({Past}, &Given), FOVEA_OK);
}

TEST(Workspace, OutOfMemory) {
  TestKernel K({}, {});
  K.needWorkspace(INT64_C(1) << 60);
  EXPECT_EQ(K.invoke({}), FOVEA_ERROR_OUT_OF_MEMORY);
  EXPECT_STREQ(
      fovea_last_error(),
      "test: out of memory for a workspace of 1152921504606846976 bytes");
  K.needWorkspace(-1);
  EXPECT_EQ(K.invoke({}), FOVEA_ERROR_OUT_OF_MEMORY);
  EXPECT_STREQ(fovea_last_error(),
               "test: the workspace for this shape would pass 2^63 bytes");
  EXPECT_EQ(K.Calls, 0);
}

TEST(Workspace, Query) {
  TestKernel K({}, {"M", "N"}, {{"p", 3, 1, 0}});
  K.Variants[0].workspace = [](const int64_t *Symbols, const int64_t *Params,
                               int64_t Workers) {
    return Symbols[0] * 1000 + Symbols[1] * 100 + Params[0] * 10 + Workers;
  };
  Context Two(2);
  fovea_options Given = options(Two);
  int64_t Symbols[] = {5, 7};
  EXPECT_EQ(fovea_workspace_size(K.get(), Symbols, &Given), 5732u);

  EXPECT_EQ(fovea_workspace_size(K.get(), nullptr, &Given),
            FOVEA_WORKSPACE_ERROR);
  EXPECT_STREQ(fovea_last_error(), "test: symbols are NULL");
  Symbols[1] = -1;
  EXPECT_EQ(fovea_workspace_size(K.get(), Symbols, &Given),
            FOVEA_WORKSPACE_ERROR);
  EXPECT_STREQ(fovea_last_error(), "test: expected N of 0 or more, got -1");
  EXPECT_EQ(fovea_workspace_size(nullptr, Symbols, nullptr),
            FOVEA_WORKSPACE_ERROR);
  Symbols[1] = 1;
  K.needWorkspace(-1);
  EXPECT_EQ(fovea_workspace_size(K.get(), Symbols, nullptr),
            FOVEA_WORKSPACE_ERROR);
  K.Variants[0].workspace = nullptr;
  EXPECT_EQ(fovea_workspace_size(K.get(), Symbols, nullptr), 0u);
}

//===-- Variants ----------------------------------------------------------===//

namespace {

// Variants "best" and "custom", which run anywhere, after "never", which needs
// what no machine has.
class Variants : public testing::Test {
protected:
  Variants() {
    K.Variants = {{"never", UINT64_C(1) << 62, never, nullptr},
                  {"best", 0, best, nullptr},
                  {"custom", 0, custom, nullptr}};
  }
  fovea_status callWith(const char *Isa) {
    Environment Env("FOVEA_ISA", Isa);
    Context One(1);
    fovea_options Given = options(One);
    Ran = "none";
    return K.invoke({}, &Given);
  }
  static int32_t never(const fovea_frame *) { return Ran = "never", 0; }
  static int32_t best(const fovea_frame *) { return Ran = "best", 0; }
  static int32_t custom(const fovea_frame *) { return Ran = "custom", 0; }

  static inline std::string Ran;
  TestKernel K{{}, {}};
};

} // namespace

TEST_F(Variants, FirstThatRuns) {
  EXPECT_EQ(callWith(nullptr), FOVEA_OK);
  EXPECT_EQ(Ran, "best");
  EXPECT_EQ(callWith(""), FOVEA_OK);
  EXPECT_EQ(Ran, "best");
}

TEST_F(Variants, NamedByTheEnvironment) {
  EXPECT_EQ(callWith("custom"), FOVEA_OK);
  EXPECT_EQ(Ran, "custom");
  EXPECT_EQ(callWith("never"), FOVEA_OK);
  EXPECT_EQ(Ran, "best");
  EXPECT_EQ(callWith("unheard-of"), FOVEA_ERROR_UNSUPPORTED_ISA);
  EXPECT_EQ(Ran, "none");
  EXPECT_NE(std::string(fovea_last_error()).find("FOVEA_ISA unheard-of"),
            std::string::npos)
      << fovea_last_error();
}

TEST_F(Variants, NoneRuns) {
  K.Variants.resize(1);
  EXPECT_EQ(callWith(nullptr), FOVEA_ERROR_UNSUPPORTED_ISA);
  EXPECT_NE(std::string(fovea_last_error())
                .find("test: none of its 1 variants (the last is for never) "
                      "runs here"),
            std::string::npos)
      << fovea_last_error();
  K.Variants.clear();
  EXPECT_EQ(callWith(nullptr), FOVEA_ERROR_UNSUPPORTED_ISA);
}

TEST_F(Variants, LevelsLowerTheFeatures) {
  uint64_t Found = fovea_cpu_features();
  uint64_t V3 = FOVEA_CPU_AVX2 | FOVEA_CPU_FMA | FOVEA_CPU_F16C;
  if ((Found & V3) != V3)
    GTEST_SKIP() << "needs AVX2";
  K.Variants = {
      {"avx512", V3 | FOVEA_CPU_AVX512F, never, nullptr},
      {"x86-64-v3", V3, best, nullptr},
      {"baseline", 0, custom, nullptr},
  };
  EXPECT_EQ(callWith("x86-64-v3"), FOVEA_OK);
  EXPECT_EQ(Ran, "best");
  EXPECT_EQ(callWith("baseline"), FOVEA_OK);
  EXPECT_EQ(Ran, "custom");
  EXPECT_EQ(callWith("avx512"), FOVEA_OK);
  EXPECT_EQ(Ran, Found & FOVEA_CPU_AVX512F ? "never" : "best");
  K.Variants.pop_back();
  EXPECT_EQ(callWith("baseline"), FOVEA_ERROR_UNSUPPORTED_ISA);
}

TEST_F(Variants, TilesAreUsedWhereTheyMayBe) {
  K.Variants = {
      {"amx", FOVEA_CPU_AMX_TILE, never, nullptr},
      {"baseline", 0, custom, nullptr},
  };
  // A lower level passes over tiles whatever the machine has, "amx" does not.
  for (const char *Isa : {"baseline", "x86-64-v3", "avx512"}) {
    EXPECT_EQ(callWith(Isa), FOVEA_OK);
    EXPECT_EQ(Ran, "custom") << Isa;
  }
  bool May = (fovea_cpu_features() & FOVEA_CPU_AMX_TILE) && foveaMayUseTiles();
  for (const char *Isa : {static_cast<const char *>(nullptr), "amx"}) {
    EXPECT_EQ(callWith(Isa), FOVEA_OK);
    EXPECT_EQ(Ran, May ? "never" : "custom");
  }
}

//===-- The body ----------------------------------------------------------===//

TEST(Body, StatusIsPassedOn) {
  TestKernel K({}, {});
  for (int32_t Status = 1; Status <= FOVEA_ERROR_INTERNAL; ++Status) {
    K.Body = [&](const fovea_frame &) { return Status; };
    EXPECT_EQ(K.invoke({}), Status);
    EXPECT_EQ(fovea_last_error(),
              std::string("test: the baseline variant failed: ") +
                  fovea_status_name(static_cast<fovea_status>(Status)));
  }
  for (int32_t Status : {-1, 15, INT32_MIN, INT32_MAX}) {
    K.Body = [&](const fovea_frame &) { return Status; };
    EXPECT_EQ(K.invoke({}), FOVEA_ERROR_INTERNAL);
  }
}

TEST(Body, ErrnoIsKept) {
  TestKernel K({}, {});
  K.needWorkspace(INT64_C(1) << 60);
  errno = 77;
  EXPECT_EQ(K.invoke({}), FOVEA_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(errno, 77);
}

TEST(Body, NothingIsPrinted) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  TestKernel K = attentionKernel();
  K.invoke({nullptr, nullptr, nullptr, nullptr, nullptr});
  K.K.abi_version = 0;
  K.invoke({});
  TestKernel Failing({}, {});
  Failing.Body = [](const fovea_frame &) { return FOVEA_ERROR_CUDA; };
  Failing.invoke({});
  fovea_context *Result;
  fovea_context_create(-5, &Result);
  fflush(nullptr);
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

#if defined(__x86_64__)
TEST(FloatEnvironment, SetInTheBodyAndRestoredBitForBit) {
  unsigned Before = _mm_getcsr();
  // Rounding down, division by zero unmasked, a sticky flag, no FTZ.
  for (unsigned Host : {0x1f80u, 0x3d81u, 0xffbfu & 0xff80u}) {
    TestKernel K({}, {});
    unsigned Inside = 0;
    volatile float Tiny = 1e-38f, Product = 1;
    K.Body = [&](const fovea_frame &) {
      Inside = _mm_getcsr();
      Product = Tiny * 1e-3f; // a denormal: flushed, and sets sticky flags
      return FOVEA_OK;
    };
    _mm_setcsr(Host);
    fovea_status Status = K.invoke({});
    unsigned After = _mm_getcsr();
    _mm_setcsr(Before);
    EXPECT_EQ(Status, FOVEA_OK);
    EXPECT_EQ(Inside, 0x9fc0u);
    EXPECT_EQ(After, Host);
    EXPECT_EQ(Product, 0.0f);
  }
}
#endif

//===-- Overhead ----------------------------------------------------------===//

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FOVEA_TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define FOVEA_TEST_SANITIZED 1
#endif
#endif

// A tiny call costs at most 1 microsecond: the best of many batches, because
// the machine may be busy with other things.
TEST(Overhead, TinyCall) {
#ifdef FOVEA_TEST_SANITIZED
  GTEST_SKIP() << "sanitized";
#endif
  Context One(1);
  TestKernel K = attentionKernel();
  K.Variants[0].body = [](const fovea_frame *) { return 0; };
  K.needWorkspace(4096);
  Tensor Q({1, 1, 2, 4}), KK({1, 1, 1, 4}), V({1, 1, 1, 3}), O({1, 1, 2, 3}),
      Lse({1, 2, 1});
  const DLTensor *Tensors[] = {Q, KK, V, O, Lse};
  const fovea_kernel *Kernel = K.get();
  fovea_options Given = options(One);
  using Clock = std::chrono::steady_clock;
  double Best = 1e9;
  for (int Batch = 0; Batch != 100; ++Batch) {
    Clock::time_point Start = Clock::now();
    for (int I = 0; I != 100; ++I)
      ASSERT_EQ(fovea_invoke(Kernel, Tensors, &Given), FOVEA_OK);
    std::chrono::duration<double, std::nano> Time = Clock::now() - Start;
    Best = std::min(Best, Time.count() / 100);
  }
  RecordProperty("nanoseconds", static_cast<int>(Best));
  EXPECT_LT(Best, 1000);
}
