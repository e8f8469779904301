// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// attn.partial, attn.merge and attn.finalize as the CPU passes lower them, run
// on this machine and compared with a plain computation in double. AVX-512
// kernels run too: 16-lane vectors compiled for AVX2.

#include "test/unit/CPU/Jit.h"
#include "test/unit/CPU/KernelText.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <ranges>
#include <vector>

using namespace fovea::test;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
const double nan = std::numeric_limits<double>::quiet_NaN();

/// bf16 as the kernel stores it.
struct BFloat {
  uint16_t bits;
  explicit BFloat(float x) : bits(std::bit_cast<uint32_t>(x) >> 16) {}
  explicit operator double() const {
    return std::bit_cast<float>(uint32_t(bits) << 16);
  }
};

struct Point {
  int64_t b, h, i, j, M, N;
};

/// Where the tile lies, and what is attended.
struct Problem {
  int64_t keys = 100, rows = 1000, row0 = 0, j0 = 0, b = 0, g = 0;
  int64_t split = 0; // keys [0, split) go first, or into a state of their own
  bool merge = false;
  double magnitude = 1; // of queries and keys
  std::function<bool(Point)> mask = [](Point) { return true; };
  std::function<double(double, Point)> score = [](double s, Point) {
    return s;
  };
  int64_t poisonedFrom = -1,
          poisonedTo = -1; // keys with NaN in K, Inf or NaN in V
  bool sinks = false;
};

template <typename T> struct State {
  std::vector<T> acc, max, sum;
  MemRef<T, 2> accRef;
  MemRef<T, 1> maxRef, sumRef;
  State(const KernelShape &shape)
      : acc(shape.columns * shape.lanes, 0), max(shape.lanes, T(-infinity)),
        sum(shape.lanes, 0),
        accRef(
            shape.depthLanes
                ? memref(acc.data(), shape.lanes, shape.columns, shape.columns)
                : memref(acc.data(), shape.columns, shape.lanes, shape.lanes)),
        maxRef(memref(max.data(), shape.lanes)),
        sumRef(memref(sum.data(), shape.lanes)) {}
};

/// Where element `i` of a row of `width` lies in an unzipped one.
int unzippedPlace(int i, int width, int lanes) {
  int run = 2 * lanes;
  if (i >= width / run * run)
    return i;
  return i / run * run + i % 2 * lanes + i % run / 2;
}

/// Runs the kernel and compares; returns the worst error as a share of the
/// bound.
template <typename T, typename Output = T, typename Capture = int32_t,
          typename Stored = T>
double run(const KernelShape &shape, const Problem &problem,
           std::vector<Capture> *capture = nullptr) {
  Jit jit(kernelText(shape));
  EXPECT_EQ(jit.getAssembly().find("callq\t*"), std::string::npos);
  for (const char *callee : {"@PLT", "exp", "__trunc", "__extend"})
    EXPECT_EQ(jit.getAssembly().find(std::string("callq\t") + callee),
              std::string::npos)
        << "the kernel calls a library";
  const int D = shape.depth, E = shape.columns, L = shape.lanes;
  const int64_t n = problem.keys, kStride = D + 5, vStride = E + 3;
  std::mt19937 random(7);
  std::uniform_real_distribution<double> uniform(-1, 1);
  std::vector<T> q(D * L);
  std::vector<Stored> k(n * kStride, Stored(nan)), v(n * vStride, Stored(nan));
  for (T &x : q)
    x = T(uniform(random) * problem.magnitude);
  for (int64_t j = 0; j < n; ++j) {
    bool poisoned = j >= problem.poisonedFrom && j < problem.poisonedTo;
    for (int d = 0; d < D; ++d)
      k[j * kStride + d] =
          Stored(poisoned ? nan : uniform(random) * problem.magnitude);
    for (int e = 0; e < E; ++e)
      v[j * vStride + e] =
          Stored(poisoned ? (e % 2 ? infinity : nan) : uniform(random));
  }
  std::vector<T> kernelQ = q;
  if (shape.unzipped)
    for (int x = 0; x < L * D; ++x)
      kernelQ[x / D * D + unzippedPlace(x % D, D, shape.vector)] = q[x];
  auto qRef = shape.depthLanes ? memref(kernelQ.data(), L, D, D)
                               : memref(kernelQ.data(), D, L, L);
  auto kRef = memref(k.data(), n, D, kStride),
       vRef = memref(v.data(), n, E, vStride);
  State<T> state(shape), first(shape);
  auto partial = [&](State<T> &into, int64_t from, int64_t to) {
    auto keys = kRef;
    auto values = vRef;
    keys.aligned += from * kStride;
    values.aligned += from * vStride;
    keys.sizes[0] = values.sizes[0] = to - from;
    int64_t j0 = problem.j0 + from, N = problem.j0 + n, B = 1;
    if (capture) {
      auto captureRef = memref(capture->data(), capture->size());
      jit.call("partial", &qRef, &keys, &values, &into.accRef, &into.maxRef,
               &into.sumRef, problem.b, problem.g, problem.row0, j0, B,
               problem.rows, N, &captureRef);
    } else
      jit.call("partial", &qRef, &keys, &values, &into.accRef, &into.maxRef,
               &into.sumRef, problem.b, problem.g, problem.row0, j0, B,
               problem.rows, N);
  };
  partial(problem.merge ? first : state, 0, problem.split);
  partial(state, problem.split, n);
  if (problem.merge)
    jit.call("merge", &first.accRef, &first.maxRef, &first.sumRef,
             &state.accRef, &state.maxRef, &state.sumRef);

  if (shape.unzipped)
    for (std::vector<T> acc = state.acc; int x : std::views::iota(0, L * E))
      state.acc[x] = acc[x / E * E + unzippedPlace(x % E, E, shape.vector)];

  // One more element per row (or column) than the output has, which must
  // survive.
  int64_t inner = shape.columnMajorOutput ? L : E,
          outer = shape.columnMajorOutput ? E : L;
  std::vector<Output> o((inner + 1) * outer, Output(77));
  std::vector<T> lse(L), sinks(L);
  for (T &sink : sinks)
    sink = T(uniform(random));
  MemRef<Output, 2> oRef = memref(o.data(), L, E, E + 1);
  if (shape.columnMajorOutput)
    oRef.strides[0] = 1, oRef.strides[1] = L + 1;
  auto lseRef = memref(lse.data(), L), sinkRef = memref(sinks.data(), L);
  if (problem.sinks)
    jit.call("finalize_sinks", &state.accRef, &state.maxRef, &state.sumRef,
             &sinkRef, &oRef, &lseRef);
  else
    jit.call("finalize", &state.accRef, &state.maxRef, &state.sumRef, &oRef,
             &lseRef);
  for (int64_t i = 0; i < outer; ++i)
    EXPECT_EQ(double(o[i * (inner + 1) + inner]), 77);

  double worst = 0;
  // Twice the bound of sums in compiler/Reference/ErrorBound.h, which has a
  // term for scores that is not computed here, plus the output's rounding.
  // Scores grow with the magnitude of q and k, and their errors with them.
  double u = std::numeric_limits<T>::epsilon() / 2;
  double rounding =
      std::is_same_v<T, Output>
          ? 0
          : (std::is_same_v<Output, _Float16> ? 0x1p-11 : 0x1p-8) * 1.05;
  double factor = 4 * u * (std::log2(double(n + 1)) + 4) *
                  std::max(1.0, problem.magnitude * problem.magnitude *
                                    std::abs(shape.scale));
  for (int l = 0; l < L; ++l) {
    int64_t r = problem.row0 + l;
    if (r >= problem.rows * shape.group)
      break;
    std::vector<double> s;
    std::vector<int64_t> attended;
    for (int64_t j = 0; j < n; ++j) {
      Point point = {problem.b,       problem.g * shape.group + r % shape.group,
                     r / shape.group, problem.j0 + j,
                     problem.rows,    problem.j0 + n};
      if (!problem.mask(point))
        continue;
      double dot = 0;
      for (int d = 0; d < D; ++d)
        dot += double(q[shape.depthLanes ? l * D + d : d * L + l]) *
               double(k[j * kStride + d]);
      s.push_back(problem.score(dot * shape.scale, point));
      attended.push_back(j);
    }
    double max = problem.sinks ? double(sinks[l]) : -infinity, sum = 0;
    for (double x : s)
      max = std::max(max, x);
    if (problem.sinks)
      sum += std::exp(sinks[l] - max);
    for (double &x : s)
      sum += x = std::exp(x - max);
    double wantLse = sum == 0 ? -infinity : max + std::log(sum);
    if (std::isfinite(wantLse))
      EXPECT_NEAR(lse[l], wantLse, (std::abs(wantLse) + 4) * 8 * factor)
          << "row " << l;
    else if (std::isnan(wantLse))
      EXPECT_TRUE(std::isnan(lse[l])) << "row " << l;
    else
      EXPECT_EQ(lse[l], wantLse) << "row " << l;
    for (int e = 0; e < E; ++e) {
      double want = 0, weight = 0;
      for (size_t x = 0; x < s.size(); ++x) {
        double value = double(v[attended[x] * vStride + e]);
        want += s[x] / sum * value;
        weight += s[x] / sum * std::abs(value);
      }
      double got = double(
          o[shape.columnMajorOutput ? e * (L + 1) + l : l * (E + 1) + e]);
      if (std::isnan(want)) {
        EXPECT_TRUE(std::isnan(got)) << "row " << l << " column " << e;
        continue;
      }
      double bound = (factor + rounding) * weight;
      double error = std::abs(got - want);
      if (!(error <= bound))
        ADD_FAILURE() << "row " << l << " column " << e << ": " << got
                      << ", not " << want;
      worst = std::max(worst, bound ? error / bound : 0);
    }
  }
  return worst;
}

const char *const causal = "  %m = arith.cmpi sle, %j, %i : i64\n"
                           "  attn.yield %m : i1\n";
bool isCausal(Point p) { return p.j <= p.i; }
const char *const nothing = "  %m = arith.cmpi slt, %j, %b : i64\n"
                            "  attn.yield %m : i1\n";

TEST(CPUKernel, FullTiles) {
  KernelShape shape;
  double worst = 0;
  for (int64_t keys : {0, 1, 3, 4, 5, 63, 64, 65, 67, 200}) {
    Problem problem;
    problem.keys = keys;
    worst = std::max(worst, run<float>(shape, problem));
  }
  std::printf("full tiles: error at most %.2f of the bound\n", worst);
}

TEST(CPUKernel, OddWidths) {
  for (auto [depth, columns] :
       {std::pair(1, 1), {3, 5}, {4, 9}, {80, 33}, {128, 128}}) {
    KernelShape shape;
    shape.depth = depth;
    shape.columns = columns;
    Problem problem;
    problem.keys = 71;
    problem.split = 30;
    run<float>(shape, problem);
  }
}

TEST(CPUKernel, ShapesOfMicroKernels) {
  struct {
    int lanes, queryTile, vector, unroll, block;
  } shapes[] = {{8, 8, 8, 8, 32},    {16, 16, 8, 6, 60}, {32, 32, 8, 3, 16},
                {48, 48, 16, 8, 64}, {16, 16, 16, 8, 7}, {4, 4, 4, 2, 5},
                {8, 24, 8, 4, 64},   {16, 48, 16, 8, 64}};
  for (auto [lanes, queryTile, vector, unroll, block] : shapes) {
    KernelShape shape;
    shape.lanes = lanes, shape.queryTile = queryTile, shape.vector = vector,
    shape.unroll = unroll, shape.block = block;
    shape.mask = causal;
    Problem problem;
    problem.mask = isCausal;
    problem.row0 = 40;
    run<float>(shape, problem);
  }
}

int count(const std::string &text, const std::string &what) {
  int count = 0;
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; ++at)
    ++count;
  return count;
}

// Compiled, not run: 512-bit vectors throughout and accumulators in registers.
TEST(CPUKernel, Avx512Assembly) {
  KernelShape shape;
  shape.depth = shape.columns = 128;
  shape.lanes = 48, shape.vector = 16, shape.unroll = 8;
  Jit jit(kernelText(shape), "x86-64-v4");
  std::string assembly = jit.getAssembly();
  assembly.resize(assembly.find("\nmerge:"));
  EXPECT_GT(count(assembly, "%zmm"), 500);
  EXPECT_EQ(count(assembly, "%ymm"), 0);
  EXPECT_LE(count(assembly, "64-byte Spill"), 8);
}

TEST(CPUKernel, Avx2Assembly) {
  KernelShape shape;
  shape.depth = shape.columns = 128;
  Jit jit(kernelText(shape));
  // The 12 accumulators of the inner loops are not spilled; the softmax unit
  // and what lives across the loops may be.
  const std::string &assembly = jit.getAssembly();
  for (size_t at = 0;
       (at = assembly.find("vfmadd231ps", at)) != std::string::npos; ++at) {
    size_t line = assembly.find('\n', at);
    EXPECT_EQ(assembly.substr(at, line - at).find("Reload"), std::string::npos)
        << assembly.substr(at, line - at);
  }
}

TEST(CPUKernel, GroupedRowsPastTheEnd) {
  KernelShape shape;
  shape.group = 3;
  shape.kvHeads = 2;
  shape.mask = "  %x = arith.addi %i, %h : i64\n"
               "  %m = arith.cmpi sle, %j, %x : i64\n"
               "  attn.yield %m : i1\n";
  Problem problem;
  problem.g = 1;
  problem.rows = 13; // 39 folded rows
  problem.row0 = 24;
  problem.keys = 20;
  problem.mask = [](Point p) { return p.j <= p.i + p.h; };
  run<float>(shape, problem);
}

TEST(CPUKernel, MaskedKeysAreNotRead) {
  KernelShape shape;
  shape.columns = 10;
  shape.mask = causal;
  Problem problem;
  problem.mask = isCausal;
  problem.row0 = 30;
  // Masked for some rows and attended by others, in the middle of a block.
  problem.poisonedFrom = 40;
  problem.poisonedTo = 42;
  run<float>(shape, problem);
  run<double>(
      [&] {
        KernelShape f64 = shape;
        f64.type = f64.outputType = "f64";
        f64.vector = 4, f64.lanes = 12;
        return f64;
      }(),
      problem);
  // Masked for every row.
  problem.poisonedFrom = 60;
  problem.poisonedTo = 100;
  run<float>(shape, problem);
}

TEST(CPUKernel, RowsWithoutKeys) {
  KernelShape shape;
  shape.mask = nothing;
  Problem problem;
  problem.mask = [](Point) { return false; };
  problem.poisonedFrom = 0;
  problem.poisonedTo = 100;
  problem.split = 20;
  for (bool merge : {false, true}) {
    problem.merge = merge;
    run<float>(shape, problem);
  }
  problem.sinks = true;
  run<float>(shape, problem);
}

TEST(CPUKernel, LaterKeysWithMasksInFront) {
  // The first blocks are empty for most rows, then everything is attended.
  KernelShape shape;
  shape.mask = "  %d = arith.subi %j, %i : i64\n"
               "  %m = arith.cmpi sge, %d, %b : i64\n"
               "  attn.yield %m : i1\n";
  Problem problem;
  problem.keys = 300;
  problem.row0 = 100;
  problem.mask = [](Point p) { return p.j - p.i >= 0; };
  run<float>(shape, problem);
}

TEST(CPUKernel, ScoreRegionBeforeMask) {
  KernelShape shape;
  // A softcap never sees -inf (rule S2); a bias from h and j - i.
  shape.score = "  %cap = arith.constant 2.0 : f32\n"
                "  %a = arith.divf %s, %cap : f32\n"
                "  %t = math.tanh %a : f32\n"
                "  %c = arith.mulf %t, %cap : f32\n"
                "  %d = arith.subi %j, %i : i64\n"
                "  %f = arith.sitofp %d : i64 to f32\n"
                "  %hf = arith.sitofp %h : i64 to f32\n"
                "  %slope = arith.constant 0.0078125 : f32\n"
                "  %x = arith.mulf %f, %slope : f32\n"
                "  %y = arith.mulf %x, %hf : f32\n"
                "  %z = arith.addf %c, %y : f32\n"
                "  attn.yield %z : f32\n";
  shape.mask = causal;
  shape.group = 2;
  Problem problem;
  problem.magnitude = 3;
  problem.row0 = 33;
  problem.mask = isCausal;
  problem.score = [](double s, Point p) {
    return 2 * std::tanh(s / 2) + 0.0078125 * (p.j - p.i) * p.h;
  };
  run<float>(shape, problem);
}

/// A mask of document ids, equal for key and query; the query's index runs past
/// the end of the returned ids.
std::vector<int32_t> maskByDocument(KernelShape &shape, Problem &problem) {
  shape.captures = "ids = %c0 : memref<?xi32>";
  shape.captureType = "memref<?xi32>";
  shape.mask = "  %x = attn.element %c[%j] : memref<?xi32> -> i64\n"
               "  %y = attn.element %c[%i] : memref<?xi32> -> i64\n"
               "  %m = arith.cmpi eq, %x, %y : i64\n"
               "  attn.yield %m : i1\n";
  std::vector<int32_t> ids(100);
  for (size_t i = 0; i < ids.size(); ++i)
    ids[i] = int32_t(i / 17);
  problem.row0 = 80;
  problem.mask = [ids](Point p) {
    return ids[p.j] == ids[std::min<size_t>(p.i, ids.size() - 1)];
  };
  return ids;
}

TEST(CPUKernel, CapturedTensors) {
  KernelShape shape;
  Problem problem;
  std::vector<int32_t> ids = maskByDocument(shape, problem);
  run<float>(shape, problem, &ids);
}

TEST(CPUKernel, Double) {
  KernelShape shape;
  shape.type = shape.outputType = "f64";
  shape.vector = 4, shape.lanes = 12;
  Problem problem;
  problem.split = 33;
  EXPECT_LE(run<double>(shape, problem), 1);
  shape.vector = 8, shape.lanes = 24, shape.unroll = 8;
  problem.merge = true;
  EXPECT_LE(run<double>(shape, problem), 1);
}

TEST(CPUKernel, MergedStates) {
  KernelShape shape;
  shape.mask = causal;
  Problem problem;
  problem.mask = isCausal;
  problem.row0 = 30; // some rows attend nothing of the second part
  problem.split = 50;
  problem.merge = true;
  run<float>(shape, problem);
  problem.split = 0;
  run<float>(shape, problem);
}

TEST(CPUKernel, Sinks) {
  KernelShape shape;
  Problem problem;
  problem.sinks = true;
  run<float>(shape, problem);
}

TEST(CPUKernel, LargeAndNegativelyScaledScores) {
  KernelShape shape;
  Problem problem;
  problem.magnitude = 1000; // scores of millions: the softmax is one-hot
  run<float>(shape, problem);
  shape.scale = -0.125;
  problem.magnitude = 2;
  run<float>(shape, problem);
  shape.scale = 1;
  run<float>(shape, problem);
}

//===----------------------------------------------------------------------===//
// Depth in the lanes
//===----------------------------------------------------------------------===//

/// Rows of a decode: `group` heads and `queries` tokens.
KernelShape decodeShape(int group, int queries = 1) {
  KernelShape shape;
  shape.depthLanes = true;
  shape.group = group;
  shape.lanes = group * queries;
  return shape;
}

TEST(CPUDecodeKernel, GroupsAndKeys) {
  double worst = 0;
  for (int group : {1, 2, 3, 4, 5, 11, 14})
    for (int64_t keys : {0, 1, 9, 65}) {
      KernelShape shape = decodeShape(group, group < 4 ? 3 : 1);
      Problem problem;
      problem.keys = keys;
      problem.split = keys / 3;
      worst = std::max(worst, run<float>(shape, problem));
    }
  std::printf("decode: error at most %.2f of the bound\n", worst);
}

TEST(CPUDecodeKernel, Widths) {
  for (auto [depth, columns] : {std::pair(1, 1),
                                {3, 5},
                                {8, 8},
                                {12, 20},
                                {80, 33},
                                {128, 96},
                                {192, 128}})
    for (int vector : {8, 16}) {
      KernelShape shape = decodeShape(4);
      shape.depth = depth, shape.columns = columns, shape.vector = vector;
      Problem problem;
      problem.keys = 71;
      problem.split = 30;
      run<float>(shape, problem);
    }
}

TEST(CPUDecodeKernel, StoredTypes) {
  for (int group : {1, 4}) {
    KernelShape shape = decodeShape(group);
    shape.depth = 40, shape.columns = 27;
    Problem problem;
    shape.storedType = "bf16";
    run<float, float, int32_t, BFloat>(shape, problem);
    shape.storedType = "f16";
    run<float, float, int32_t, _Float16>(shape, problem);
    shape.storedType = "";
    shape.type = shape.outputType = "f64";
    shape.vector = 4;
    EXPECT_LE(run<double>(shape, problem), 1);
    shape.vector = 8;
    EXPECT_LE(run<double>(shape, problem), 1);
  }
}

TEST(CPUDecodeKernel, RowsPastTheEnd) {
  KernelShape shape = decodeShape(3, 4);
  Problem problem;
  problem.rows = 2; // of the tile's four queries
  run<float>(shape, problem);
}

TEST(CPUDecodeKernel, MaskedKeysAreNotRead) {
  for (int group : {1, 3}) {
    KernelShape shape = decodeShape(group, 8 / group);
    shape.columns = 27;
    shape.mask = causal;
    Problem problem;
    problem.mask = isCausal;
    problem.row0 = 30 * group;
    // Masked for some queries and attended by others.
    problem.poisonedFrom = 32;
    problem.poisonedTo = 34;
    run<float>(shape, problem);
    problem.poisonedFrom = 60;
    problem.poisonedTo = 100;
    run<float>(shape, problem);
    shape.mask = nothing;
    problem.mask = [](Point) { return false; };
    problem.poisonedFrom = 0;
    problem.split = 20;
    for (bool merge : {false, true}) {
      problem.merge = merge;
      run<float>(shape, problem);
    }
  }
}

TEST(CPUDecodeKernel, ScoreMaskAndCaptures) {
  KernelShape shape = decodeShape(2, 4);
  shape.score = "  %d = arith.subi %j, %i : i64\n"
                "  %f = arith.sitofp %d : i64 to f32\n"
                "  %hf = arith.sitofp %h : i64 to f32\n"
                "  %slope = arith.constant 0.0078125 : f32\n"
                "  %x = arith.mulf %f, %slope : f32\n"
                "  %y = arith.mulf %x, %hf : f32\n"
                "  %z = arith.addf %s, %y : f32\n"
                "  attn.yield %z : f32\n";
  Problem problem;
  std::vector<int32_t> ids = maskByDocument(shape, problem);
  problem.g = 1;
  problem.split = 50;
  problem.score = [](double s, Point p) {
    return s + 0.0078125 * (p.j - p.i) * p.h;
  };
  run<float>(shape, problem, &ids);
}

TEST(CPUDecodeKernel, MergedStatesAndSinks) {
  KernelShape shape = decodeShape(3, 2);
  shape.columns = 21;
  shape.mask = causal;
  Problem problem;
  problem.mask = isCausal;
  problem.row0 = 90;
  problem.split = 50;
  problem.merge = true;
  run<float>(shape, problem);
  problem.split = 0;
  problem.sinks = true;
  run<float>(shape, problem);
  shape.outputType = "bf16";
  run<float, BFloat>(shape, problem);
}

// Runs of unzipped elements, and what is left of a row behind them.
TEST(CPUDecodeKernel, Unzipped) {
  for (int group : {1, 2, 3, 4, 7})
    for (auto [depth, columns] :
         {std::pair(128, 96), {40, 27}, {72, 8}, {15, 56}, {80, 80}})
      for (int vector : {8, 16}) {
        KernelShape shape = decodeShape(group);
        shape.depth = depth, shape.columns = columns, shape.vector = vector;
        shape.storedType = "bf16";
        shape.unzipped = true;
        Problem problem;
        problem.keys = 71;
        problem.split = 30;
        problem.merge = group == 3;
        run<float, float, int32_t, BFloat>(shape, problem);
      }
}

// No spill in the inner loops, and bf16 is widened in pairs, without shuffles.
TEST(CPUDecodeKernel, Assembly) {
  for (auto [cpu, vector] : {std::pair("x86-64-v3", 8), {"x86-64-v4", 16}}) {
    KernelShape shape = decodeShape(4);
    shape.depth = shape.columns = 128;
    shape.vector = vector;
    shape.storedType = "bf16";
    shape.unzipped = true;
    Jit jit(kernelText(shape), cpu);
    std::string assembly = jit.getAssembly();
    assembly.resize(assembly.find("\nmerge:"));
    EXPECT_GT(count(assembly, "prefetcht1"), 0) << cpu;
    EXPECT_GT(count(assembly, "vpslld\t$16"), 0) << cpu;
    EXPECT_EQ(count(assembly, "vpmovzxwd"), 0) << cpu;
    for (size_t at = 0;
         (at = assembly.find("vfmadd231ps", at)) != std::string::npos; ++at) {
      size_t line = assembly.find('\n', at);
      EXPECT_EQ(assembly.substr(at, line - at).find("Reload"),
                std::string::npos)
          << cpu << assembly.substr(at, line - at);
    }
  }
}

TEST(CPUKernel, OutputTypesAndLayouts) {
  for (bool columnMajor : {false, true}) {
    KernelShape shape;
    shape.columns = 37;
    shape.columnMajorOutput = columnMajor;
    Problem problem;
    run<float>(shape, problem);
    shape.outputType = "f16";
    run<float, _Float16>(shape, problem);
    shape.outputType = "bf16";
    run<float, BFloat>(shape, problem);
  }
}

} // namespace
