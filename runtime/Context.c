// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Contexts: how many threads, whose threads, which instruction sets.

#include "Internal.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define V3_FEATURES (FOVEA_CPU_AVX2 | FOVEA_CPU_FMA | FOVEA_CPU_F16C)
#define AVX512_FEATURES                                                        \
  (V3_FEATURES | FOVEA_CPU_AVX512F | FOVEA_CPU_AVX512BW | FOVEA_CPU_AVX512DQ | \
   FOVEA_CPU_AVX512VL)

// The instruction sets that FOVEA_ISA knows by name.
static const struct {
  const char *Name;
  uint64_t Features;
} IsaLevels[] = {
    {"baseline", 0},
    {"x86-64-v3", V3_FEATURES},
    {"avx512", AVX512_FEATURES},
    {"amx", AVX512_FEATURES | FOVEA_CPU_AMX_TILE | FOVEA_CPU_AMX_BF16},
};

static void lowerIsa(fovea_context *Context) {
  const char *Isa = getenv("FOVEA_ISA");
  if (!Isa || !*Isa)
    return;
  for (size_t I = 0; I != sizeof(IsaLevels) / sizeof(IsaLevels[0]); ++I)
    if (!strcmp(Isa, IsaLevels[I].Name)) {
      Context->Features &= IsaLevels[I].Features;
      return;
    }
  strncpy(Context->IsaVariant, Isa, sizeof(Context->IsaVariant) - 1);
}

static int64_t countProcessors(void) {
  cpu_set_t Set;
  // Fails where the machine has more processors than a cpu_set_t holds.
  if (sched_getaffinity(0, sizeof(Set), &Set))
    return FOVEA_MAX_THREADS;
  int Count = CPU_COUNT(&Set);
  return Count < 1 ? 1 : Count > FOVEA_MAX_THREADS ? FOVEA_MAX_THREADS : Count;
}

static fovea_status create(int64_t Threads, fovea_parallel_for_fn ParallelFor,
                           void *Host, fovea_context **Result) {
  if (Threads < 1 || Threads > FOVEA_MAX_THREADS)
    return foveaFail(FOVEA_ERROR_INVALID_ARGUMENT,
                     "context: threads is %lld, expected 1 to %d",
                     (long long)Threads, FOVEA_MAX_THREADS);
  void *Memory;
  if (posix_memalign(&Memory, _Alignof(fovea_context), sizeof(fovea_context)))
    return foveaFail(FOVEA_ERROR_OUT_OF_MEMORY, "context: out of memory");
  fovea_context *Context = Memory;
  memset(Context, 0, sizeof(*Context));
  Context->Threads = Threads;
  Context->Features = fovea_cpu_features();
  Context->HostParallelFor = ParallelFor;
  Context->Host = Host;
  lowerIsa(Context);
  if (!ParallelFor) {
    fovea_status Status = foveaPoolCreate(Context);
    if (Status != FOVEA_OK) {
      free(Context);
      return Status;
    }
  }
  *Result = Context;
  return FOVEA_OK;
}

fovea_status fovea_context_create(int64_t threads, fovea_context **context) {
  if (!context)
    return foveaFail(FOVEA_ERROR_INVALID_ARGUMENT, "context: result is NULL");
  *context = NULL;
  return create(threads == 0 ? countProcessors() : threads, NULL, NULL,
                context);
}

fovea_status fovea_context_create_with_host(int64_t threads,
                                            fovea_parallel_for_fn parallel_for,
                                            void *host,
                                            fovea_context **context) {
  if (!context)
    return foveaFail(FOVEA_ERROR_INVALID_ARGUMENT, "context: result is NULL");
  *context = NULL;
  if (!parallel_for)
    return foveaFail(FOVEA_ERROR_INVALID_ARGUMENT,
                     "context: parallel_for is NULL");
  return create(threads, parallel_for, host, context);
}

// Made once and never freed: an exiting program's last calls may still use it.
static _Atomic(fovea_context *) DefaultContext;

static void destroy(fovea_context *Context) {
  if (!Context->HostParallelFor)
    foveaPoolDestroy(Context);
  free(Context);
}

void fovea_context_destroy(fovea_context *context) {
  if (context && context != atomic_load(&DefaultContext))
    destroy(context);
}

static int64_t defaultThreads(void) {
  const char *Text = getenv("FOVEA_NUM_THREADS");
  if (Text && *Text) {
    char *End;
    long long Threads = strtoll(Text, &End, 10);
    if (!*End && Threads >= 1 && Threads <= FOVEA_MAX_THREADS)
      return Threads;
  }
  return countProcessors();
}

fovea_context *fovea_default_context(void) {
  fovea_context *Context =
      atomic_load_explicit(&DefaultContext, memory_order_acquire);
  if (Context)
    return Context;
  // Of threads that race, the first to store wins: no lock that a fork could
  // leave taken.
  if (create(defaultThreads(), NULL, NULL, &Context) != FOVEA_OK)
    return NULL;
  fovea_context *Winner = NULL;
  if (atomic_compare_exchange_strong(&DefaultContext, &Winner, Context))
    return Context;
  destroy(Context);
  return Winner;
}

int64_t fovea_context_threads(const fovea_context *context) {
  return context ? context->Threads : 0;
}
