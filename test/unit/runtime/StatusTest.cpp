// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Names of statuses, error texts, version, CPU features, permissions.

#include "TestKernel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <string>
#include <thread>

using namespace fovea::test;

// Of the runtime's own header, which is C.
extern "C" {
bool foveaAskOnce(std::atomic<int> *Answer, bool (*Ask)());
bool foveaMayUseTiles();
}
static_assert(sizeof(std::atomic<int>) == sizeof(int));

TEST(Status, NamesAreDistinctAndStable) {
  const char *Names[] = {"ok",
                         "invalid_argument",
                         "dtype",
                         "rank",
                         "shape",
                         "stride",
                         "overlap",
                         "alignment",
                         "device",
                         "abi_version",
                         "unsupported_isa",
                         "out_of_memory",
                         "workspace_too_small",
                         "cuda",
                         "internal"};
  int Value = 0;
  for (const char *Name : Names)
    EXPECT_STREQ(fovea_status_name(static_cast<fovea_status>(Value++)), Name);
  EXPECT_STREQ(fovea_status_name(static_cast<fovea_status>(Value)), "unknown");
}

TEST(Status, VersionIsTheProjects) {
  EXPECT_STREQ(fovea_version(), FOVEA_TEST_PROJECT_VERSION);
}

TEST(Status, ErrorTextIsPerThread) {
  EXPECT_EQ(fovea_invoke(nullptr, nullptr, nullptr),
            FOVEA_ERROR_INVALID_ARGUMENT);
  EXPECT_STREQ(fovea_last_error(), "the kernel is NULL");
  std::thread([] {
    EXPECT_STREQ(fovea_last_error(), "");
    fovea_context *Result;
    EXPECT_EQ(fovea_context_create(-1, &Result), FOVEA_ERROR_INVALID_ARGUMENT);
    EXPECT_STREQ(fovea_last_error(),
                 "context: threads is -1, expected 1 to 1024");
  }).join();
  EXPECT_STREQ(fovea_last_error(), "the kernel is NULL");
}

TEST(Status, SuccessKeepsTheText) {
  fovea_invoke(nullptr, nullptr, nullptr);
  TestKernel K({}, {});
  EXPECT_EQ(K.invoke({}), FOVEA_OK);
  EXPECT_STREQ(fovea_last_error(), "the kernel is NULL");
}

TEST(Status, LongNamesAreCut) {
  std::string Long(5000, 'x');
  TestKernel K({arg(Long.c_str(), FOVEA_INPUT, {1})}, {});
  EXPECT_EQ(K.invoke({nullptr}), FOVEA_ERROR_INVALID_ARGUMENT);
  EXPECT_GT(std::string(fovea_last_error()).size(), 100u);
  EXPECT_LT(std::string(fovea_last_error()).size(), 1000u);
}

TEST(CpuFeatures, AgreeWithTheCompilersView) {
  uint64_t Features = fovea_cpu_features();
  EXPECT_EQ(Features, fovea_cpu_features());
#if defined(__x86_64__)
  __builtin_cpu_init();
  auto Has = [&](uint64_t Bit) { return (Features & Bit) != 0; };
  EXPECT_EQ(Has(FOVEA_CPU_AVX2), !!__builtin_cpu_supports("avx2"));
  EXPECT_EQ(Has(FOVEA_CPU_FMA), !!__builtin_cpu_supports("fma"));
  EXPECT_EQ(Has(FOVEA_CPU_F16C), !!__builtin_cpu_supports("f16c"));
  EXPECT_EQ(Has(FOVEA_CPU_AVX512F), !!__builtin_cpu_supports("avx512f"));
  EXPECT_EQ(Has(FOVEA_CPU_AVX512BW), !!__builtin_cpu_supports("avx512bw"));
  EXPECT_EQ(Has(FOVEA_CPU_AVX512DQ), !!__builtin_cpu_supports("avx512dq"));
  EXPECT_EQ(Has(FOVEA_CPU_AVX512VL), !!__builtin_cpu_supports("avx512vl"));
  EXPECT_EQ(Has(FOVEA_CPU_AVX512BF16), !!__builtin_cpu_supports("avx512bf16"));
  EXPECT_EQ(Has(FOVEA_CPU_AMX_TILE), !!__builtin_cpu_supports("amx-tile"));
  EXPECT_EQ(Has(FOVEA_CPU_AMX_BF16), !!__builtin_cpu_supports("amx-bf16"));
#else
  EXPECT_EQ(Features, 0u);
#endif
}

TEST(CpuFeatures, PermissionIsAskedForOnce) {
  static std::atomic<int> Calls;
  std::atomic<int> Answer(0), Refusal(0);
  Calls = 0;
  auto Grant = [] { return ++Calls > 0; };
  auto Refuse = [] { return ++Calls < 0; };
  for (int I = 0; I < 3; ++I)
    EXPECT_TRUE(foveaAskOnce(&Answer, Grant));
  EXPECT_EQ(Calls, 1);
  for (int I = 0; I < 3; ++I)
    EXPECT_FALSE(foveaAskOnce(&Refusal, Refuse));
  EXPECT_EQ(Calls, 2);
  // Whoever is asked later, the first answer stands.
  EXPECT_TRUE(foveaAskOnce(&Answer, Refuse));
  EXPECT_FALSE(foveaAskOnce(&Refusal, Grant));
  EXPECT_EQ(Calls, 2);
}

TEST(CpuFeatures, TilesNeedTheProcessor) {
  bool May = foveaMayUseTiles();
  EXPECT_EQ(May, foveaMayUseTiles());
  if (!(fovea_cpu_features() & FOVEA_CPU_AMX_TILE))
    EXPECT_FALSE(May);
}
