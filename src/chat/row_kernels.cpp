#include "chat/detail/row_kernels.h"

#include <cstring>

namespace minimind::detail {

namespace {

bool plain_available() {
  return true;
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

float widen(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value = 0;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}

void plain_bfloat16(const uint16_t* weights, const float* x, float* y, int64_t rows, int64_t cols) {
  for (int64_t row = 0; row < rows; ++row, weights += cols) {
    float sum = 0;
    for (int64_t c = 0; c < cols; ++c) {
      sum += widen(weights[c]) * x[c];
    }
    y[row] = sum;
  }
}

void plain_int8(const int8_t* weights, const float* scales, const float* x, float* y, int64_t rows, int64_t cols) {
  for (int64_t row = 0; row < rows; ++row, weights += cols) {
    float sum = 0;
    for (int64_t c = 0; c < cols; ++c) {
      sum += static_cast<float>(weights[c]) * x[c];
    }
    y[row] = sum * scales[row];
  }
}

}  // namespace

const RowKernels kPlainKernels = {"plain", plain_available, plain_float32, plain_bfloat16, plain_int8};

const RowKernels& best_row_kernels() {
  return kAvx2Kernels.available() ? kAvx2Kernels : kPlainKernels;
}

}  // namespace minimind::detail
