// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The comparison of a call's results with the reference's.

#include "tools/fovea/Comparison.h"

#include "compiler/Reference/ErrorBound.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using llvm::Expected;

namespace fovea {

static Expected<reference::Tensor> read(Compilation &compilation, size_t number,
                                        const HostTensor &tensor) {
  Type type = compilation.function().getArgumentTypes()[number];
  return reference::load(tensor.data(), tensor.shape(), tensor.strides(),
                         cast<ShapedType>(type).getElementType());
}

static SmallVector<int64_t> indexOf(int64_t position, ArrayRef<int64_t> shape) {
  SmallVector<int64_t> index(shape.size());
  for (size_t d = index.size(); d-- != 0;) {
    index[d] = position % shape[d];
    position /= shape[d];
  }
  return index;
}

Expected<SmallVector<reference::RuntimeValue>>
readArguments(Compilation &compilation, ArrayRef<const HostTensor *> tensors,
              ArrayRef<int64_t> params) {
  SmallVector<reference::RuntimeValue> arguments;
  for (auto [number, tensor] : llvm::enumerate(tensors)) {
    Expected<reference::Tensor> values = read(compilation, number, *tensor);
    if (!values)
      return values.takeError();
    arguments.push_back(std::move(*values));
  }
  arguments.append(params.begin(), params.end());
  return std::move(arguments);
}

Expected<Comparison> compare(Compilation &compilation,
                             ArrayRef<reference::RuntimeValue> arguments,
                             ArrayRef<const HostTensor *> tensors) {
  const KernelInterface &kernel = compilation.kernel();
  SmallVector<StringRef> names;
  std::vector<std::optional<reference::Tensor>> written;
  for (auto [number, arg] : llvm::enumerate(kernel.args)) {
    if (arg.role == ArgRole::Input)
      continue;
    names.push_back(arg.name);
    written.emplace_back();
    if (!tensors[number])
      continue;
    Expected<reference::Tensor> values =
        read(compilation, number, *tensors[number]);
    if (!values)
      return values.takeError();
    written.back() = std::move(*values);
  }
  reference::InterpretOptions options;
  options.errorSums = true;
  SmallVector<const reference::Tensor *> caches;
  for (const std::optional<reference::Tensor> &tensor : written)
    caches.push_back(tensor ? &*tensor : nullptr);
  options.written = caches;
  Expected<reference::Interpretation> expected =
      reference::interpret(compilation.function(), arguments, options);
  if (!expected)
    return expected.takeError();

  Comparison result;
  for (auto [number, got] : llvm::enumerate(written)) {
    if (!got)
      continue;
    reference::Judgement judgement = reference::judge(
        *expected, number, *got, compilation.getLoadedMatrixTerms());
    if (judgement.share <= result.share)
      continue;
    result.share = judgement.share;
    const auto &want = std::get<reference::Tensor>(expected->results[number]);
    std::string text;
    llvm::raw_string_ostream os(text);
    os << names[number] << "[";
    llvm::interleaveComma(indexOf(judgement.worst, want.shape), os);
    os << "] is " << llvm::format("%.9g", got->data[judgement.worst])
       << ", the reference says "
       << llvm::format("%.9g", want.data[judgement.worst]) << ", the bound is "
       << llvm::format("%.3g", judgement.bound);
    result.worst = text;
  }
  return std::move(result);
}

} // namespace fovea
