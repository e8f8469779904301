// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Runs a spec through the reference interpreter, for tests that compare it with
// other implementations of attention:
//
//   fovea-interpret SPEC PREFIX ARGUMENT...
//
// One ARGUMENT per argument of the kernel function, in its order: an integer
// for a parameter, SHAPE=FILE (such as 2x5x4x8=q.bin) for a tensor whose
// elements are raw f64 numbers in FILE, SHAPE= for one that holds NaN. Result i
// is written to PREFIX.i as raw f64 numbers, sum_j p_j |v_j| of O to
// PREFIX.abs.

#include "compiler/Frontend/Spec.h"
#include "compiler/Reference/Interpreter.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"
#include <cstring>
#include <limits>

using namespace mlir;
using namespace fovea;
using reference::RuntimeValue;
using reference::Tensor;

static llvm::ExitOnError exitOnError("fovea-interpret: ");

static RuntimeValue readArgument(Type type, StringRef text) {
  auto tensorType = dyn_cast<RankedTensorType>(type);
  if (!tensorType) {
    int64_t value;
    if (text.getAsInteger(10, value))
      exitOnError(llvm::createStringError("'" + text + "' is no integer"));
    return value;
  }
  auto [shapeText, file] = text.split('=');
  SmallVector<int64_t> shape;
  for (StringRef extent : llvm::split(shapeText, 'x'))
    if (extent.getAsInteger(10, shape.emplace_back()))
      exitOnError(llvm::createStringError("'" + text + "' has no shape"));
  exitOnError(reference::checkShape(shape));
  Tensor tensor = Tensor::filled(shape, tensorType.getElementType(),
                                 std::numeric_limits<double>::quiet_NaN());
  if (file.empty())
    return tensor;
  std::unique_ptr<llvm::MemoryBuffer> buffer =
      exitOnError(llvm::errorOrToExpected(llvm::MemoryBuffer::getFile(file)));
  if (buffer->getBufferSize() != tensor.data.size() * sizeof(double))
    exitOnError(llvm::createStringError("'" + file + "' has another size"));
  std::memcpy(tensor.data.data(), buffer->getBufferStart(),
              buffer->getBufferSize());
  return tensor;
}

static void write(const std::string &path, const Tensor &tensor) {
  std::error_code code;
  llvm::raw_fd_ostream os(path, code);
  if (code)
    exitOnError(llvm::errorCodeToError(code));
  os.write(reinterpret_cast<const char *>(tensor.data.data()),
           tensor.data.size() * sizeof(double));
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  if (argc < 3)
    exitOnError(llvm::createStringError("needs SPEC PREFIX ARGUMENT..."));
  llvm::SourceMgr sourceMgr;
  sourceMgr.AddNewSourceBuffer(exitOnError(llvm::errorOrToExpected(
                                   llvm::MemoryBuffer::getFile(argv[1]))),
                               llvm::SMLoc());
  std::optional<frontend::Spec> spec = frontend::parseSpec(sourceMgr);
  if (!spec)
    return 1;
  MLIRContext context;
  OwningOpRef<ModuleOp> module = frontend::buildModule(context, *spec);
  if (!module)
    return 1;
  func::FuncOp kernel = *module->getOps<func::FuncOp>().begin();
  if (unsigned(argc - 3) != kernel.getNumArguments())
    exitOnError(llvm::createStringError(
        "the kernel takes " + Twine(kernel.getNumArguments()) + " arguments"));
  SmallVector<RuntimeValue> arguments;
  for (auto [index, type] : llvm::enumerate(kernel.getArgumentTypes()))
    arguments.push_back(readArgument(type, argv[3 + index]));
  reference::Interpretation result =
      exitOnError(reference::interpret(kernel, arguments, {.errorSums = true}));
  std::string prefix = argv[2];
  for (auto [index, value] : llvm::enumerate(result.results)) {
    write(prefix + "." + std::to_string(index), std::get<Tensor>(value));
    if (result.absoluteSums[index])
      write(prefix + ".abs", *result.absoluteSums[index]);
  }
  return 0;
}
