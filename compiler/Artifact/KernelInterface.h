// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// What a caller of a kernel sees: its tensors, symbols and parameters. Read
// from the kernel function of the attn phase; kept beside the code through the
// later phases, which no longer show it, as the module attribute attn.kernel.

#ifndef FOVEA_COMPILER_ARTIFACT_KERNELINTERFACE_H
#define FOVEA_COMPILER_ARTIFACT_KERNELINTERFACE_H

#include "compiler/Artifact/DType.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Support/LLVM.h"

#include "llvm/Support/Error.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace fovea {

enum class ArgRole : uint8_t { Input = 0, Output = 1, InOut = 2 };

/// "input", "output" or "inout".
llvm::StringRef stringifyRole(ArgRole role);

/// One dimension of a tensor: an extent, or a symbol by number.
struct Dim {
  int64_t extent = 0;
  int symbol = -1; // the extent counts if negative
};

struct TensorArg {
  std::string name;
  DType dtype;
  std::vector<Dim> dims;
  ArgRole role = ArgRole::Input;
  bool optional = false;
};

struct Parameter {
  std::string name;
  std::optional<int64_t> defaultValue;
};

struct KernelInterface {
  std::string name;
  std::vector<TensorArg> args;
  std::vector<std::string> symbols;
  std::vector<Parameter> params;

  /// "[B, M, 32, 128]".
  std::string formatShape(const TensorArg &arg) const;
  const TensorArg *findArg(llvm::StringRef argName) const;
};

/// The interface of the module's kernel: from attn.kernel if the module has it,
/// else from the attributes of its kernel function. An error if neither is
/// there, if something does not fit together, or if a name cannot be used in C.
llvm::Expected<KernelInterface> readKernelInterface(mlir::ModuleOp module);

/// Puts the interface on the module as attn.kernel.
void attachKernelInterface(mlir::ModuleOp module,
                           const KernelInterface &kernel);

/// Is the text an identifier of C and C++ that a header can declare: letters,
/// digits, '_', no keyword, at most 200 characters?
bool isUsableIdentifier(llvm::StringRef text);

} // namespace fovea

#endif // FOVEA_COMPILER_ARTIFACT_KERNELINTERFACE_H
