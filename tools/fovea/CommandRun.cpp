// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// fovea run: one call of a kernel on tensors from files, results to files.

#include "tools/fovea/Commands.h"
#include "tools/fovea/KernelCall.h"

#include "compiler/Artifact/OutputSet.h"
#include "compiler/TensorIO/TensorIO.h"
#include "tools/fovea/Comparison.h"

#include "llvm/ADT/SmallVectorExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"

#include <chrono>

using llvm::Error;
using llvm::Expected;
using llvm::StringRef;

namespace fovea {
namespace {

/// "@random(1)" or "@fill(0.5)"; made when all extents are known.
struct MadeInput {
  bool random = false;
  uint64_t seed = 0;
  double value = 0;
};

Expected<MadeInput> parseMadeInput(StringRef text) {
  MadeInput made;
  StringRef body = text;
  made.random = body.consume_front("@random(");
  if (!body.consume_back(")") ||
      (!made.random && !body.consume_front("@fill(")) ||
      (made.random ? body.getAsInteger(10, made.seed)
                   : body.getAsDouble(made.value)))
    return makeUserError("--in: '" + text +
                         "' is neither @random(SEED) nor @fill(VALUE)");
  return made;
}

class Runner {
public:
  Runner(const KernelInterface &kernel, KernelCall &call)
      : kernel(kernel), call(call), made(kernel.args.size()) {}

  Error readInputs(llvm::ArrayRef<std::string> texts);
  /// Makes the inputs that are no files, and room for outputs.
  Error completeTensors();
  /// Everything is checked before the call; all files appear, or none.
  Error planOutputs(llvm::ArrayRef<std::string> texts);
  Error writeOutputs();

private:
  const KernelInterface &kernel;
  KernelCall &call;
  std::vector<std::optional<MadeInput>> made;
  struct Output {
    std::string path;
    TensorFormat format;
    std::vector<size_t> args;
  };
  std::vector<Output> outputs;

  Expected<size_t> findInput(StringRef name) {
    for (auto [number, arg] : llvm::enumerate(kernel.args))
      if (arg.name == name && arg.role != ArgRole::Output) {
        if (call.tensors[number] || made[number])
          return makeUserError("--in: '" + name + "' is given twice");
        return number;
      }
    return makeUserError("--in: '" + name + "' is no input of '" + kernel.name +
                         "'");
  }
};

Error Runner::readInputs(llvm::ArrayRef<std::string> texts) {
  for (StringRef text : texts) {
    auto [name, source] = text.split('=');
    bool named = !source.empty();
    if (!named)
      source = text;
    if (source.starts_with("@")) {
      Expected<MadeInput> parsed = parseMadeInput(source);
      if (!parsed)
        return parsed.takeError();
      if (!named)
        return makeUserError("--in: '" + text +
                             "' needs a name: NAME=" + source);
      Expected<size_t> number = findInput(name);
      if (!number)
        return number.takeError();
      made[*number] = *parsed;
      continue;
    }
    // A key may follow the path, after a colon.
    StringRef path = source, key;
    if (!tensorFormatOf(path))
      std::tie(path, key) = source.rsplit(':');
    Expected<std::vector<FileTensor>> tensors = readTensors(path, key);
    if (!tensors)
      return tensors.takeError();
    if (named && tensors->size() != 1) {
      // The tensor of the argument's own name, if the file has one.
      llvm::erase_if(*tensors, [n = name](const FileTensor &tensor) {
        return tensor.name != n;
      });
      if (tensors->size() != 1)
        return makeUserError("--in: '" + path +
                             "' holds several tensors; name one "
                             "of them: " +
                             name + "=" + path + ":KEY");
    }
    for (FileTensor &tensor : *tensors) {
      std::string argument = named ? name.str() : tensor.name;
      if (argument.empty())
        return makeUserError("--in: '" + text + "' needs a name: NAME=" + text);
      Expected<size_t> number = findInput(argument);
      if (!number)
        return number.takeError();
      // As it lies in the file, column-major too.
      Expected<HostTensor> copy =
          HostTensor::create(tensor.dtype, tensor.shape, tensor.strides);
      if (!copy)
        return copy.takeError();
      std::memcpy(copy->data(), tensor.data, copy->bytes());
      if (Error error = call.bind(*number, std::move(*copy)))
        return error;
    }
  }
  return Error::success();
}

Error Runner::planOutputs(llvm::ArrayRef<std::string> texts) {
  for (StringRef text : texts) {
    auto [name, path] = text.split('=');
    bool named = !path.empty();
    if (!named)
      path = text;
    Output output;
    output.path = path.str();
    std::optional<TensorFormat> format = tensorFormatOf(path);
    if (!format)
      return makeUserError("--out: '" + path +
                           "' must end in .npy, .npz or .safetensors");
    output.format = *format;
    for (auto [number, arg] : llvm::enumerate(kernel.args))
      if (arg.role != ArgRole::Input && (!named || arg.name == name))
        output.args.push_back(number);
    if (output.args.empty())
      return makeUserError("--out: '" + name + "' is no output of '" +
                           kernel.name + "'");
    if (*format == TensorFormat::Npy && output.args.size() != 1)
      return makeUserError("--out: a .npy file holds one tensor; name it: o=" +
                           path);
    outputs.push_back(std::move(output));
  }
  return Error::success();
}

Error Runner::completeTensors() {
  for (auto [number, arg] : llvm::enumerate(kernel.args)) {
    if (call.tensors[number])
      continue;
    if (arg.role == ArgRole::Input && !made[number] && !arg.optional)
      return makeUserError("input '" + arg.name + "' " +
                           kernel.formatShape(arg) + " of " + arg.dtype.name +
                           " is missing; give --in " + arg.name +
                           "=FILE or --in '" + arg.name + "=@random(1)'");
    if (Error error = made[number] && made[number]->random
                          ? call.makeRandom(number, made[number]->seed)
                      : made[number]
                          ? call.makeFilled(number, made[number]->value)
                          : call.makeFilled(number, 0))
      return error;
  }
  return Error::success();
}

Error Runner::writeOutputs() {
  OutputSet files;
  for (const Output &output : outputs) {
    std::vector<FileTensor> views;
    for (size_t number : output.args) {
      HostTensor &tensor = *call.tensors[number];
      FileTensor &view = views.emplace_back();
      view.name = kernel.args[number].name;
      view.dtype = tensor.dtype();
      view.shape.assign(tensor.shape().begin(), tensor.shape().end());
      view.strides.assign(tensor.strides().begin(), tensor.strides().end());
      view.data = tensor.data();
    }
    auto tensors = llvm::map_to_vector(
        views, [](const FileTensor &view) { return &view; });
    Expected<std::string> bytes =
        output.format == TensorFormat::Npy   ? encodeNpy(*tensors.front())
        : output.format == TensorFormat::Npz ? encodeNpz(tensors)
                                             : encodeSafetensors(tensors);
    if (!bytes)
      return bytes.takeError();
    files.add(output.path, std::move(*bytes));
  }
  return files.commit();
}

} // namespace

int runRun(const CommandLine &line) {
  Expected<CallOptions> options = parseCallOptions(line);
  if (!options)
    return fail(ExitUsage, options.takeError());
  Compilation compilation;
  if (!compilation.open(line.input))
    return compilation.exitCode;

  KernelCall call(compilation);
  Runner runner(compilation.kernel(), call);
  // What is wrong with the tensors is said before time goes into compiling.
  auto prepare = [&]() -> Error {
    if (Error error = runner.planOutputs(line.outputs))
      return error;
    if (Error error = call.set(*options))
      return error;
    if (Error error = runner.readInputs(line.inputs))
      return error;
    if (Error error = call.checkComplete())
      return error;
    return runner.completeTensors();
  };
  if (Error error = prepare())
    return fail(ExitBadInput, std::move(error));
  // A cache is another after the call.
  Expected<llvm::SmallVector<reference::RuntimeValue>> arguments =
      llvm::SmallVector<reference::RuntimeValue>();
  if (line.verify)
    arguments =
        readArguments(compilation, call.tensorPointers(), call.paramValues());
  if (!arguments)
    return fail(ExitBadInput, arguments.takeError());
  std::unique_ptr<LoadedKernel> kernel = compilation.load({options->target});
  if (!kernel)
    return compilation.exitCode;
  Expected<ContextPtr> context = createContext(line.threads);
  if (!context)
    return fail(ExitBadInput, context.takeError());

  Invocation invoke(kernel->get(), call, context->get());
  using Clock = std::chrono::steady_clock;
  Clock::time_point begin = Clock::now();
  if (Error error = invoke())
    return fail(ExitBadInput, std::move(error));
  std::chrono::duration<double, std::milli> elapsed = Clock::now() - begin;
  if (Error error = runner.writeOutputs())
    return fail(ExitBadInput, std::move(error));
  if (line.time)
    llvm::outs() << llvm::formatv("time: {0:F3} ms, {1} threads\n",
                                  elapsed.count(),
                                  fovea_context_threads(context->get()));
  if (!line.verify)
    return ExitSuccess;
  Expected<Comparison> result =
      compare(compilation, *arguments, call.tensorPointers());
  if (!result)
    return fail(ExitBadInput, result.takeError());
  llvm::outs() << llvm::formatv("largest error: {0:F3} of the bound",
                                result->share);
  if (!result->worst.empty())
    llvm::outs() << " (" << result->worst << ")";
  llvm::outs() << "\n";
  return result->good()
             ? ExitSuccess
             : failWithReproducer(makeUserError("the result is past its error "
                                                "bound"));
}

} // namespace fovea
