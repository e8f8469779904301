// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Decodes from C++: one token a call, the cache grown by the kernel, threads
// and workspace made once, so that calls allocate nothing.

#include "decode.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <stdexcept>
#include <vector>

namespace {

constexpr int batch = 3, heads = 4, kvHeads = 2, width = 32;
constexpr int capacity = 40, steps = 24, window = 9;

void check(fovea_status status) {
  if (status != FOVEA_OK)
    throw std::runtime_error(fovea_last_error());
}

/// A row-major tensor that owns its elements.
template <typename T> class Tensor {
public:
  explicit Tensor(std::vector<int64_t> shape) : shape(std::move(shape)) {
    size_t count = 1;
    for (int64_t extent : this->shape)
      count *= static_cast<size_t>(extent);
    elements.resize(count);
    view.data = elements.data();
    view.device.device_type = kDLCPU;
    view.ndim = static_cast<int32_t>(this->shape.size());
    view.dtype.code = std::is_integral<T>::value ? kDLInt : kDLFloat;
    view.dtype.bits = sizeof(T) * 8;
    view.dtype.lanes = 1;
    view.shape = this->shape.data();
  }
  Tensor(const Tensor &) = delete;

  std::vector<T> elements;
  DLTensor view = {};

private:
  std::vector<int64_t> shape;
};

/// The largest difference of this step's results from the definition. The cache
/// holds `length` tokens, of which the last `window` + 1 are seen.
double largestError(const Tensor<float> &q, const Tensor<float> &keys,
                    const Tensor<float> &values, const Tensor<float> &o,
                    int length) {
  double largest = 0;
  for (int b = 0; b < batch; ++b)
    for (int h = 0; h < heads; ++h) {
      int g = h / (heads / kvHeads);
      double sum = 0;
      std::vector<double> result(width);
      for (int j = std::max(0, length - 1 - window); j < length; ++j) {
        size_t row = size_t((b * capacity + j) * kvHeads + g) * width;
        double score = 0;
        for (int d = 0; d < width; ++d)
          score += double(q.elements[size_t(b * heads + h) * width + d]) *
                   keys.elements[row + d];
        double weight = std::exp(score / std::sqrt(double(width)));
        sum += weight;
        for (int d = 0; d < width; ++d)
          result[d] += weight * values.elements[row + d];
      }
      for (int d = 0; d < width; ++d)
        largest = std::max(
            largest, std::fabs(o.elements[size_t(b * heads + h) * width + d] -
                               result[d] / sum));
    }
  return largest;
}

double decodeAll() {
  Tensor<float> q({batch, 1, heads, width}), o({batch, 1, heads, width});
  Tensor<float> k({batch, 1, kvHeads, width}), v({batch, 1, kvHeads, width});
  Tensor<float> keys({batch, capacity, kvHeads, width});
  Tensor<float> values({batch, capacity, kvHeads, width});
  Tensor<int32_t> past({batch});

  fovea_context *created = nullptr;
  check(fovea_context_create(/*threads=*/2, &created));
  std::unique_ptr<fovea_context, decltype(&fovea_context_destroy)> context(
      created, &fovea_context_destroy);
  decode_options options = {};
  options.size = sizeof(options);
  options.context = context.get();
  options.width = window;
  options.workspace_size = decode_workspace(batch, 1, capacity, &options);
  if (options.workspace_size == FOVEA_WORKSPACE_ERROR)
    throw std::runtime_error(fovea_last_error());
  constexpr size_t alignment = FOVEA_WORKSPACE_ALIGNMENT;
  std::unique_ptr<void, decltype(&std::free)> workspace(
      std::aligned_alloc(alignment, (options.workspace_size + alignment) /
                                        alignment * alignment),
      &std::free);
  options.workspace = workspace.get();

  std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(-1, 1);
  double largest = 0;
  for (int step = 0; step < steps; ++step) {
    for (Tensor<float> *tensor : {&q, &k, &v})
      for (float &element : tensor->elements)
        element = uniform(random);
    past.elements.assign(batch, step);
    check(decode(&q.view, &k.view, &v.view, &past.view, &o.view,
                 /*lse=*/nullptr, &keys.view, &values.view, &options));
    largest = std::max(largest, largestError(q, keys, values, o, step + 1));
  }
  return largest;
}

} // namespace

int main() {
  try {
    double error = decodeAll();
    std::printf("largest error %.2g\n", error);
    return error < 1e-5 ? 0 : 1;
  } catch (const std::exception &exception) {
    std::fprintf(stderr, "%s\n", exception.what());
    return 1;
  }
}
