// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Hand-written kernels and tensors for the runtime's tests: what the compiler
// would generate, with a body that each test supplies.

#ifndef FOVEA_TEST_UNIT_RUNTIME_TESTKERNEL_H
#define FOVEA_TEST_UNIT_RUNTIME_TESTKERNEL_H

#include "fovea/kernel_abi.h"

#include <cstdlib>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

namespace fovea::test {

// A tensor over memory that it owns or is given.
struct Tensor {
  explicit Tensor(std::vector<int64_t> Extents, int Code = kDLFloat,
                  int Bits = 32)
      : Shape(std::move(Extents)) {
    int64_t Bytes = Bits / 8;
    for (int64_t Extent : Shape)
      Bytes *= Extent;
    Memory.resize(static_cast<size_t>(Bytes) + 64);
    init(Memory.data(), Code, Bits);
  }
  Tensor(void *Data, std::vector<int64_t> Extents, std::vector<int64_t> Steps,
         int Code = kDLFloat, int Bits = 32)
      : Shape(std::move(Extents)), Strides(std::move(Steps)) {
    init(Data, Code, Bits);
    DL.strides = Strides.data();
  }
  Tensor(const Tensor &) = delete;
  Tensor &operator=(const Tensor &) = delete;

  void setStrides(std::vector<int64_t> Steps) {
    Strides = std::move(Steps);
    DL.strides = Strides.data();
  }
  operator const DLTensor *() const { return &DL; }

  std::vector<int64_t> Shape, Strides;
  std::vector<char> Memory;
  DLTensor DL;

private:
  void init(void *Data, int Code, int Bits) {
    DL.data = Data;
    DL.device = {kDLCPU, 0};
    DL.ndim = static_cast<int>(Shape.size());
    DL.dtype = {static_cast<uint8_t>(Code), static_cast<uint8_t>(Bits), 1};
    DL.shape = Shape.data();
    DL.strides = nullptr;
    DL.byte_offset = 0;
  }
};

inline fovea_arg_desc arg(const char *Name, fovea_role Role,
                          std::vector<int64_t> Dims, bool Optional = false,
                          int Code = kDLFloat, int Bits = 32) {
  fovea_arg_desc Desc{};
  Desc.name = Name;
  Desc.dtype_code = static_cast<uint8_t>(Code);
  Desc.dtype_bits = static_cast<uint8_t>(Bits);
  Desc.role = static_cast<uint8_t>(Role);
  Desc.optional = Optional;
  Desc.rank = static_cast<int32_t>(Dims.size());
  for (size_t I = 0; I != Dims.size(); ++I)
    Desc.dims[I] = Dims[I];
  return Desc;
}

// A dimension that is symbol number S.
constexpr int64_t sym(int64_t S) { return -1 - S; }

using BodyFn = std::function<int32_t(const fovea_frame &)>;

// A kernel with one baseline variant, whose body and workspace size are those
// of the last TestKernel made.
class TestKernel {
public:
  TestKernel(std::vector<fovea_arg_desc> Arguments,
             std::vector<const char *> SymbolNames,
             std::vector<fovea_param_desc> Parameters = {})
      : Args(std::move(Arguments)), Symbols(std::move(SymbolNames)),
        Params(std::move(Parameters)) {
    Current = this;
    Variants.push_back({"baseline", 0, callBody, nullptr});
    K = {};
    K.abi_version = FOVEA_ABI_VERSION;
    K.name = "test";
  }

  // The descriptor, with what the tests changed since.
  const fovea_kernel *get() {
    K.num_args = static_cast<int32_t>(Args.size());
    K.args = Args.data();
    K.num_symbols = static_cast<int32_t>(Symbols.size());
    K.symbols = Symbols.data();
    K.num_params = static_cast<int32_t>(Params.size());
    K.params = Params.data();
    K.num_variants = static_cast<int32_t>(Variants.size());
    K.variants = Variants.data();
    return &K;
  }

  fovea_status invoke(std::initializer_list<const DLTensor *> Tensors,
                      const void *Options = nullptr) {
    return fovea_invoke(get(), Tensors.begin(), Options);
  }

  void needWorkspace(int64_t Bytes) {
    WorkspaceBytes = Bytes;
    for (fovea_variant &Variant : Variants)
      Variant.workspace = [](const int64_t *, const int64_t *, int64_t) {
        return Current->WorkspaceBytes;
      };
  }

  static int32_t callBody(const fovea_frame *Frame) {
    ++Current->Calls;
    return Current->Body ? Current->Body(*Frame) : FOVEA_OK;
  }

  std::vector<fovea_arg_desc> Args;
  std::vector<const char *> Symbols;
  std::vector<fovea_param_desc> Params;
  std::vector<fovea_variant> Variants;
  fovea_kernel K;
  BodyFn Body;
  int64_t WorkspaceBytes = 0;
  int Calls = 0;

private:
  static inline TestKernel *Current = nullptr;
};

// q [B, M, 2, 4], k [B, N, 1, 4], v [B, N, 1, 3] -> o [B, M, 2, 3] and an
// optional lse [B, 2, M].
inline TestKernel attentionKernel() {
  int64_t B = sym(0), M = sym(1), N = sym(2);
  return TestKernel({arg("q", FOVEA_INPUT, {B, M, 2, 4}),
                     arg("k", FOVEA_INPUT, {B, N, 1, 4}),
                     arg("v", FOVEA_INPUT, {B, N, 1, 3}),
                     arg("o", FOVEA_OUTPUT, {B, M, 2, 3}),
                     arg("lse", FOVEA_OUTPUT, {B, 2, M}, true)},
                    {"B", "M", "N"});
}

// A context that is destroyed with its scope.
class Context {
public:
  explicit Context(int64_t Threads) { fovea_context_create(Threads, &Ptr); }
  Context(int64_t Threads, fovea_parallel_for_fn Fn, void *Host) {
    fovea_context_create_with_host(Threads, Fn, Host, &Ptr);
  }
  Context(const Context &) = delete;
  Context &operator=(const Context &) = delete;
  ~Context() { fovea_context_destroy(Ptr); }
  operator fovea_context *() const { return Ptr; }

private:
  fovea_context *Ptr = nullptr;
};

// Sets an environment variable for a scope.
class Environment {
public:
  Environment(const char *Variable, const char *Value) : Name(Variable) {
    if (const char *Before = getenv(Variable))
      Old = Before;
    if (Value)
      setenv(Variable, Value, 1);
    else
      unsetenv(Variable);
  }
  Environment(const Environment &) = delete;
  Environment &operator=(const Environment &) = delete;
  ~Environment() {
    if (Old)
      setenv(Name, Old->c_str(), 1);
    else
      unsetenv(Name);
  }

private:
  const char *Name;
  std::optional<std::string> Old;
};

inline fovea_options options(const fovea_context *Context,
                             void *Workspace = nullptr, size_t Size = 0) {
  return {sizeof(fovea_options), Context, Workspace, Size};
}

} // namespace fovea::test

#endif // FOVEA_TEST_UNIT_RUNTIME_TESTKERNEL_H
