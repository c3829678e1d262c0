#include <cmath>

#include "kernels/gemv.h"
#include "kernels/to_float.h"

namespace minimind {

namespace {

using detail::to_float;

bool scalar_available() {
  return true;
}

/// Where split_pairs() puts number c of `cols`.
int64_t split_place(int64_t c, int64_t cols) {
  const int64_t group = c / 16 * 16;
  return group + 16 > cols ? c : group + (c % 2) * 8 + (c - group) / 2;
}

void scalar_gemv_float32(const float* weights, const float* x, float* y, int64_t rows, int64_t cols) {
  for (int64_t row = 0; row < rows; ++row, weights += cols) {
    float sum = 0;
    for (int64_t c = 0; c < cols; ++c) {
      sum += weights[c] * x[c];
    }
    y[row] = sum;
  }
}

void scalar_gemv_bf16(const uint16_t* weights, const float* x, float* y, int64_t rows, int64_t cols) {
  for (int64_t row = 0; row < rows; ++row, weights += cols) {
    float sum = 0;
    for (int64_t c = 0; c < cols; ++c) {
      sum += to_float(weights[c]) * x[split_place(c, cols)];
    }
    y[row] = sum;
  }
}

void scalar_permute_input(const float* x, float* out, int64_t cols) {
  for (int64_t c = 0; c < cols; ++c) {
    out[split_place(c, cols)] = x[c];
  }
}

void scalar_gemv_int8(const int8_t* weights, const float* scales, const int16_t* x, float x_scale, float* y,
                      int64_t rows, int64_t cols) {
  for (int64_t row = 0; row < rows; ++row, weights += cols) {
    int32_t sum = 0;
    for (int64_t c = 0; c < cols; ++c) {
      sum += static_cast<int32_t>(weights[c]) * x[c];
    }
    y[row] = static_cast<float>(sum) * (scales[row] * x_scale);
  }
}

float scalar_quantize(const float* x, int16_t* out, int64_t cols) {
  float highest = 0;
  for (int64_t c = 0; c < cols; ++c) {
    highest = std::fmax(highest, std::fabs(x[c]));
  }
  const auto quantum = static_cast<float>(largest_level(cols));
  const float inverse = highest > 0 ? quantum / highest : 0;
  for (int64_t c = 0; c < cols; ++c) {
    out[c] = static_cast<int16_t>(std::nearbyint(x[c] * inverse));
  }
  return highest / quantum;
}

template <class Weight>
void scalar_rows(const Weight* weights, const SmallGemm& product) {
  for (int64_t i = 0; i < product.count; ++i) {
    for (int64_t row = 0; row < product.rows; ++row) {
      float sum = 0;
      for (int64_t c = 0; c < product.cols; ++c) {
        sum += to_float(weights[row * product.cols + c]) * product.x[i * product.cols + c];
      }
      product.y[i * product.y_stride + row] = sum;
    }
  }
}

void scalar_swiglu(float* gate, const float* up, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    gate[i] = gate[i] / (1.0F + std::exp(-gate[i])) * up[i];
  }
}

void scalar_softmax(float* scores, int64_t count) {
  float highest = scores[0];
  for (int64_t i = 1; i < count; ++i) {
    highest = std::fmax(highest, scores[i]);
  }
  float sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    scores[i] = std::exp(scores[i] - highest);
    sum += scores[i];
  }
  for (int64_t i = 0; i < count; ++i) {
    scores[i] /= sum;
  }
}

void scalar_weighted_sum(const float* values, const float* scores, float* out, int64_t count, int64_t width) {
  for (int64_t i = 0; i < width; ++i) {
    out[i] = 0;
  }
  for (int64_t position = 0; position < count; ++position, values += width) {
    for (int64_t i = 0; i < width; ++i) {
      out[i] += scores[position] * values[i];
    }
  }
}

}  // namespace

const GemvKernels kScalarKernels = {.name = "scalar",
                                    .available = scalar_available,
                                    .gemv_float32 = scalar_gemv_float32,
                                    .gemv_bf16 = scalar_gemv_bf16,
                                    .permute_input = scalar_permute_input,
                                    .gemv_int8 = scalar_gemv_int8,
                                    .quantize = scalar_quantize,
                                    .small_gemm_float32 = scalar_rows<float>,
                                    .small_gemm_bf16 = scalar_rows<uint16_t>,
                                    .small_gemm_int8 = scalar_rows<int8_t>,
                                    .swiglu = scalar_swiglu,
                                    .softmax = scalar_softmax,
                                    .weighted_sum = scalar_weighted_sum};

}  // namespace minimind
