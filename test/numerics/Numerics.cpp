// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The values of compiled kernels. Kernels are drawn (dtype, ISA, heads, widths,
// mask, score, RoPE, norms, cache, sinks), compiled and called on drawn shapes
// and strides, and what they write is held to the f64 reference under the
// bounds of docs/testing.md. Each call is made
//
//   - on tensors whose memory ends where a page that faults begins, with a
//     workspace of exactly the stated size, on one thread;
//   - with two and three threads, which must not change a bit (D1);
//   - on tensors whose memory begins at such a page, which must not either;
//   - for one batch row alone, which must give that row's bits (D1).
//
// All memory that no index reaches, every key that no row attends to and the
// workspace hold NaN, and sometimes a key that some rows attend to and others
// do not (M1). Inputs are write-protected.
//
//   --seed=S --cases=N   draw N kernels; the default is in main()
//   --gtest_filter=Drawn.7   only kernel 7, which is the same for every N

#include "test/numerics/Compile.h"
#include "test/numerics/GuardedTensor.h"
#include "test/numerics/KernelSpec.h"

#include "compiler/Reference/ErrorBound.h"
#include "runtime/include/fovea/kernel_abi.h"

#include "mlir/Parser/Parser.h"

#include "llvm/Support/FormatVariadic.h"

#include <chrono>
#include <cmath>
#include <gtest/gtest.h>
#include <map>

using namespace mlir;
using namespace fovea;
using namespace fovea::numerics;
using reference::RuntimeValue;
using reference::Tensor;

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

fovea_context *getThreads(int64_t count) {
  static std::map<int64_t, fovea_context *> contexts;
  fovea_context *&context = contexts[count];
  if (!context)
    EXPECT_EQ(fovea_context_create(count, &context), FOVEA_OK);
  return context;
}

/// The options of a call: the fixed part and the parameters.
struct Options {
  fovea_options fixed = {};
  int64_t params[8] = {};
};

/// The worst error of each result, as a share of its bound.
using Shares = std::map<std::string, double>;
/// By dtype and ISA.
std::map<std::pair<std::string, std::string>, Shares> shares;

/// One call: extents, parameters, and the tensors' values and strides.
struct Call {
  std::map<std::string, int64_t> symbols;
  std::vector<int64_t> params;
  /// Queries are drawn with this standard deviation, scores come out as large.
  double spread = 1;
  /// By argument; outputs hold NaN. What strides of 0 make of the values is
  /// only known once they are in memory.
  std::vector<Tensor> values;
  std::vector<SmallVector<int64_t>> strides;
  /// The values in memory, gaps included.
  std::vector<std::vector<uint8_t>> images;
};

class CaseRunner {
public:
  CaseRunner(uint64_t seed, int64_t index)
      : random(seed * 1000003 + index), index(index),
        spec(drawSpec(random, index)), arguments(spec.getArguments()) {}

  void run();

private:
  bool compile();
  Call drawCall(int64_t kind);
  void drawExtents(Call &call, int64_t kind);
  Tensor drawValues(const Call &call, const Argument &argument);
  SmallVector<int64_t> drawStrides(const Argument &argument,
                                   ArrayRef<int64_t> shape);
  void poison(Call &call);
  void check(Call &call);

  std::vector<GuardedTensor> place(const Call &call, Flush flush);
  void invoke(const Call &call, std::vector<GuardedTensor> &tensors,
              int64_t threads, bool ownWorkspace,
              std::optional<int64_t> row = std::nullopt);
  void compare(const Call &call, const std::vector<GuardedTensor> &tensors);
  func::FuncOp getMeaning() { return *meaning->getOps<func::FuncOp>().begin(); }
  /// The arguments of the reference.
  std::vector<RuntimeValue> getArguments(const Call &call) const;

  unsigned find(StringRef name) const {
    return llvm::find_if(arguments,
                         [&](const Argument &a) { return a.name == name; }) -
           arguments.begin();
  }
  bool isOutput(unsigned number) const {
    return arguments[number].role != Argument::Input;
  }

  Random random;
  int64_t index;
  KernelSpec spec;
  std::vector<Argument> arguments;
  std::string isa;
  double compileSeconds = 0;
  OwningOpRef<ModuleOp> meaning;
  std::unique_ptr<LoadedKernel> kernel;
  Shares worst;
};

bool CaseRunner::compile() {
  ParserConfig config(&getContext());
  meaning = parseSourceString<ModuleOp>(spec.getText(), config);
  if (!meaning) {
    ADD_FAILURE() << "the text does not parse:\n" << spec.getText();
    return false;
  }
  // Half the kernels have 16 lanes; a machine without AVX-512 runs them in
  // halves.
  Target target = *lookupTarget(index / 4 % 2 ? "avx512" : "x86-64-v3");
  isa = target.isa.str();
  if (target.runtimeFeatures & ~fovea_cpu_features()) {
    const Target &least = getTargets().back();
    target.cpu = least.cpu;
    target.features = least.features;
    target.runtimeFeatures = least.runtimeFeatures;
  }
  auto start = std::chrono::steady_clock::now();
  auto compiled = compileKernel(*meaning, target);
  if (!compiled) {
    ADD_FAILURE() << llvm::toString(compiled.takeError()) << "\n"
                  << spec.getText();
    return false;
  }
  kernel = std::move(*compiled);
  std::chrono::duration<double> spent =
      std::chrono::steady_clock::now() - start;
  compileSeconds = spent.count();
  return true;
}

//===----------------------------------------------------------------------===//
// Drawing calls
//===----------------------------------------------------------------------===//

constexpr int64_t callKinds = 6;

void CaseRunner::drawExtents(Call &call, int64_t kind) {
  // Around the sizes of tiles: 8, 16, 24, 48 rows, 16 to 64 keys, 1024 keys of
  // a part.
  static const int64_t few[] = {1, 1, 1, 2, 3, 7};
  static const int64_t rows[] = {8, 15, 16, 17, 23, 24, 25, 47, 48, 49, 129};
  static const int64_t keys[] = {1,  2,  7,  15, 16,  17,  31, 32,
                                 33, 63, 64, 65, 127, 129, 200};
  static const int64_t many[] = {1023, 1024, 1025, 2047, 2049, 3100};
  int64_t b = drawBetween(random, 1, 3), m = 0, n = 0;
  switch (kind) {
  case 0: // decode, also in parts
    m = drawFrom(random, few);
    n = drawFrom(random, many);
    break;
  case 1:
    m = drawFrom(random, rows);
    n = drawFrom(random, keys);
    break;
  case 2: // more queries than keys
    n = drawFrom(random, keys);
    m = n + drawBetween(random, 1, 70);
    break;
  case 3: { // nothing of something (R4)
    int64_t which = drawBetween(random, 0, 2);
    b = which == 0 ? 0 : b;
    m = which == 1 ? 0 : drawFrom(random, rows);
    n = which == 2 ? 0 : drawFrom(random, keys);
    break;
  }
  case 4:
    m = drawBetween(random, 1, 200);
    n = drawBetween(random, 1, 200);
    break;
  case 5: // long
    b = 1;
    m = drawFrom(random, rows) * drawBetween(random, 1, 8);
    n = drawFrom(random, many);
    break;
  }
  if (spec.cache)
    n += m;
  // The reference is slow: about as many multiply-adds as it does in 0.1 s.
  auto cost = [&] {
    return b * spec.heads * m * n * (spec.width + spec.valueWidth + 60);
  };
  constexpr int64_t limit = 60'000'000;
  while (cost() > limit && b > 1)
    --b;
  while (cost() > limit && m > 1)
    m -= (m + 3) / 4;
  while (cost() > limit)
    n -= n / 4;
  call.symbols = {{"B", b}, {"M", m}, {spec.cache ? "C" : "N", n}};
}

SmallVector<int64_t> CaseRunner::drawStrides(const Argument &argument,
                                             ArrayRef<int64_t> shape) {
  int64_t rank = shape.size();
  SmallVector<int64_t> order(rank), strides(rank);
  for (int64_t d = 0; d < rank; ++d)
    order[d] = rank - 1 - d; // the innermost first
  int64_t kind = drawBetween(random, 0, 5);
  // Any order of the dimensions in memory, or the head outside of the rows.
  if (kind == 1)
    std::shuffle(order.begin(), order.end(), random);
  if (kind == 2 && rank == 4)
    std::swap(order[1], order[2]);
  int64_t next = 1;
  for (int64_t d : order) {
    // Slices of something larger, such as packed q, k and v.
    if (kind == 3 || kind == 4)
      next += drawBetween(random, 0, 5);
    strides[d] = next;
    next *= std::max<int64_t>(shape[d], 1);
  }
  if (argument.role == Argument::Input && kind == 5)
    for (int64_t &stride : strides)
      if (drawOneIn(random, 2))
        stride = 0;
  // A key whose elements are all one would make scores beyond the bounds'.
  if (argument.name == "k" || argument.name == "k_cache")
    if (strides[rank - 1] == 0)
      strides[rank - 1] = 1;
  if (kind == 4)
    for (int64_t &stride : strides)
      if (drawOneIn(random, 3))
        stride = -stride;
  return strides;
}

Tensor CaseRunner::drawValues(const Call &call, const Argument &argument) {
  SmallVector<int64_t> shape = argument.getShape(call.symbols);
  Tensor tensor = Tensor::filled(shape, parseElement(argument.element), nan);
  if (argument.role == Argument::Output)
    return tensor;
  int64_t rows = call.symbols.at("M"),
          keys = call.symbols.at(spec.cache ? "C" : "N");
  std::normal_distribution<double> normal;
  double factor = argument.name == "q" ? call.spread : 1;
  for (double &value : tensor.data) {
    if (argument.name == "past")
      value = drawBetween(random, 0, keys - rows);
    else if (argument.name == "len" || argument.name == "lengths")
      value = drawBetween(random, -2, keys + 3);
    else if (argument.name == "keep" || argument.name == "allowed")
      value = drawBetween(random, 0, 1);
    else if (argument.name.ends_with("_positions"))
      value = drawBetween(random, 0, 5000);
    else if (argument.name == "slope")
      value = std::exp2(-double(drawBetween(random, 4, 9)));
    else
      value = factor * normal(random);
  }
  return tensor;
}

Call CaseRunner::drawCall(int64_t kind) {
  Call call;
  drawExtents(call, kind);
  call.spread = !spec.norm && drawOneIn(random, 3) ? 4 : 1;
  for (const numerics::Parameter &param : spec.mask.params)
    call.params.push_back(drawBetween(random, param.low, param.high));
  for (const Argument &argument : arguments) {
    call.values.push_back(drawValues(call, argument));
    call.strides.push_back(drawStrides(argument, call.values.back().shape));
    // What is in memory counts.
    GuardedTensor memory(call.values.back().shape, call.strides.back(),
                         call.values.back().elementType, Flush::End);
    memory.write(call.values.back());
    call.values.back() = memory.read();
  }
  poison(call);
  for (auto [value, strides] : llvm::zip_equal(call.values, call.strides)) {
    GuardedTensor memory(value.shape, strides, value.elementType, Flush::End);
    memory.write(value);
    call.images.emplace_back(memory.bytes());
  }
  return call;
}

/// NaN into keys that no row attends to and, sometimes, NaN or infinity into
/// some that not every row attends to (M1).
void CaseRunner::poison(Call &call) {
  auto counted = reference::countAttending(getMeaning(), getArguments(call));
  ASSERT_TRUE(bool(counted)) << llvm::toString(counted.takeError());
  const Tensor &attending = counted->front();
  int64_t rows = call.symbols["M"] * spec.heads / spec.kvHeads;
  Tensor &k = call.values[find(spec.cache ? "k_cache" : "k")];
  Tensor &v = call.values[find(spec.cache ? "v_cache" : "v")];
  auto shares = [&](StringRef name) {
    return llvm::is_contained(call.strides[find(name)], 0);
  };
  bool keepKeys = shares(spec.cache ? "k_cache" : "k"),
       keepValues = shares(spec.cache ? "v_cache" : "v");
  auto fill = [&](Tensor &tensor, int64_t b, int64_t g, int64_t j,
                  double value) {
    SmallVector<int64_t> at = {b, j, g, 0};
    if (spec.headsFirst)
      std::swap(at[1], at[2]);
    for (at[3] = 0; at[3] < tensor.shape[3]; ++at[3])
      tensor.at(at) = value;
  };
  reference::forEachIndex(attending.shape, [&](ArrayRef<int64_t> at) {
    auto count = static_cast<int64_t>(attending.at(at));
    bool hurt = count != 0 && count != rows && drawOneIn(random, 400);
    if (count != 0 && !hurt)
      return;
    double value = hurt && drawOneIn(random, 2) ? infinity : nan;
    // Rows to be appended are inputs of their own.
    if (!keepKeys)
      fill(k, at[0], at[1], at[2], value);
    if (!keepValues)
      fill(v, at[0], at[1], at[2], value);
  });
}

//===----------------------------------------------------------------------===//
// Calls and comparisons
//===----------------------------------------------------------------------===//

std::vector<GuardedTensor> CaseRunner::place(const Call &call, Flush flush) {
  std::vector<GuardedTensor> tensors;
  for (auto [number, value] : llvm::enumerate(call.values)) {
    tensors.emplace_back(value.shape, call.strides[number], value.elementType,
                         flush);
    tensors.back().restore(call.images[number]);
    if (!isOutput(number))
      tensors.back().protect();
  }
  return tensors;
}

void CaseRunner::invoke(const Call &call, std::vector<GuardedTensor> &tensors,
                        int64_t threads, bool ownWorkspace,
                        std::optional<int64_t> row) {
  std::vector<DLTensor> views;
  for (auto [number, argument] : llvm::enumerate(arguments))
    views.push_back(
        tensors[number].view(argument.dims[0] == "B" ? row : std::nullopt));
  std::vector<const DLTensor *> pointers;
  for (const DLTensor &view : views)
    pointers.push_back(&view);
  Options options;
  options.fixed.size =
      sizeof(fovea_options) + sizeof(int64_t) * call.params.size();
  options.fixed.context = getThreads(threads);
  llvm::copy(call.params, options.params);
  std::optional<GuardedMemory> workspace;
  if (ownWorkspace) {
    std::vector<int64_t> symbols;
    for (const std::string &symbol : spec.getSymbols())
      symbols.push_back(row && symbol == "B" ? 1 : call.symbols.at(symbol));
    size_t size = fovea_workspace_size(kernel->get(), symbols.data(), &options);
    ASSERT_NE(size, FOVEA_WORKSPACE_ERROR) << fovea_last_error();
    workspace.emplace(size, Flush::End);
    options.fixed.workspace = workspace->data();
    options.fixed.workspace_size = size;
  }
  fovea_status status = fovea_invoke(kernel->get(), pointers.data(), &options);
  ASSERT_EQ(status, FOVEA_OK) << fovea_last_error();
}

std::vector<RuntimeValue> CaseRunner::getArguments(const Call &call) const {
  std::vector<RuntimeValue> values(call.values.begin(), call.values.end());
  values.insert(values.end(), call.params.begin(), call.params.end());
  return values;
}

void CaseRunner::compare(const Call &call,
                         const std::vector<GuardedTensor> &tensors) {
  std::vector<Tensor> written;
  std::vector<std::string> names;
  for (auto [number, tensor] : llvm::enumerate(tensors)) {
    if (!isOutput(number))
      continue;
    names.push_back(arguments[number].name);
    written.push_back(tensor.read());
    EXPECT_TRUE(tensor.areGapsIntact()) << "written beside " << names.back();
  }
  SmallVector<const Tensor *> caches;
  for (const Tensor &tensor : written)
    caches.push_back(&tensor);
  auto expected = reference::interpret(getMeaning(), getArguments(call),
                                       {.errorSums = true, .written = caches});
  ASSERT_TRUE(bool(expected)) << llvm::toString(expected.takeError());
  for (auto [number, name] : llvm::enumerate(names)) {
    auto judgement = reference::judge(*expected, number, written[number]);
    EXPECT_EQ(judgement.wrong, 0)
        << "of " << written[number].size() << " elements of " << name << "; "
        << judgement.share << " of the bound";
    worst[name] = std::max(worst[name], judgement.share);
  }
}

/// The same numbers; all NaN are the same.
bool haveSameBits(const Tensor &a, const Tensor &b) {
  return a.shape == b.shape &&
         llvm::all_of(llvm::zip_equal(a.data, b.data), [](auto pair) {
           auto [x, y] = pair;
           return (std::isnan(x) && std::isnan(y)) ||
                  (x == y && std::signbit(x) == std::signbit(y));
         });
}

/// Index `row` of the first dimension.
Tensor rowOf(const Tensor &tensor, int64_t row) {
  Tensor result = tensor;
  result.shape[0] = 1;
  int64_t size = tensor.size() / tensor.shape[0];
  result.data.assign(tensor.data.begin() + row * size,
                     tensor.data.begin() + (row + 1) * size);
  return result;
}

void CaseRunner::check(Call &call) {
  std::vector<GuardedTensor> tensors = place(call, Flush::End);
  ASSERT_NO_FATAL_FAILURE(invoke(call, tensors, 1, /*ownWorkspace=*/true));
  ASSERT_NO_FATAL_FAILURE(compare(call, tensors));
  auto expectSame = [&](const std::vector<GuardedTensor> &others,
                        const char *what) {
    for (unsigned number = 0; number < arguments.size(); ++number)
      if (isOutput(number))
        EXPECT_TRUE(haveSameBits(tensors[number].read(), others[number].read()))
            << "D1: " << what << " changes " << arguments[number].name;
  };
  for (int64_t threads : {2, 3}) {
    std::vector<GuardedTensor> again = place(call, Flush::End);
    ASSERT_NO_FATAL_FAILURE(invoke(call, again, threads, threads == 2));
    expectSame(again, "the number of threads");
  }
  {
    std::vector<GuardedTensor> again = place(call, Flush::Start);
    ASSERT_NO_FATAL_FAILURE(invoke(call, again, 1, /*ownWorkspace=*/false));
    expectSame(again, "the place in memory");
  }
  if (call.symbols["B"] < 2 || spec.mask.seesBatch)
    return;
  int64_t row = drawBetween(random, 0, call.symbols["B"] - 1);
  std::vector<GuardedTensor> alone = place(call, Flush::End);
  ASSERT_NO_FATAL_FAILURE(invoke(call, alone, 1, /*ownWorkspace=*/true, row));
  for (unsigned number = 0; number < arguments.size(); ++number)
    if (isOutput(number))
      EXPECT_TRUE(haveSameBits(rowOf(tensors[number].read(), row),
                               rowOf(alone[number].read(), row)))
          << "D1: the batch changes " << arguments[number].name;
}

void CaseRunner::run() {
  SCOPED_TRACE(spec.describe());
  if (!compile())
    return;
  for (int64_t kind = 0; kind < callKinds; ++kind) {
    Call call = drawCall(kind);
    std::string trace =
        llvm::formatv("call {0}: B={1} M={2} {3}={4}", kind, call.symbols["B"],
                      call.symbols["M"], spec.cache ? "C" : "N",
                      call.symbols[spec.cache ? "C" : "N"]);
    for (auto [param, value] : llvm::zip_equal(spec.mask.params, call.params))
      trace += " " + param.name + "=" + std::to_string(value);
    for (auto [number, argument] : llvm::enumerate(arguments)) {
      trace += "\n  " + argument.name + " strides";
      for (int64_t stride : call.strides[number])
        trace += " " + std::to_string(stride);
    }
    SCOPED_TRACE(trace);
    check(call);
    if (::testing::Test::HasFailure())
      break;
  }
  std::string line = "  " + isa + ":";
  for (auto &[name, share] : worst) {
    line += llvm::formatv(" {0} {1:F2}", name, share);
    double &all = shares[{spec.dtype, isa}][name];
    all = std::max(all, share);
  }
  llvm::outs() << line << " of the bound  " << spec.describe()
               << llvm::formatv(", compiled in {0:F2} s\n", compileSeconds);
  llvm::outs().flush();
}

class DrawnCase : public ::testing::Test {
public:
  DrawnCase(uint64_t seed, int64_t index) : seed(seed), index(index) {}
  void TestBody() override { CaseRunner(seed, index).run(); }

private:
  uint64_t seed;
  int64_t index;
};

/// A kernel for f32 without anything drawn.
KernelSpec makeSpec() {
  KernelSpec spec;
  spec.dtype = "f32";
  spec.heads = 8;
  spec.kvHeads = 2;
  spec.width = 64;
  spec.valueWidth = 32;
  spec.mask.text = "causal(bottom_right)";
  return spec;
}

TEST(Workspace, HoldsTilesAndPackedKeysOnly) {
  auto kernel = compileSpec(makeSpec());
  ASSERT_TRUE(bool(kernel)) << llvm::toString(kernel.takeError());
  auto size = [&](int64_t b, int64_t m, int64_t n, int64_t workers) {
    int64_t symbols[] = {b, m, n};
    return (*kernel)->get()->variants->workspace(symbols, nullptr, workers);
  };
  for (int64_t n = 1024; n <= 65536; n *= 2) {
    // However many queries and batch rows there are.
    for (int64_t m = 1024; m <= 65536; m *= 2)
      for (int64_t b : {1, 16})
        EXPECT_EQ(size(b, m, n, 2), size(1, 1024, n, 2));
    // K and V of one kv head for each worker, in f32, beside what N = 0 takes.
    for (int64_t workers : {1, 2})
      EXPECT_EQ(size(1, 1024, n, workers) - size(1, 1024, 0, workers),
                workers * n * (64 + 32) * 4);
    // Decode: a state of 8 rows for each part of 1024 keys, the queries of the
    // heads that an item walks, and nothing packed.
    EXPECT_LE(size(1, 1, n, 2) - size(1, 1, 0, 2),
              n / 1024 * 2 * (8 * 32 + 2 * 64) * 4 + 2 * 2 * 8 * 64 * 4);
  }
  // Tiles alone: less than the second-level cache for each worker.
  EXPECT_LE(size(1, 1024, 0, 1), 128 << 10);
  EXPECT_EQ(size(1, 1024, int64_t(1) << 60, 2), -1);
}

/// With equal weights and values every addition is rounded alike, and only
/// sums of blocks keep the error from growing with the number of keys.
TEST(Sums, OfEqualTermsDoNotDrift) {
  KernelSpec spec = makeSpec();
  spec.mask.text = "";
  auto kernel = compileSpec(spec);
  ASSERT_TRUE(bool(kernel)) << llvm::toString(kernel.takeError());
  constexpr int64_t rows = 48, keys = 8192;
  std::map<std::string, int64_t> symbols = {{"B", 1}, {"M", rows}, {"N", keys}};
  std::vector<GuardedTensor> tensors;
  for (const Argument &argument : spec.getArguments()) {
    SmallVector<int64_t> shape = argument.getShape(symbols);
    Tensor tensor = Tensor::filled(shape, parseElement(argument.element), 0.1);
    SmallVector<int64_t> strides = tensor.strides();
    if (argument.role == Argument::Input)
      llvm::fill(strides, 0);
    tensors.emplace_back(shape, strides, tensor.elementType, Flush::End);
    tensors.back().write(tensor);
  }
  std::vector<DLTensor> views;
  for (GuardedTensor &tensor : tensors)
    views.push_back(tensor.view());
  std::vector<const DLTensor *> pointers;
  for (const DLTensor &view : views)
    pointers.push_back(&view);
  ASSERT_EQ(fovea_invoke((*kernel)->get(), pointers.data(), nullptr), FOVEA_OK);
  double exact = double(0.1F);
  reference::ErrorBound bound(parseElement("f32"), keys);
  for (double o : tensors.back().read().data)
    ASSERT_NEAR(o, exact, bound.ofOutput(exact, exact, 0));
}

TEST(Cache, WithoutRoomIsRefused) { // K3
  KernelSpec spec = makeSpec();
  spec.cache = true;
  auto kernel = compileSpec(spec);
  ASSERT_TRUE(bool(kernel)) << llvm::toString(kernel.takeError());
  std::map<std::string, int64_t> symbols = {{"B", 2}, {"M", 3}, {"C", 10}};
  for (int64_t past : {-1, 0, 7, 8}) {
    std::vector<GuardedTensor> tensors;
    for (const Argument &argument : spec.getArguments()) {
      SmallVector<int64_t> shape = argument.getShape(symbols);
      Tensor tensor = Tensor::filled(shape, parseElement(argument.element), 1);
      tensors.emplace_back(shape, tensor.strides(), tensor.elementType,
                           Flush::End);
      if (argument.name == "past")
        tensor.data = {4.0, double(past)};
      tensors.back().write(tensor);
    }
    std::vector<DLTensor> views;
    for (GuardedTensor &tensor : tensors)
      views.push_back(tensor.view());
    std::vector<const DLTensor *> pointers;
    for (const DLTensor &view : views)
      pointers.push_back(&view);
    bool fits = past >= 0 && past + 3 <= 10;
    EXPECT_EQ(fovea_invoke((*kernel)->get(), pointers.data(), nullptr),
              fits ? FOVEA_OK : FOVEA_ERROR_SHAPE)
        << past;
  }
}

} // namespace

int main(int argc, char **argv) {
  ::testing::InitGoogleTest(&argc, argv);
  uint64_t seed = 20260101;
  int64_t cases = 111;
  for (int arg = 1; arg < argc; ++arg) {
    StringRef text = argv[arg];
    bool known =
        (text.consume_front("--seed=") && !text.getAsInteger(10, seed)) ||
        (text.consume_front("--cases=") && !text.getAsInteger(10, cases));
    if (!known) {
      llvm::errs() << "usage: fovea-numerics [--seed=S] [--cases=N]\n";
      return 2;
    }
  }
  llvm::outs() << "seed " << seed << ", " << cases << " kernels\n";
  for (int64_t index = 0; index < cases; ++index)
    ::testing::RegisterTest(
        "Drawn", std::to_string(index).c_str(), nullptr, nullptr, __FILE__,
        __LINE__, [=]() -> DrawnCase * { return new DrawnCase(seed, index); });
  int result = RUN_ALL_TESTS();
  llvm::outs() << "worst error, as a share of the bound:\n";
  for (auto &[key, byName] : shares) {
    llvm::outs() << llvm::formatv("  {0,-4} {1,-9}", key.first, key.second);
    for (auto &[name, share] : byName)
      llvm::outs() << llvm::formatv(" {0} {1:F2}", name, share);
    llvm::outs() << "\n";
  }
  return result;
}
