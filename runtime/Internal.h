// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// What the files of the runtime share. The runtime is C11 so that neither the
// libraries nor the programs that link them need a C++ library. Functions with
// camelCase names are internal; the prefix keeps them out of the host's way in
// a static link.

#ifndef FOVEA_INTERNAL_H
#define FOVEA_INTERNAL_H

#include "fovea/kernel_abi.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

// Sets the thread's error text and returns the status.
fovea_status foveaFail(fovea_status Status, const char *Format, ...)
    __attribute__((format(printf, 2, 3)));

// The loop body that fovea_parallel_for takes.
typedef void (*FoveaRangeFn)(void *Closure, int64_t Begin, int64_t End,
                             int64_t Worker);

// One parallel loop; Next is the first item that nobody has taken.
typedef struct {
  fovea_context *Context;
  FoveaRangeFn Fn;
  void *Closure;
  uint64_t Count, Chunk;
  bool WakesSleepers;
  _Alignas(64) _Atomic uint64_t Next;
} FoveaJob;

typedef struct {
  fovea_context *Context;
  pthread_t Thread;
  int64_t Id;
} FoveaWorker;

struct fovea_context {
  int64_t Threads;
  uint64_t Features;   // lowered by FOVEA_ISA
  char IsaVariant[64]; // the variant that FOVEA_ISA names; "" if it names none

  fovea_parallel_for_fn HostParallelFor; // NULL: own pool
  void *Host;

  // The pool, see ThreadPool.c.
  FoveaWorker *Workers;        // Threads - 1
  _Atomic int64_t Started;     // so many of them run
  _Atomic uint32_t Generation; // of the process: changes in a forked child
  fovea_context *Previous, *Following; // in the list of contexts with pools
  _Alignas(64) _Atomic uint32_t Busy;
  _Atomic uint32_t Sleepers;
  _Atomic uint32_t Signal;
  _Atomic uint32_t Stop;
  _Atomic int64_t Alone, AloneUntil; // see worthWaking()
  _Alignas(64) _Atomic uint32_t State;
  FoveaJob Job;
};

// The first call stores what Ask answers in *Answer (0: not asked), all return
// it.
bool foveaAskOnce(_Atomic int *Answer, bool (*Ask)(void));
// Whether the operating system lets this process use tile registers. Linux
// saves them only for processes that have asked; the first call asks.
bool foveaMayUseTiles(void);

// Makes the pool of a context whose Threads is set; no thread starts yet.
fovea_status foveaPoolCreate(fovea_context *Context);
// Ends and joins the threads.
void foveaPoolDestroy(fovea_context *Context);

// The values of a kernel's parameters and the fixed options.
typedef struct {
  fovea_context *Context;
  void *Workspace;
  size_t WorkspaceSize;
  int64_t Params[FOVEA_MAX_PARAMS];
} FoveaCall;

// A set of bytes: {Base + sum_i x_i Strides[i] : 0 <= x_i < Extents[i]} +
// [0, Element). Strides are in bytes and positive, extents above 1.
typedef struct {
  uintptr_t Base, End; // the first byte and the one past the last
  int64_t Element;
  int32_t Rank; // 0 and Base == End: the empty set
  int64_t Extents[FOVEA_MAX_RANK], Strides[FOVEA_MAX_RANK];
} FoveaRegion;

// May two elements of the region share a byte? False is exact.
bool foveaRegionOverlapsItself(const FoveaRegion *Region);
// May the regions share a byte? False is exact.
bool foveaRegionsOverlap(const FoveaRegion *A, const FoveaRegion *B);

// Checks a descriptor's version and limits.
fovea_status foveaCheckKernel(const fovea_kernel *Kernel);
// Reads the options (may be NULL) of a checked kernel.
fovea_status foveaReadOptions(const fovea_kernel *Kernel, const void *Options,
                              FoveaCall *Call);
// Checks the tensors of a checked kernel and fills Views, Symbols, Regions.
fovea_status foveaCheckArgs(const fovea_kernel *Kernel,
                            const DLTensor *const *Args, fovea_view *Views,
                            int64_t *Symbols, FoveaRegion *Regions);

#endif // FOVEA_INTERNAL_H
