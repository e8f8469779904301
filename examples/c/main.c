// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

/* Calls a compiled kernel from C and compares it with the definition. */

#include "causal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
  BATCH = 2,
  QUERIES = 33,
  KEYS = 70,
  HEADS = 8,
  KV_HEADS = 2,
  WIDTH = 64
};

/* A row-major f32 tensor of random numbers in [-1, 1]. */
static float *make(size_t count) {
  float *data = malloc(count * sizeof *data);
  if (!data)
    exit(1);
  for (size_t i = 0; i < count; ++i)
    data[i] = (float)rand() / (float)RAND_MAX * 2 - 1;
  return data;
}

/* Strides of NULL stand for row-major order. */
static DLTensor describe(float *data, int64_t *shape) {
  DLTensor tensor = {0};
  tensor.data = data;
  tensor.device.device_type = kDLCPU;
  tensor.ndim = 4;
  tensor.dtype.code = kDLFloat;
  tensor.dtype.bits = 32;
  tensor.dtype.lanes = 1;
  tensor.shape = shape;
  return tensor;
}

/* The largest difference from softmax(q k^T / sqrt(WIDTH)) v, in which query i
 * sees the keys up to i + KEYS - QUERIES. */
static double largestError(const float *q, const float *k, const float *v,
                           const float *o) {
  double largest = 0;
  for (int b = 0; b < BATCH; ++b)
    for (int i = 0; i < QUERIES; ++i)
      for (int h = 0; h < HEADS; ++h) {
        int g = h / (HEADS / KV_HEADS);
        double sum = 0, result[WIDTH] = {0};
        for (int j = 0; j <= i + KEYS - QUERIES; ++j) {
          const float *query = q + ((b * QUERIES + i) * HEADS + h) * WIDTH;
          const float *key = k + ((b * KEYS + j) * KV_HEADS + g) * WIDTH;
          const float *value = v + ((b * KEYS + j) * KV_HEADS + g) * WIDTH;
          double score = 0;
          for (int d = 0; d < WIDTH; ++d)
            score += (double)query[d] * key[d];
          double weight = exp(score / sqrt(WIDTH));
          sum += weight;
          for (int d = 0; d < WIDTH; ++d)
            result[d] += weight * value[d];
        }
        for (int d = 0; d < WIDTH; ++d) {
          double got = o[((b * QUERIES + i) * HEADS + h) * WIDTH + d];
          largest = fmax(largest, fabs(got - result[d] / sum));
        }
      }
  return largest;
}

int main(void) {
  int64_t queryShape[] = {BATCH, QUERIES, HEADS, WIDTH};
  int64_t keyShape[] = {BATCH, KEYS, KV_HEADS, WIDTH};
  size_t queryCount = (size_t)BATCH * QUERIES * HEADS * WIDTH;
  size_t keyCount = (size_t)BATCH * KEYS * KV_HEADS * WIDTH;
  float *q = make(queryCount), *k = make(keyCount), *v = make(keyCount);
  float *o = make(queryCount);
  DLTensor tq = describe(q, queryShape), tk = describe(k, keyShape);
  DLTensor tv = describe(v, keyShape), to = describe(o, queryShape);

  if (causal(&tq, &tk, &tv, &to, /*lse=*/NULL, /*options=*/NULL) != FOVEA_OK) {
    fprintf(stderr, "%s\n", fovea_last_error());
    return 1;
  }
  double error = largestError(q, k, v, o);
  printf("largest error %.2g\n", error);
  free(q);
  free(k);
  free(v);
  free(o);
  return error < 1e-5 ? 0 : 1;
}
