// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Random sequences of calls of the runtime, right and wrong. Kernels, tensors,
// options and contexts are drawn, then up to three things of a call are broken,
// each in a way whose status and text are known. A call must answer with the
// status of one of the things that were broken and name it; a refused call must
// run nothing and write nothing; one that nothing is wrong with must run the
// right variant, with the right frame, and write exactly its outputs. Contexts
// come and go between calls, also while other threads use others; calls are
// made from inside tasks and from hosts' parallel loops, and in forked
// children. Every status and every way to break a call must come up.
//
//   --seed=S --sequences=N   draw N sequences; the default is in main()
//   --first=I                begin with sequence I, which is the same for
//                            every N

#include "TestKernel.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

using fovea::test::arg;
using fovea::test::Environment;
using fovea::test::sym;

namespace {

//===-- Drawing, counting, complaining ------------------------------------===//

class Random {
public:
  Random(uint64_t Seed, uint64_t Stream) : Engine(Seed * 1000003 + Stream) {}
  int64_t between(int64_t Low, int64_t High) {
    return Low + static_cast<int64_t>(Engine() %
                                      static_cast<uint64_t>(High - Low + 1));
  }
  bool oneIn(int64_t N) { return between(1, N) == 1; }
  template <typename T, size_t N> T from(const T (&Values)[N]) {
    return Values[between(0, N - 1)];
  }
  size_t index(size_t Size) {
    return static_cast<size_t>(between(0, static_cast<int64_t>(Size) - 1));
  }
  uint64_t stream() { return Engine(); }

private:
  std::mt19937_64 Engine;
};

uint64_t Seed = 20260101;
std::atomic<int64_t> Sequence{0}, Failures{0};

void fail(const char *Format, ...) __attribute__((format(printf, 1, 2)));
void fail(const char *Format, ...) {
  if (++Failures > 20)
    return;
  char Text[2048];
  va_list Args;
  va_start(Args, Format);
  vsnprintf(Text, sizeof(Text), Format, Args);
  va_end(Args);
  fprintf(stderr,
          "FAILED: %s\n  again: --seed=%" PRIu64 " --first=%" PRId64
          " --sequences=1\n",
          Text, Seed, Sequence.load());
}

// How often each thing came up.
class Tally {
public:
  void add(const std::string &Name) {
    std::lock_guard<std::mutex> Guard(Lock);
    ++Counts[Name];
  }
  int64_t count(const std::string &Name) const {
    auto Found = Counts.find(Name);
    return Found == Counts.end() ? 0 : Found->second;
  }
  size_t size() const { return Counts.size(); }
  std::mutex &lock() { return Lock; }
  void print(const char *Title) const {
    printf("%s:\n", Title);
    for (const auto &[Name, Count] : Counts)
      printf("  %-34s %10" PRId64 "\n", Name.c_str(), Count);
  }

private:
  std::mutex Lock;
  std::map<std::string, int64_t> Counts;
};
Tally Statuses, Operations, Faults;

// Every way to break a call.
const char *const FaultNames[] = {"a kernel that is NULL",
                                  "another version of the ABI",
                                  "a malformed descriptor",
                                  "an array of arguments that is NULL",
                                  "no variant that runs",
                                  "a bad size of the options",
                                  "a parameter that is missing",
                                  "a workspace that is too small",
                                  "a workspace that is not aligned",
                                  "a workspace over a tensor",
                                  "a workspace that cannot be had",
                                  "a body that fails",
                                  "a tensor that is NULL",
                                  "a shape that is NULL",
                                  "data that are NULL",
                                  "a device other than the CPU",
                                  "another element type",
                                  "another rank",
                                  "negative extent",
                                  "another extent than compiled",
                                  "extents that disagree",
                                  "2^63 elements",
                                  "strides past the address space",
                                  "stride 0 of an output",
                                  "an output that overlaps itself",
                                  "an output that overlaps another",
                                  "data that are not aligned",
                                  "byte offset out of the address space"};

//===-- Contexts ----------------------------------------------------------===//

// Whose threads a context has: a pool's, or a host's that runs the tasks in one
// of these ways. FirstOnly and Nothing leave tasks out, which must cost nothing
// but time.
enum class Threading {
  Pool,
  Backwards,
  ThreadPerTask,
  Reenters,
  SetsErrno,
  FirstOnly,
  Nothing
};

constexpr uint64_t ImpossibleFeature = UINT64_C(1) << 62;
// Long enough that loops of a few dozen items wake threads that sleep.
constexpr int64_t ItemNanoseconds = 5000;
const char *const VariantNames[] = {"first", "second", "third"};

struct TestContext {
  fovea_context *Ptr = nullptr;
  int64_t Threads = 0;
  std::string Isa; // FOVEA_ISA at its birth
  Threading Kind = Threading::Pool;
  std::atomic<uint64_t> Loops{0}; // that the host was asked for
};
using Contexts = std::vector<std::unique_ptr<TestContext>>;

void runOnHost(void *Host, int64_t Count, fovea_task_fn Fn, void *Task);

std::unique_ptr<TestContext> makeContext(Random &R, bool MaySetIsa) {
  static const int64_t Counts[] = {1, 1, 2, 2, 3, 4, 8};
  auto Result = std::make_unique<TestContext>();
  Result->Threads = R.oneIn(200) ? FOVEA_MAX_THREADS : R.from(Counts);
  std::optional<Environment> Isa;
  if (MaySetIsa && R.oneIn(3)) {
    static const char *const Names[] = {"baseline", "second", "third",
                                        "unheard-of", ""};
    Result->Isa = R.from(Names);
    Isa.emplace("FOVEA_ISA", Result->Isa.c_str());
  }
  fovea_status Status;
  if (R.oneIn(2)) {
    Result->Kind = static_cast<Threading>(
        R.between(1, static_cast<int>(Threading::Nothing)));
    if (Result->Kind == Threading::ThreadPerTask)
      Result->Threads = std::min<int64_t>(Result->Threads, 8);
    Status = fovea_context_create_with_host(Result->Threads, runOnHost,
                                            Result.get(), &Result->Ptr);
    Operations.add("context of a host");
  } else {
    Status = fovea_context_create(Result->Threads, &Result->Ptr);
    Operations.add("context with a pool");
  }
  if (Status != FOVEA_OK || !Result->Ptr ||
      fovea_context_threads(Result->Ptr) != Result->Threads)
    fail("a context of %" PRId64 " threads: %s", Result->Threads,
         fovea_status_name(Status));
  return Result;
}

void destroy(TestContext &Which) {
  fovea_context_destroy(Which.Ptr);
  Operations.add("context destroyed");
}

//===-- Calls -------------------------------------------------------------===//

constexpr char Untouched = 0x5a;

char elementByte(int64_t Item) { return static_cast<char>(0x80 | (Item & 63)); }

// A tensor in memory of exactly its size.
struct TestTensor {
  bool Present = true, Empty = false, GivesStrides = true;
  std::vector<int64_t> Shape, Strides;
  int64_t Element = 1, Elements = 1, Bytes = 0, Origin = 0;
  std::unique_ptr<char[]> Memory;
  DLTensor View;

  // Where an element lies in Memory, by its row-major number.
  int64_t place(int64_t Item) const {
    int64_t Place = Origin;
    for (size_t D = Shape.size(); D-- != 0; Item /= Shape[D])
      Place += Item % Shape[D] * Strides[D] * Element;
    return Place;
  }
};

// A status that a call may answer, and what its text must hold then.
struct Refusal {
  fovea_status Status;
  std::string Text;
};

struct Call;
thread_local Call *Active;

// A drawn kernel, what it is called with, and what is broken.
struct Call {
  Call(Random &R, const TestContext *Where);

  // Breaks something; false if this call does not have what it takes.
  bool breakSomething(Random &R);
  void run(Random &R);
  void query(Random &R);

  bool isOutput(size_t I) const { return Args[I].role != FOVEA_INPUT; }
  bool mustFail() const { return !Refusals.empty(); }
  std::string argument(size_t I) const {
    return "argument '" + ArgNames[I] + "'";
  }

  std::vector<std::string> ArgNames, SymbolNames, ParamNames;
  std::vector<const char *> SymbolPointers;
  std::vector<fovea_arg_desc> Args;
  std::vector<fovea_param_desc> Params;
  std::vector<fovea_variant> Variants;
  fovea_kernel Kernel{};
  const fovea_kernel *KernelPointer = &Kernel;
  std::vector<TestTensor> Tensors;
  std::vector<const DLTensor *> Pointers;
  const DLTensor *const *PointerArray = nullptr;
  std::vector<int64_t> Symbols, ParamValues;

  const TestContext *Where; // NULL: the default context
  int64_t OptionsSize = 0;  // 0: no options
  const void *Options = nullptr;
  std::unique_ptr<char[]> OptionsMemory;
  int64_t WorkspaceNeed = 0; // what the kernel says
  bool HasWorkspace = false;
  std::unique_ptr<char[]> WorkspaceMemory;
  fovea_options Head{};

  int32_t BodyStatus = FOVEA_OK;
  int WantedVariant = -1;
  std::unique_ptr<Call> FromTask; // made from inside a task
  uint64_t TaskStream = 0;

  std::vector<Refusal> Refusals;
  std::vector<bool> Used; // arguments that are broken, or that a break needs
  int Ran = 0;

private:
  void drawKernel(Random &R);
  void drawTensor(Random &R, size_t I);
  void drawOptions(Random &R);
  void writeOptions();
  void refuse(fovea_status Status, std::string Text) {
    Refusals.push_back({Status, std::move(Text)});
  }
  bool breakArgument(Random &R, const char *&Name);
  bool breakShape(Random &R, size_t I, const char *&Name);
  bool breakStrides(Random &R, size_t I, const char *&Name);
  bool breakPlace(Random &R, size_t I, const char *&Name);
  bool breakDescriptor(Random &R, const char *&Name);
  bool breakOptions(Random &R, const char *&Name);
  void checkAnswer(fovea_status Status, const std::string &Before);
  void checkMemory() const;
};

template <int Variant> int32_t body(const fovea_frame *Frame);
int64_t workspaceSize(const int64_t *Symbols, const int64_t *Params,
                      int64_t Workers);
constexpr fovea_body_fn Bodies[] = {body<0>, body<1>, body<2>};

Call::Call(Random &R, const TestContext *Place) : Where(Place) {
  drawKernel(R);
  for (size_t I = 0; I != Args.size(); ++I)
    drawTensor(R, I);
  for (size_t I = 0; I != Args.size(); ++I)
    Pointers.push_back(Tensors[I].Present ? &Tensors[I].View : nullptr);
  PointerArray = Pointers.data();
  Used.assign(Args.size(), false);
  // A symbol that no tensor has is 0.
  for (size_t S = 0; S != Symbols.size(); ++S) {
    bool Seen = false;
    for (size_t I = 0; I != Args.size(); ++I)
      for (int32_t D = 0; Tensors[I].Present && D != Args[I].rank; ++D)
        Seen |= Args[I].dims[D] == sym(static_cast<int64_t>(S));
    if (!Seen)
      Symbols[S] = 0;
  }
  drawOptions(R);
}

void Call::drawKernel(Random &R) {
  struct Type {
    int Code, Bits;
  };
  static const Type Types[] = {{kDLFloat, 32},  {kDLFloat, 64}, {kDLFloat, 16},
                               {kDLBfloat, 16}, {kDLInt, 8},    {kDLInt, 64},
                               {kDLUInt, 8}};
  static const int64_t Extents[] = {0, 1, 1, 2, 2, 3, 3, 4, 5};
  int64_t NumSymbols = R.between(0, 3), NumParams = R.between(0, 3),
          NumArgs = R.oneIn(50) ? FOVEA_MAX_ARGS : R.between(0, 5);
  for (int64_t S = 0; S != NumSymbols; ++S) {
    SymbolNames.push_back("S" + std::to_string(S));
    Symbols.push_back(R.from(Extents));
  }
  for (int64_t P = 0; P != NumParams; ++P)
    ParamNames.push_back("p" + std::to_string(P));
  for (int64_t I = 0; I != NumArgs; ++I)
    ArgNames.push_back("t" + std::to_string(I));
  for (const std::string &Name : SymbolNames)
    SymbolPointers.push_back(Name.c_str());
  for (const std::string &Name : ParamNames) {
    int32_t HasDefault = R.oneIn(2);
    Params.push_back({Name.c_str(), R.between(-5, 5), HasDefault, 0});
  }
  for (const std::string &Name : ArgNames) {
    std::vector<int64_t> Dims(
        static_cast<size_t>(R.oneIn(20) ? R.between(0, 8) : R.between(0, 4)));
    for (int64_t &Dim : Dims)
      Dim = NumSymbols && R.oneIn(2) ? sym(R.between(0, NumSymbols - 1))
                                     : std::max<int64_t>(1, R.from(Extents));
    static const fovea_role Roles[] = {FOVEA_INPUT, FOVEA_INPUT, FOVEA_OUTPUT,
                                       FOVEA_INOUT};
    fovea_role Role = R.from(Roles);
    bool Optional = R.oneIn(4);
    Type T = R.from(Types);
    Args.push_back(arg(Name.c_str(), Role, Dims, Optional, T.Code, T.Bits));
  }

  // Variants; without one that runs here the call is refused.
  int64_t NumVariants = R.oneIn(30) ? 0 : R.between(1, 3);
  if (!R.oneIn(3))
    WorkspaceNeed = R.between(1, 300);
  for (int64_t V = 0; V != NumVariants; ++V)
    Variants.push_back({VariantNames[V], R.oneIn(8) ? ImpossibleFeature : 0,
                        Bodies[V], WorkspaceNeed ? workspaceSize : nullptr});
  size_t First = 0;
  if (Where && !Where->Isa.empty() && Where->Isa != "baseline")
    while (First != Variants.size() && Where->Isa != Variants[First].isa)
      ++First;
  for (; WantedVariant < 0 && First != Variants.size(); ++First)
    if (!Variants[First].features)
      WantedVariant = static_cast<int>(First);
  if (WantedVariant < 0) {
    refuse(FOVEA_ERROR_UNSUPPORTED_ISA, "variants");
    Faults.add("no variant that runs");
  }

  Kernel.abi_version = FOVEA_ABI_VERSION;
  Kernel.name = "misused";
  Kernel.num_args = static_cast<int32_t>(Args.size());
  Kernel.args = Args.data();
  Kernel.num_symbols = static_cast<int32_t>(Symbols.size());
  Kernel.symbols = SymbolPointers.data();
  Kernel.num_params = static_cast<int32_t>(Params.size());
  Kernel.params = Params.data();
  Kernel.num_variants = static_cast<int32_t>(Variants.size());
  Kernel.variants = Variants.data();
}

void Call::drawTensor(Random &R, size_t I) {
  const fovea_arg_desc &Desc = Args[I];
  TestTensor &T = Tensors.emplace_back();
  size_t Rank = static_cast<size_t>(Desc.rank);
  T.Present = !Desc.optional || R.oneIn(2);
  T.Element = Desc.dtype_bits / 8;
  for (size_t D = 0; D != Rank; ++D) {
    int64_t Dim = Desc.dims[D];
    T.Shape.push_back(Dim >= 0 ? Dim : Symbols[static_cast<size_t>(-1 - Dim)]);
    T.Elements *= T.Shape.back();
  }
  T.Empty = T.Elements == 0;

  // Row-major without strides, or any order with gaps, backwards, and for
  // inputs broadcast.
  std::vector<size_t> Order(Rank);
  for (size_t D = 0; D != Rank; ++D)
    Order[D] = Rank - 1 - D;
  T.GivesStrides = R.oneIn(2);
  T.Strides.assign(Rank, 1);
  if (T.GivesStrides)
    for (size_t D = Rank; D > 1; --D)
      std::swap(Order[D - 1], Order[R.index(D)]);
  int64_t Next = 1, Below = 0, Above = 0;
  for (size_t D : Order) {
    if (T.GivesStrides)
      Next += R.between(0, 2);
    T.Strides[D] = Next;
    Next *= std::max<int64_t>(T.Shape[D], 1);
    if (T.GivesStrides && R.oneIn(5))
      T.Strides[D] = -T.Strides[D];
    if (T.GivesStrides && Desc.role == FOVEA_INPUT && R.oneIn(5))
      T.Strides[D] = 0;
    int64_t Reach = (T.Shape[D] - 1) * T.Strides[D] * T.Element;
    if (!T.Empty)
      (Reach < 0 ? Below : Above) += Reach;
  }
  T.Origin = -Below;
  T.Bytes = T.Empty ? 0 : Above - Below + T.Element;
  T.Memory = std::make_unique<char[]>(static_cast<size_t>(T.Bytes));
  memset(T.Memory.get(), Untouched, static_cast<size_t>(T.Bytes));

  T.View.device = {kDLCPU, 0};
  T.View.ndim = Desc.rank;
  T.View.dtype = {Desc.dtype_code, Desc.dtype_bits, 1};
  T.View.shape = T.Shape.data();
  T.View.strides = T.GivesStrides ? T.Strides.data() : nullptr;
  T.View.data = T.Memory.get();
  T.View.byte_offset = static_cast<uint64_t>(T.Origin);
  if (R.oneIn(2)) {
    T.View.data = T.Memory.get() + T.Origin;
    T.View.byte_offset = 0;
  }
  if (T.Empty && R.oneIn(2))
    T.View.data = nullptr;
}

void Call::drawOptions(Random &R) {
  bool NeedsParam = false;
  for (const fovea_param_desc &Param : Params)
    NeedsParam |= !Param.has_default;
  for (const fovea_param_desc &Param : Params)
    ParamValues.push_back(Param.default_value);
  if (!NeedsParam && !Where && R.oneIn(2))
    return;
  // As many parameters as the caller knows of.
  size_t Known = Params.size();
  while (Known && Params[Known - 1].has_default && R.oneIn(3))
    --Known;
  for (size_t P = 0; P != Known; ++P)
    ParamValues[P] = R.between(-1000, 1000);
  OptionsSize = static_cast<int64_t>(sizeof(fovea_options) + Known * 8);
  if (!Known && !Where && R.oneIn(3))
    OptionsSize = 8; // the size alone
  Head = {static_cast<size_t>(OptionsSize), Where ? Where->Ptr : nullptr,
          nullptr, 0};
  HasWorkspace =
      OptionsSize >= static_cast<int64_t>(sizeof(fovea_options)) && R.oneIn(2);
  if (HasWorkspace) {
    size_t Size = static_cast<size_t>(WorkspaceNeed + R.between(0, 1) * 64);
    WorkspaceMemory = std::make_unique<char[]>(Size + 64);
    auto Base = reinterpret_cast<uintptr_t>(WorkspaceMemory.get());
    Head.workspace = reinterpret_cast<void *>((Base + 63) / 64 * 64);
    Head.workspace_size = Size;
  }
  writeOptions();
}

// The options in memory of exactly the size that they state.
void Call::writeOptions() {
  size_t Size = static_cast<size_t>(OptionsSize);
  OptionsMemory = std::make_unique<char[]>(Size);
  memcpy(OptionsMemory.get(), &Head, std::min(Size, sizeof(Head)));
  for (size_t P = 0; sizeof(Head) + P * 8 < Size; ++P)
    memcpy(OptionsMemory.get() + sizeof(Head) + P * 8, &ParamValues[P], 8);
  Options = OptionsMemory.get();
}

//===-- What kernels do ---------------------------------------------------===//

struct Loop {
  Call *Owner;
  const fovea_frame *Frame;
  std::vector<std::pair<size_t, int64_t>> Items; // argument, element
  std::vector<std::atomic<int>> InUse;           // by worker
};

void runItems(void *Closure, int64_t Begin, int64_t End, int64_t Worker) {
  Loop &L = *static_cast<Loop *>(Closure);
  if (Worker < 0 || Worker >= L.Frame->workers || Begin >= End || Begin < 0 ||
      End > static_cast<int64_t>(L.Items.size())) {
    fail("worker %" PRId64 " of %" PRId64 " got items %" PRId64 " to %" PRId64,
         Worker, L.Frame->workers, Begin, End);
    return;
  }
  std::atomic<int> &InUse = L.InUse[static_cast<size_t>(Worker)];
  if (InUse++)
    fail("two tasks at a time have worker id %" PRId64, Worker);
#if defined(__x86_64__)
  if ((_mm_getcsr() & ~0x3fu) != 0x9fc0u)
    fail("a task runs with MXCSR %#x", _mm_getcsr());
#endif
  std::pair<Loop *, int64_t> Nested = {&L, Worker};
  for (int64_t Item = Begin; Item != End; ++Item) {
    auto [Argument, Element] = L.Items[static_cast<size_t>(Item)];
    TestTensor &T = L.Owner->Tensors[Argument];
    memset(T.Memory.get() + T.place(Element), elementByte(Element),
           static_cast<size_t>(T.Element));
    if (Item == 0 && L.Owner->FromTask) {
      Random R(Seed, L.Owner->TaskStream);
      L.Owner->FromTask->run(R);
      Operations.add("call from inside a task");
    }
    // A loop inside a task has the task's worker id, or such as are free.
    if (Item == 0)
      fovea_parallel_for(
          L.Frame->context, 5, ItemNanoseconds,
          [](void *Closure, int64_t, int64_t, int64_t Inner) {
            auto [Outer, OuterId] =
                *static_cast<std::pair<Loop *, int64_t> *>(Closure);
            if (Inner == OuterId)
              return;
            if (Outer->InUse[static_cast<size_t>(Inner)]++)
              fail("two tasks at a time have worker id %" PRId64, Inner);
            std::this_thread::yield();
            --Outer->InUse[static_cast<size_t>(Inner)];
          },
          &Nested);
  }
  --InUse;
}

void checkFrame(const Call &C, const fovea_frame *Frame) {
  int64_t Threads = C.Where ? C.Where->Threads
                            : fovea_context_threads(fovea_default_context());
  if (Frame->workers != Threads ||
      (C.Where && Frame->context != C.Where->Ptr) ||
      (!C.Where && Frame->context != fovea_default_context()))
    fail("the frame has another context");
  for (size_t S = 0; S != C.Symbols.size(); ++S)
    if (Frame->symbols[S] != C.Symbols[S])
      fail("symbol %zu is %" PRId64 ", not %" PRId64, S, Frame->symbols[S],
           C.Symbols[S]);
  for (size_t P = 0; P != C.Params.size(); ++P)
    if (Frame->params[P] != C.ParamValues[P])
      fail("parameter %zu is %" PRId64 ", not %" PRId64, P, Frame->params[P],
           C.ParamValues[P]);
  for (size_t I = 0; I != C.Args.size(); ++I) {
    const TestTensor &T = C.Tensors[I];
    const fovea_view &View = Frame->args[I];
    if (!T.Present ? View.data != nullptr
                   : !T.Empty && View.data != T.Memory.get() + T.Origin)
      fail("argument %zu lies elsewhere", I);
    for (size_t D = 0; T.Present && !T.Empty && D != T.Shape.size(); ++D)
      if (View.strides[D] != (T.Shape[D] == 1 ? 1 : T.Strides[D]))
        fail("dimension %zu of argument %zu has stride %" PRId64
             ", not %" PRId64,
             D, I, View.strides[D], T.Strides[D]);
  }
  if ((C.WorkspaceNeed != 0) != (Frame->workspace != nullptr) ||
      reinterpret_cast<uintptr_t>(Frame->workspace) % 64)
    fail("the workspace is %p", Frame->workspace);
  if (C.HasWorkspace && C.WorkspaceNeed && Frame->workspace != C.Head.workspace)
    fail("the workspace is not the caller's");
}

template <int Variant> int32_t body(const fovea_frame *Frame) {
  Call &C = *Active;
  ++C.Ran;
  if (Variant != C.WantedVariant)
    fail("variant %d ran, not %d", Variant, C.WantedVariant);
  checkFrame(C, Frame);
  if (C.WorkspaceNeed)
    memset(Frame->workspace, 1, static_cast<size_t>(C.WorkspaceNeed));
  if (C.BodyStatus != FOVEA_OK)
    return C.BodyStatus;
  Loop L{&C,
         Frame,
         {},
         std::vector<std::atomic<int>>(static_cast<size_t>(Frame->workers))};
  for (size_t I = 0; I != C.Args.size(); ++I)
    if (C.isOutput(I) && C.Tensors[I].Present)
      for (int64_t Item = 0; Item != C.Tensors[I].Elements; ++Item)
        L.Items.push_back({I, Item});
  // No item, or fewer, is no loop.
  fovea_parallel_for(Frame->context, 0, 1, runItems, nullptr);
  fovea_parallel_for(Frame->context, INT64_MIN, INT64_MAX, runItems, nullptr);
  fovea_parallel_for(Frame->context, static_cast<int64_t>(L.Items.size()),
                     ItemNanoseconds, runItems, &L);
  return FOVEA_OK;
}

int64_t workspaceSize(const int64_t *Symbols, const int64_t *Params,
                      int64_t Workers) {
  const Call &C = *Active;
  for (size_t S = 0; S != C.Symbols.size(); ++S)
    if (Symbols[S] != C.Symbols[S])
      fail("the workspace's symbol %zu is %" PRId64 ", not %" PRId64, S,
           Symbols[S], C.Symbols[S]);
  for (size_t P = 0; P != C.Params.size(); ++P)
    if (Params[P] != C.ParamValues[P])
      fail("the workspace's parameter %zu is %" PRId64 ", not %" PRId64, P,
           Params[P], C.ParamValues[P]);
  if (Workers < 1 || Workers > FOVEA_MAX_THREADS)
    fail("the workspace is for %" PRId64 " workers", Workers);
  return C.WorkspaceNeed;
}

void runOnHost(void *Host, int64_t Count, fovea_task_fn Fn, void *Task) {
  // Set while the host itself makes a call, which may come back here.
  static thread_local bool Inside;
  TestContext &Context = *static_cast<TestContext *>(Host);
  uint64_t Loops = ++Context.Loops;
  switch (Context.Kind) {
  case Threading::ThreadPerTask: {
    std::vector<std::thread> Threads;
    for (int64_t I = 0; I != Count; ++I)
      Threads.emplace_back(Fn, Task, I);
    for (std::thread &Thread : Threads)
      Thread.join();
    return;
  }
  case Threading::Pool:
  case Threading::Nothing:
    return;
  case Threading::FirstOnly:
    Fn(Task, 0);
    return;
  case Threading::Reenters:
    for (int64_t I = 0; I != Count; ++I) {
      if (!Inside && I < 2) {
        Inside = true;
        Random R(Seed, Loops);
        Call Other(R, R.oneIn(2) ? &Context : nullptr);
        if (R.oneIn(2))
          Other.breakSomething(R);
        Other.run(R);
        Operations.add("call from a host's loop");
        Inside = false;
      }
      Fn(Task, I);
    }
    return;
  case Threading::SetsErrno:
    errno = EINTR;
    [[fallthrough]];
  case Threading::Backwards:
    while (Count--)
      Fn(Task, Count);
    return;
  }
}

//===-- Ways to break a call ----------------------------------------------===//

bool Call::breakShape(Random &R, size_t I, const char *&Name) {
  TestTensor &T = Tensors[I];
  if (T.Shape.empty())
    return false;
  size_t D = R.index(T.Shape.size());
  int64_t Dim = Args[I].dims[D];
  if (R.oneIn(3)) {
    T.Shape[D] = R.oneIn(2) ? -1 : INT64_MIN;
    Name = "negative extent";
  } else if (Dim >= 0) {
    T.Shape[D] = R.oneIn(2) ? Dim + 1 : INT64_MAX;
    Name = "another extent than compiled";
  } else {
    // Somebody else has the symbol too. Each break has an extent of its own,
    // so that two do not agree.
    bool Shared = false;
    for (size_t J = 0; J != Args.size(); ++J)
      for (size_t E = 0; Tensors[J].Present && E != Tensors[J].Shape.size();
           ++E)
        Shared |= Args[J].dims[E] == Dim && (J != I || E != D);
    if (!Shared) {
      if (T.Empty || T.Shape[D] < 2)
        return false;
      // 2^63 elements, if the others make them.
      if (T.Elements == T.Shape[D])
        return false;
      T.Shape[D] = INT64_MAX;
      Name = "2^63 elements";
    } else {
      T.Shape[D] = 1000 + static_cast<int64_t>(I);
      // Nothing else is wrong with it: row-major, and somewhere.
      T.View.strides = nullptr;
      T.View.data = T.Memory.get();
      T.View.byte_offset = 0;
      Name = "extents that disagree";
    }
  }
  refuse(FOVEA_ERROR_SHAPE, argument(I));
  return true;
}

bool Call::breakStrides(Random &R, size_t I, const char *&Name) {
  TestTensor &T = Tensors[I];
  std::vector<size_t> Long;
  for (size_t D = 0; D != T.Shape.size(); ++D)
    if (T.Shape[D] > 1)
      Long.push_back(D);
  if (T.Empty || Long.empty())
    return false;
  T.View.strides = T.Strides.data();
  size_t D = Long[R.index(Long.size())];
  switch (R.between(0, 2)) {
  case 0:
    T.Strides[D] = R.oneIn(2) ? INT64_MAX : INT64_MIN;
    Name = "strides past the address space";
    refuse(FOVEA_ERROR_STRIDE, argument(I));
    return true;
  case 1:
    if (!isOutput(I))
      return false;
    T.Strides[D] = 0;
    Name = "stride 0 of an output";
    refuse(FOVEA_ERROR_STRIDE, argument(I));
    return true;
  default: {
    size_t Other = Long[R.index(Long.size())];
    if (!isOutput(I) || Other == D)
      return false;
    // Some step along D ends where steps along the other dimension do.
    T.Strides[D] = T.Strides[Other] * R.between(1, T.Shape[Other] - 1);
    Name = "an output that overlaps itself";
    refuse(FOVEA_ERROR_OVERLAP, argument(I));
    return true;
  }
  }
}

bool Call::breakPlace(Random &R, size_t I, const char *&Name) {
  TestTensor &T = Tensors[I];
  if (T.Empty)
    return false;
  switch (R.between(0, 3)) {
  case 0:
    T.View.data = nullptr;
    Name = "data that are NULL";
    refuse(FOVEA_ERROR_INVALID_ARGUMENT, argument(I));
    return true;
  case 1:
    if (T.Element == 1)
      return false;
    ++T.View.byte_offset;
    Name = "data that are not aligned";
    refuse(FOVEA_ERROR_ALIGNMENT, argument(I));
    return true;
  case 2:
    T.View.byte_offset = UINT64_MAX - static_cast<uint64_t>(R.between(0, 15));
    Name = "byte offset out of the address space";
    refuse(FOVEA_ERROR_STRIDE, argument(I));
    return true;
  default: {
    size_t J = R.index(Args.size());
    TestTensor &Other = Tensors[J];
    if (J == I || Used[J] || !Other.Present || Other.Empty ||
        (!isOutput(I) && !isOutput(J)))
      return false;
    char *Place =
        Other.Memory.get() + Other.place(R.between(0, Other.Elements - 1));
    if (reinterpret_cast<uintptr_t>(Place) % static_cast<uint64_t>(T.Element))
      return false;
    T.View.data = Place;
    T.View.byte_offset = 0;
    Used[J] = true;
    Name = "an output that overlaps another";
    refuse(FOVEA_ERROR_OVERLAP, "'" + ArgNames[I] + "'");
    return true;
  }
  }
}

bool Call::breakArgument(Random &R, const char *&Name) {
  if (Args.empty())
    return false;
  size_t I = R.index(Args.size());
  TestTensor &T = Tensors[I];
  if (Used[I] || !T.Present)
    return false;
  bool Done = true;
  switch (R.between(0, 8)) {
  case 0:
    Done = !Args[I].optional;
    if (!Done)
      break;
    Pointers[I] = nullptr;
    Name = "a tensor that is NULL";
    refuse(FOVEA_ERROR_INVALID_ARGUMENT, argument(I));
    break;
  case 1:
    Done = Args[I].rank > 0;
    if (!Done)
      break;
    T.View.shape = nullptr;
    Name = "a shape that is NULL";
    refuse(FOVEA_ERROR_INVALID_ARGUMENT, argument(I));
    break;
  case 2: {
    static const int Devices[] = {0, 2, 7, 13, -1};
    T.View.device.device_type = static_cast<DLDeviceType>(R.from(Devices));
    Name = "a device other than the CPU";
    refuse(FOVEA_ERROR_DEVICE, argument(I));
    break;
  }
  case 3:
    switch (R.between(0, 2)) {
    case 0:
      T.View.dtype.code = static_cast<uint8_t>(T.View.dtype.code + 1);
      break;
    case 1:
      T.View.dtype.bits = static_cast<uint8_t>(T.View.dtype.bits + 8);
      break;
    default:
      T.View.dtype.lanes = static_cast<uint16_t>(R.oneIn(2) ? 0 : 2);
    }
    Name = "another element type";
    refuse(FOVEA_ERROR_DTYPE, argument(I));
    break;
  case 4: {
    static const int Ranks[] = {-1, 9, INT32_MAX, INT32_MIN};
    T.View.ndim = R.oneIn(2) ? T.View.ndim + 1 : R.from(Ranks);
    Name = "another rank";
    refuse(FOVEA_ERROR_RANK, argument(I));
    break;
  }
  case 5:
  case 6:
    Done = breakShape(R, I, Name);
    break;
  case 7:
    Done = breakStrides(R, I, Name);
    break;
  default:
    Done = breakPlace(R, I, Name);
  }
  Used[I] = Done;
  return Done;
}

bool Call::breakDescriptor(Random &R, const char *&Name) {
  if (R.oneIn(8)) {
    KernelPointer = nullptr;
    Name = "a kernel that is NULL";
    refuse(FOVEA_ERROR_INVALID_ARGUMENT, "the kernel is NULL");
    return true;
  }
  if (R.oneIn(6)) {
    static const uint32_t Versions[] = {0, FOVEA_ABI_VERSION + 1, UINT32_MAX};
    Kernel.abi_version = R.from(Versions);
    Name = "another version of the ABI";
    refuse(FOVEA_ERROR_ABI_VERSION, "version");
    return true;
  }
  static const int32_t Counts[] = {-1, 65, INT32_MAX, INT32_MIN};
  Name = "a malformed descriptor";
  refuse(FOVEA_ERROR_INTERNAL, "descriptor");
  // Where there is none of what a choice breaks, the name goes.
  fovea_arg_desc *Arg = Args.empty() ? nullptr : &Args[R.index(Args.size())];
  fovea_variant *Variant =
      Variants.empty() ? nullptr : &Variants[R.index(Variants.size())];
  switch (R.between(0, 17)) {
  case 0:
    Kernel.num_args = R.from(Counts);
    return true;
  case 1:
    Kernel.num_symbols = R.from(Counts);
    return true;
  case 2:
    Kernel.num_params = R.from(Counts);
    return true;
  case 3:
    Kernel.num_variants = R.oneIn(2) ? -1 : INT32_MIN;
    return true;
  case 4:
    if (Arg)
      return Arg->rank = R.oneIn(2) ? -1 : 9, true;
    break;
  case 5:
    if (Arg)
      return Arg->dtype_bits = R.oneIn(2) ? 0 : 12, true;
    break;
  case 6:
    if (Arg)
      return Arg->role = R.oneIn(2) ? 3 : 255, true;
    break;
  case 7:
    if (Arg && Arg->rank)
      return Arg->dims[0] = sym(Kernel.num_symbols), true;
    break;
  case 8:
    if (Arg)
      return Arg->name = nullptr, true;
    break;
  case 9:
    if (Arg)
      return Kernel.args = nullptr, true;
    break;
  case 10:
    if (!Symbols.empty())
      return Kernel.symbols = nullptr, true;
    break;
  case 11:
    if (!Symbols.empty())
      return SymbolPointers[R.index(Symbols.size())] = nullptr, true;
    break;
  case 12:
    if (!Params.empty())
      return Kernel.params = nullptr, true;
    break;
  case 13:
    if (!Params.empty())
      return Params[R.index(Params.size())].name = nullptr, true;
    break;
  case 14:
    if (Variant)
      return Kernel.variants = nullptr, true;
    break;
  case 15:
    if (Variant)
      return Variant->isa = nullptr, true;
    break;
  case 16:
    if (Variant)
      return Variant->body = nullptr, true;
    break;
  default:
    break;
  }
  Kernel.name = nullptr;
  return true;
}

bool Call::breakOptions(Random &R, const char *&Name) {
  switch (R.between(0, 6)) {
  case 0: {
    if (!OptionsSize)
      return false;
    // Of no struct that the kernel could have.
    size_t Largest = sizeof(fovea_options) + Params.size() * 8;
    const size_t Sizes[] = {0, 7, 9, Largest - 1, Largest + 8, SIZE_MAX};
    Head.size = R.from(Sizes);
    memcpy(OptionsMemory.get(), &Head.size, sizeof(size_t));
    Name = "a bad size of the options";
    refuse(FOVEA_ERROR_INVALID_ARGUMENT, "options.size");
    return true;
  }
  case 1: {
    std::vector<size_t> Needed;
    for (size_t P = 0; P != Params.size(); ++P)
      if (!Params[P].has_default)
        Needed.push_back(P);
    if (Needed.empty() || !OptionsSize)
      return false;
    size_t Missing = Needed[0];
    Name = "a parameter that is missing";
    if (R.oneIn(2)) {
      Options = nullptr; // and with them the context: UNSUPPORTED_ISA may go
    } else {
      OptionsSize = static_cast<int64_t>(sizeof(fovea_options) + Missing * 8);
      Head.size = static_cast<size_t>(OptionsSize);
      writeOptions();
    }
    refuse(FOVEA_ERROR_INVALID_ARGUMENT, "'" + ParamNames[Missing] + "'");
    return true;
  }
  case 2:
    if (!HasWorkspace || !WorkspaceNeed)
      return false;
    Head.workspace_size = static_cast<size_t>(R.between(0, WorkspaceNeed - 1));
    Name = "a workspace that is too small";
    refuse(FOVEA_ERROR_WORKSPACE_TOO_SMALL, "workspace");
    break;
  case 3:
    if (!HasWorkspace || !WorkspaceNeed)
      return false;
    Head.workspace = static_cast<char *>(Head.workspace) + 8;
    Name = "a workspace that is not aligned";
    refuse(FOVEA_ERROR_ALIGNMENT, "workspace");
    break;
  case 4: {
    if (!HasWorkspace || !WorkspaceNeed || Args.empty())
      return false;
    // Over the 64 bytes that hold some element.
    size_t I = R.index(Args.size());
    TestTensor &T = Tensors[I];
    if (Used[I] || !T.Present || T.Empty)
      return false;
    uintptr_t Place = reinterpret_cast<uintptr_t>(T.Memory.get()) +
                      static_cast<uintptr_t>(T.place(0));
    if (WorkspaceNeed < 64)
      return false;
    Head.workspace = reinterpret_cast<void *>(Place / 64 * 64);
    Used[I] = true;
    Name = "a workspace over a tensor";
    // It may reach over a neighbour that comes first.
    refuse(FOVEA_ERROR_OVERLAP, "workspace");
    break;
  }
  case 5: {
    if (!WorkspaceNeed || HasWorkspace)
      return false;
    WorkspaceNeed = R.oneIn(10) ? INT64_C(1) << 60 : -1;
    Name = "a workspace that cannot be had";
    refuse(FOVEA_ERROR_OUT_OF_MEMORY, "workspace");
    return true;
  }
  default: {
    static const int32_t Bad[] = {-1, FOVEA_ERROR_INTERNAL + 1, INT32_MIN,
                                  INT32_MAX};
    if (R.oneIn(4)) {
      BodyStatus = R.from(Bad);
      refuse(FOVEA_ERROR_INTERNAL, "which is no status");
    } else {
      BodyStatus = static_cast<int32_t>(R.between(1, FOVEA_ERROR_INTERNAL));
      auto Status = static_cast<fovea_status>(BodyStatus);
      refuse(Status, std::string("failed: ") + fovea_status_name(Status));
    }
    Name = "a body that fails";
    return true;
  }
  }
  writeOptions();
  return true;
}

bool Call::breakSomething(Random &R) {
  const char *Name = nullptr;
  bool Done = false;
  if (R.oneIn(40) && !Args.empty()) {
    PointerArray = nullptr;
    Name = "an array of arguments that is NULL";
    refuse(FOVEA_ERROR_INVALID_ARGUMENT, "array of arguments");
    Done = true;
  } else if (R.oneIn(8)) {
    Done = breakDescriptor(R, Name);
  } else if (R.oneIn(4)) {
    Done = breakOptions(R, Name);
  } else {
    Done = breakArgument(R, Name);
  }
  if (Done)
    Faults.add(Name);
  return Done;
}

//===-- Making a call -----------------------------------------------------===//

void Call::checkAnswer(fovea_status Status, const std::string &Before) {
  Statuses.add(fovea_status_name(Status));
  std::string Text = fovea_last_error();
  if (!mustFail()) {
    if (Status != FOVEA_OK)
      fail("a good call is refused: %s: %s", fovea_status_name(Status),
           Text.c_str());
    if (Text != Before)
      fail("a call that succeeds changes the error text to '%s'", Text.c_str());
    return;
  }
  for (const Refusal &R : Refusals)
    if (R.Status == Status && Text.find(R.Text) != std::string::npos)
      return;
  std::string Wanted;
  for (const Refusal &R : Refusals)
    Wanted += std::string(Wanted.empty() ? "" : ", or ") +
              fovea_status_name(R.Status) + " with '" + R.Text + "'";
  fail("got %s, '%s'; expected %s", fovea_status_name(Status), Text.c_str(),
       Wanted.c_str());
}

void Call::checkMemory() const {
  bool Wrote = Ran && BodyStatus == FOVEA_OK;
  for (size_t I = 0; I != Args.size(); ++I) {
    const TestTensor &T = Tensors[I];
    std::vector<char> Wanted(static_cast<size_t>(T.Bytes), Untouched);
    for (int64_t Item = 0;
         Wrote && isOutput(I) && T.Present && Item != T.Elements; ++Item)
      std::fill_n(Wanted.begin() + T.place(Item), T.Element, elementByte(Item));
    if (T.Bytes && memcmp(Wanted.data(), T.Memory.get(), Wanted.size()) != 0)
      fail(Wrote ? "argument %zu holds something else than was computed"
                 : "argument %zu of a refused call was written",
           I);
  }
}

void Call::run(Random &R) {
  std::string Before = fovea_last_error();
  Call *Outer = Active;
  Active = this;
  int Errno = static_cast<int>(R.between(0, 100));
#if defined(__x86_64__)
  // The host's own rounding, flushing and sticky flags.
  static const unsigned Environments[] = {0x1f80, 0x9fc0, 0x3f80, 0x5fa1,
                                          0xffc0};
  unsigned Environment = R.from(Environments), Found = _mm_getcsr();
  _mm_setcsr(Environment);
#endif
  errno = Errno;
  fovea_status Status = fovea_invoke(KernelPointer, PointerArray, Options);
  int ErrnoAfter = errno;
#if defined(__x86_64__)
  unsigned After = _mm_getcsr();
  _mm_setcsr(Found);
  if (After != Environment)
    fail("MXCSR was %#x and is %#x", Environment, After);
#endif
  Active = Outer;
  if (ErrnoAfter != Errno)
    fail("errno was %d and is %d", Errno, ErrnoAfter);
  // A call made on the way may have failed on this thread.
  if (FromTask || (Where && Where->Kind == Threading::Reenters))
    Before = fovea_last_error();
  checkAnswer(Status, Before);
  bool BodyFails = Ran && BodyStatus != FOVEA_OK;
  if (Ran != (mustFail() && !BodyFails ? 0 : 1))
    fail("the body ran %d times", Ran);
  checkMemory();
}

// Asks for the size of the workspace, with one thing wrong at most.
void Call::query(Random &R) {
  std::vector<int64_t> Values = Symbols;
  const int64_t *Given = Values.data();
  std::vector<Refusal> Wanted;
  if (WantedVariant < 0)
    Wanted.push_back({FOVEA_ERROR_UNSUPPORTED_ISA, "variants"});
  if (!Values.empty() && R.oneIn(3)) {
    if (R.oneIn(2)) {
      Given = nullptr;
      Wanted.push_back({FOVEA_ERROR_INVALID_ARGUMENT, "symbols"});
    } else {
      size_t S = R.index(Values.size());
      Values[S] = R.oneIn(2) ? -1 : INT64_MIN;
      Wanted.push_back({FOVEA_ERROR_SHAPE, SymbolNames[S]});
    }
  }
  Call *Outer = Active;
  Active = this;
  size_t Size = fovea_workspace_size(KernelPointer, Given, Options);
  Active = Outer;
  if (Wanted.empty()) {
    if (Size != static_cast<size_t>(WorkspaceNeed))
      fail("a workspace of %zu bytes, not %" PRId64, Size, WorkspaceNeed);
    return;
  }
  std::string Text = fovea_last_error();
  bool Named = false;
  for (const Refusal &Each : Wanted)
    Named |= Text.find(Each.Text) != std::string::npos;
  if (Size != FOVEA_WORKSPACE_ERROR || !Named)
    fail("a workspace of %zu bytes, '%s', expected an error with '%s'", Size,
         Text.c_str(), Wanted[0].Text.c_str());
}

//===-- Sequences ---------------------------------------------------------===//

const TestContext *drawContext(Random &R, const Contexts &All) {
  return All.empty() || R.oneIn(5) ? nullptr : All[R.index(All.size())].get();
}

void callOnce(Random &R, const Contexts &All) {
  const TestContext *Where = drawContext(R, All);
  Call C(R, Where);
  if (R.oneIn(4)) {
    C.query(R);
    Operations.add("workspace query");
    return;
  }
  if (R.oneIn(6)) {
    C.FromTask = std::make_unique<Call>(R, R.oneIn(2) ? Where : nullptr);
    C.TaskStream = R.stream();
    if (R.oneIn(2))
      C.FromTask->breakSomething(R);
  }
  if (!R.oneIn(3)) {
    int64_t Breaks = R.oneIn(3) ? R.between(2, 3) : 1;
    for (int Try = 0; Try != 10 && Breaks; ++Try)
      Breaks -= C.breakSomething(R);
  }
  C.run(R);
  Operations.add("call");
}

// Contexts that cannot be, and those that cannot be destroyed.
void misuseContexts(Random &R) {
  auto *Garbage = reinterpret_cast<fovea_context *>(8);
  fovea_context *Result = Garbage;
  static const int64_t Bad[] = {-1, FOVEA_MAX_THREADS + 1, INT64_MIN,
                                INT64_MAX};
  fovea_status Status;
  std::string Text;
  switch (R.between(0, 5)) {
  case 0:
    Status = fovea_context_create(R.from(Bad), &Result);
    Text = "threads";
    break;
  case 1:
    Status = fovea_context_create_with_host(R.oneIn(2) ? 0 : R.from(Bad),
                                            runOnHost, nullptr, &Result);
    Text = "threads";
    break;
  case 2:
    Status = fovea_context_create_with_host(2, nullptr, nullptr, &Result);
    Text = "parallel_for";
    break;
  case 3:
    Status = fovea_context_create(R.between(-1, 2), nullptr);
    Text = "result";
    Result = nullptr;
    break;
  case 4:
    Status = fovea_context_create_with_host(1, runOnHost, nullptr, nullptr);
    Text = "result";
    Result = nullptr;
    break;
  default:
    fovea_context_destroy(nullptr);
    fovea_context_destroy(fovea_default_context());
    if (fovea_context_threads(nullptr) != 0 || !fovea_default_context())
      fail("no default context");
    return;
  }
  Operations.add("bad context");
  Statuses.add(fovea_status_name(Status));
  if (Status != FOVEA_ERROR_INVALID_ARGUMENT || Result ||
      std::string(fovea_last_error()).find(Text) == std::string::npos)
    fail("a bad context: %s, '%s', expected '%s'", fovea_status_name(Status),
         fovea_last_error(), Text.c_str());
}

// The functions that answer whatever they are asked.
void askAround(Random &R) {
  // 15 is no status, and the largest value that C++ lets the type have.
  auto Status = static_cast<fovea_status>(R.between(0, 15));
  bool Known = Status <= FOVEA_ERROR_INTERNAL;
  if ((strcmp(fovea_status_name(Status), "unknown") != 0) != Known)
    fail("status %d is '%s'", Status, fovea_status_name(Status));
  uint64_t Features = fovea_cpu_features();
  if (!*fovea_version() || !fovea_last_error() ||
      Features != fovea_cpu_features())
    fail("the version or the features of the processor");
}

// Calls in a forked child, on the contexts of its parent.
void forkOnce(Random &R, const Contexts &All) {
  uint64_t Stream = R.stream();
  fflush(nullptr);
  pid_t Child;
  {
    // The child has no thread that could release what another one held here.
    std::scoped_lock Locks(Statuses.lock(), Operations.lock(), Faults.lock());
    Child = fork();
  }
  if (Child == 0) {
    alarm(120);
    Failures = 0;
    Random Own(Seed, Stream);
    for (int I = 0; I != 4; ++I)
      callOnce(Own, All);
    for (const std::unique_ptr<TestContext> &Each : All)
      destroy(*Each);
    _exit(Failures ? 1 : 0);
  }
  int Status = -1;
  if (Child < 0 || waitpid(Child, &Status, 0) != Child || Status != 0)
    fail("the child ended with %d", Status);
  Operations.add("fork");
}

// Several threads call on the same contexts while others come and go.
void callAtOnce(Random &R, const Contexts &All, bool Fork) {
  std::vector<std::thread> Threads;
  for (int64_t I = R.between(1, 3); I != 0; --I)
    Threads.emplace_back([&All, Stream = R.stream()] {
      Random Own(Seed, Stream);
      for (int J = 0; J != 6; ++J)
        callOnce(Own, All);
    });
  for (int I = 0; I != 3; ++I) {
    Contexts Own;
    Own.push_back(makeContext(R, /*MaySetIsa=*/false));
    callOnce(R, Own);
    callOnce(R, All);
    destroy(*Own[0]);
  }
  if (Fork)
    forkOnce(R, All);
  for (std::thread &Thread : Threads)
    Thread.join();
  Operations.add("calls from several threads");
}

void runSequence(int64_t Index) {
  Sequence = Index;
  Random R(Seed, static_cast<uint64_t>(Index));
  Contexts All;
  int64_t Steps = R.between(1, 12);
  for (int64_t Step = 0; Step != Steps; ++Step) {
    if (R.oneIn(5) && All.size() != 6)
      All.push_back(makeContext(R, /*MaySetIsa=*/true));
    else if (R.oneIn(8) && !All.empty()) {
      size_t Which = R.index(All.size());
      destroy(*All[Which]);
      All.erase(All.begin() + static_cast<std::ptrdiff_t>(Which));
    } else if (R.oneIn(8))
      misuseContexts(R);
    else if (R.oneIn(10))
      askAround(R);
    else if (R.oneIn(400))
      forkOnce(R, All);
    else if (R.oneIn(60))
      callAtOnce(R, All, /*Fork=*/R.oneIn(10));
    else
      callOnce(R, All);
  }
  for (std::unique_ptr<TestContext> &Each : All)
    destroy(*Each);
}

bool readNumber(const char *Text, const char *Option, int64_t &Value) {
  size_t Length = strlen(Option);
  if (strncmp(Text, Option, Length) != 0 || !Text[Length])
    return false;
  char *End;
  Value = strtoll(Text + Length, &End, 10);
  return !*End && Value >= 0;
}

} // namespace

int main(int Argc, char **Argv) {
  int64_t Given = static_cast<int64_t>(Seed), Count = 3000, First = 0;
  for (int I = 1; I < Argc; ++I)
    if (!readNumber(Argv[I], "--seed=", Given) &&
        !readNumber(Argv[I], "--sequences=", Count) &&
        !readNumber(Argv[I], "--first=", First)) {
      fprintf(stderr, "usage: fovea-runtime-misuse [--seed=S] [--sequences=N] "
                      "[--first=I]\n");
      return 2;
    }
  Seed = static_cast<uint64_t>(Given);
  setenv("FOVEA_NUM_THREADS", "3", 1);
  unsetenv("FOVEA_ISA");
  fovea_default_context();
  for (int64_t I = 0; I != Count; ++I)
    runSequence(First + I);

  printf("seed %" PRIu64 ", %" PRId64 " sequences\n", Seed, Count);
  Operations.print("operations");
  Faults.print("things broken");
  Statuses.print("answers");
  // A few sequences do not come across everything.
  for (int Status = FOVEA_OK; Count >= 1000 && Status <= FOVEA_ERROR_INTERNAL;
       ++Status) {
    const char *Name = fovea_status_name(static_cast<fovea_status>(Status));
    if (!Statuses.count(Name))
      fail("no call answered '%s'", Name);
  }
  for (const char *Name : FaultNames)
    if (Count >= 1000 && !Faults.count(Name))
      fail("there was never %s", Name);
  if (Faults.size() > std::size(FaultNames))
    fail("there are breaks without a name in the list");
  printf("%" PRId64 " failures\n", Failures.load());
  return Failures ? 1 : 0;
}
