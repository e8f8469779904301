// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Contexts and parallel loops: own pool, the host's parallel-for, nesting,
// concurrent callers, forks.

#include "TestKernel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <mutex>
#include <set>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

using namespace fovea::test;

namespace {

// An item so long that all threads are asked.
constexpr int64_t Long = 1000000;

template <typename Fn>
void parallelFor(fovea_context *Context, int64_t Count, const Fn &Body,
                 int64_t ItemNanoseconds = Long) {
  fovea_parallel_for(
      Context, Count, ItemNanoseconds,
      [](void *Closure, int64_t Begin, int64_t End, int64_t Worker) {
        (*static_cast<const Fn *>(Closure))(Begin, End, Worker);
      },
      const_cast<Fn *>(&Body));
}

// Runs a loop and checks that each item runs once, by a worker id in range that
// no other thread has at the time.
void checkLoop(fovea_context *Context, int64_t Count) {
  int64_t Workers = fovea_context_threads(Context);
  std::vector<int> Seen(static_cast<size_t>(Count));
  std::vector<std::atomic<int>> InUse(static_cast<size_t>(Workers));
  std::atomic<int64_t> Bad{0};
  parallelFor(Context, Count, [&](int64_t Begin, int64_t End, int64_t Worker) {
    if (Worker < 0 || Worker >= Workers || Begin >= End) {
      ++Bad;
      return;
    }
    Bad += InUse[static_cast<size_t>(Worker)]++ != 0;
    for (int64_t I = Begin; I != End; ++I)
      ++Seen[static_cast<size_t>(I)];
    --InUse[static_cast<size_t>(Worker)];
  });
  EXPECT_EQ(Bad, 0);
  for (int64_t I = 0; I != Count; ++I)
    ASSERT_EQ(Seen[static_cast<size_t>(I)], 1) << "item " << I;
}

// How many threads run tasks at the same time, if they all wait for each other.
int64_t meet(fovea_context *Context, int64_t Count) {
  std::atomic<int64_t> Here{0};
  parallelFor(Context, Count, [&](int64_t, int64_t, int64_t) {
    ++Here;
    for (int I = 0; I != 10000 && Here != Count; ++I)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  });
  return Here;
}

// A host with a thread per task.
void hostThreads(void *Host, int64_t Count, fovea_task_fn Fn, void *Task) {
  ++*static_cast<std::atomic<int> *>(Host);
  std::vector<std::thread> Threads;
  for (int64_t I = 0; I != Count; ++I)
    Threads.emplace_back([=] { Fn(Task, I); });
  for (std::thread &Thread : Threads)
    Thread.join();
}

// A host that has one thread, and counts down.
void hostBackwards(void *, int64_t Count, fovea_task_fn Fn, void *Task) {
  while (Count--)
    Fn(Task, Count);
}

} // namespace

//===-- Contexts ----------------------------------------------------------===//

TEST(Contexts, BadArguments) {
  fovea_context *Result = reinterpret_cast<fovea_context *>(8);
  EXPECT_EQ(fovea_context_create(1, nullptr), FOVEA_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(fovea_context_create(-1, &Result), FOVEA_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(Result, nullptr);
  EXPECT_EQ(fovea_context_create(FOVEA_MAX_THREADS + 1, &Result),
            FOVEA_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(fovea_context_create_with_host(2, nullptr, nullptr, &Result),
            FOVEA_ERROR_INVALID_ARGUMENT);
  EXPECT_STREQ(fovea_last_error(), "context: parallel_for is NULL");
  EXPECT_EQ(fovea_context_create_with_host(0, hostBackwards, nullptr, &Result),
            FOVEA_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(fovea_context_create_with_host(1, hostBackwards, nullptr, nullptr),
            FOVEA_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(Result, nullptr);
  EXPECT_EQ(fovea_context_threads(nullptr), 0);
  fovea_context_destroy(nullptr);
}

TEST(Contexts, ThreadCounts) {
  for (int64_t Threads : {1, 2, 7, FOVEA_MAX_THREADS}) {
    Context C(Threads);
    EXPECT_EQ(fovea_context_threads(C), Threads);
  }
  Context All(0);
  cpu_set_t Set;
  ASSERT_EQ(sched_getaffinity(0, sizeof(Set), &Set), 0);
  EXPECT_EQ(fovea_context_threads(All), CPU_COUNT(&Set));
}

TEST(Contexts, DefaultIsOneForAllThreads) {
  std::vector<fovea_context *> Seen(8);
  std::vector<std::thread> Threads;
  for (fovea_context *&Slot : Seen)
    Threads.emplace_back([&Slot] { Slot = fovea_default_context(); });
  for (std::thread &Thread : Threads)
    Thread.join();
  for (fovea_context *Context : Seen)
    EXPECT_EQ(Context, fovea_default_context());
  ASSERT_NE(Seen[0], nullptr);
  fovea_context_destroy(Seen[0]);
  checkLoop(fovea_default_context(), 100);
}

// Each in a fresh process, because the default context is made once.
static int64_t defaultThreadsWith(const char *Value) {
  int Pipe[2];
  EXPECT_EQ(pipe(Pipe), 0);
  Environment Env("FOVEA_NUM_THREADS", Value);
  pid_t Child = fork();
  if (Child == 0) {
    dup2(Pipe[1], 1);
    execl("/proc/self/exe", "self", "--print-default-threads", nullptr);
    _exit(1);
  }
  close(Pipe[1]);
  char Text[32] = {};
  EXPECT_GT(read(Pipe[0], Text, sizeof(Text) - 1), 0);
  close(Pipe[0]);
  int Status;
  EXPECT_EQ(waitpid(Child, &Status, 0), Child);
  EXPECT_EQ(Status, 0);
  return std::atoll(Text);
}

TEST(Contexts, DefaultThreadsFromTheEnvironment) {
  cpu_set_t Set;
  ASSERT_EQ(sched_getaffinity(0, sizeof(Set), &Set), 0);
  EXPECT_EQ(defaultThreadsWith("5"), 5);
  for (const char *Bad :
       {"", "0", "-3", "1025", "four", "3x", "99999999999999"})
    EXPECT_EQ(defaultThreadsWith(Bad), CPU_COUNT(&Set)) << Bad;
}

//===-- Loops -------------------------------------------------------------===//

class Loops : public testing::TestWithParam<int64_t> {};

TEST_P(Loops, EachItemRunsOnce) {
  Context C(GetParam());
  for (int64_t Count : {0, 1, 2, 3, 7, 8, 9, 64, 1000, 100000})
    checkLoop(C, Count);
}

TEST_P(Loops, ManyShortLoops) {
  Context C(GetParam());
  for (int I = 0; I != 2000; ++I)
    checkLoop(C, 1 + I % 17);
}

TEST_P(Loops, AllThreadsTakePart) {
  Context C(GetParam());
  EXPECT_EQ(meet(C, GetParam()), GetParam());
  // Once more from asleep.
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(meet(C, GetParam()), GetParam());
}

INSTANTIATE_TEST_SUITE_P(Threads, Loops, testing::Range<int64_t>(1, 9));

// Which workers run a loop whose items wait a little for each other.
static std::set<int64_t> workersOf(fovea_context *Context, int64_t Count,
                                   int64_t ItemNanoseconds) {
  std::mutex Lock;
  std::set<int64_t> Workers;
  parallelFor(
      Context, Count,
      [&](int64_t, int64_t, int64_t Worker) {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        std::lock_guard<std::mutex> Guard(Lock);
        Workers.insert(Worker);
      },
      ItemNanoseconds);
  return Workers;
}

// Nobody is woken for less than a wake-up is worth.
TEST(Loop, ShortLoopsLeaveSleepersAlone) {
  Context C(4);
  // Too little for threads that have not even started, and for sleepers.
  for (int I = 0; I != 2; ++I) {
    EXPECT_EQ(workersOf(C, 8, 10000), std::set<int64_t>{0});
    EXPECT_GT(workersOf(C, 8, 20000).size(), 1u);
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  // Not for a product that overflows, either.
  EXPECT_GT(workersOf(C, 8, INT64_MAX / 2).size(), 1u);
}

// What runs alone again and again, without a pause, is worth waking for; with
// pauses, it is not. A loop of next to nothing never is.
TEST(Loop, ShortLoopsInARowWakeSleepers) {
  auto wakes = [](int64_t ItemNanoseconds, std::chrono::microseconds Pause) {
    Context C(2);
    std::atomic<bool> Woken{false};
    for (int I = 0; I != 2000 && !Woken; ++I) {
      parallelFor(
          C, 4,
          [&](int64_t Begin, int64_t End, int64_t Worker) {
            if (Worker != 0)
              Woken = true;
            auto Done =
                std::chrono::steady_clock::now() +
                std::chrono::nanoseconds(ItemNanoseconds) * (End - Begin);
            while (std::chrono::steady_clock::now() < Done)
              ;
          },
          ItemNanoseconds);
      if (Pause.count())
        std::this_thread::sleep_for(Pause);
    }
    return Woken.load();
  };
  EXPECT_TRUE(wakes(5000, {}));
  EXPECT_FALSE(wakes(1000, {}));
  EXPECT_FALSE(wakes(5000, std::chrono::microseconds(200)));
}

TEST(Loop, CountsWithoutLimit) {
  Context C(4);
  std::atomic<int64_t> Sum{0};
  parallelFor(C, INT64_MAX,
              [&](int64_t Begin, int64_t End, int64_t) { Sum += End - Begin; });
  EXPECT_EQ(Sum, INT64_MAX);
  parallelFor(C, -5, [&](int64_t, int64_t, int64_t) { Sum = 0; });
  EXPECT_EQ(Sum, INT64_MAX);
}

TEST(Loop, OneThreadIsOneCallOnTheCaller) {
  Context C(1);
  int Calls = 0;
  std::thread::id Self = std::this_thread::get_id();
  parallelFor(C, 100, [&](int64_t Begin, int64_t End, int64_t Worker) {
    ++Calls;
    EXPECT_EQ(Begin, 0);
    EXPECT_EQ(End, 100);
    EXPECT_EQ(Worker, 0);
    EXPECT_EQ(std::this_thread::get_id(), Self);
  });
  EXPECT_EQ(Calls, 1);
}

TEST(Loop, NestedLoopsStayOnTheirWorker) {
  Context C(4);
  std::atomic<int64_t> Items{0}, Bad{0};
  parallelFor(C, 50, [&](int64_t Begin, int64_t End, int64_t Worker) {
    std::thread::id Self = std::this_thread::get_id();
    for (; Begin != End; ++Begin)
      parallelFor(C, 10, [&](int64_t B, int64_t E, int64_t Inner) {
        Items += E - B;
        Bad += Inner != Worker || std::this_thread::get_id() != Self;
      });
  });
  EXPECT_EQ(Items, 500);
  EXPECT_EQ(Bad, 0);
}

TEST(Loop, AnotherContextInsideATask) {
  Context Outer(3), Inner(3);
  std::atomic<int64_t> Items{0};
  parallelFor(Outer, 20, [&](int64_t Begin, int64_t End, int64_t) {
    for (; Begin != End; ++Begin)
      parallelFor(Inner, 10,
                  [&](int64_t B, int64_t E, int64_t) { Items += E - B; });
  });
  EXPECT_EQ(Items, 200);
}

TEST(Loop, ConcurrentCallers) {
  Context C(3);
  std::vector<std::thread> Callers;
  for (int T = 0; T != 6; ++T)
    Callers.emplace_back([&] {
      for (int I = 0; I != 300; ++I)
        checkLoop(C, 1 + I % 40);
    });
  for (std::thread &Caller : Callers)
    Caller.join();
}

TEST(Loop, ContextsComeAndGo) {
  for (int I = 0; I != 200; ++I) {
    Context C(4);
    if (I % 2)
      checkLoop(C, 8);
  }
}

TEST(Loop, SignalsStayWithTheHost) {
  Context C(2);
  std::atomic<bool> Blocked{false};
  std::thread::id Self = std::this_thread::get_id();
  std::atomic<int> Here{0};
  parallelFor(C, 2, [&](int64_t, int64_t, int64_t) {
    if (std::this_thread::get_id() != Self) {
      sigset_t Set;
      pthread_sigmask(SIG_SETMASK, nullptr, &Set);
      Blocked = sigismember(&Set, SIGTERM) == 1;
    }
    ++Here;
    for (int I = 0; I != 10000 && Here != 2; ++I)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  });
  EXPECT_TRUE(Blocked);
  sigset_t Set;
  pthread_sigmask(SIG_SETMASK, nullptr, &Set);
  EXPECT_EQ(sigismember(&Set, SIGTERM), 0);
}

//===-- The host's parallel-for -------------------------------------------===//

TEST(HostParallelFor, ThreadPerTask) {
  std::atomic<int> Loops{0};
  Context C(4, hostThreads, &Loops);
  for (int64_t Count : {0, 1, 2, 3, 4, 5, 100, 100000})
    checkLoop(C, Count);
  EXPECT_EQ(Loops, 6);
  EXPECT_EQ(meet(C, 4), 4);
}

TEST(HostParallelFor, OneThread) {
  Context C(8, hostBackwards, nullptr);
  for (int64_t Count : {1, 2, 8, 1000})
    checkLoop(C, Count);
}

TEST(HostParallelFor, CountIsAtMostThreads) {
  int64_t Largest = 0;
  Context C(
      3,
      [](void *Host, int64_t Count, fovea_task_fn Fn, void *Task) {
        *static_cast<int64_t *>(Host) = Count;
        hostBackwards(nullptr, Count, Fn, Task);
      },
      &Largest);
  checkLoop(C, 100);
  EXPECT_EQ(Largest, 3);
  checkLoop(C, 2);
  EXPECT_EQ(Largest, 2);
}

TEST(HostParallelFor, HostThatRunsNothing) {
  Context C(4, [](void *, int64_t, fovea_task_fn, void *) {}, nullptr);
  checkLoop(C, 10);
}

TEST(HostParallelFor, Nested) {
  std::atomic<int> HostLoops{0};
  Context C(3, hostThreads, &HostLoops);
  std::atomic<int64_t> Items{0};
  parallelFor(C, 9, [&](int64_t Begin, int64_t End, int64_t) {
    for (; Begin != End; ++Begin)
      parallelFor(C, 5, [&](int64_t B, int64_t E, int64_t) { Items += E - B; });
  });
  EXPECT_EQ(Items, 45);
  EXPECT_EQ(HostLoops, 1);
}

//===-- Floating-point environment ----------------------------------------===//

#if defined(__x86_64__)
TEST(FloatEnvironment, SetInEveryTask) {
  std::atomic<int> HostLoops{0};
  Context Pool(4), Host(4, hostThreads, &HostLoops), One(1);
  for (fovea_context *C :
       {(fovea_context *)Pool, (fovea_context *)Host, (fovea_context *)One}) {
    std::atomic<int> Bad{0};
    parallelFor(C, 200, [&](int64_t, int64_t, int64_t) {
      Bad += _mm_getcsr() != 0x9fc0u;
    });
    EXPECT_EQ(Bad, 0);
  }
}

TEST(FloatEnvironment, RestoredOnTheHostsThreads) {
  // Host threads with their own settings, which must come back.
  static std::atomic<int> Bad;
  Bad = 0;
  auto ParallelFor = [](void *, int64_t Count, fovea_task_fn Fn, void *Task) {
    for (int64_t I = 0; I != Count; ++I)
      std::thread([=] {
        unsigned Own = 0x1f80u | (static_cast<unsigned>(I % 4) << 13) | 1u;
        _mm_setcsr(Own);
        Fn(Task, I);
        Bad += _mm_getcsr() != Own;
      }).join();
  };
  Context C(4, ParallelFor, nullptr);
  unsigned Before = _mm_getcsr();
  _mm_setcsr(0x5f80u);
  parallelFor(C, 100, [](int64_t, int64_t, int64_t) {
    volatile float Tiny = 1e-38f;
    Tiny = Tiny * Tiny;
  });
  unsigned After = _mm_getcsr();
  _mm_setcsr(Before);
  EXPECT_EQ(After, 0x5f80u);
  EXPECT_EQ(Bad, 0);
}
#endif

//===-- Fork --------------------------------------------------------------===//

namespace {
// Runs a function in a forked child; true if it returns true in time.
template <typename Fn> bool inChild(const Fn &Body) {
  fflush(nullptr);
  pid_t Child = fork();
  if (Child == 0) {
    alarm(30);
    _exit(Body() ? 0 : 1);
  }
  int Status = -1;
  return waitpid(Child, &Status, 0) == Child && Status == 0;
}
} // namespace

TEST(Fork, ChildUsesTheContexts) {
  Context C(4);
  checkLoop(C, 100);
  checkLoop(fovea_default_context(), 100);
  EXPECT_TRUE(inChild([&] {
    for (int I = 0; I != 50; ++I)
      checkLoop(C, 100);
    checkLoop(fovea_default_context(), 100);
    bool Met = meet(C, 4) == 4;
    Context New(3);
    checkLoop(New, 10);
    bool GrandchildMet = inChild([&] { return meet(C, 4) == 4; });
    return Met && GrandchildMet && !testing::Test::HasFailure();
  }));
  checkLoop(C, 100);
  EXPECT_EQ(meet(C, 4), 4);
}

TEST(Fork, ChildDestroysTheContext) {
  fovea_context *C;
  ASSERT_EQ(fovea_context_create(4, &C), FOVEA_OK);
  checkLoop(C, 100);
  EXPECT_TRUE(inChild([&] {
    fovea_context_destroy(C);
    return true;
  }));
  fovea_context_destroy(C);
}

TEST(Fork, WhileAnotherThreadIsInsideALoop) {
  Context C(3);
  std::atomic<bool> Stop{false};
  std::thread Busy([&] {
    while (!Stop)
      checkLoop(C, 50);
  });
  for (int I = 0; I != 20; ++I)
    EXPECT_TRUE(inChild([&] { return meet(C, 3) == 3; }));
  Stop = true;
  Busy.join();
}

TEST(Fork, FromInsideATask) {
  Context C(3);
  std::atomic<int> Good{0};
  parallelFor(C, 6, [&](int64_t Begin, int64_t End, int64_t) {
    // The child has the forking thread only, which is inside a task: a nested
    // loop runs there.
    for (; Begin != End; ++Begin)
      Good += inChild([&] {
        int64_t Items = 0;
        parallelFor(C, 10,
                    [&](int64_t B, int64_t E, int64_t) { Items += E - B; });
        return Items == 10;
      });
  });
  EXPECT_EQ(Good, 6);
}

TEST(Fork, WorkerThatForkedEnds) {
  // Ends the process with the thread, if armed.
  struct ExitWithThread {
    bool Armed = false;
    ~ExitWithThread() {
      if (Armed)
        _exit(7);
    }
  };
  Context C(2);
  std::atomic<bool> Done{false};
  int Status = -1;
  parallelFor(C, 2, [&](int64_t, int64_t, int64_t Worker) {
    if (Worker == 0) {
      for (int I = 0; I != 20000 && !Done; ++I)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      return;
    }
    fflush(nullptr);
    pid_t Child = fork();
    if (Child == 0) {
      // The pool's thread is all of this process; when the task returns it has
      // nothing left to do.
      static thread_local ExitWithThread AtThreadEnd;
      AtThreadEnd.Armed = true;
      alarm(10);
      return;
    }
    waitpid(Child, &Status, 0);
    Done = true;
  });
  EXPECT_TRUE(Done);
  EXPECT_TRUE(WIFEXITED(Status) && WEXITSTATUS(Status) == 7) << Status;
}

int main(int Argc, char **Argv) {
  if (Argc == 2 && std::string(Argv[1]) == "--print-default-threads") {
    printf("%lld\n", (long long)fovea_context_threads(fovea_default_context()));
    return 0;
  }
  testing::InitGoogleTest(&Argc, Argv);
  return RUN_ALL_TESTS();
}
