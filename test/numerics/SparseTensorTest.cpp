// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Tensors whose elements lie more than 2^31 elements apart (R5), on memory that
// is reserved and hardly touched: each dimension of each argument in turn is
// the one that reaches so far, forwards and backwards, and then the length of a
// cache is. The bits must be those of the same call on compact tensors.

#include "test/numerics/Compile.h"

#include "compiler/Reference/Interpreter.h"
#include "runtime/include/fovea/kernel_abi.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVectorExtras.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

using namespace mlir;
using namespace fovea;
using namespace fovea::numerics;
using reference::Tensor;

namespace {

constexpr int64_t far = (int64_t(1) << 31) + 4096;

/// A tensor on memory of its own that is backed where it is touched only.
class SparseTensor {
public:
  SparseTensor(ArrayRef<int64_t> shape, ArrayRef<int64_t> strides,
               Type elementType)
      : shape(shape), strides(strides), elementType(elementType),
        elementSize(*reference::elementBytes(elementType)) {
    int64_t below = 0, above = 0;
    for (auto [extent, stride] : llvm::zip_equal(shape, strides))
      (stride < 0 ? below : above) += (extent - 1) * stride;
    bytes = (above - below + 1) * elementSize;
    memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    // The memory that no index reaches would make a wrong read of it a 0.
    EXPECT_NE(memory, MAP_FAILED) << bytes << " bytes";
    origin = static_cast<uint8_t *>(memory) - below * elementSize;
  }
  SparseTensor(const SparseTensor &) = delete;
  SparseTensor &operator=(const SparseTensor &) = delete;
  ~SparseTensor() { munmap(memory, bytes); }

  void write(const Tensor &tensor) {
    llvm::cantFail(reference::store(tensor, origin, strides));
  }
  Tensor read() const {
    return llvm::cantFail(reference::load(origin, shape, strides, elementType));
  }
  DLTensor view() {
    uint8_t code = elementType.isBF16()      ? uint8_t(kDLBfloat)
                   : elementType.isInteger() ? uint8_t(kDLInt)
                                             : uint8_t(kDLFloat);
    return {origin,
            {kDLCPU, 0},
            int32_t(shape.size()),
            {code, uint8_t(8 * elementSize), 1},
            shape.data(),
            strides.data(),
            0};
  }

private:
  SmallVector<int64_t> shape, strides;
  Type elementType;
  int64_t elementSize, bytes;
  void *memory;
  uint8_t *origin;
};

/// The strides of `shape` with dimension `dim` outermost and its last index
/// `far` elements from its first.
SmallVector<int64_t> makeFarStrides(ArrayRef<int64_t> shape, int64_t dim,
                                    bool backwards) {
  SmallVector<int64_t> strides(shape.size());
  int64_t next = 1;
  for (int64_t d = shape.size() - 1; d >= 0; --d)
    if (d != dim) {
      strides[d] = next;
      next *= shape[d];
    }
  strides[dim] = far / (shape[dim] - 1) + 1;
  if (backwards)
    strides[dim] = -strides[dim];
  return strides;
}

class SparseTensors : public ::testing::Test {
protected:
  void compile(const KernelSpec &drawn) {
    spec = drawn;
    arguments = spec.getArguments();
    auto compiled = compileSpec(spec);
    ASSERT_TRUE(bool(compiled)) << llvm::toString(compiled.takeError());
    kernel = std::move(*compiled);
  }

  /// Draws the inputs of a call; outputs hold 7.
  std::vector<Tensor> draw(const std::map<std::string, int64_t> &symbols) {
    Random random(seed);
    std::normal_distribution<double> normal;
    std::vector<Tensor> values;
    for (const Argument &argument : arguments) {
      SmallVector<int64_t> shape = argument.getShape(symbols);
      values.push_back(
          Tensor::filled(shape, parseElement(argument.element), 7));
      if (argument.role != Argument::Output)
        for (double &value : values.back().data)
          value = argument.name == "past" ? 3 : normal(random);
    }
    return values;
  }

  /// Calls the kernel and returns its outputs.
  std::vector<Tensor> call(const std::vector<Tensor> &values,
                           ArrayRef<SmallVector<int64_t>> strides) {
    std::vector<std::unique_ptr<SparseTensor>> tensors;
    std::vector<DLTensor> views;
    for (auto [value, steps] : llvm::zip_equal(values, strides)) {
      tensors.push_back(std::make_unique<SparseTensor>(value.shape, steps,
                                                       value.elementType));
      if (HasFailure())
        return {};
      tensors.back()->write(value);
      views.push_back(tensors.back()->view());
    }
    auto pointers =
        llvm::map_to_vector(views, [](const DLTensor &view) { return &view; });
    EXPECT_EQ(fovea_invoke(kernel->get(), pointers.data(), nullptr), FOVEA_OK)
        << fovea_last_error();
    std::vector<Tensor> outputs;
    for (auto [argument, tensor] : llvm::zip_equal(arguments, tensors))
      if (argument.role != Argument::Input)
        outputs.push_back(tensor->read());
    return outputs;
  }

  /// Puts each argument's dimension number `which` far out, alone and together
  /// with the other arguments'.
  void expectSameBits(const std::map<std::string, int64_t> &symbols) {
    std::vector<Tensor> values = draw(symbols);
    auto compact = llvm::map_to_vector(
        values, [](const Tensor &value) { return value.strides(); });
    std::vector<Tensor> expected = call(values, compact);
    for (size_t dim = 0; dim < 4; ++dim)
      for (bool backwards : {false, true}) {
        auto strides = compact;
        std::string what;
        for (auto [number, value] : llvm::enumerate(values)) {
          if (dim >= value.shape.size() || value.shape[dim] < 2)
            continue;
          strides[number] = makeFarStrides(value.shape, dim, backwards);
          what += " " + arguments[number].name;
        }
        std::vector<Tensor> got = call(values, strides);
        ASSERT_EQ(got.size(), expected.size());
        for (auto [one, other] : llvm::zip_equal(got, expected))
          EXPECT_EQ(one.data, other.data)
              << "dimension " << dim << (backwards ? " backwards" : "") << " of"
              << what;
      }
  }

  static KernelSpec makeSpec(StringRef dtype) {
    KernelSpec spec;
    spec.dtype = dtype.str();
    spec.heads = 4;
    spec.kvHeads = 2;
    spec.width = 24;
    spec.valueWidth = 16;
    spec.mask.text = "causal(bottom_right)";
    spec.lse = true;
    return spec;
  }

  KernelSpec spec;
  uint64_t seed = 11;
  std::vector<Argument> arguments;
  std::unique_ptr<LoadedKernel> kernel;
};

TEST_F(SparseTensors, StridesPast31Bits) { // R5
  for (StringRef dtype : {"f32", "bf16"}) {
    ASSERT_NO_FATAL_FAILURE(compile(makeSpec(dtype)));
    for (int64_t rows : {2, 61}) // decode, and queries in tiles
      ASSERT_NO_FATAL_FAILURE(
          expectSameBits({{"B", 2}, {"M", rows}, {"N", 70}}));
  }
}

TEST_F(SparseTensors, CachesPast31Bits) { // R5, K3
  KernelSpec spec = makeSpec("f32");
  spec.cache = true;
  ASSERT_NO_FATAL_FAILURE(compile(spec));
  for (int64_t rows : {2, 61})
    ASSERT_NO_FATAL_FAILURE(expectSameBits({{"B", 2}, {"M", rows}, {"C", 70}}));
}

TEST_F(SparseTensors, KeysPast31Bits) { // R5
  // A window at the end of 2^26 keys of 32 elements each. Keys before it are
  // never read: the same as of few keys that end alike.
  KernelSpec spec = makeSpec("bf16");
  spec.kvHeads = 1;
  spec.heads = 1;
  spec.width = spec.valueWidth = 32;
  spec.mask.text = "causal(bottom_right) and window(40, 0, bottom_right)";
  ASSERT_NO_FATAL_FAILURE(compile(spec));
  std::map<std::string, int64_t> few = {{"B", 1}, {"M", 3}, {"N", 1024 + 70}};
  std::vector<Tensor> values = draw(few);
  auto compact = llvm::map_to_vector(
      values, [](const Tensor &value) { return value.strides(); });
  std::vector<Tensor> expected = call(values, compact);

  int64_t keys = (int64_t(1) << 26) + 70, shift = keys - few["N"];
  ASSERT_GT((keys - 41) * spec.width, int64_t(1) << 31);
  std::vector<std::unique_ptr<SparseTensor>> tensors;
  std::vector<DLTensor> views;
  std::vector<SmallVector<int64_t>> shapes;
  for (auto [argument, value] : llvm::zip_equal(arguments, values)) {
    bool isLong = argument.name == "k" || argument.name == "v";
    SmallVector<int64_t> shape = value.shape;
    if (isLong)
      shape[1] = keys;
    shapes.push_back(shape);
    tensors.push_back(std::make_unique<SparseTensor>(shape, value.strides(),
                                                     value.elementType));
    ASSERT_FALSE(HasFailure());
    views.push_back(tensors.back()->view());
    uint8_t *start = static_cast<uint8_t *>(views.back().data);
    if (isLong)
      start += shift * spec.width * *reference::elementBytes(value.elementType);
    llvm::cantFail(reference::store(value, start, value.strides()));
  }
  auto pointers =
      llvm::map_to_vector(views, [](const DLTensor &view) { return &view; });
  ASSERT_EQ(fovea_invoke(kernel->get(), pointers.data(), nullptr), FOVEA_OK)
      << fovea_last_error();
  unsigned output = 0;
  for (auto [argument, tensor] : llvm::zip_equal(arguments, tensors))
    if (argument.role != Argument::Input)
      EXPECT_EQ(tensor->read().data, expected[output++].data) << argument.name;
}

} // namespace
