// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The values of compiled kernels. Kernels are drawn (dtype, ISA, heads, widths,
// mask, score, RoPE, norms, cache, sinks), compiled and called as CallRunner.h
// says. Other tests are about the workspace, long sums and full caches.
//
//   --seed=S --cases=N   draw N kernels, and N / 4 of bf16, f16 or f32 in sums
//                        of bf16 for matrix units, which are emulated where
//                        there are none; the default is in main()
//   --gtest_filter=Drawn.7   only kernel 7, which is the same for every N

#include "test/numerics/CallRunner.h"

#include "compiler/Reference/ErrorBound.h"
#include "runtime/include/fovea/kernel_abi.h"

#include "llvm/Support/FormatVariadic.h"

#include <chrono>
#include <gtest/gtest.h>

using namespace mlir;
using namespace fovea;
using namespace fovea::numerics;
using reference::Tensor;

namespace {

/// By dtype and ISA.
std::map<std::pair<std::string, std::string>, Shares> shares;

class DrawnCase : public ::testing::Test {
public:
  DrawnCase(uint64_t seed, int64_t index, bool forMatrixUnits)
      : seed(seed), index(index), forMatrixUnits(forMatrixUnits) {}
  void TestBody() override;

private:
  uint64_t seed;
  int64_t index;
  bool forMatrixUnits; ///< something that they serve
};

void DrawnCase::TestBody() {
  Random random(seed * 1000003 + index);
  KernelSpec spec = drawSpec(random, index);
  if (forMatrixUnits) {
    static const char *dtypes[] = {"bf16", "f32", "f16"};
    spec.dtype = dtypes[index % std::size(dtypes)];
    spec.bf16x6 = spec.dtype == "f32";
  }
  SCOPED_TRACE(spec.describe());
  CallRunner runner(spec, random);
  if (!runner.getModule())
    return;
  // Half the kernels have 16 lanes, and those of bf16 matrix units, too.
  std::string isa = forMatrixUnits || spec.dtype == "bf16" ? "amx" : "avx512";
  if (!forMatrixUnits && index / 4 % 2 == 0)
    isa = "x86-64-v3";
  Target target = *lookupTarget(isa);
  // Where a few tiles of queries visit chunks of a few KV tiles.
  if (index % 2 == 1)
    target.cacheBytes = 64 << 10;
  auto start = std::chrono::steady_clock::now();
  auto kernel = compileKernel(runner.getModule(), target);
  ASSERT_TRUE(bool(kernel)) << llvm::toString(kernel.takeError()) << "\n"
                            << spec.getText();
  std::chrono::duration<double> spent =
      std::chrono::steady_clock::now() - start;
  runner.run(**kernel, getMatrixTerms(runner.getModule(), target));
  std::string line = "  " + isa + ":";
  for (auto &[name, share] : runner.getWorst()) {
    line += llvm::formatv(" {0} {1:F2}", name, share);
    double &all = shares[{spec.dtype, isa}][name];
    all = std::max(all, share);
  }
  llvm::outs() << line << " of the bound  " << spec.describe()
               << llvm::formatv(", compiled in {0:F2} s\n", spent.count());
  llvm::outs().flush();
}

/// A kernel for f32 without anything drawn.
KernelSpec makeSpec() {
  KernelSpec spec;
  spec.dtype = "f32";
  spec.heads = 8;
  spec.kvHeads = 2;
  spec.width = 64;
  spec.valueWidth = 32;
  spec.mask.text = "causal(bottom_right)";
  return spec;
}

TEST(Workspace, HoldsTilesAndPackedKeysOnly) {
  auto kernel = compileSpec(makeSpec());
  ASSERT_TRUE(bool(kernel)) << llvm::toString(kernel.takeError());
  auto size = [&](int64_t b, int64_t m, int64_t n, int64_t workers) {
    int64_t symbols[] = {b, m, n};
    return (*kernel)->get()->variants->workspace(symbols, nullptr, workers);
  };
  for (int64_t n = 1024; n <= 65536; n *= 2) {
    // However many queries and batch rows there are.
    for (int64_t m = 1024; m <= 65536; m *= 2)
      for (int64_t b : {1, 16})
        EXPECT_EQ(size(b, m, n, 2), size(1, 1024, n, 2));
    // K and V of one kv head for each worker, in f32, beside the tiles.
    for (int64_t workers : {1, 2})
      EXPECT_EQ(size(1, 1024, 2 * n, workers) - size(1, 1024, n, workers),
                workers * n * (64 + 32) * 4);
    // Decode: a state of 8 rows for each part of 1024 keys, the queries of the
    // heads that an item walks, and nothing packed.
    EXPECT_LE(size(1, 1, n, 2) - size(1, 1, 0, 2),
              n / 1024 * 2 * (8 * 32 + 2 * 64) * 4 + 2 * 2 * 8 * 64 * 4);
  }
  // Tiles alone: less than the second-level cache for each worker, also with
  // those that visit chunks of the keys together.
  EXPECT_LE(size(1, 1024, 0, 1), 128 << 10);
  EXPECT_LE(size(1, 1024, 1024, 1) - 1024 * (64 + 32) * 4,
            (128 << 10) + (512 << 10) / 8 * 3);
  EXPECT_EQ(size(1, 1024, int64_t(1) << 60, 2), -1);
}

/// With equal weights and values every addition is rounded alike, and only
/// sums of blocks keep the error from growing with the number of keys.
void expectNoDrift(const KernelSpec &spec, StringRef isa) {
  auto kernel = compileSpec(spec, std::nullopt, isa);
  ASSERT_TRUE(bool(kernel)) << llvm::toString(kernel.takeError());
  constexpr int64_t rows = 48, keys = 8192;
  std::map<std::string, int64_t> symbols = {{"B", 1}, {"M", rows}, {"N", keys}};
  std::vector<GuardedTensor> tensors;
  for (const Argument &argument : spec.getArguments()) {
    SmallVector<int64_t> shape = argument.getShape(symbols);
    Tensor tensor = Tensor::filled(shape, parseElement(argument.element), 0.1);
    SmallVector<int64_t> strides = tensor.strides();
    if (argument.role == Argument::Input)
      llvm::fill(strides, 0);
    tensors.emplace_back(shape, strides, tensor.elementType, Flush::End);
    tensors.back().write(tensor);
  }
  std::vector<DLTensor> views;
  for (GuardedTensor &tensor : tensors)
    views.push_back(tensor.view());
  std::vector<const DLTensor *> pointers;
  for (const DLTensor &view : views)
    pointers.push_back(&view);
  ASSERT_EQ(fovea_invoke((*kernel)->get(), pointers.data(), nullptr), FOVEA_OK);
  double exact = double(0.1F);
  reference::ErrorBound bound(parseElement("f32"), keys);
  for (double o : tensors.back().read().data)
    ASSERT_NEAR(o, exact, bound.ofOutput(exact, exact, 0));
}

TEST(Sums, OfEqualTermsDoNotDrift) {
  KernelSpec spec = makeSpec();
  spec.mask.text = "";
  expectNoDrift(spec, "x86-64-v3");
  spec.bf16x6 = true;
  expectNoDrift(spec, "amx");
}

TEST(Cache, WithoutRoomIsRefused) { // K3
  KernelSpec spec = makeSpec();
  spec.cache = true;
  auto kernel = compileSpec(spec);
  ASSERT_TRUE(bool(kernel)) << llvm::toString(kernel.takeError());
  std::map<std::string, int64_t> symbols = {{"B", 2}, {"M", 3}, {"C", 10}};
  for (int64_t past : {-1, 0, 7, 8}) {
    std::vector<GuardedTensor> tensors;
    for (const Argument &argument : spec.getArguments()) {
      SmallVector<int64_t> shape = argument.getShape(symbols);
      Tensor tensor = Tensor::filled(shape, parseElement(argument.element), 1);
      tensors.emplace_back(shape, tensor.strides(), tensor.elementType,
                           Flush::End);
      if (argument.name == "past")
        tensor.data = {4.0, double(past)};
      tensors.back().write(tensor);
    }
    std::vector<DLTensor> views;
    for (GuardedTensor &tensor : tensors)
      views.push_back(tensor.view());
    std::vector<const DLTensor *> pointers;
    for (const DLTensor &view : views)
      pointers.push_back(&view);
    bool fits = past >= 0 && past + 3 <= 10;
    EXPECT_EQ(fovea_invoke((*kernel)->get(), pointers.data(), nullptr),
              fits ? FOVEA_OK : FOVEA_ERROR_SHAPE)
        << past;
  }
}

} // namespace

int main(int argc, char **argv) {
  ::testing::InitGoogleTest(&argc, argv);
  uint64_t seed = 20260101;
  int64_t cases = 111;
  for (int arg = 1; arg < argc; ++arg) {
    StringRef text = argv[arg];
    bool known =
        (text.consume_front("--seed=") && !text.getAsInteger(10, seed)) ||
        (text.consume_front("--cases=") && !text.getAsInteger(10, cases));
    if (!known) {
      llvm::errs() << "usage: fovea-numerics [--seed=S] [--cases=N]\n";
      return 2;
    }
  }
  llvm::outs() << "seed " << seed << ", " << cases << " kernels\n";
  auto drawCase = [&](const char *suite, int64_t index, bool forMatrixUnits) {
    ::testing::RegisterTest(suite, std::to_string(index).c_str(), nullptr,
                            nullptr, __FILE__, __LINE__, [=]() -> DrawnCase * {
                              return new DrawnCase(seed, index, forMatrixUnits);
                            });
  };
  for (int64_t index = 0; index < cases; ++index)
    drawCase("Drawn", index, false);
  for (int64_t index = 0; index < cases / 4; ++index)
    drawCase("Matrix", index, true);
  int result = RUN_ALL_TESTS();
  llvm::outs() << "worst error, as a share of the bound:\n";
  for (auto &[key, byName] : shares) {
    llvm::outs() << llvm::formatv("  {0,-4} {1,-9}", key.first, key.second);
    for (auto &[name, share] : byName)
      llvm::outs() << llvm::formatv(" {0} {1:F2}", name, share);
    llvm::outs() << "\n";
  }
  return result;
}
