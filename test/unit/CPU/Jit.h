// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Compiles MLIR text with the CPU passes and loads it into this process.

#ifndef FOVEA_TEST_UNIT_CPU_JIT_H
#define FOVEA_TEST_UNIT_CPU_JIT_H

#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <memory>
#include <string>

namespace llvm::orc {
class LLJIT;
} // namespace llvm::orc

namespace fovea::test {

/// A memref as the C interface of a compiled function takes it.
template <typename T, int rank> struct MemRef {
  T *allocated, *aligned;
  int64_t offset = 0, sizes[rank], strides[rank];
};
template <typename T> MemRef<T, 1> memref(T *data, int64_t size) {
  return {data, data, 0, {size}, {1}};
}
template <typename T>
MemRef<T, 2> memref(T *data, int64_t rows, int64_t columns, int64_t stride) {
  return {data, data, 0, {rows, columns}, {stride, 1}};
}

class Jit {
public:
  /// Runs the CPU passes and code generation for `cpu` on `source`; aborts with
  /// a message if that fails. The code runs on this machine only if it may.
  Jit(llvm::StringRef source, llvm::StringRef cpu = "x86-64-v3",
      int64_t vectorBits = 256);
  ~Jit();

  const std::string &getAssembly() const { return assembly; }
  /// The C interface of function `name`: pointers to memref descriptors.
  template <typename... Args> void call(llvm::StringRef name, Args... args) {
    reinterpret_cast<void (*)(Args...)>(lookup(name))(args...);
  }
  void *lookup(llvm::StringRef name);

private:
  std::string assembly;
  std::unique_ptr<llvm::orc::LLJIT> jit;
};

} // namespace fovea::test

#endif // FOVEA_TEST_UNIT_CPU_JIT_H
