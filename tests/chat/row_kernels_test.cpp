#include "chat/detail/row_kernels.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "chat/detail/row_matrix.h"

namespace minimind::testing {
namespace {

std::vector<const detail::RowKernels*> kernels_here() {
  std::vector<const detail::RowKernels*> all;
  for (const detail::RowKernels* kernels : {&detail::kPlainKernels, &detail::kAvx2Kernels}) {
    if (kernels->available()) {
      all.push_back(kernels);
    }
  }
  return all;
}

/// Lengths around every step of the kernels' loops.
const std::vector<std::pair<int64_t, int64_t>> kShapes = {{1, 1},  {3, 7},  {5, 8},    {2, 31},
                                                          {4, 32}, {7, 33}, {300, 129}};

at::Tensor waves_of(int64_t rows, int64_t cols, double step) {
  return at::sin(at::arange(rows * cols, at::kFloat) * step + 0.2).view({rows, cols});
}

double relative_gap_of(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

at::Tensor multiply_one(const detail::RowMatrix& matrix, const at::Tensor& x) {
  at::Tensor y = at::empty({matrix.rows()});
  matrix.multiply(x.const_data_ptr<float>(), y.mutable_data_ptr<float>());
  return y;
}

TEST(RowKernels, EveryInstructionSetAgreesWithTheFrameworksProduct) {
  for (const detail::RowKernels* kernels : kernels_here()) {
    for (const auto& [rows, cols] : kShapes) {
      SCOPED_TRACE(::testing::Message() << kernels->name << " " << rows << "x" << cols);
      const at::Tensor weights = waves_of(rows, cols, 0.731), x = waves_of(1, cols, 0.37)[0];
      const at::Tensor narrow = weights.to(at::kBFloat16).to(at::kFloat);
      EXPECT_LE(relative_gap_of(multiply_one({weights, WeightFormat::kFloat32, *kernels}, x), at::mv(weights, x)),
                1e-5);
      EXPECT_LE(relative_gap_of(multiply_one({weights, WeightFormat::kBFloat16, *kernels}, x), at::mv(narrow, x)),
                1e-5);
      const detail::RowMatrix int8(weights, WeightFormat::kInt8, *kernels);
      const at::Tensor many = int8.multiply(x.unsqueeze(0))[0];
      EXPECT_LE(relative_gap_of(multiply_one(int8, x), many), 1e-5);
      // Rounding to 1/127 of a row's largest weight.
      EXPECT_LE((many - at::mv(weights, x)).abs().max().item<double>(), 0.5 / 127 * x.abs().sum().item<double>());
    }
  }
}

TEST(RowKernels, AvailableOnesIncludeThePlainOne) {
  EXPECT_TRUE(detail::kPlainKernels.available());
  EXPECT_TRUE(detail::best_row_kernels().available());
}

TEST(RowMatrix, CopiesARowOutOfEveryFormat) {
  const at::Tensor weights = waves_of(4, 9, 0.5);
  for (const WeightFormat format : {WeightFormat::kFloat32, WeightFormat::kBFloat16, WeightFormat::kInt8}) {
    const detail::RowMatrix matrix(weights, format, detail::best_row_kernels());
    at::Tensor row = at::empty({9});
    matrix.copy_row(2, row.mutable_data_ptr<float>());
    EXPECT_LE((row - weights[2]).abs().max().item<double>(), format == WeightFormat::kFloat32 ? 0.0 : 0.005);
  }
}

}  // namespace
}  // namespace minimind::testing
