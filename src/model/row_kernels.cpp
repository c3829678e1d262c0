#include "model/row_kernels.h"

#include <cmath>

#include "model/widened.h"

namespace minimind {

namespace {

using detail::widened;

bool plain_available() {
  return true;
}

/// Where split_pairs() puts number c of `cols`.
int64_t split_place(int64_t c, int64_t cols) {
  const int64_t group = c / 16 * 16;
  return group + 16 > cols ? c : group + (c % 2) * 8 + (c - group) / 2;
}

void plain_float32(const float* weights, const float* x, float* y, int64_t rows, int64_t cols) {
  for (int64_t row = 0; row < rows; ++row, weights += cols) {
    float sum = 0;
    for (int64_t c = 0; c < cols; ++c) {
      sum += weights[c] * x[c];
    }
    y[row] = sum;
  }
}

void plain_bfloat16(const uint16_t* weights, const float* x, float* y, int64_t rows, int64_t cols) {
  for (int64_t row = 0; row < rows; ++row, weights += cols) {
    float sum = 0;
    for (int64_t c = 0; c < cols; ++c) {
      sum += widened(weights[c]) * x[split_place(c, cols)];
    }
    y[row] = sum;
  }
}

void plain_split_pairs(const float* x, float* out, int64_t cols) {
  for (int64_t c = 0; c < cols; ++c) {
    out[split_place(c, cols)] = x[c];
  }
}

void plain_int8(const int8_t* weights, const float* scales, const int16_t* x, float x_scale, float* y, int64_t rows,
                int64_t cols) {
  for (int64_t row = 0; row < rows; ++row, weights += cols) {
    int32_t sum = 0;
    for (int64_t c = 0; c < cols; ++c) {
      sum += static_cast<int32_t>(weights[c]) * x[c];
    }
    y[row] = static_cast<float>(sum) * (scales[row] * x_scale);
  }
}

float plain_quantise(const float* x, int16_t* out, int64_t cols) {
  float highest = 0;
  for (int64_t c = 0; c < cols; ++c) {
    highest = std::fmax(highest, std::fabs(x[c]));
  }
  const auto quantum = static_cast<float>(highest_quantum(cols));
  const float inverse = highest > 0 ? quantum / highest : 0;
  for (int64_t c = 0; c < cols; ++c) {
    out[c] = static_cast<int16_t>(std::nearbyint(x[c] * inverse));
  }
  return highest / quantum;
}

template <class Weight>
void plain_rows(const Weight* weights, const FewRows& product) {
  for (int64_t i = 0; i < product.count; ++i) {
    for (int64_t row = 0; row < product.rows; ++row) {
      float sum = 0;
      for (int64_t c = 0; c < product.cols; ++c) {
        sum += widened(weights[row * product.cols + c]) * product.x[i * product.cols + c];
      }
      product.y[i * product.y_stride + row] = sum;
    }
  }
}

void plain_gate(float* gate, const float* up, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    gate[i] = gate[i] / (1.0F + std::exp(-gate[i])) * up[i];
  }
}

void plain_softmax(float* scores, int64_t count) {
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

void plain_mix(const float* values, const float* scores, float* out, int64_t count, int64_t width) {
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

const RowKernels kPlainKernels = {.name = "plain",
                                  .available = plain_available,
                                  .float32 = plain_float32,
                                  .bfloat16 = plain_bfloat16,
                                  .split_pairs = plain_split_pairs,
                                  .int8 = plain_int8,
                                  .quantise = plain_quantise,
                                  .float32_rows = plain_rows<float>,
                                  .bfloat16_rows = plain_rows<uint16_t>,
                                  .int8_rows = plain_rows<int8_t>,
                                  .gate = plain_gate,
                                  .softmax = plain_softmax,
                                  .mix = plain_mix};

#if !defined(__x86_64__)
namespace {

bool never_available() {
  return false;
}

}  // namespace

const RowKernels kAvx2Kernels = {.name = "avx2", .available = never_available};
const RowKernels kAvx512Kernels = {.name = "avx512", .available = never_available};
const RowKernels kAmxKernels = {.name = "amx", .available = never_available};
#endif

const RowKernels& best_row_kernels() {
  for (const RowKernels* kernels : {&kAmxKernels, &kAvx512Kernels, &kAvx2Kernels}) {
    if (kernels->available()) {
      return *kernels;
    }
  }
  return kPlainKernels;
}

}  // namespace minimind
