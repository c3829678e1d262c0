#include "model/packed_linear.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <initializer_list>
#include <utility>
#include <vector>

#include "minimind/model/layers.h"
#include "model/small_gemm.h"

namespace minimind::testing {
namespace {

std::vector<const GemvKernels*> kernels_here() {
  std::vector<const GemvKernels*> all;
  for (const GemvKernels* kernels : {&kScalarKernels, &kAvx2Kernels, &kAvx512Kernels, &kAmxKernels, &kNeonKernels}) {
    if (kernels->available()) {
      all.push_back(kernels);
    }
  }
  return all;
}

const std::vector<WeightFormat> kFormats = {WeightFormat::kFloat32, WeightFormat::kBFloat16, WeightFormat::kInt8};

/// Lengths around every step of the kernels' loops.
const std::vector<std::pair<int64_t, int64_t>> kShapes = {{1, 1},  {3, 7},  {5, 8},  {2, 31},
                                                          {4, 32}, {7, 33}, {6, 97}, {300, 129}};

at::Tensor waves_of(int64_t rows, int64_t cols, double step) {
  return at::sin(at::arange(rows * cols, at::kFloat) * step + 0.2).view({rows, cols});
}

double relative_gap_of(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

PackedLinear packed(const std::vector<at::Tensor>& parts, WeightFormat format,
                    const GemvKernels& kernels = best_gemv_kernels()) {
  WeightArena arena(PackedLinear::bytes(parts, format));
  return {parts, format, kernels, arena};
}

/// The GEMV in two halves.
at::Tensor multiply_one(const PackedLinear& linear, const at::Tensor& x) {
  at::Tensor y = at::empty({linear.rows()});
  PackedInput input;
  linear.prepare(x.const_data_ptr<float>(), input);
  const int64_t half = linear.rows() / 2;
  linear.multiply(input, y.mutable_data_ptr<float>(), half, linear.rows());
  linear.multiply(input, y.mutable_data_ptr<float>(), 0, half);
  return y;
}

TEST(PackedLinear, GemvOfEveryInstructionSetAgreesWithLibTorch) {
  for (const GemvKernels* kernels : kernels_here()) {
    for (const auto& [rows, cols] : kShapes) {
      SCOPED_TRACE(::testing::Message() << kernels->name << " " << rows << "x" << cols);
      const at::Tensor weights = waves_of(rows, cols, 0.731), x = waves_of(1, cols, 0.37)[0];
      const at::Tensor rounded = weights.to(at::kBFloat16).to(at::kFloat);
      EXPECT_LE(
          relative_gap_of(multiply_one(packed({weights}, WeightFormat::kFloat32, *kernels), x), at::mv(weights, x)),
          1e-5);
      EXPECT_LE(
          relative_gap_of(multiply_one(packed({weights}, WeightFormat::kBFloat16, *kernels), x), at::mv(rounded, x)),
          1e-5);
      const PackedLinear int8 = packed({weights}, WeightFormat::kInt8, *kernels);
      const at::Tensor by_gemm = int8.multiply(x.unsqueeze(0))[0];
      // Rounding of the input to levels, and of the sums.
      const double level = x.abs().max().item<double>() / largest_level(cols);
      const double most = weights.abs().sum(1).max().item<double>();
      EXPECT_LE((multiply_one(int8, x) - by_gemm).abs().max().item<double>(), 0.51 * level * most + 1e-5);
      // Rounding to 1/127 of a row's largest weight.
      EXPECT_LE((by_gemm - at::mv(weights, x)).abs().max().item<double>(), 0.5 / 127 * x.abs().sum().item<double>());
    }
  }
}

TEST(PackedLinear, ARangeIsPartOfItsMatrix) {
  const at::Tensor first = waves_of(5, 33, 0.731), second = waves_of(7, 33, 0.53);
  for (const WeightFormat format : kFormats) {
    const PackedLinear matrix = packed({first, second}, format), part = matrix.range(5, 7);
    EXPECT_EQ(part.rows(), 7);
    for (const int64_t count : {1, 4, 200}) {
      const at::Tensor x = waves_of(count, 33, 0.37).unsqueeze(0);
      const at::Tensor found = part.multiply(x);
      EXPECT_EQ(found.sizes(), at::IntArrayRef({1, count, 7}));
      EXPECT_LE(relative_gap_of(found, matrix.multiply(x).narrow(2, 5, 7)), 1e-5);
      EXPECT_LE(relative_gap_of(found, at::linear(x, second)), format == WeightFormat::kFloat32 ? 1e-5 : 2e-2);
    }
    const at::Tensor x = waves_of(1, 33, 0.37)[0];
    EXPECT_TRUE(at::equal(multiply_one(part, x), multiply_one(matrix, x).narrow(0, 5, 7)));
  }
}

TEST(PackedLinear, StandsInForTheWeightOfALinearLayer) {
  Linear linear(33, 7);
  const at::Tensor weight = waves_of(7, 33, 0.53), x = waves_of(4, 33, 0.37);
  linear->packed = std::make_shared<PackedLinear>(packed({weight}, WeightFormat::kFloat32));
  EXPECT_LE(relative_gap_of(linear->forward(x), at::linear(x, weight)), 1e-5);
}

TEST(PackedLinear, CopiesARowOfEveryFormat) {
  const at::Tensor weights = waves_of(4, 9, 0.5);
  for (const WeightFormat format : kFormats) {
    at::Tensor row = at::empty({9});
    packed({weights}, format).copy_row(2, row.mutable_data_ptr<float>());
    EXPECT_LE((row - weights[2]).abs().max().item<double>(), format == WeightFormat::kFloat32 ? 0.0 : 0.005);
  }
}

TEST(SmallGemm, EveryInstructionSetAgreesWithLibTorch) {
  const std::vector<std::pair<int64_t, int64_t>> shapes = {{1, 1},    {3, 7},    {5, 8},   {7, 33},  {13, 48},
                                                           {4, 1030}, {9, 1600}, {16, 32}, {45, 96}, {64, 1024}};
  for (const GemvKernels* kernels : kernels_here()) {
    for (const int64_t count : {1, 2, 3, 4, 5, 16, 33, 131}) {
      for (const auto& [rows, cols] : shapes) {
        SCOPED_TRACE(::testing::Message() << kernels->name << " " << count << "x" << rows << "x" << cols);
        const at::Tensor weights = waves_of(rows, cols, 0.731), x = waves_of(count, cols, 0.37);
        for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kChar}) {
          const at::Tensor stored = dtype == at::kChar ? at::mul(weights, 100).to(dtype) : weights.to(dtype);
          const bool rounds_input = kernels->takes_bf16_input && dtype == at::kBFloat16;
          const at::Tensor seen = rounds_input ? x.to(dtype).to(at::kFloat) : x;
          EXPECT_LE(relative_gap_of(small_gemm(x, stored, {}, *kernels), at::linear(seen, stored.to(at::kFloat))),
                    1e-5);
        }
      }
    }
  }
}

TEST(SmallGemm, ServesOnlyWithoutGradients) {
  const at::Tensor weights = waves_of(6, 8, 0.3), x = waves_of(4, 8, 0.7).view({2, 2, 8});
  const at::Tensor bias = waves_of(1, 6, 0.9)[0];
  EXPECT_FALSE(small_gemm_serves(x, weights));
  const at::NoGradGuard without_gradients;
  EXPECT_EQ(small_gemm_serves(x, weights), has_vector_kernels());
  EXPECT_FALSE(small_gemm_serves(waves_of(kSmallGemmRows + 1, 8, 0.7), weights));
  EXPECT_FALSE(small_gemm_serves(x.to(at::kDouble), weights));
  EXPECT_LE(relative_gap_of(small_gemm(x, weights, bias), at::linear(x, weights, bias)), 1e-5);
}

}  // namespace
}  // namespace minimind::testing
