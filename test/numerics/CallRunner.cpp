// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// See CallRunner.h.

#include "test/numerics/CallRunner.h"

#include "compiler/Reference/ErrorBound.h"
#include "runtime/include/fovea/kernel_abi.h"

#include "mlir/Parser/Parser.h"

#include "llvm/Support/FormatVariadic.h"

#include <array>
#include <cmath>
#include <gtest/gtest.h>

using namespace mlir;
using namespace fovea;
using namespace fovea::numerics;
using reference::RuntimeValue;
using reference::Tensor;

static constexpr double notANumber = std::numeric_limits<double>::quiet_NaN();
static constexpr double infinity = std::numeric_limits<double>::infinity();

static fovea_context *getThreads(int64_t count) {
  static std::map<int64_t, ContextPtr> contexts;
  ContextPtr &context = contexts[count];
  if (!context)
    context = createEagerContext(count);
  EXPECT_NE(context, nullptr);
  return context.get();
}

namespace {
/// The options of a call: the fixed part and the parameters.
struct Options {
  fovea_options fixed = {};
  int64_t params[8] = {};
};
} // namespace

CallRunner::CallRunner(KernelSpec drawn, Random &random)
    : random(random), spec(std::move(drawn)), arguments(spec.getArguments()) {
  ParserConfig config(&getContext());
  meaning = parseSourceString<ModuleOp>(spec.getText(), config);
  if (!meaning)
    ADD_FAILURE() << "the text does not parse:\n" << spec.getText();
}

//===----------------------------------------------------------------------===//
// Drawing calls
//===----------------------------------------------------------------------===//

void CallRunner::drawExtents(Call &call, CallKind kind) {
  // Around the sizes of tiles: 8, 16, 24, 48 rows, 16 to 64 keys, 1024 keys of
  // a part.
  static const int64_t few[] = {1, 1, 1, 2, 3, 7};
  static const int64_t rows[] = {8, 15, 16, 17, 23, 24, 25, 47, 48, 49, 129};
  static const int64_t keys[] = {1,  2,  7,  15, 16,  17,  31, 32,
                                 33, 63, 64, 65, 127, 129, 200};
  static const int64_t many[] = {1023, 1024, 1025, 2047, 2049, 3100};
  int64_t b = drawBetween(random, 1, 3), m = 0, n = 0;
  switch (kind) {
  case Decode: // decode, also in parts
    m = drawFrom(random, few);
    n = drawFrom(random, many);
    break;
  case Prefill:
    m = drawFrom(random, rows);
    n = drawFrom(random, keys);
    break;
  case MoreQueries: // more queries than keys
    n = drawFrom(random, keys);
    m = n + drawBetween(random, 1, 70);
    break;
  case Nothing: { // nothing of something (R4)
    int64_t which = drawBetween(random, 0, 2);
    b = which == 0 ? 0 : b;
    m = which == 1 ? 0 : drawFrom(random, rows);
    n = which == 2 ? 0 : drawFrom(random, keys);
    break;
  }
  case Any:
    m = drawBetween(random, 1, 200);
    n = drawBetween(random, 1, 200);
    break;
  case Long: // long
    b = 1;
    m = drawFrom(random, rows) * drawBetween(random, 1, 8);
    n = drawFrom(random, many);
    break;
  case FewKeys: // decode in one part
    m = drawFrom(random, few);
    n = drawFrom(random, keys);
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

SmallVector<int64_t> CallRunner::drawStrides(const Argument &argument,
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

Tensor CallRunner::drawValues(const Call &call, const Argument &argument) {
  SmallVector<int64_t> shape = argument.getShape(call.symbols);
  Tensor tensor =
      Tensor::filled(shape, parseElement(argument.element), notANumber);
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
      value = drawOneIn(random, 3)
                  ? drawFrom(random, std::array{int64_t(-1000), int64_t(-1),
                                                int64_t(0), keys, keys + 3})
                  : drawBetween(random, 0, keys);
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

Call CallRunner::drawCall(CallKind kind) {
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
/// all or one of the elements of some that not every row attends to (M1).
void CallRunner::poison(Call &call) {
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
  auto fill = [&](Tensor &tensor, int64_t b, int64_t g, int64_t j, double value,
                  bool one) {
    SmallVector<int64_t> at = {b, j, g, 0};
    if (spec.headsFirst)
      std::swap(at[1], at[2]);
    int64_t only = one ? drawBetween(random, 0, tensor.shape[3] - 1) : -1;
    for (at[3] = 0; at[3] < tensor.shape[3]; ++at[3])
      if (!one || at[3] == only)
        tensor.at(at) = value;
  };
  auto isOfSome = [&](double count) { return count != 0 && count != rows; };
  int64_t ofSome = llvm::count_if(attending.data, isOfSome);
  int64_t oneIn = std::clamp<int64_t>(ofSome / 4, 16, 400);
  reference::forEachIndex(attending.shape, [&](ArrayRef<int64_t> at) {
    double count = attending.at(at);
    bool hurt = isOfSome(count) && drawOneIn(random, oneIn);
    if (count != 0 && !hurt)
      return;
    double value = hurt && drawOneIn(random, 2) ? infinity : notANumber;
    bool one = hurt && drawOneIn(random, 2);
    // Rows to be appended are inputs of their own.
    if (!keepKeys)
      fill(k, at[0], at[1], at[2], value, one);
    if (!keepValues)
      fill(v, at[0], at[1], at[2], value, one);
  });
}

//===----------------------------------------------------------------------===//
// Calls and comparisons
//===----------------------------------------------------------------------===//

std::vector<GuardedTensor> CallRunner::place(const Call &call, Flush flush) {
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

void CallRunner::invoke(const Call &call, std::vector<GuardedTensor> &tensors,
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
    size_t size = fovea_workspace_size(kernel, symbols.data(), &options);
    ASSERT_NE(size, FOVEA_WORKSPACE_ERROR) << fovea_last_error();
    workspace.emplace(size, Flush::End);
    options.fixed.workspace = workspace->data();
    options.fixed.workspace_size = size;
  }
  fovea_status status = fovea_invoke(kernel, pointers.data(), &options);
  ASSERT_EQ(status, FOVEA_OK) << fovea_last_error();
}

std::vector<RuntimeValue> CallRunner::getArguments(const Call &call) const {
  std::vector<RuntimeValue> values(call.values.begin(), call.values.end());
  values.insert(values.end(), call.params.begin(), call.params.end());
  return values;
}

void CallRunner::compare(const Call &call,
                         const std::vector<GuardedTensor> &tensors) {
  std::vector<Tensor> written;
  std::vector<std::string> names;
  for (auto [number, tensor] : llvm::enumerate(tensors)) {
    if (!isOutput(number))
      continue;
    names.push_back(arguments[number].name);
    written.push_back(tensor.read());
    if (!tensor.areGapsIntact())
      ADD_FAILURE() << "written beside " << names.back();
  }
  SmallVector<const Tensor *> caches;
  for (const Tensor &tensor : written)
    caches.push_back(&tensor);
  auto expected = reference::interpret(getMeaning(), getArguments(call),
                                       {.errorSums = true, .written = caches});
  ASSERT_TRUE(bool(expected)) << llvm::toString(expected.takeError());
  for (auto [number, name] : llvm::enumerate(names)) {
    auto judgement =
        reference::judge(*expected, number, written[number], matrixTerms);
    if (judgement.wrong != 0)
      ADD_FAILURE() << judgement.wrong << " of " << written[number].size()
                    << " elements of " << name << " are wrong, the worst by "
                    << judgement.share << " of the bound";
    worst[name] = std::max(worst[name], judgement.share);
  }
}

/// The same numbers; all NaN are the same.
static bool haveSameBits(const Tensor &a, const Tensor &b) {
  return a.shape == b.shape &&
         llvm::all_of(llvm::zip_equal(a.data, b.data), [](auto pair) {
           auto [x, y] = pair;
           return (std::isnan(x) && std::isnan(y)) ||
                  (x == y && std::signbit(x) == std::signbit(y));
         });
}

/// Index `row` of the first dimension.
static Tensor rowOf(const Tensor &tensor, int64_t row) {
  Tensor result = tensor;
  result.shape[0] = 1;
  int64_t size = tensor.size() / tensor.shape[0];
  result.data.assign(tensor.data.begin() + row * size,
                     tensor.data.begin() + (row + 1) * size);
  return result;
}

void CallRunner::check(Call &call) {
  std::vector<GuardedTensor> tensors = place(call, Flush::End);
  ASSERT_NO_FATAL_FAILURE(invoke(call, tensors, 1, /*ownWorkspace=*/true));
  ASSERT_NO_FATAL_FAILURE(compare(call, tensors));
  auto expectSame = [&](const std::vector<GuardedTensor> &others,
                        const char *what) {
    for (unsigned number = 0; number < arguments.size(); ++number)
      if (isOutput(number) &&
          !haveSameBits(tensors[number].read(), others[number].read()))
        ADD_FAILURE() << "D1: " << what << " changes "
                      << arguments[number].name;
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
    if (isOutput(number) && !haveSameBits(rowOf(tensors[number].read(), row),
                                          rowOf(alone[number].read(), row)))
      ADD_FAILURE() << "D1: the batch changes " << arguments[number].name;
}

void CallRunner::run(const LoadedKernel &loaded, int64_t terms,
                     ArrayRef<CallKind> kinds) {
  SCOPED_TRACE(spec.describe());
  kernel = loaded.get();
  matrixTerms = terms;
  for (CallKind kind : kinds) {
    Call call = drawCall(kind);
    description = llvm::formatv("call {0}: B={1} M={2} {3}={4}", int(kind),
                                call.symbols["B"], call.symbols["M"],
                                spec.cache ? "C" : "N",
                                call.symbols[spec.cache ? "C" : "N"]);
    for (auto [param, value] : llvm::zip_equal(spec.mask.params, call.params))
      description += " " + param.name + "=" + std::to_string(value);
    std::string trace = description;
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
}
