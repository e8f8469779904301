/* Part of the Fovea project, under the Apache License v2.0 with LLVM
 * Exceptions. See LICENSE for license information.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */

/* The f32 fused multiply-add rate of this machine: loops on registers alone,
 * on several threads at once. attention.py loads it to calibrate in the same
 * run in which it measures. */

#include <pthread.h>
#include <time.h>

#if defined(__AVX512F__)
#define LANES 16
#define CHAINS 24
#else
#define LANES 8
#define CHAINS 12
#endif

typedef float Vector __attribute__((vector_size(4 * LANES)));
enum { Steps = 1 << 21, MaxThreads = 64 };

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec + 1e-9 * now.tv_nsec;
}

static void *run(void *sink) {
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
  *(float *)sink = sums[0][0];
  return 0;
}

/* Operations per second, two for each multiply-add; 0 if it cannot be told. */
double fovea_fma_rate(int threads) {
  pthread_t handles[MaxThreads];
  float sinks[MaxThreads];
  int started = 1;
  if (threads < 1 || threads > MaxThreads)
    return 0;
  double start = seconds();
  while (started < threads &&
         !pthread_create(&handles[started], 0, run, &sinks[started]))
    ++started;
  run(&sinks[0]);
  for (int thread = 1; thread < started; ++thread)
    pthread_join(handles[thread], 0);
  double spent = seconds() - start;
  return started == threads ? 2.0 * LANES * CHAINS * Steps * threads / spent
                            : 0;
}
