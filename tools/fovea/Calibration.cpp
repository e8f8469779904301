// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Measuring loops. The multiply-adds are chains enough to hide their latency;
// plain vector code, contracted by the compiler.

#include "tools/fovea/Calibration.h"

#include <chrono>
#include <functional>
#include <thread>
#include <vector>

namespace fovea {
namespace {

using Clock = std::chrono::steady_clock;

/// Seconds until `threads` threads have each run the task.
double timeThreads(int64_t threads, const std::function<void()> &task) {
  Clock::time_point begin = Clock::now();
  std::vector<std::thread> others;
  for (int64_t k = 1; k < threads; ++k)
    others.emplace_back(task);
  task();
  for (std::thread &other : others)
    other.join();
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// Chains of dependent multiply-adds: more than latency times units.
constexpr int chains = 12;
constexpr int64_t iterations = 2'500'000;

template <typename Vector>
[[gnu::always_inline]] inline void multiplyAdd(void *sink) {
  Vector accumulators[chains], factor = Vector{} + 0.999f,
                               term = Vector{} + 0.001f;
  for (int k = 0; k < chains; ++k)
    accumulators[k] = Vector{} + static_cast<float>(k);
  for (int64_t i = 0; i < iterations; ++i)
#pragma clang loop unroll(full)
    for (int k = 0; k < chains; ++k)
      accumulators[k] = accumulators[k] * factor + term;
  Vector sum = accumulators[0];
  for (int k = 1; k < chains; ++k)
    sum += accumulators[k];
  __builtin_memcpy(sink, &sum, sizeof sum);
}

template <typename T, int bytes> using VectorOf [[gnu::vector_size(bytes)]] = T;

[[gnu::target("avx2,fma"), gnu::noinline]] void float256(void *sink) {
  multiplyAdd<VectorOf<float, 32>>(sink);
}
[[gnu::target("avx2,fma"), gnu::noinline]] void double256(void *sink) {
  multiplyAdd<VectorOf<double, 32>>(sink);
}
[[gnu::target("avx512f"), gnu::noinline]] void float512(void *sink) {
  multiplyAdd<VectorOf<float, 64>>(sink);
}
[[gnu::target("avx512f"), gnu::noinline]] void double512(void *sink) {
  multiplyAdd<VectorOf<double, 64>>(sink);
}

} // namespace

double measureFmaRate(const Target &target, bool isDouble, int64_t threads) {
  bool wide = target.vectorBits == 512;
  auto *loop = wide ? (isDouble ? double512 : float512)
                    : (isDouble ? double256 : float256);
  double seconds = timeThreads(threads, [loop] {
    alignas(64) volatile char sink[64];
    loop(const_cast<char *>(sink));
  });
  double lanes = static_cast<double>(target.vectorBits) / (isDouble ? 64 : 32);
  return 2.0 * chains * iterations * lanes * threads / seconds;
}

double measureReadBandwidth(int64_t threads) {
  // Far more than the caches of one core.
  constexpr size_t words = size_t(16) << 20;
  std::vector<uint64_t> data(words, 1);
  double seconds = timeThreads(threads, [&data] {
    uint64_t sums[8] = {};
    for (size_t k = 0; k < words; k += 8)
      for (size_t lane = 0; lane < 8; ++lane)
        sums[lane] += data[k + lane];
    volatile uint64_t sink = 0;
    for (uint64_t sum : sums)
      sink = sink + sum;
  });
  return static_cast<double>(words * sizeof(uint64_t) * threads) / seconds;
}

} // namespace fovea
