/* Part of the Fovea project, under the Apache License v2.0 with LLVM
 * Exceptions. See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */

/* What this machine can do, on several threads at once: the rates of f32 fused
 * multiply-adds and of bf16 tile products on registers, and of reading memory.
 * attention.py loads it to calibrate in the same run in which it measures. A
 * rate that cannot be told, as the machine lacks the instructions or a thread
 * cannot be started, is 0. x86-64 only. */

#define _GNU_SOURCE
#include "fovea/runtime.h"

#include <immintrin.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { MaxThreads = 64, Streams = 4 };

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec + 1e-9 * now.tv_nsec;
}

/* One thread's part of a loop. */
struct part {
  float sink;
  const char *memory;
  size_t bytes;
};

/* Seconds of `loop` on all threads at once; 0 if they cannot be started. */
static double timeThreads(int threads, void *(*loop)(void *),
                          struct part *parts) {
  pthread_t handles[MaxThreads];
  int started = 1;
  double start = seconds();
  while (started < threads &&
         !pthread_create(&handles[started], 0, loop, &parts[started]))
    ++started;
  loop(&parts[0]);
  for (int thread = 1; thread < started; ++thread)
    pthread_join(handles[thread], 0);
  return started == threads ? seconds() - start : 0;
}

/* `work` per second of a loop that does `work` on each thread. */
static double rateOf(int threads, void *(*loop)(void *), struct part *parts,
                     double work) {
  double spent = threads < 1 || threads > MaxThreads
                     ? 0
                     : timeThreads(threads, loop, parts);
  return spent > 0 ? work * threads / spent : 0;
}

/*===-- Multiply-adds --------------------------------------------------===*/

enum { FmaSteps = 1 << 21 };

/* As many chains as hide the latency of two units and fit the registers. */
#define DEFINE_MULTIPLY_ADD(name, lanes, chains, isa)                          \
  enum { name##Work = 2 * (lanes) * (chains) };                                \
  __attribute__((target(isa))) static void *name(void *argument) {             \
    typedef float Vector __attribute__((vector_size(4 * (lanes))));            \
    struct part *part = argument;                                              \
    Vector sums[chains] = {{0}}, x, half;                                      \
    for (int lane = 0; lane < (lanes); ++lane) {                               \
      x[lane] = 1.0f + lane;                                                   \
      half[lane] = 0.5f;                                                       \
    }                                                                          \
    for (int step = 0; step < FmaSteps; ++step) {                              \
      __asm__ volatile("" : "+x"(x)); /* not the same as in the last step */   \
      _Pragma("GCC unroll 24") for (int chain = 0; chain < (chains); ++chain)  \
          sums[chain] = sums[chain] * half + x;                                \
    }                                                                          \
    for (int chain = 1; chain < (chains); ++chain)                             \
      sums[0] += sums[chain];                                                  \
    part->sink = sums[0][0];                                                   \
    return 0;                                                                  \
  }

DEFINE_MULTIPLY_ADD(multiplyAdd8, 8, 12, "avx2,fma")
DEFINE_MULTIPLY_ADD(multiplyAdd16, 16, 24, "avx512f")

/* Operations per second, two for each multiply-add, in vectors of 8 (AVX2) or
 * 16 (AVX-512) lanes. */
double fovea_fma_rate(int threads, int lanes) {
  struct part parts[MaxThreads];
  uint64_t features = fovea_cpu_features();
  if (lanes == 8 && features & FOVEA_CPU_FMA)
    return rateOf(threads, multiplyAdd8, parts,
                  1.0 * FmaSteps * multiplyAdd8Work);
  if (lanes == 16 && features & FOVEA_CPU_AVX512F)
    return rateOf(threads, multiplyAdd16, parts,
                  1.0 * FmaSteps * multiplyAdd16Work);
  return 0;
}

/*===-- Tile products --------------------------------------------------===*/

enum { TileSteps = 1 << 17, TileBytes = 1024, TilesInTurn = 16 };
enum { TileWork = 4 * 2 * 16 * 16 * 32 }; /* four products of 16 x 16 x 32 */

/* Rows and bytes of a row of all eight tiles: LDTILECFG's operand. */
struct tile_configuration {
  unsigned char palette, start, reserved[14];
  unsigned short bytes[16];
  unsigned char rows[16];
};

#define TILES __attribute__((target("amx-tile,amx-bf16")))

TILES static void configureTiles(void) {
  struct tile_configuration configuration = {.palette = 1};
  for (int tile = 0; tile < 8; ++tile) {
    configuration.bytes[tile] = 64;
    configuration.rows[tile] = 16;
  }
  _tile_loadconfig(&configuration);
}

/* Four sums, so that a product need not wait for the last one of its sum. */
#define MULTIPLY_2X2                                                           \
  _tile_dpbf16ps(0, 4, 6);                                                     \
  _tile_dpbf16ps(1, 4, 7);                                                     \
  _tile_dpbf16ps(2, 5, 6);                                                     \
  _tile_dpbf16ps(3, 5, 7)

TILES static void *multiplyZeroTiles(void *argument) {
  (void)argument;
  configureTiles();
  for (int step = 0; step < TileSteps; ++step) {
    MULTIPLY_2X2;
  }
  _tile_release();
  return 0;
}

/* The factors come from a cache in turn: the same ones again and again would
 * take no more power than zeros. */
TILES static void *multiplyRandomTiles(void *argument) {
  struct part *part = argument;
  configureTiles();
  for (int step = 0; step < TileSteps; ++step) {
    const char *tiles = part->memory + step % (TilesInTurn / 4) * 4 * TileBytes;
    _tile_loadd(4, tiles, 64);
    _tile_loadd(6, tiles + TileBytes, 64);
    _tile_loadd(7, tiles + 2 * TileBytes, 64);
    _tile_loadd(5, tiles + 3 * TileBytes, 64);
    MULTIPLY_2X2;
  }
  _tile_release();
  return 0;
}

static int mayUseTiles(void) {
  enum { ArchReqXcompPerm = 0x1023, XfeatureTileData = 18 };
  return fovea_cpu_features() & FOVEA_CPU_AMX_BF16 &&
         syscall(SYS_arch_prctl, ArchReqXcompPerm, XfeatureTileData) == 0;
}

/* Operations per second, two for each multiply-add of bf16 elements, on zeros
 * or on random numbers, which take more power. */
double fovea_tile_rate(int threads, int random) {
  static _Alignas(64) unsigned short factors[TilesInTurn * TileBytes / 2];
  struct part parts[MaxThreads];
  if (!mayUseTiles())
    return 0;
  unsigned state = 1;
  for (size_t i = 0; i < sizeof factors / sizeof *factors; ++i) {
    state = state * 1664525 + 1013904223;
    factors[i] = 0x3f00 | (state >> 16 & 0x80ff); /* +-(0.5 to 2) */
  }
  for (int thread = 0; thread < MaxThreads; ++thread)
    parts[thread].memory = (const char *)factors;
  return rateOf(threads, random ? multiplyRandomTiles : multiplyZeroTiles,
                parts, 1.0 * TileSteps * TileWork);
}

/*===-- Reading --------------------------------------------------------===*/

__attribute__((target("avx2"))) static void *readStreams(void *argument) {
  struct part *part = argument;
  __m256 sums[Streams] = {{0}};
  size_t length = part->bytes / Streams / 64 * 64;
  for (size_t at = 0; at < length; at += 64)
#pragma GCC unroll 4
    for (int stream = 0; stream < Streams; ++stream) {
      const char *line = part->memory + stream * length + at;
      __builtin_prefetch(line + 1024);
      for (int vector = 0; vector < 64; vector += sizeof(__m256))
        sums[stream] += _mm256_loadu_ps((const float *)(line + vector));
    }
  part->sink = sums[0][0] + sums[1][0] + sums[2][0] + sums[3][0];
  return 0;
}

/* Bytes per second of reading `bytes` at `memory` once, four streams for each
 * thread. */
double fovea_read_rate(int threads, const void *memory, size_t bytes) {
  struct part parts[MaxThreads];
  if (threads < 1 || threads > MaxThreads)
    return 0;
  size_t share = bytes / threads / (64 * Streams) * (64 * Streams);
  for (int thread = 0; thread < threads; ++thread) {
    parts[thread].memory = (const char *)memory + thread * share;
    parts[thread].bytes = share;
  }
  return rateOf(threads, readStreams, parts, 1.0 * share);
}
