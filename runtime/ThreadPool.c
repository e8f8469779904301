// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Parallel loops. Items are taken from an atomic counter by whoever is free:
// the caller, which is worker 0, and the pool's threads or the host's tasks.
//
// A pool runs one loop at a time (Busy). To offer a loop the caller stores the
// number of helpers wanted ("tickets") in State; a thread joins by trading a
// ticket for a mark of its own ("active"). When the items are gone the caller
// takes back the tickets left, so that late threads cannot join, and waits for
// the active ones. Thus a loop never waits for a thread that did not start, and
// a thread that joins finds the job valid for as long as it is active.
//
// Threads that find nothing spin for a moment, because kernels are often called
// in rows, then sleep on Signal. A waking thread wakes two more while there are
// tickets, so that the caller pays for one system call only. Waking a thread
// takes it about 40 microseconds: a loop shorter than a few of those is left to
// the threads that still spin.

#include "FloatEnv.h"
#include "Internal.h"

#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// State: active threads (12 bits), tickets (12 bits), the caller sleeps.
enum {
  OneActive = 1,
  ActiveMask = 0xfff,
  OneTicket = 0x1000,
  TicketMask = 0xfff000,
  CallerSleeps = 0x1000000
};
_Static_assert(FOVEA_MAX_THREADS < 0xfff, "State counts threads in 12 bits");

enum { ChunksPerWorker = 32 };

// How long a thread looks for work before it sleeps, and what work, in
// nanoseconds of one thread, is worth handing to a thread that looks for it and
// to one that sleeps (rationale.md).
enum {
  SpinNanoseconds = 50000,
  HandOverNanoseconds = 5000,
  WakeNanoseconds = 100000
};

// Which context's task the thread is inside of.
static _Thread_local struct {
  const fovea_context *Context;
  int64_t Worker;
} Current;

//===-- Sleeping ----------------------------------------------------------===//

static void futexWait(_Atomic uint32_t *Word, uint32_t Expected) {
  syscall(SYS_futex, Word, FUTEX_WAIT_PRIVATE, Expected, NULL, NULL, 0);
}

static void futexWake(_Atomic uint32_t *Word, int Count) {
  syscall(SYS_futex, Word, FUTEX_WAKE_PRIVATE, Count, NULL, NULL, 0);
}

static void relax(void) {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

static int64_t nanoseconds(void) {
  struct timespec Now;
  clock_gettime(CLOCK_MONOTONIC, &Now);
  return Now.tv_sec * INT64_C(1000000000) + Now.tv_nsec;
}

// Spins until a bit of Mask in *Word is set (Set) or all are clear (!Set);
// false if that takes too long.
static bool spin(const _Atomic uint32_t *Word, uint32_t Mask, bool Set) {
  int64_t Deadline = 0;
  for (;;) {
    for (int I = 0; I != 32; ++I) {
      uint32_t Value = atomic_load_explicit(Word, memory_order_acquire);
      if (((Value & Mask) != 0) == Set)
        return true;
      relax();
    }
    int64_t Now = nanoseconds();
    if (!Deadline)
      Deadline = Now + SpinNanoseconds;
    else if (Now >= Deadline)
      return false;
  }
}

//===-- Jobs --------------------------------------------------------------===//

// Runs one range in the kernels' floating-point environment.
static void runAlone(FoveaRangeFn Fn, void *Closure, int64_t Count,
                     int64_t Worker) {
  uint32_t Saved = foveaEnterFloatEnv();
  Fn(Closure, 0, Count, Worker);
  foveaLeaveFloatEnv(Saved);
}

// Takes items and runs them until none is left.
static void drain(FoveaJob *Job, int64_t Worker) {
  __typeof__(Current) SavedCurrent = Current;
  Current.Context = Job->Context;
  Current.Worker = Worker;
  uint32_t Saved = foveaEnterFloatEnv();
  for (;;) {
    // At most Count + workers * Chunk < 2^64.
    uint64_t Begin =
        atomic_fetch_add_explicit(&Job->Next, Job->Chunk, memory_order_relaxed);
    if (Begin >= Job->Count)
      break;
    uint64_t Left = Job->Count - Begin;
    uint64_t End = Begin + (Left < Job->Chunk ? Left : Job->Chunk);
    Job->Fn(Job->Closure, (int64_t)Begin, (int64_t)End, Worker);
  }
  foveaLeaveFloatEnv(Saved);
  Current = SavedCurrent;
}

static void initJob(FoveaJob *Job, fovea_context *Context, int64_t Count,
                    FoveaRangeFn Fn, void *Closure) {
  Job->Context = Context;
  Job->Fn = Fn;
  Job->Closure = Closure;
  Job->Count = (uint64_t)Count;
  uint64_t Chunk = Job->Count / (uint64_t)(Context->Threads * ChunksPerWorker);
  Job->Chunk = Chunk ? Chunk : 1;
  atomic_store_explicit(&Job->Next, 0, memory_order_relaxed);
}

//===-- The pool ----------------------------------------------------------===//

static bool join(fovea_context *Context) {
  uint32_t State = atomic_load(&Context->State);
  while (State & TicketMask)
    if (atomic_compare_exchange_weak(&Context->State, &State,
                                     State - OneTicket + OneActive))
      return true;
  return false;
}

static void leave(fovea_context *Context) {
  uint32_t State = atomic_fetch_sub(&Context->State, OneActive);
  if ((State & CallerSleeps) && (State & ActiveMask) == OneActive)
    futexWake(&Context->State, 1);
}

// For whoever runs the job.
static void wakeTwo(fovea_context *Context) {
  if (Context->Job.WakesSleepers &&
      (atomic_load(&Context->State) & TicketMask) &&
      atomic_load(&Context->Sleepers))
    futexWake(&Context->Signal, 2);
}

static void sleepForWork(fovea_context *Context) {
  // The order matters: whoever offers work stores State, then reads Sleepers.
  uint32_t Signal = atomic_load(&Context->Signal);
  atomic_fetch_add(&Context->Sleepers, 1);
  if (!(atomic_load(&Context->State) & TicketMask) &&
      !atomic_load(&Context->Stop))
    futexWait(&Context->Signal, Signal);
  atomic_fetch_sub(&Context->Sleepers, 1);
}

static void *workerMain(void *Argument) {
  FoveaWorker *Self = Argument;
  fovea_context *Context = Self->Context;
  uint32_t Generation = atomic_load(&Context->Generation);
  while (!atomic_load(&Context->Stop)) {
    if (!join(Context)) {
      if (!spin(&Context->State, TicketMask, true))
        sleepForWork(Context);
      continue;
    }
    wakeTwo(Context);
    drain(&Context->Job, Self->Id);
    // A task that forked finds itself the only thread of a process in which
    // the pool has been reset: it belongs to that pool no more.
    if (atomic_load(&Context->Generation) != Generation)
      break;
    leave(Context);
  }
  return NULL;
}

// Whether the work of a loop, in nanoseconds, should not wait for threads that
// sleep any longer. Short loops that follow each other closely are worth it
// together: what they have run alone is added up until it is.
static bool worthWaking(fovea_context *Context, int64_t Work) {
  if (Work >= WakeNanoseconds)
    return true;
  int64_t Alone = 0;
  if (nanoseconds() < atomic_load(&Context->AloneUntil))
    Alone = atomic_load(&Context->Alone);
  bool Worth = Alone >= WakeNanoseconds;
  atomic_store(&Context->Alone, Worth ? 0 : Alone + Work);
  return Worth;
}

// How many threads beside the caller's are worth asking, and whether those that
// sleep are. None: the loop is to run alone.
static int64_t chooseHelpers(fovea_context *Context, int64_t Count,
                             int64_t ItemNanoseconds, bool *WakesSleepers) {
  int64_t Work;
  if (__builtin_mul_overflow(Count, ItemNanoseconds, &Work))
    Work = INT64_MAX;
  int64_t Helpers = Context->Threads - 1;
  if (Helpers > Count - 1)
    Helpers = Count - 1;
  if (Helpers > Work / HandOverNanoseconds)
    Helpers = Work / HandOverNanoseconds;
  int64_t Awake =
      atomic_load(&Context->Started) - (int64_t)atomic_load(&Context->Sleepers);
  *WakesSleepers = Helpers > Awake && worthWaking(Context, Work);
  if (Helpers > Awake && !*WakesSleepers)
    Helpers = Awake > 0 ? Awake : 0;
  return Helpers;
}

// Starts threads until `Wanted` run. Fewer do if the system refuses.
static void startWorkers(fovea_context *Context, int64_t Wanted) {
  int64_t Started = atomic_load(&Context->Started);
  if (Started >= Wanted)
    return;
  // The host's signal handlers must not run on our threads.
  sigset_t All, Old;
  sigfillset(&All);
  pthread_sigmask(SIG_SETMASK, &All, &Old);
  for (; Started != Wanted; ++Started) {
    FoveaWorker *Worker = &Context->Workers[Started];
    Worker->Context = Context;
    Worker->Id = Started + 1;
    if (pthread_create(&Worker->Thread, NULL, workerMain, Worker))
      break;
  }
  atomic_store(&Context->Started, Started);
  pthread_sigmask(SIG_SETMASK, &Old, NULL);
}

// False: the pool is busy or has no thread.
static bool runOnPool(fovea_context *Context, int64_t Helpers,
                      bool WakesSleepers, int64_t Count, FoveaRangeFn Fn,
                      void *Closure) {
  uint32_t Free = 0;
  if (!atomic_compare_exchange_strong(&Context->Busy, &Free, 1))
    return false;
  startWorkers(Context, Helpers);
  int64_t Started = atomic_load(&Context->Started);
  if (Helpers > Started)
    Helpers = Started;
  if (Helpers == 0) {
    atomic_store(&Context->Busy, 0);
    return false;
  }

  initJob(&Context->Job, Context, Count, Fn, Closure);
  Context->Job.WakesSleepers = WakesSleepers;
  atomic_store(&Context->State, (uint32_t)Helpers * OneTicket);
  atomic_fetch_add(&Context->Signal, 1);
  wakeTwo(Context);
  drain(&Context->Job, 0);

  atomic_fetch_and(&Context->State, ~(uint32_t)TicketMask);
  if (!spin(&Context->State, ActiveMask, false)) {
    uint32_t State = atomic_fetch_or(&Context->State, CallerSleeps);
    while (State & ActiveMask) {
      futexWait(&Context->State, State | CallerSleeps);
      State = atomic_load(&Context->State);
    }
  }
  atomic_store(&Context->State, 0);
  atomic_store(&Context->Busy, 0);
  return true;
}

//===-- Forking -----------------------------------------------------------===//

// The contexts with pools, for the handlers around a fork.
static pthread_mutex_t ListLock = PTHREAD_MUTEX_INITIALIZER;
static fovea_context *List;
static pthread_once_t HandlersOnce = PTHREAD_ONCE_INIT;
static int HandlersError;

static void beforeFork(void) { pthread_mutex_lock(&ListLock); }
static void afterForkInParent(void) { pthread_mutex_unlock(&ListLock); }

// The child has none of the pools' threads: they start anew when needed.
static void afterForkInChild(void) {
  for (fovea_context *Context = List; Context; Context = Context->Following) {
    atomic_store(&Context->Started, 0);
    atomic_fetch_add(&Context->Generation, 1);
    atomic_store(&Context->Busy, 0);
    atomic_store(&Context->Sleepers, 0);
    atomic_store(&Context->State, 0);
  }
  pthread_mutex_unlock(&ListLock);
}

static void installHandlers(void) {
  HandlersError =
      pthread_atfork(beforeFork, afterForkInParent, afterForkInChild);
}

fovea_status foveaPoolCreate(fovea_context *Context) {
  pthread_once(&HandlersOnce, installHandlers);
  if (Context->Threads > 1)
    Context->Workers =
        malloc((size_t)(Context->Threads - 1) * sizeof(FoveaWorker));
  if (HandlersError || (Context->Threads > 1 && !Context->Workers)) {
    free(Context->Workers);
    return foveaFail(FOVEA_ERROR_OUT_OF_MEMORY, "context: out of memory");
  }
  pthread_mutex_lock(&ListLock);
  Context->Following = List;
  if (List)
    List->Previous = Context;
  List = Context;
  pthread_mutex_unlock(&ListLock);
  return FOVEA_OK;
}

void foveaPoolDestroy(fovea_context *Context) {
  pthread_mutex_lock(&ListLock);
  if (Context->Previous)
    Context->Previous->Following = Context->Following;
  else
    List = Context->Following;
  if (Context->Following)
    Context->Following->Previous = Context->Previous;
  pthread_mutex_unlock(&ListLock);

  atomic_store(&Context->Stop, 1);
  atomic_fetch_add(&Context->Signal, 1);
  futexWake(&Context->Signal, INT_MAX);
  for (int64_t I = 0; I != atomic_load(&Context->Started); ++I)
    pthread_join(Context->Workers[I].Thread, NULL);
  free(Context->Workers);
}

//===-- The host's parallel-for -------------------------------------------===//

static void runHostTask(void *Task, int64_t Index) { drain(Task, Index); }

static void runOnHost(fovea_context *Context, int64_t Count, FoveaRangeFn Fn,
                      void *Closure) {
  FoveaJob Job;
  initJob(&Job, Context, Count, Fn, Closure);
  int64_t Tasks = Count < Context->Threads ? Count : Context->Threads;
  Context->HostParallelFor(Context->Host, Tasks, runHostTask, &Job);
  // Nothing is left unless the host ran no task at all.
  drain(&Job, 0);
}

void fovea_parallel_for(fovea_context *context, int64_t count,
                        int64_t item_nanoseconds,
                        void (*fn)(void *, int64_t, int64_t, int64_t),
                        void *closure) {
  if (count <= 0)
    return;
  bool Nested = Current.Context == context;
  if (count == 1 || context->Threads == 1 || Nested) {
    runAlone(fn, closure, count, Nested ? Current.Worker : 0);
    return;
  }
  if (context->HostParallelFor) {
    runOnHost(context, count, fn, closure);
    return;
  }
  bool WakesSleepers;
  int64_t Helpers =
      chooseHelpers(context, count, item_nanoseconds, &WakesSleepers);
  if (Helpers > 0 &&
      runOnPool(context, Helpers, WakesSleepers, count, fn, closure))
    return;
  runAlone(fn, closure, count, 0);
  atomic_store(&context->AloneUntil, nanoseconds() + SpinNanoseconds);
}
