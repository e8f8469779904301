// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// A program in plain C that calls a hand-written kernel: y = 2 x over the
// default context's threads. Built by plain-c.sh with nothing but a C compiler
// and the runtime. Exits with 0 if all is well.

#include "fovea/kernel_abi.h"

#include <string.h>

static void twice(void *closure, int64_t begin, int64_t end, int64_t worker) {
  const fovea_frame *frame = closure;
  const float *x = frame->args[0].data;
  float *y = frame->args[1].data;
  (void)worker;
  for (int64_t i = begin; i != end; ++i)
    y[i * frame->args[1].strides[0]] = 2 * x[i * frame->args[0].strides[0]];
}

static int32_t body(const fovea_frame *frame) {
  fovea_parallel_for(frame->context, frame->symbols[0], 1000, twice,
                     (void *)frame);
  return FOVEA_OK;
}

static const fovea_arg_desc args[] = {
    {"x", kDLFloat, 32, FOVEA_INPUT, 0, 1, {-1}},
    {"y", kDLFloat, 32, FOVEA_OUTPUT, 0, 1, {-1}},
};
static const char *const symbols[] = {"N"};
static const fovea_variant variants[] = {{"baseline", 0, body, NULL}};
static const fovea_kernel kernel = {
    FOVEA_ABI_VERSION, 2, "twice", args, 1, 0, symbols, NULL, 1, 0, variants};

int main(void) {
  enum { N = 1000 };
  static float x[N], y[N];
  int64_t shape = N;
  DLTensor tx = {x, {kDLCPU, 0}, 1, {kDLFloat, 32, 1}, &shape, NULL, 0};
  DLTensor ty = {y, {kDLCPU, 0}, 1, {kDLFloat, 32, 1}, &shape, NULL, 0};
  const DLTensor *tensors[] = {&tx, &ty};
  for (int i = 0; i != N; ++i)
    x[i] = (float)i;
  if (fovea_invoke(&kernel, tensors, NULL) != FOVEA_OK)
    return 1;
  for (int i = 0; i != N; ++i)
    if (y[i] != 2 * x[i])
      return 2;
  ty.ndim = 2;
  if (fovea_invoke(&kernel, tensors, NULL) != FOVEA_ERROR_RANK)
    return 3;
  return strcmp(fovea_last_error(),
                "twice: argument 'y': expected 1 dimensions, got 2") != 0;
}
