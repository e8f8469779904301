// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// fovea-kernel-benchmark: the share of this machine's fused multiply-add rate
// that the micro-kernel of attn.partial reaches, one thread. The rate is that
// of a loop on registers alone, compiled the same way and timed around every
// sample; a share is the median over rounds. Usage: fovea-kernel-benchmark
// [cpu] (x86-64-v3 by default; x86-64-v4 where there is AVX-512).

#include "test/unit/CPU/Jit.h"
#include "test/unit/CPU/KernelText.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

using namespace fovea::test;

namespace {

double seconds() {
  using namespace std::chrono;
  return duration<double>(steady_clock::now().time_since_epoch()).count();
}

/// A loop of `count` independent fused multiply-adds on registers.
class Calibration {
public:
  Calibration(const char *cpu, int vector, int count)
      : flops(2.0 * vector * count), jit(text(vector, count), cpu),
        function(
            reinterpret_cast<void (*)(void *, int64_t)>(jit.lookup("loop"))),
        data(vector, 1.0f) {}

  double flopsPerSecond() {
    constexpr int64_t steps = 200000;
    auto ref = memref(data.data(), data.size());
    double start = seconds();
    function(&ref, steps);
    return flops * steps / (seconds() - start);
  }

private:
  static std::string text(int vector, int count) {
    std::string type = "vector<" + std::to_string(vector) + "xf32>", inits,
                types, body, results, sum;
    for (int i = 0; i < count; ++i) {
      std::string n = std::to_string(i), comma = i ? ", " : "";
      inits += comma + "%a" + n + " = %x";
      types += comma + type;
      body +=
          "    %b" + n + " = math.fma %x, %half, %a" + n + " : " + type + "\n";
      results += comma + "%b" + n;
      sum += "  %s" + std::to_string(i + 1) + " = arith.addf %s" + n + ", %r#" +
             n + " : " + type + "\n";
    }
    return "func.func @loop(%m: memref<?xf32>, %n: index) attributes "
           "{llvm.emit_c_interface} {\n"
           "  %c0 = arith.constant 0 : index\n  %c1 = arith.constant 1 : "
           "index\n"
           "  %half = arith.constant dense<0.5> : " +
           type +
           "\n"
           "  %x = vector.load %m[%c0] : memref<?xf32>, " +
           type +
           "\n"
           "  %r:" +
           std::to_string(count) +
           " = scf.for %i = %c0 to %n step %c1 iter_args(" + inits + ") -> (" +
           types + ") {\n" + body + "    scf.yield " + results + " : " + types +
           "\n  }\n  %s0 = arith.constant dense<0.0> : " + type + "\n" + sum +
           "  vector.store %s" + std::to_string(count) +
           ", %m[%c0] : memref<?xf32>, " + type + "\n  return\n}\n";
  }

  double flops;
  Jit jit;
  void (*function)(void *, int64_t);
  std::vector<float> data;
};

/// Floats on a cache line of their own, as a kernel's workspace has them.
class Floats {
public:
  explicit Floats(size_t size)
      : values(static_cast<float *>(std::aligned_alloc(
                   64, (size * sizeof(float) + 63) / 64 * 64)),
               std::free),
        size(size) {
    fill(0);
  }
  float *data() { return values.get(); }
  void fill(float value) { std::fill_n(data(), size, value); }
  void fillRandom() {
    std::mt19937 generator(1);
    std::normal_distribution<float> normal;
    std::generate_n(data(), size, [&] { return normal(generator); });
  }

private:
  std::unique_ptr<float, void (*)(void *)> values;
  size_t size;
};

struct Sample {
  KernelShape shape;
  int64_t keys;
  Jit jit;
  void *function;
  Floats q, k, v, acc, max, sum;
  std::vector<double> shares;

  Sample(KernelShape shape, int64_t keys, const char *cpu)
      : shape(shape), keys(keys), jit(kernelText(shape), cpu),
        function(jit.lookup("partial")), q(shape.depth * shape.lanes),
        k(keys * shape.depth), v(keys * shape.columns),
        acc(shape.columns * shape.lanes), max(shape.lanes), sum(shape.lanes) {
    for (Floats *input : {&q, &k, &v})
      input->fillRandom();
  }

  double flopsPerSecond() {
    auto qRef = memref(q.data(), shape.depth, shape.lanes, shape.lanes);
    auto kRef = memref(k.data(), keys, shape.depth, shape.depth);
    auto vRef = memref(v.data(), keys, shape.columns, shape.columns);
    auto accRef = memref(acc.data(), shape.columns, shape.lanes, shape.lanes);
    auto maxRef = memref(max.data(), shape.lanes),
         sumRef = memref(sum.data(), shape.lanes);
    double flops = 2.0 * keys * (shape.depth + shape.columns) * shape.lanes;
    int calls = int(2e8 / flops) + 1;
    double start = seconds();
    for (int call = 0; call < calls; ++call) {
      acc.fill(0);
      sum.fill(0);
      max.fill(-std::numeric_limits<float>::infinity());
      // Rows behind all keys: a causal mask attends everything.
      int64_t row0 = keys, rows = 2 * keys;
      reinterpret_cast<void (*)(void *, void *, void *, void *, void *, void *,
                                int64_t, int64_t, int64_t, int64_t, int64_t,
                                int64_t, int64_t)>(function)(
          &qRef, &kRef, &vRef, &accRef, &maxRef, &sumRef, 0, 0, row0, 0, 1,
          rows, keys);
    }
    return flops * calls / (seconds() - start);
  }
};

} // namespace

int main(int argc, char **argv) {
  const char *cpu = argc > 1 ? argv[1] : "x86-64-v3";
  bool avx512 = std::string(cpu) != "x86-64-v3";
  int vector = avx512 ? 16 : 8;
  Calibration calibration(cpu, vector, avx512 ? 24 : 12);

  struct {
    int unroll, parts;
  } micro[] = {{6, 2}, {4, 3}, {avx512 ? 8 : 5, avx512 ? 3 : 2}, {8, 1}};
  std::vector<std::unique_ptr<Sample>> samples;
  for (int width : {64, 128})
    for (auto [unroll, parts] : micro)
      for (int64_t keys : {int64_t(64), int64_t(256), int64_t(1024)}) {
        KernelShape shape;
        shape.depth = shape.columns = width;
        shape.scale = 1 / std::sqrt(double(width));
        shape.vector = vector, shape.lanes = vector * parts,
        shape.unroll = unroll;
        shape.block = keys == 64 ? 64 : 64 / unroll * unroll;
        samples.push_back(std::make_unique<Sample>(shape, keys, cpu));
        if (keys != 256)
          continue;
        shape.mask =
            "  %m = arith.cmpi sle, %j, %i : i64\n  attn.yield %m : i1\n";
        samples.push_back(std::make_unique<Sample>(shape, keys, cpu));
      }

  double best = 0;
  for (int round = 0; round < 15; ++round)
    for (auto &sample : samples) {
      double before = calibration.flopsPerSecond(),
             rate = sample->flopsPerSecond(),
             after = calibration.flopsPerSecond();
      sample->shares.push_back(rate / std::max(before, after));
      best = std::max({best, before, after});
    }
  std::printf("%s: %.1f GFLOP/s on registers\n", cpu, best / 1e9);
  std::printf("   D  keys x vectors   keys   mask    share of it\n");
  for (auto &sample : samples) {
    const KernelShape &shape = sample->shape;
    std::sort(sample->shares.begin(), sample->shares.end());
    std::printf("%4d   %2d x %d         %5ld   %s  %5.1f %%\n", shape.depth,
                shape.unroll, shape.lanes / shape.vector, long(sample->keys),
                shape.mask.empty() ? "none  " : "causal",
                100 * sample->shares[sample->shares.size() / 2]);
  }
}
