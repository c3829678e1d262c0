#include "model/row_passes.h"

#include <ATen/Parallel.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/to_float.h"

// The compiler vectorises these loops; the processor's version is chosen when the program starts.
#if defined(__x86_64__)
#define MINIMIND_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define MINIMIND_CLONES
#endif

namespace minimind::detail {

namespace {

constexpr int64_t kLanes = 16;         // sums side by side, in an order that is always the same
constexpr int64_t kRowsPerBlock = 32;  // of the weight's gradient

float sum_of(const float* lanes) {
  float sum = 0;
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    sum += lanes[lane];
  }
  return sum;
}

MINIMIND_CLONES void normalise_row(const float* x, const float* weight, double eps, float* y, float* inverse,
                                   int64_t width) {
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      lanes[lane] += x[i + lane] * x[i + lane];
    }
  }
  float squares = sum_of(lanes);
  for (; i < width; ++i) {
    squares += x[i] * x[i];
  }
  const float factor = 1.0F / std::sqrt(squares / static_cast<float>(width) + static_cast<float>(eps));
  for (i = 0; i < width; ++i) {
    y[i] = x[i] * factor * weight[i];
  }
  *inverse = factor;
}

/// weight_gradient, if any, is added to.
MINIMIND_CLONES void normalise_row_backward(const float* gradient, const float* x, const float* weight, float inverse,
                                            float* x_gradient, float* weight_gradient, int64_t width) {
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      lanes[lane] += gradient[i + lane] * weight[i + lane] * x[i + lane];
    }
  }
  float along = sum_of(lanes);
  for (; i < width; ++i) {
    along += gradient[i] * weight[i] * x[i];
  }
  const float share = along * inverse * inverse / static_cast<float>(width);
  for (i = 0; i < width; ++i) {
    x_gradient[i] = (gradient[i] * weight[i] - x[i] * share) * inverse;
  }
  if (weight_gradient != nullptr) {
    for (i = 0; i < width; ++i) {
      weight_gradient[i] += gradient[i] * (x[i] * inverse);
    }
  }
}

inline void store(float value, float* place) {
  *place = value;
}
/// To the nearest bfloat16, ties to even.
inline void store(float value, uint16_t* place) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16;
  *place = value != value ? uint16_t{0x7FC0} : static_cast<uint16_t>(rounded);
}

/// exp by 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2], in operations that vectorise.
inline float exp_of(float x) {
  constexpr float kWhole = 12582912.0F;  // 1.5 * 2^23: adding it rounds to a whole number, which the low bits then hold
  x = x < -87.0F ? -87.0F : x > 88.0F ? 88.0F : x;
  const float whole = x * 1.44269504F + kWhole;
  const float n = whole - kWhole;
  const float r = (x - n * 0.693359375F) + n * 2.12194440e-4F;  // ln 2 in two parts, the first one exact in few bits
  float p = 1.0F / 5040;
  for (const float factor : {1.0F / 720, 1.0F / 120, 1.0F / 24, 1.0F / 6, 0.5F, 1.0F, 1.0F}) {
    p = p * r + factor;
  }
  return p * std::bit_cast<float>((std::bit_cast<uint32_t>(whole) + 127U) << 23);
}

template <class Number>
inline void quick_gelu_numbers(Number* x, int64_t width) {
  for (int64_t i = 0; i < width; ++i) {
    const float value = to_float(x[i]);
    store(value / (1.0F + exp_of(-1.702F * value)), x + i);
  }
}

MINIMIND_CLONES void quick_gelu_row(float* x, int64_t width) {
  quick_gelu_numbers(x, width);
}

MINIMIND_CLONES void quick_gelu_row(uint16_t* x, int64_t width) {
  quick_gelu_numbers(x, width);
}

template <class Number>
void quick_gelu_all(Number* x, int64_t rows, int64_t width) {
  at::parallel_for(0, rows, 8, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      quick_gelu_row(x + row * width, width);
    }
  });
}

/// The heads of one position. sign: -1 for the conjugate.
template <class Number>
inline void turn_heads(const Number* x, const float* rotations, float sign, Number* y, int64_t heads, int64_t width) {
  for (int64_t head = 0; head < heads; ++head, x += width, y += width) {
    for (int64_t i = 0; i < width; i += 2) {
      const float a = to_float(x[i]), b = to_float(x[i + 1]), cosine = rotations[i], sine = sign * rotations[i + 1];
      store(a * cosine - b * sine, y + i);
      store(a * sine + b * cosine, y + i + 1);
    }
  }
}

MINIMIND_CLONES void turn_position(const float* x, const float* rotations, float sign, float* y, int64_t heads,
                                   int64_t width) {
  turn_heads(x, rotations, sign, y, heads, width);
}

MINIMIND_CLONES void turn_position(const uint16_t* x, const float* rotations, float sign, uint16_t* y, int64_t heads,
                                   int64_t width) {
  turn_heads(x, rotations, sign, y, heads, width);
}

template <class Number>
void turn_all(const Number* x, const float* rotations, float sign, Number* y, at::IntArrayRef sizes) {
  const int64_t positions = sizes[1], heads = sizes[2], width = sizes[3];
  at::parallel_for(0, sizes[0] * positions, kRowsPerBlock, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      turn_position(x + row * heads * width, rotations + row % positions * width, sign, y + row * heads * width, heads,
                    width);
    }
  });
}

}  // namespace

void normalise_rows(const at::Tensor& x, const at::Tensor& weight, double eps, const at::Tensor& y,
                    const at::Tensor& inverse) {
  const int64_t width = weight.numel(), rows = x.numel() / std::max<int64_t>(1, width);
  const auto* const from = x.const_data_ptr<float>();
  const auto* const scale = weight.const_data_ptr<float>();
  auto* const to = y.mutable_data_ptr<float>();
  auto* const factors = inverse.mutable_data_ptr<float>();
  at::parallel_for(0, rows, kRowsPerBlock, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      normalise_row(from + row * width, scale, eps, to + row * width, factors + row, width);
    }
  });
}

void normalise_rows_backward(const at::Tensor& gradient, const at::Tensor& x, const at::Tensor& weight,
                             const at::Tensor& inverse, const at::Tensor& x_gradient,
                             const at::Tensor& weight_gradient) {
  const int64_t width = weight.numel(), rows = x.numel() / std::max<int64_t>(1, width);
  const int64_t blocks = (rows + kRowsPerBlock - 1) / kRowsPerBlock;
  const auto* const slope = gradient.const_data_ptr<float>();
  const auto* const from = x.const_data_ptr<float>();
  const auto* const scale = weight.const_data_ptr<float>();
  const auto* const factors = inverse.const_data_ptr<float>();
  auto* const to = x_gradient.mutable_data_ptr<float>();
  // A block of rows adds up for itself, so that the order of the sums is the same with any number of threads.
  const at::Tensor parts =
      weight_gradient.defined() ? at::zeros({blocks, width}, weight_gradient.options()) : at::Tensor();
  at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      float* const part = parts.defined() ? parts.mutable_data_ptr<float>() + block * width : nullptr;
      for (int64_t row = block * kRowsPerBlock; row < std::min(rows, (block + 1) * kRowsPerBlock); ++row) {
        normalise_row_backward(slope + row * width, from + row * width, scale, factors[row], to + row * width, part,
                               width);
      }
    }
  });
  if (parts.defined()) {
    weight_gradient.copy_(at::sum(parts, at::IntArrayRef{0}));
  }
}

void quick_gelu_rows(const at::Tensor& x) {
  const int64_t width = x.size(-1), rows = x.numel() / std::max<int64_t>(1, width);
  if (x.scalar_type() == at::kFloat) {
    quick_gelu_all(x.mutable_data_ptr<float>(), rows, width);
  } else {
    quick_gelu_all(static_cast<uint16_t*>(x.mutable_data_ptr()), rows, width);
  }
}

void turn_pairs(const at::Tensor& x, const at::Tensor& rotations, bool conjugate, const at::Tensor& y) {
  const auto* const angles = static_cast<const float*>(rotations.const_data_ptr());
  const float sign = conjugate ? -1.0F : 1.0F;
  if (x.scalar_type() == at::kFloat) {
    turn_all(x.const_data_ptr<float>(), angles, sign, y.mutable_data_ptr<float>(), x.sizes());
  } else {
    turn_all(static_cast<const uint16_t*>(x.const_data_ptr()), angles, sign,
             static_cast<uint16_t*>(y.mutable_data_ptr()), x.sizes());
  }
}

}  // namespace minimind::detail
