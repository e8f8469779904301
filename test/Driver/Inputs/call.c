// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Calls the kernel of causal.yaml as a user would: with N = 2 keys of which
// query 0 sees the first and query 1 both, and K = 0, the results are the first
// row of V and the mean of both.

#include "causal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static DLTensor describe(void *data, int64_t *shape, int32_t rank) {
  DLTensor tensor;
  memset(&tensor, 0, sizeof tensor);
  tensor.data = data;
  tensor.device.device_type = kDLCPU;
  tensor.ndim = rank;
  tensor.dtype.code = kDLFloat;
  tensor.dtype.bits = 32;
  tensor.dtype.lanes = 1;
  tensor.shape = shape;
  return tensor;
}

int main(void) {
  static float q[2 * 4 * 16], k[2 * 2 * 16], v[2 * 2 * 16], o[2 * 4 * 16];
  static float lse[4 * 2];
  int64_t queryShape[] = {1, 2, 4, 16}, keyShape[] = {1, 2, 2, 16};
  int64_t lseShape[] = {1, 4, 2};
  DLTensor tq = describe(q, queryShape, 4), tk = describe(k, keyShape, 4);
  DLTensor tv = describe(v, keyShape, 4), to = describe(o, queryShape, 4);
  DLTensor tl = describe(lse, lseShape, 3);
  causal_options options;
  size_t i;
  int h, d;

  memset(&options, 0, sizeof options);
  options.size = sizeof options;
  for (i = 0; i < COUNT(q); ++i)
    q[i] = (float)i;
  for (i = 0; i < COUNT(v); ++i)
    v[i] = (float)i;
  if (causal(&tq, &tk, &tv, &to, &tl, &options) != FOVEA_OK) {
    fprintf(stderr, "%s\n", fovea_last_error());
    return 1;
  }
  for (h = 0; h < 4; ++h)
    for (d = 0; d < 16; ++d) {
      float first = v[(h / 2) * 16 + d], second = v[32 + (h / 2) * 16 + d];
      if (fabsf(o[h * 16 + d] - first) > 1e-5f ||
          fabsf(o[64 + h * 16 + d] - (first + second) / 2) > 1e-4f) {
        fprintf(stderr, "head %d, element %d: %g and %g\n", h, d,
                (double)o[h * 16 + d], (double)o[64 + h * 16 + d]);
        return 1;
      }
    }
  if (fabsf(lse[0]) > 1e-6f || fabsf(lse[1] - logf(2)) > 1e-6f)
    return 1;
  if (causal_workspace(1, 2, 2, NULL) == FOVEA_WORKSPACE_ERROR)
    return 1;
  queryShape[3] = 8;
  if (causal(&tq, &tk, &tv, &to, NULL, NULL) != FOVEA_ERROR_SHAPE)
    return 1;
  return 0;
}
