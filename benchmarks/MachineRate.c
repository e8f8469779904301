/* Part of the Fovea project, under the Apache License v2.0 with LLVM
 * Exceptions. See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */

/* What this machine can do, on several threads at once: the rate of f32 fused
 * multiply-adds on registers alone, and of reading memory. attention.py loads
 * it to calibrate in the same run in which it measures. */

#include <pthread.h>
#include <stddef.h>
#include <time.h>

#if defined(__AVX512F__)
#define LANES 16
#define CHAINS 24
#else
#define LANES 8
#define CHAINS 12
#endif

typedef float Vector __attribute__((vector_size(4 * LANES)));
enum { Steps = 1 << 21, MaxThreads = 64, Streams = 4 };

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

static void *multiplyAdd(void *argument) {
  struct part *part = argument;
  Vector sums[CHAINS] = {{0}}, x, half;
  for (int lane = 0; lane < LANES; ++lane) {
    x[lane] = 1.0f + lane;
    half[lane] = 0.5f;
  }
  for (int step = 0; step < Steps; ++step) {
    __asm__ volatile("" : "+x"(x)); /* not the same as in the last step */
#pragma GCC unroll 24
    for (int chain = 0; chain < CHAINS; ++chain)
      sums[chain] = sums[chain] * half + x;
  }
  for (int chain = 1; chain < CHAINS; ++chain)
    sums[0] += sums[chain];
  part->sink = sums[0][0];
  return 0;
}

static void *readStreams(void *argument) {
  struct part *part = argument;
  Vector sums[Streams] = {{0}};
  size_t length = part->bytes / Streams / 64 * 64;
  for (size_t at = 0; at < length; at += 64)
#pragma GCC unroll 4
    for (int stream = 0; stream < Streams; ++stream) {
      const char *line = part->memory + stream * length + at;
      __builtin_prefetch(line + 1024);
      for (int vector = 0; vector < 64; vector += sizeof(Vector)) {
        Vector value;
        __builtin_memcpy(&value, line + vector, sizeof value);
        sums[stream] += value;
      }
    }
  part->sink = sums[0][0] + sums[1][0] + sums[2][0] + sums[3][0];
  return 0;
}

/* Seconds of `loop` on all threads at once; 0 if they cannot be started. */
static double time_threads(int threads, void *(*loop)(void *),
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

/* Operations per second, two for each multiply-add; 0 if it cannot be told. */
double fovea_fma_rate(int threads) {
  struct part parts[MaxThreads];
  if (threads < 1 || threads > MaxThreads)
    return 0;
  double spent = time_threads(threads, multiplyAdd, parts);
  return spent > 0 ? 2.0 * LANES * CHAINS * Steps * threads / spent : 0;
}

/* Bytes per second of reading `bytes` at `memory` once, four streams for each
 * thread; 0 if it cannot be told. */
double fovea_read_rate(int threads, const void *memory, size_t bytes) {
  struct part parts[MaxThreads];
  if (threads < 1 || threads > MaxThreads)
    return 0;
  size_t share = bytes / threads / (64 * Streams) * (64 * Streams);
  for (int thread = 0; thread < threads; ++thread) {
    parts[thread].memory = (const char *)memory + thread * share;
    parts[thread].bytes = share;
  }
  double spent = time_threads(threads, readStreams, parts);
  return spent > 0 ? 1.0 * share * threads / spent : 0;
}
