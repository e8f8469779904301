// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Drawing calls and judging what kernels make of them: see CheckedCall.h.

#include "tools/fovea/CheckedCall.h"
#include "tools/fovea/Comparison.h"
#include "tools/fovea/Random.h"

#include "dialects/attn/IR/AttnOps.h"

#include "llvm/ADT/StringExtras.h"

#include <cmath>
#include <cstring>

using namespace mlir;
using llvm::Error;
using llvm::Expected;

namespace fovea {
namespace {

/// One drawn call.
struct Case {
  SmallVector<int64_t> symbols, params;
  std::vector<HostTensor> tensors;
  std::vector<bool> present;
  unsigned threads = 1;
  std::string description;
};

/// Multiplications of the reference in one case.
constexpr int64_t workLimit = 3'000'000;

class CaseDrawer {
public:
  CaseDrawer(Compilation &compilation, const CallOptions &fixed, uint64_t seed,
             int64_t number)
      : compilation(compilation), kernel(compilation.kernel()), fixed(fixed),
        random(seed * 1000003 + number) {}

  Expected<Case> draw() {
    drawExtents();
    drawParams();
    for (const TensorArg &arg : kernel.args)
      if (Error error = drawTensor(arg))
        return std::move(error);
    if (Error error = poisonKeys())
      return std::move(error);
    result.threads = random.between(1, 4);
    describe();
    return std::move(result);
  }

private:
  Compilation &compilation;
  const KernelInterface &kernel;
  const CallOptions &fixed;
  Random random;
  Case result;

  int64_t *symbol(StringRef name) {
    auto it = llvm::find(kernel.symbols, name);
    return it == kernel.symbols.end()
               ? nullptr
               : &result.symbols[it - kernel.symbols.begin()];
  }
  /// The new tokens of each row, drawn or fixed by the spec.
  int64_t rows() const {
    const TensorArg *q = kernel.findArg("q");
    return q && q->dims.size() == 4 ? extentOf(q->dims[1]) : 0;
  }

  /// A length: the edges 0 and 1, about a vector, about a tile, a long tail.
  int64_t drawLength() {
    switch (random.between(0, 7)) {
    case 0:
      return random.between(0, 1);
    case 1:
      return 1;
    case 2:
    case 3:
      return random.between(2, 20);
    case 4:
    case 5:
      return random.between(20, 100);
    case 6:
      return (int64_t(1) << random.between(4, 7)) + random.between(-1, 1);
    default:
      return random.between(100, 400);
    }
  }

  int64_t extentOf(const Dim &dim) const {
    return dim.symbol < 0 ? dim.extent : result.symbols[dim.symbol];
  }

  /// The reference's multiplications, from the extents of q and k.
  int64_t work() {
    const TensorArg *q = kernel.findArg("q"), *k = kernel.findArg("k_cache");
    if (!k)
      k = kernel.findArg("k");
    if (!q || !k || q->dims.size() != 4 || k->dims.size() != 4)
      return 0;
    return extentOf(q->dims[0]) * extentOf(q->dims[1]) * extentOf(q->dims[2]) *
           extentOf(q->dims[3]) * extentOf(k->dims[1]);
  }

  void drawExtents() {
    result.symbols.resize(kernel.symbols.size());
    for (size_t i = 0; i != kernel.symbols.size(); ++i)
      result.symbols[i] = kernel.symbols[i] == "B"
                              ? (random.oneIn(12) ? 0 : random.between(1, 3))
                              : drawLength();
    while (work() > workLimit && !result.symbols.empty()) {
      int64_t &largest =
          *std::max_element(result.symbols.begin(), result.symbols.end());
      // Where lengths are fixed: a call of nothing would check nothing.
      if (largest <= 1)
        break;
      largest = largest * 3 / 4;
    }
    for (auto [name, extent] : llvm::zip_equal(kernel.symbols, result.symbols))
      if (auto it = fixed.extents.find(name); it != fixed.extents.end())
        extent = it->second;
    // The capacity of a cache holds at least the new tokens.
    if (int64_t *capacity = symbol("C"))
      *capacity = std::max(*capacity, rows());
  }

  void drawParams() {
    for (const Parameter &param : kernel.params) {
      int64_t value = param.defaultValue && random.oneIn(2)
                          ? *param.defaultValue
                          : random.between(0, 70);
      auto it = fixed.params.find(param.name);
      result.params.push_back(it == fixed.params.end() ? value : it->second);
    }
  }

  /// An order of the dimensions in memory, with gaps.
  SmallVector<int64_t> drawStrides(ArrayRef<int64_t> shape,
                                   const TensorArg &arg) {
    size_t rank = shape.size();
    SmallVector<size_t> order = llvm::to_vector(llvm::seq<size_t>(0, rank));
    if (rank == 4 && random.oneIn(3))
      std::swap(order[1], order[2]);
    else if (random.oneIn(8))
      for (size_t i = rank; i > 1; --i)
        std::swap(order[i - 1], order[random.between(0, i - 1)]);
    bool gaps = random.oneIn(2);
    SmallVector<int64_t> strides(rank);
    int64_t stride = random.oneIn(6) ? random.between(2, 3) : 1;
    for (size_t i = rank; i-- != 0;) {
      size_t dim = order[i];
      strides[dim] = stride;
      stride *= std::max<int64_t>(shape[dim], 1);
      if (gaps)
        stride += random.between(0, 3) * (i + 1 == rank ? 1 : strides[dim]);
    }
    // An input may be broadcast along any dimension. But where all elements of
    // a query and of a key are one, a score's roundings all fall to one side,
    // which the bounds do not cover (ErrorBound.h).
    if (rank && arg.role == ArgRole::Input && random.oneIn(8)) {
      size_t dim = random.between(0, rank - 1);
      if (arg.name != "k" || dim + 1 != rank)
        strides[dim] = 0;
    }
    return strides;
  }

  /// An integer of an input that the mask reads or that says how full a cache
  /// is.
  int64_t drawInteger(const TensorArg &arg) {
    int64_t *capacity = symbol("C");
    if (arg.name == "past")
      return random.between(0, capacity ? *capacity - rows() : 0);
    int64_t *keys = symbol("N");
    return random.between(0, keys ? *keys : capacity ? *capacity : 100);
  }

  Error drawTensor(const TensorArg &arg) {
    SmallVector<int64_t> shape;
    for (const Dim &dim : arg.dims)
      shape.push_back(extentOf(dim));
    Expected<HostTensor> tensor =
        HostTensor::create(arg.dtype, shape, drawStrides(shape, arg),
                           /*flushRight=*/random.oneIn(2));
    if (!tensor)
      return tensor.takeError();
    result.present.push_back(!arg.optional || !random.oneIn(4));
    if (arg.role != ArgRole::Output) {
      auto element =
          cast<ShapedType>(
              compilation.function().getArgumentTypes()[result.tensors.size()])
              .getElementType();
      reference::Tensor values = reference::Tensor::filled(shape, element, 0);
      bool isFloat = isa<FloatType>(element);
      for (double &value : values.data)
        value =
            isFloat ? random.normal() : static_cast<double>(drawInteger(arg));
      if (Error error =
              reference::store(values, tensor->data(), tensor->strides()))
        return error;
    }
    result.tensors.push_back(std::move(*tensor));
    return Error::success();
  }

  /// NaN in the keys that no row of their kv head's group attends to, and in
  /// some cases in a few that some rows attend to and others do not.
  Error poisonKeys() {
    attn::AttentionOp op;
    int64_t count = 0;
    compilation.function().walk([&](attn::AttentionOp found) {
      op = found;
      ++count;
    });
    bool isCache = kernel.findArg("k_cache");
    const TensorArg *k = kernel.findArg(isCache ? "k_cache" : "k"),
                    *v = kernel.findArg(isCache ? "v_cache" : "v");
    if (count != 1 || !kernel.findArg("q") || !k || !v)
      return Error::success();
    SmallVector<const HostTensor *> tensors;
    for (HostTensor &tensor : result.tensors)
      tensors.push_back(&tensor);
    auto arguments = readArguments(compilation, tensors, result.params);
    if (!arguments)
      return arguments.takeError();
    auto attending =
        reference::countAttending(compilation.function(), *arguments);
    if (!attending)
      return attending.takeError();
    bool hurts = random.oneIn(3);
    const reference::Tensor &counts = attending->front();
    int64_t rows = op.getGroupSize();
    for (auto [index, dim] : llvm::zip_equal(op.getMaps()[0].getResults(),
                                             kernel.findArg("q")->dims))
      if (index.isFunctionOfDim(3))
        rows *= extentOf(dim);
    reference::forEachIndex(counts.shape, [&](ArrayRef<int64_t> at) {
      auto count = static_cast<int64_t>(counts.at(at));
      bool isHurt = hurts && count != rows && random.oneIn(50);
      if (count != 0 && !isHurt)
        return;
      poison(*k, op.getMaps()[1], at);
      poison(*v, op.getMaps()[2], at);
    });
    return Error::success();
  }

  /// NaN in all elements of a key, at (b, g, j).
  void poison(const TensorArg &arg, AffineMap map, ArrayRef<int64_t> at) {
    HostTensor &tensor = result.tensors[&arg - kernel.args.data()];
    // Where keys share memory none is to be had alone.
    if (llvm::is_contained(tensor.strides(), 0))
      return;
    int64_t width = tensor.dtype().bytes();
    for (int64_t d = 0; d != tensor.shape().back(); ++d) {
      SmallVector<int64_t> index =
          map.compose({at[0], at[1], 0, 0, at[2], d, d});
      int64_t offset = 0;
      for (auto [i, stride] : llvm::zip_equal(index, tensor.strides()))
        offset += i * stride;
      std::memset(tensor.data() + width * offset, 0xff, width);
    }
  }

  void describe() {
    llvm::raw_string_ostream os(result.description);
    for (auto [name, value] : llvm::zip(kernel.symbols, result.symbols))
      os << name << "=" << value << " ";
    for (auto [param, value] : llvm::zip(kernel.params, result.params))
      os << param.name << "=" << value << " ";
    for (auto [arg, tensor] : llvm::zip(kernel.args, result.tensors)) {
      os << arg.name << " strides (";
      llvm::interleaveComma(tensor.strides(), os);
      os << ") ";
    }
    os << "threads " << result.threads;
  }
};

/// The bytes of a tensor that no element covers are as they were, and all of
/// them if it is an input.
bool untouched(const HostTensor &tensor, StringRef before, bool isInput) {
  StringRef after(tensor.data(), tensor.bytes());
  if (isInput)
    return after == before;
  std::vector<bool> covered(after.size());
  int64_t width = tensor.dtype().bytes();
  reference::forEachIndex(tensor.shape(), [&](ArrayRef<int64_t> index) {
    int64_t offset = 0;
    for (auto [i, stride] : llvm::zip(index, tensor.strides()))
      offset += i * stride;
    for (int64_t byte = 0; byte != width; ++byte)
      covered[offset * width + byte] = true;
  });
  for (size_t i = 0; i != after.size(); ++i)
    if (!covered[i] && after[i] != before[i])
      return false;
  return true;
}

Error problem(const Case &call, const llvm::Twine &what) {
  return llvm::createStringError(std::errc::result_out_of_range, "%s\n  %s",
                                 what.str().c_str(), call.description.c_str());
}

std::vector<std::string> snapshot(const Case &call) {
  std::vector<std::string> bytes;
  bytes.reserve(call.tensors.size());
  for (const HostTensor &tensor : call.tensors)
    bytes.emplace_back(tensor.data(), tensor.bytes());
  return bytes;
}
void restore(Case &call, ArrayRef<std::string> bytes) {
  for (auto [tensor, saved] : llvm::zip(call.tensors, bytes))
    std::memcpy(tensor.data(), saved.data(), saved.size());
}

std::vector<char> makeOptions(fovea_context *context,
                              ArrayRef<int64_t> params) {
  std::vector<char> bytes(sizeof(fovea_options) + params.size() * 8);
  fovea_options options = {bytes.size(), context, nullptr, 0};
  std::memcpy(bytes.data(), &options, sizeof(options));
  if (!params.empty())
    std::memcpy(bytes.data() + sizeof(options), params.data(),
                params.size() * 8);
  return bytes;
}

Error invoke(const fovea_kernel *kernel, Case &call, unsigned threads) {
  ContextPtr context = createEagerContext(threads);
  if (!context)
    return problem(call, "out of memory");
  std::vector<char> options = makeOptions(context.get(), call.params);
  SmallVector<const DLTensor *> arguments;
  for (size_t i = 0; i != call.tensors.size(); ++i)
    arguments.push_back(call.present[i] ? call.tensors[i].describe() : nullptr);
  if (fovea_invoke(kernel, arguments.data(), options.data()) != FOVEA_OK)
    return problem(call, llvm::Twine("the call failed: ") + fovea_last_error());
  return Error::success();
}

} // namespace

Expected<double> CallChecker::run(int64_t number) {
  Expected<Case> drawn = CaseDrawer(compilation, fixed, seed, number).draw();
  if (!drawn)
    return drawn.takeError();
  Case &call = *drawn;
  drawnExtents = call.symbols;
  SmallVector<const HostTensor *> tensors;
  for (HostTensor &tensor : call.tensors)
    tensors.push_back(&tensor);
  auto arguments = readArguments(compilation, tensors, call.params);
  if (!arguments)
    return arguments.takeError();

  std::vector<std::string> before = snapshot(call);
  if (Error error = invoke(kernel, call, call.threads))
    return std::move(error);
  const KernelInterface &interface = compilation.kernel();
  for (size_t i = 0; i != call.tensors.size(); ++i) {
    bool isInput = interface.args[i].role == ArgRole::Input || !call.present[i];
    if (!untouched(call.tensors[i], before[i], isInput))
      return problem(call, "'" + interface.args[i].name +
                               "' was written where it must not be");
    if (!call.present[i])
      tensors[i] = nullptr;
  }
  Expected<Comparison> comparison = compare(compilation, *arguments, tensors);
  if (!comparison)
    return comparison.takeError();
  if (comparison->share > limit)
    return problem(call, comparison->worst);

  std::vector<std::string> first = snapshot(call);
  restore(call, before);
  if (Error error = invoke(kernel, call, call.threads % 4 + 1))
    return std::move(error);
  if (snapshot(call) != first)
    return problem(call, "the bits depend on the number of threads (rule D1)");
  return comparison->share;
}

} // namespace fovea
