// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

/* The interface between generated code and the runtime. A compiled kernel is a
 * constant fovea_kernel that describes its arguments, with one variant per
 * instruction set; its C entry point only gathers the tensors' pointers and
 * calls fovea_invoke, which checks everything before any generated code runs.
 * The layouts are fixed by FOVEA_ABI_VERSION: the compiler writes them out as
 * data. Programs that call kernels need only the generated header. */

#ifndef FOVEA_KERNEL_ABI_H
#define FOVEA_KERNEL_ABI_H

#include "fovea/runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

#define FOVEA_ABI_VERSION 1

/* Limits of a descriptor. */
#define FOVEA_MAX_RANK 8
#define FOVEA_MAX_ARGS 64
#define FOVEA_MAX_SYMBOLS 64
#define FOVEA_MAX_PARAMS 64

typedef enum fovea_role {
  FOVEA_INPUT = 0,
  FOVEA_OUTPUT = 1,
  FOVEA_INOUT = 2
} fovea_role;

/* One tensor argument. */
typedef struct fovea_arg_desc {
  const char *name;
  uint8_t dtype_code; /* as in DLPack: kDLInt 0, kDLUInt 1, kDLFloat 2, ... */
  uint8_t dtype_bits; /* 8, 16, 32 or 64 */
  uint8_t role;       /* fovea_role */
  uint8_t optional;   /* 1: the tensor may be NULL */
  int32_t rank;
  int64_t dims[FOVEA_MAX_RANK]; /* >= 0: that extent; -1-s: symbol number s */
} fovea_arg_desc;

/* One integer parameter. */
typedef struct fovea_param_desc {
  const char *name;
  int64_t default_value;
  int32_t has_default;
  int32_t reserved; /* 0 */
} fovea_param_desc;

/* A validated tensor. The runtime gives the stride of a dimension of extent 0
 * or 1, which means nothing, as 1. */
typedef struct fovea_view {
  void *data; /* byte_offset applied; NULL if the argument is absent */
  int64_t strides[FOVEA_MAX_RANK]; /* in elements */
} fovea_view;

/* What a body is called with. */
typedef struct fovea_frame {
  struct fovea_context *context;
  const int64_t
      *symbols;          /* value of each symbol; 0 if in absent tensors only */
  const int64_t *params; /* value of each parameter */
  const fovea_view *args; /* one per argument */
  void *workspace;        /* FOVEA_WORKSPACE_ALIGNMENT; NULL if size 0 */
  int64_t workers;        /* worker ids seen by tasks are in [0, workers) */
} fovea_frame;

/* Computes; returns a fovea_status. */
typedef int32_t (*fovea_body_fn)(const fovea_frame *frame);

/* Bytes of workspace needed; -1 on overflow. */
typedef int64_t (*fovea_workspace_fn)(const int64_t *symbols,
                                      const int64_t *params, int64_t workers);

/* The kernel compiled for one instruction set. */
typedef struct fovea_variant {
  const char *isa;   /* such as "x86-64-v3" */
  uint64_t features; /* FOVEA_CPU_* bits needed */
  fovea_body_fn body;
  fovea_workspace_fn workspace; /* NULL: none needed */
} fovea_variant;

typedef struct fovea_kernel {
  uint32_t abi_version; /* FOVEA_ABI_VERSION */
  int32_t num_args;
  const char *name;
  const fovea_arg_desc *args;
  int32_t num_symbols;
  int32_t num_params;
  const char *const *symbols;
  const fovea_param_desc *params;
  int32_t num_variants;
  int32_t reserved;              /* 0 */
  const fovea_variant *variants; /* best first */
} fovea_kernel;

/* Checks args (num_args pointers) and options (NULL, or a struct that begins
 * with fovea_options) against the descriptor, chooses the variant, gets the
 * workspace and runs the body. The floating-point environment of the body and
 * of every task is: round to nearest, denormals flushed (FTZ and DAZ),
 * exceptions masked; the callers' is restored bit for bit. */
FOVEA_API fovea_status fovea_invoke(const fovea_kernel *kernel,
                                    const DLTensor *const *args,
                                    const void *options);

/* Bytes of workspace that fovea_invoke needs for these symbol values (each >=
 * 0) with these options; FOVEA_WORKSPACE_ERROR if there is no answer. */
FOVEA_API size_t fovea_workspace_size(const fovea_kernel *kernel,
                                      const int64_t *symbols,
                                      const void *options);

/* Called by generated code: fn(closure, begin, end, worker) on sub-ranges that
 * cover [0, count) once each; returns when all have returned. Ranges run at
 * the same time have different worker ids. A call from inside a task may run on
 * that task's thread alone, under its worker id. `item_nanoseconds` estimates
 * what an item takes on one thread: it decides how many threads are worth
 * asking, and nothing else. */
FOVEA_API void fovea_parallel_for(struct fovea_context *context, int64_t count,
                                  int64_t item_nanoseconds,
                                  void (*fn)(void *closure, int64_t begin,
                                             int64_t end, int64_t worker),
                                  void *closure);

#ifdef __cplusplus
#define FOVEA_STATIC_ASSERT static_assert
#else
#define FOVEA_STATIC_ASSERT _Static_assert
#endif
FOVEA_STATIC_ASSERT(sizeof(void *) == 8, "Fovea needs 64-bit pointers");
FOVEA_STATIC_ASSERT(sizeof(fovea_arg_desc) == 80, "ABI version 1");
FOVEA_STATIC_ASSERT(sizeof(fovea_param_desc) == 24, "ABI version 1");
FOVEA_STATIC_ASSERT(sizeof(fovea_view) == 72, "ABI version 1");
FOVEA_STATIC_ASSERT(sizeof(fovea_frame) == 48, "ABI version 1");
FOVEA_STATIC_ASSERT(sizeof(fovea_variant) == 32, "ABI version 1");
FOVEA_STATIC_ASSERT(sizeof(fovea_kernel) == 64, "ABI version 1");
FOVEA_STATIC_ASSERT(sizeof(fovea_options) == 32, "ABI version 1");
#undef FOVEA_STATIC_ASSERT

#ifdef __cplusplus
}
#endif

#endif /* FOVEA_KERNEL_ABI_H */
