// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Calls of kernels: see KernelCall.h.

#include "tools/fovea/KernelCall.h"

#include "compiler/Reference/Tensor.h"
#include "tools/fovea/Commands.h"

#include "llvm/ADT/StringExtras.h"

#include <cstring>
#include <random>

using llvm::Error;
using llvm::Expected;
using llvm::SmallVector;
using llvm::StringRef;
using llvm::Twine;

namespace fovea {

Error makeUserError(const Twine &message) {
  return llvm::createStringError(std::errc::invalid_argument, "%s",
                                 message.str().c_str());
}

/// From "B=1", "M=64". `option` is the flag, for messages.
static Expected<Assignments> parseAssignments(llvm::ArrayRef<std::string> texts,
                                              StringRef option) {
  Assignments values;
  for (StringRef text : texts) {
    auto [name, number] = text.split('=');
    int64_t value;
    if (name.empty() || number.getAsInteger(10, value))
      return makeUserError("--" + option + ": '" + text +
                           "' is not of the form NAME=NUMBER");
    if (!values.try_emplace(name, value).second)
      return makeUserError("--" + option + ": '" + name + "' is given twice");
  }
  return values;
}

/// The one target of --target, this machine's best by default.
static Expected<const Target *>
selectTarget(llvm::ArrayRef<std::string> texts) {
  static const std::string host[] = {"cpu:host"};
  Expected<SmallVector<const Target *>> targets =
      parseTargets(texts.empty() ? llvm::ArrayRef<std::string>(host) : texts);
  if (!targets)
    return targets.takeError();
  if (targets->size() != 1)
    return makeUserError("--target: one instruction set is needed, as in "
                         "cpu:host");
  return targets->front();
}

Expected<CallOptions> parseCallValues(const CommandLine &line) {
  Expected<Assignments> extents = parseAssignments(line.shape, "shape");
  if (!extents)
    return extents.takeError();
  Expected<Assignments> params = parseAssignments(line.params, "param");
  if (!params)
    return params.takeError();
  Expected<Assignments> values = parseAssignments(line.values, "value");
  if (!values)
    return values.takeError();
  return CallOptions{std::move(*extents), std::move(*params),
                     std::move(*values)};
}

Expected<CallOptions> parseCallOptions(const CommandLine &line) {
  Expected<CallOptions> options = parseCallValues(line);
  if (!options)
    return options.takeError();
  Expected<const Target *> target = selectTarget(line.targets);
  if (!target)
    return target.takeError();
  options->target = *target;
  return options;
}

KernelCall::KernelCall(Compilation &compilation)
    : kernel(compilation.kernel()), symbols(kernel.symbols.size()),
      tensors(kernel.args.size()), compilation(compilation) {
  for (const Parameter &param : kernel.params)
    params.push_back(param.defaultValue);
}

Error KernelCall::set(const CallOptions &options) {
  for (const auto &entry : options.extents) {
    auto it = llvm::find(kernel.symbols, entry.first());
    if (it == kernel.symbols.end())
      return makeUserError("--shape: '" + entry.first() +
                           "' is no symbol of this kernel; its symbols are " +
                           llvm::join(kernel.symbols, ", "));
    if (entry.second < 0)
      return makeUserError("--shape: '" + entry.first() + "' is negative");
    symbols[it - kernel.symbols.begin()] = entry.second;
  }
  for (const auto &entry : options.params) {
    auto it = llvm::find_if(kernel.params, [&](const Parameter &param) {
      return param.name == entry.first();
    });
    if (it == kernel.params.end())
      return makeUserError("--param: this kernel has no parameter '" +
                           entry.first() + "'");
    params[it - kernel.params.begin()] = entry.second;
  }
  for (const auto &entry : options.values) {
    const TensorArg *arg = kernel.findArg(entry.first());
    if (!arg || !isIntegerInput(arg - kernel.args.data()))
      return makeUserError("--value: '" + entry.first() +
                           "' is no integer input of this kernel");
    if (!llvm::isIntN(arg->dtype.bits, entry.second))
      return makeUserError("--value: " + Twine(entry.second) + " is no " +
                           arg->dtype.name + ", the type of '" + arg->name +
                           "'");
  }
  values = options.values;
  return Error::success();
}

bool KernelCall::isIntegerInput(size_t number) const {
  const TensorArg &arg = kernel.args[number];
  return arg.role == ArgRole::Input && arg.dtype.code == kDLInt;
}

int64_t KernelCall::assumedValue(size_t number) const {
  StringRef name = kernel.args[number].name;
  if (auto it = values.find(name); it != values.end())
    return it->second;
  if (name == "past")
    return std::max<int64_t>(extent("C") - extent("M"), 0);
  return std::max(extent("N"), extent("C"));
}

Error KernelCall::bind(size_t number, HostTensor tensor) {
  const TensorArg &arg = kernel.args[number];
  auto mismatch = [&] {
    std::string known;
    for (auto [name, value] : llvm::zip(kernel.symbols, symbols))
      if (value)
        known += (known.empty() ? " with " : ", ") + name + "=" +
                 std::to_string(*value);
    return makeUserError("'" + arg.name + "' must be " +
                         kernel.formatShape(arg) + " of " + arg.dtype.name +
                         known + ", and is " + formatExtents(tensor.shape()) +
                         " of " + tensor.dtype().name);
  };
  if (!(tensor.dtype() == arg.dtype) ||
      tensor.shape().size() != arg.dims.size())
    return mismatch();
  for (auto [dim, extent] : llvm::zip(arg.dims, tensor.shape())) {
    if (dim.symbol >= 0 && !symbols[dim.symbol])
      symbols[dim.symbol] = extent;
    if (extent != (dim.symbol < 0 ? dim.extent : *symbols[dim.symbol]))
      return mismatch();
  }
  tensors[number] = std::move(tensor);
  return Error::success();
}

Error KernelCall::checkComplete() const {
  for (auto [name, value] : llvm::zip(kernel.symbols, symbols))
    if (!value)
      return makeUserError(Twine("the extent '") + name +
                           "' is not known; give --shape " + name + "=NUMBER");
  for (auto [param, value] : llvm::zip(kernel.params, params))
    if (!value)
      return makeUserError("parameter '" + param.name +
                           "' has no default; give --param " + param.name +
                           "=NUMBER");
  return Error::success();
}

int64_t KernelCall::extent(StringRef name) const {
  for (auto [candidate, value] : llvm::zip(kernel.symbols, symbols))
    if (candidate == name)
      return value.value_or(0);
  // One that the spec fixed stands in q, k or the cache.
  const TensorArg *arg = kernel.findArg(name == "N"   ? "k"
                                        : name == "C" ? "k_cache"
                                                      : "q");
  size_t dim = name == "B" ? 0 : 1;
  return arg && dim < arg->dims.size()
             ? std::max<int64_t>(arg->dims[dim].extent, 0)
             : 0;
}

SmallVector<int64_t> KernelCall::shapeOf(size_t number) const {
  SmallVector<int64_t> shape;
  for (const Dim &dim : kernel.args[number].dims)
    shape.push_back(dim.symbol < 0 ? dim.extent : *symbols[dim.symbol]);
  return shape;
}

Error KernelCall::make(size_t number,
                       llvm::function_ref<double(bool isFloat)> draw) {
  SmallVector<int64_t> shape = shapeOf(number);
  Expected<HostTensor> tensor =
      HostTensor::create(kernel.args[number].dtype, shape);
  if (!tensor)
    return tensor.takeError();
  mlir::Type element = mlir::cast<mlir::ShapedType>(
                           compilation.function().getArgumentTypes()[number])
                           .getElementType();
  reference::Tensor values = reference::Tensor::filled(shape, element, 0);
  for (double &value : values.data)
    value = draw(mlir::isa<mlir::FloatType>(element));
  if (Error error = reference::store(values, tensor->data(), tensor->strides()))
    return error;
  return bind(number, std::move(*tensor));
}

Error KernelCall::makeRandom(size_t number, uint64_t seed) {
  // Integers count keys; `past` must leave room for the new ones.
  int64_t limit = std::max(extent("N"), extent("C"));
  if (kernel.args[number].name == "past")
    limit = std::max<int64_t>(extent("C") - extent("M"), 0);
  std::mt19937_64 random(seed);
  return make(number, [&](bool isFloat) {
    uint64_t bits = random();
    return isFloat ? static_cast<double>(bits >> 11) * 0x1p-52 - 1
                   : static_cast<double>(bits % (limit + 1));
  });
}

Error KernelCall::makeFilled(size_t number, double value) {
  return make(number, [&](bool) { return value; });
}

SmallVector<const HostTensor *> KernelCall::tensorPointers() const {
  SmallVector<const HostTensor *> pointers;
  for (const std::optional<HostTensor> &tensor : tensors)
    pointers.push_back(tensor ? &*tensor : nullptr);
  return pointers;
}

SmallVector<int64_t> KernelCall::paramValues() const {
  SmallVector<int64_t> values;
  for (std::optional<int64_t> value : params)
    values.push_back(value.value_or(0));
  return values;
}

static Error statusError(fovea_status status) {
  return makeUserError("the runtime refused the call (" +
                       Twine(fovea_status_name(status)) +
                       "): " + fovea_last_error());
}

Expected<ContextPtr> createContext(unsigned threads) {
  fovea_context *context = nullptr;
  if (fovea_status status = fovea_context_create(threads, &context))
    return statusError(status);
  return ContextPtr(context);
}

Invocation::Invocation(const fovea_kernel *code, KernelCall &call,
                       const fovea_context *context)
    : code(code) {
  for (std::optional<HostTensor> &tensor : call.tensors)
    tensors.push_back(tensor ? tensor->describe() : nullptr);
  for (std::optional<int64_t> value : call.symbols)
    symbols.push_back(value.value_or(0));
  static_assert(sizeof(fovea_options) % sizeof(int64_t) == 0);
  options.resize(sizeof(fovea_options) / sizeof(int64_t));
  llvm::append_range(options, call.paramValues());
  fovea_options head = {options.size() * sizeof(int64_t), context, nullptr, 0};
  std::memcpy(options.data(), &head, sizeof head);
}

Error Invocation::operator()() {
  if (fovea_status status = fovea_invoke(code, tensors.data(), options.data()))
    return statusError(status);
  return Error::success();
}

size_t Invocation::workspaceSize() const {
  return fovea_workspace_size(code, symbols.data(), options.data());
}

} // namespace fovea
