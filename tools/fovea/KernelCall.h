// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// One call of a loaded kernel as the command line describes it: extents,
// parameters and tensors, checked against the kernel's interface, and the call
// through the runtime.

#ifndef FOVEA_TOOLS_FOVEA_KERNELCALL_H
#define FOVEA_TOOLS_FOVEA_KERNELCALL_H

#include "tools/fovea/Compilation.h"
#include "tools/fovea/HostTensor.h"

#include "fovea/kernel_abi.h"

#include "llvm/ADT/StringMap.h"

#include <memory>
#include <optional>

namespace fovea {

/// Names and numbers of --shape, --param and --value.
using Assignments = llvm::StringMap<int64_t>;

/// What the command line says of a call: --shape, --param, --value, --target.
struct CallOptions {
  Assignments extents, params, values;
  const Target *target = nullptr;
};
struct CommandLine;
llvm::Expected<CallOptions> parseCallOptions(const CommandLine &line);
/// The same but for the target, of which the command may take several.
llvm::Expected<CallOptions> parseCallValues(const CommandLine &line);

/// An error for the user.
llvm::Error makeUserError(const llvm::Twine &message);

/// Everything a call needs but the code.
class KernelCall {
public:
  explicit KernelCall(Compilation &compilation);

  const KernelInterface &kernel;
  std::vector<std::optional<int64_t>> symbols; // unknown until bound
  std::vector<std::optional<int64_t>> params;  // defaults to begin with
  std::vector<std::optional<HostTensor>> tensors;

  /// Takes the extents, the parameters and what elements of integer inputs
  /// hold. Names that the kernel lacks, negative extents and elements that the
  /// type does not have are errors.
  llvm::Error set(const CallOptions &options);
  /// Takes the tensor as that argument and learns extents from its shape.
  llvm::Error bind(size_t arg, HostTensor tensor);
  /// All symbols and parameters must be known by now.
  llvm::Error checkComplete() const;

  /// The extent B, M, N or C, a symbol or fixed by the spec; 0 if there is
  /// none.
  int64_t extent(llvm::StringRef name) const;
  llvm::SmallVector<int64_t> shapeOf(size_t arg) const;
  /// Lengths, positions, ids: what masks read and how full a cache is.
  bool isIntegerInput(size_t arg) const;
  /// What each element of an integer input is taken to be where no tensor is
  /// given: setValues', else the number of keys, and for `past` what leaves
  /// room for the new ones only. Extents must be known.
  int64_t assumedValue(size_t arg) const;

  /// A tensor for the argument: floats in [-1, 1] or `value`, integers of a
  /// range that makes sense to masks and caches. Extents must be known.
  llvm::Error makeRandom(size_t arg, uint64_t seed);
  llvm::Error makeFilled(size_t arg, double value);

  llvm::SmallVector<const HostTensor *> tensorPointers() const;
  llvm::SmallVector<int64_t> paramValues() const;

private:
  Compilation &compilation;
  Assignments values;
  llvm::Error make(size_t arg, llvm::function_ref<double(bool isFloat)> draw);
};

/// 0 threads: as many as there are processors.
llvm::Expected<ContextPtr> createContext(unsigned threads);

/// A call made ready, to be repeated without allocating.
class Invocation {
public:
  Invocation(const fovea_kernel *code, KernelCall &call,
             const fovea_context *context);
  /// The runtime's status and explanation if it refuses.
  llvm::Error operator()();
  /// Bytes of workspace of such a call.
  size_t workspaceSize() const;

private:
  const fovea_kernel *code;
  llvm::SmallVector<const DLTensor *> tensors;
  llvm::SmallVector<int64_t> symbols;
  std::vector<int64_t> options; // fovea_options, then the parameters
};

} // namespace fovea

#endif // FOVEA_TOOLS_FOVEA_KERNELCALL_H
