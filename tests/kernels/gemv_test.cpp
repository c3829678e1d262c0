#include "kernels/gemv.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iostream>
#include <iterator>
#include <numeric>
#include <utility>
#include <vector>

// Needs no LibTorch: the references are plain loops in double. aarch64_test.sh compiles it for aarch64.

namespace minimind::testing {
namespace {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

std::vector<const GemvKernels*> available_kernels() {
  const GemvKernels* const all[] = {&kScalarKernels, &kAvx2Kernels, &kAvx512Kernels, &kAmxKernels, &kNeonKernels};
  std::vector<const GemvKernels*> available;
  std::copy_if(std::begin(all), std::end(all), std::back_inserter(available),
               [](const GemvKernels* kernels) { return kernels->available(); });
  return available;
}

Floats waves(int64_t count, double step, double scale = 1) {
  Floats values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(scale * std::sin(static_cast<double>(i) * step + 0.2));
  }
  return values;
}

/// Rounds to the nearest bfloat16, ties to even.
uint16_t bf16_bits(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

std::vector<uint16_t> to_bf16(const Floats& values) {
  std::vector<uint16_t> bits(values.size());
  std::transform(values.begin(), values.end(), bits.begin(), bf16_bits);
  return bits;
}

Floats from_bf16(const std::vector<uint16_t>& bits) {
  Floats values(bits.size());
  std::transform(bits.begin(), bits.end(), values.begin(),
                 [](uint16_t value) { return std::bit_cast<float>(static_cast<uint32_t>(value) << 16); });
  return values;
}

/// int8 weights of one scale: the largest weight is 1 and becomes 127.
std::vector<int8_t> to_int8(const Floats& values) {
  std::vector<int8_t> levels(values.size());
  std::transform(values.begin(), values.end(), levels.begin(),
                 [](float value) { return static_cast<int8_t>(std::lround(127 * value)); });
  return levels;
}

/// x [count, cols] times weights [rows, cols], transposed: [count, rows].
template <class Weights>
Doubles reference_gemm(const Weights& weights, const Floats& x, int64_t rows, int64_t cols) {
  Doubles y;
  for (auto row = x.begin(); row != x.end(); row += cols) {
    for (int64_t r = 0; r < rows; ++r) {
      y.push_back(std::inner_product(row, row + cols, weights.begin() + r * cols, 0.0, std::plus<>{},
                                     [](auto a, auto b) { return static_cast<double>(a) * static_cast<double>(b); }));
    }
  }
  return y;
}

double largest_difference(const Floats& found, const Doubles& expected) {
  return std::inner_product(
      found.begin(), found.end(), expected.begin(), 0.0,
      [](double a, double b) { return std::isnan(b) ? b : std::max(a, b); },
      [](float a, double b) { return std::abs(static_cast<double>(a) - b); });
}

double largest_magnitude(const Doubles& values) {
  return std::accumulate(values.begin(), values.end(), 0.0,
                         [](double a, double b) { return std::max(a, std::abs(b)); });
}

double relative_error(const Floats& found, const Doubles& expected) {
  EXPECT_EQ(found.size(), expected.size());
  return largest_difference(found, expected) / largest_magnitude(expected);
}

/// Sizes around every step of the kernels' loops: rows, cols.
const std::vector<std::pair<int64_t, int64_t>> kGemvShapes = {{1, 1},  {3, 7},  {5, 8},  {2, 31},  {4, 32},   {7, 33},
                                                              {6, 97}, {5, 64}, {3, 16}, {2, 127}, {300, 129}};

TEST(Gemv, Float32AndBfloat16AgreeWithTheReference) {
  for (const GemvKernels* kernels : available_kernels()) {
    for (const auto& [rows, cols] : kGemvShapes) {
      SCOPED_TRACE(::testing::Message() << kernels->name << " " << rows << "x" << cols);
      const Floats weights = waves(rows * cols, 0.731), x = waves(cols, 0.37);
      Floats y(static_cast<size_t>(rows)), permuted(x.size());
      kernels->gemv_float32(weights.data(), x.data(), y.data(), rows, cols);
      EXPECT_LE(relative_error(y, reference_gemm(weights, x, rows, cols)), 1e-5);
      const std::vector<uint16_t> bf16 = to_bf16(weights);
      kernels->permute_input(x.data(), permuted.data(), cols);
      kernels->gemv_bf16(bf16.data(), permuted.data(), y.data(), rows, cols);
      EXPECT_LE(relative_error(y, reference_gemm(from_bf16(bf16), x, rows, cols)), 1e-5);
    }
  }
}

TEST(Gemv, Int8DiffersFromTheReferenceByTheQuantizationOfTheInputAlone) {
  for (const GemvKernels* kernels : available_kernels()) {
    for (const auto& [rows, cols] : kGemvShapes) {
      SCOPED_TRACE(::testing::Message() << kernels->name << " " << rows << "x" << cols);
      const Floats x = waves(cols, 0.37), scales = waves(rows, 0.01, 0.02);
      const std::vector<int8_t> weights = to_int8(waves(rows * cols, 0.731));
      std::vector<int16_t> levels(x.size());
      Floats y(static_cast<size_t>(rows));
      const float x_scale = kernels->quantize(x.data(), levels.data(), cols);
      kernels->gemv_int8(weights.data(), scales.data(), levels.data(), x_scale, y.data(), rows, cols);
      // The integer sum is exact; the two scales round it.
      const Floats input(levels.begin(), levels.end());
      Doubles expected = reference_gemm(weights, input, rows, cols);
      for (size_t r = 0; r < expected.size(); ++r) {
        expected[r] *= static_cast<double>(scales[r]) * static_cast<double>(x_scale);
      }
      EXPECT_LE(relative_error(y, expected), 1e-6);
      for (size_t c = 0; c < x.size(); ++c) {
        EXPECT_LE(std::abs(static_cast<float>(levels[c]) * x_scale - x[c]), 0.51F * x_scale) << c;
        EXPECT_LE(std::abs(levels[c]), largest_level(cols));
      }
    }
  }
}

TEST(Gemv, QuantizesZerosToZeros) {
  for (const GemvKernels* kernels : available_kernels()) {
    const Floats x(37, 0.0F);
    std::vector<int16_t> levels(x.size(), 1);
    EXPECT_EQ(kernels->quantize(x.data(), levels.data(), 37), 0.0F) << kernels->name;
    EXPECT_EQ(levels, std::vector<int16_t>(x.size(), 0)) << kernels->name;
  }
}

TEST(Gemv, SumsOfTheLargestInt8ProductsFit32Bits) {
  for (const GemvKernels* kernels : available_kernels()) {
    for (const int64_t cols : {1, 64, 516, 517, 4096, 40000}) {
      const Floats x(static_cast<size_t>(cols), 2.0F);
      const std::vector<int8_t> weights(x.size(), 127);
      std::vector<int16_t> levels(x.size());
      const float scale = 1, x_scale = kernels->quantize(x.data(), levels.data(), cols);
      float y = 0;
      kernels->gemv_int8(weights.data(), &scale, levels.data(), x_scale, &y, 1, cols);
      EXPECT_NEAR(y / (254.0F * static_cast<float>(cols)), 1.0F, 1e-5F) << kernels->name << " " << cols;
    }
  }
}

/// Multiplies into a matrix with 3 columns more, which must stay as they are.
template <class Weight>
Floats multiply(void (*small_gemm)(const Weight*, const SmallGemm&), const std::vector<Weight>& weights,
                SmallGemm gemm) {
  gemm.y_stride = gemm.rows + 3;
  Floats wide(static_cast<size_t>(gemm.count * gemm.y_stride), 99.0F), y;
  gemm.y = wide.data();
  small_gemm(weights.data(), gemm);
  for (auto row = wide.begin(); row != wide.end(); row += gemm.y_stride) {
    y.insert(y.end(), row, row + gemm.rows);
    EXPECT_EQ(std::count(row + gemm.rows, row + gemm.y_stride, 99.0F), 3);
  }
  return y;
}

TEST(SmallGemm, AgreesWithTheReferenceForEveryWeightType) {
  const std::vector<std::pair<int64_t, int64_t>> shapes = {{1, 1},    {3, 7},    {5, 8},   {7, 33},  {13, 48},
                                                           {4, 1030}, {9, 1600}, {16, 32}, {45, 96}, {64, 1024}};
  for (const GemvKernels* kernels : available_kernels()) {
    for (const int64_t count : {1, 2, 3, 4, 5, 16, 33, 131}) {
      for (const auto& [rows, cols] : shapes) {
        SCOPED_TRACE(::testing::Message() << kernels->name << " " << count << "x" << rows << "x" << cols);
        const Floats weights = waves(rows * cols, 0.731), x = waves(count * cols, 0.37);
        const std::vector<uint16_t> bf16 = to_bf16(weights), bf16_x = to_bf16(x);
        const std::vector<int8_t> int8 = to_int8(weights);
        const SmallGemm gemm = {.x = x.data(),
                                .y = nullptr,
                                .count = count,
                                .y_stride = 0,
                                .rows = rows,
                                .cols = cols,
                                .bf16_x = bf16_x.data()};
        EXPECT_LE(relative_error(multiply(kernels->small_gemm_float32, weights, gemm),
                                 reference_gemm(weights, x, rows, cols)),
                  1e-5);
        EXPECT_LE(relative_error(
                      multiply(kernels->small_gemm_bf16, bf16, gemm),
                      reference_gemm(from_bf16(bf16), kernels->takes_bf16_input ? from_bf16(bf16_x) : x, rows, cols)),
                  1e-5);
        EXPECT_LE(relative_error(multiply(kernels->small_gemm_int8, int8, gemm), reference_gemm(int8, x, rows, cols)),
                  1e-5);
      }
    }
  }
}

Doubles reference_softmax(const Floats& scores) {
  const double largest = *std::max_element(scores.begin(), scores.end());
  Doubles weights;
  for (const float score : scores) {
    weights.push_back(std::exp(static_cast<double>(score) - largest));
  }
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double& weight : weights) {
    weight /= sum;
  }
  return weights;
}

TEST(GemvKernels, SoftmaxAndWeightedSumAgreeWithTheReference) {
  for (const GemvKernels* kernels : available_kernels()) {
    for (const int64_t count : {1, 3, 7, 8, 9, 15, 17, 100}) {
      SCOPED_TRACE(::testing::Message() << kernels->name << " " << count);
      const Floats raw = waves(count, 0.731, 30);
      Floats scores = raw;
      kernels->softmax(scores.data(), count);
      EXPECT_LE(relative_error(scores, reference_softmax(raw)), 1e-6);
      for (const int64_t width : {1, 8, 32, 40, 64, 96}) {
        const Floats values = waves(count * width, 0.53);
        Floats out(static_cast<size_t>(width));
        kernels->weighted_sum(values.data(), scores.data(), out.data(), count, width);
        Doubles sums(out.size(), 0.0);
        for (size_t i = 0; i < values.size(); ++i) {
          sums[i % out.size()] += static_cast<double>(values[i]) * static_cast<double>(scores[i / out.size()]);
        }
        EXPECT_LE(relative_error(out, sums), 1e-5) << width;
      }
    }
  }
}

TEST(GemvKernels, SoftmaxKeepsExtremesFinite) {
  for (const GemvKernels* kernels : available_kernels()) {
    Floats scores = {-1e30F, 1e30F, 0.0F};
    kernels->softmax(scores.data(), 3);
    EXPECT_EQ(scores[1], 1.0F) << kernels->name;
    EXPECT_TRUE(std::all_of(scores.begin(), scores.end(), [](float value) { return std::isfinite(value); }));
  }
}

TEST(GemvKernels, BestOnesAreAvailable) {
  EXPECT_TRUE(kScalarKernels.available());
  EXPECT_TRUE(best_gemv_kernels().available());
  EXPECT_EQ(has_vector_kernels(), available_kernels().size() > 1);
  EXPECT_EQ(best_gemv_kernels().name, available_kernels().back()->name);
  std::cout << "best kernels: " << best_gemv_kernels().name << "\n";
}

}  // namespace
}  // namespace minimind::testing
