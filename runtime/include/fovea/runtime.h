// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

/* The public interface of the Fovea runtime, the library that a program needs
 * to call compiled attention kernels. It is plain C and holds no compiler.
 *
 * No function aborts, prints or throws; each call that can fail returns a
 * fovea_status and leaves an explanation in fovea_last_error(). All functions
 * may be called from any thread at any time unless said otherwise. A process
 * may fork at any time outside a call: contexts stay usable in the child. */

#ifndef FOVEA_RUNTIME_H
#define FOVEA_RUNTIME_H

#include <dlpack/dlpack.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define FOVEA_API __attribute__((visibility("default")))
#else
#define FOVEA_API
#endif

#define FOVEA_VERSION_MAJOR 0
#define FOVEA_VERSION_MINOR 1
#define FOVEA_VERSION_PATCH 0

#ifdef __cplusplus
extern "C" {
#endif

/* The outcome of a call. The values are part of the ABI and never change. */
typedef enum fovea_status {
  FOVEA_OK = 0,
  /* A NULL that is not allowed, a bad option or parameter. */
  FOVEA_ERROR_INVALID_ARGUMENT = 1,
  /* The element type is not the compiled one, or has more than one lane. */
  FOVEA_ERROR_DTYPE = 2,
  /* The number of dimensions differs. */
  FOVEA_ERROR_RANK = 3,
  /* An extent is negative, is not the compiled one, or disagrees with another
   * argument; or the tensor has 2^63 elements or more. */
  FOVEA_ERROR_SHAPE = 4,
  /* An output has stride 0, or a tensor spans more than the address space. */
  FOVEA_ERROR_STRIDE = 5,
  /* An output overlaps itself, another argument or the workspace. */
  FOVEA_ERROR_OVERLAP = 6,
  /* Data that is not aligned to its element, or a workspace not aligned to
   * FOVEA_WORKSPACE_ALIGNMENT. */
  FOVEA_ERROR_ALIGNMENT = 7,
  /* The tensor lies on a device that the kernel cannot read. */
  FOVEA_ERROR_DEVICE = 8,
  /* The kernel was compiled for another version of the runtime's ABI. */
  FOVEA_ERROR_ABI_VERSION = 9,
  /* No compiled variant runs on this processor (or FOVEA_ISA excludes all). */
  FOVEA_ERROR_UNSUPPORTED_ISA = 10,
  FOVEA_ERROR_OUT_OF_MEMORY = 11,
  /* The caller's workspace is smaller than the kernel needs. */
  FOVEA_ERROR_WORKSPACE_TOO_SMALL = 12,
  /* The CUDA driver reported an error. */
  FOVEA_ERROR_CUDA = 13,
  /* A malformed kernel descriptor, or a kernel that broke its contract. */
  FOVEA_ERROR_INTERNAL = 14
} fovea_status;

/* The name of a status, such as "workspace_too_small"; "unknown" for a value
 * that is none. Never NULL. */
FOVEA_API const char *fovea_status_name(fovea_status status);

/* What went wrong in the calling thread's last failed call: which argument,
 * what was expected and what came. "" if none failed. A call that succeeds
 * leaves it alone. Valid until the thread's next failed call or its end. */
FOVEA_API const char *fovea_last_error(void);

/* The version of the runtime, such as "0.1.0". */
FOVEA_API const char *fovea_version(void);

/* Bits of fovea_cpu_features(). A bit is set when both the processor and the
 * operating system (register state) have the feature. */
#define FOVEA_CPU_AVX2 (UINT64_C(1) << 0)
#define FOVEA_CPU_FMA (UINT64_C(1) << 1)
#define FOVEA_CPU_F16C (UINT64_C(1) << 2)
#define FOVEA_CPU_AVX512F (UINT64_C(1) << 3)
#define FOVEA_CPU_AVX512BW (UINT64_C(1) << 4)
#define FOVEA_CPU_AVX512DQ (UINT64_C(1) << 5)
#define FOVEA_CPU_AVX512VL (UINT64_C(1) << 6)
#define FOVEA_CPU_AVX512BF16 (UINT64_C(1) << 7)
#define FOVEA_CPU_AMX_TILE (UINT64_C(1) << 8)
#define FOVEA_CPU_AMX_BF16 (UINT64_C(1) << 9)

/* The features of this machine, not lowered by FOVEA_ISA; 0 on processors
 * other than x86-64. */
FOVEA_API uint64_t fovea_cpu_features(void);

/* Where a kernel's work runs: threads, and the instruction sets allowed.
 *
 * The environment variable FOVEA_ISA, read when a context is created, lowers
 * the choice of a kernel's variant: `baseline`, `x86-64-v3`, `avx512` and `amx`
 * stand for those instruction sets; any other value is the name of a variant,
 * and the variants that its kernel prefers to it are passed over.
 *
 * Tile registers (AMX) are the operating system's to give: the process asks for
 * them when a variant that uses them is about to run for the first time. If
 * that is refused, such variants are passed over. */
typedef struct fovea_context fovea_context;

/* The most threads that a context may have. */
#define FOVEA_MAX_THREADS 1024

/* A context with a pool of `threads` threads, the caller's included; 0 stands
 * for the number of processors that this process may run on. Threads start
 * with the first call that has work for them, look for more for 50 microseconds
 * and then sleep, with all signals blocked. Those still looking are given 5
 * microseconds of work or more; one that sleeps is woken only for 100 or more,
 * of one call or of calls that follow each other closely. Calls made while the
 * pool is busy with another call, or from inside a task, run on the calling
 * thread alone. */
FOVEA_API fovea_status fovea_context_create(int64_t threads,
                                            fovea_context **context);

/* One task of a parallel loop; `task` and `index` are what the runtime handed
 * to the host's parallel-for. */
typedef void (*fovea_task_fn)(void *task, int64_t index);

/* The host's parallel-for: calls fn(task, index) once for each index in
 * [0, count), in any order, on any threads, also one after the other, and
 * returns when all have returned. count is at most the context's `threads`. */
typedef void (*fovea_parallel_for_fn)(void *host, int64_t count,
                                      fovea_task_fn fn, void *task);

/* A context without threads of its own: work goes to the host's parallel_for,
 * in at most `threads` (at least 1) tasks at a time. `host` is handed through.
 * parallel_for may be called from several threads at once if the host does so
 * with the context. */
FOVEA_API fovea_status fovea_context_create_with_host(
    int64_t threads, fovea_parallel_for_fn parallel_for, void *host,
    fovea_context **context);

/* Ends the context's threads and frees it. No call may be using it. NULL and
 * the default context are left alone. */
FOVEA_API void fovea_context_destroy(fovea_context *context);

/* The context of calls that name none, made at the first use: FOVEA_NUM_THREADS
 * threads if that environment variable holds a number in [1,
 * FOVEA_MAX_THREADS], else one per processor. NULL when out of memory. */
FOVEA_API fovea_context *fovea_default_context(void);

/* The number of threads of a context; 0 for NULL. */
FOVEA_API int64_t fovea_context_threads(const fovea_context *context);

/* Every options struct of a generated header begins with these fields; the
 * kernel's integer parameters follow as int64_t, in their order.
 *
 * A NULL pointer to options stands for all defaults. */
typedef struct fovea_options {
  /* sizeof the whole options struct as the caller knows it. Fields past it
   * take their defaults. */
  size_t size;
  /* NULL: the default context. */
  const fovea_context *context;
  /* NULL: the runtime allocates the workspace and frees it after the call.
   * Otherwise workspace_size bytes, aligned to FOVEA_WORKSPACE_ALIGNMENT, for
   * this call alone while it runs; then the call allocates nothing. */
  void *workspace;
  size_t workspace_size;
} fovea_options;

#define FOVEA_WORKSPACE_ALIGNMENT 64

/* The workspace size that cannot be had; see fovea_last_error(). */
#define FOVEA_WORKSPACE_ERROR SIZE_MAX

#ifdef __cplusplus
}
#endif

#endif /* FOVEA_RUNTIME_H */
