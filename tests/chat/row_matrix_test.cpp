#include "infer/row_matrix.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <atomic>

#include "infer/step_team.h"
#include "model/few_rows.h"

namespace minimind::testing {
namespace {

std::vector<const GemvKernels*> kernels_here() {
  std::vector<const GemvKernels*> all;
  for (const GemvKernels* kernels : {&kScalarKernels, &kAvx2Kernels, &kAvx512Kernels, &kAmxKernels}) {
    if (kernels->available()) {
      all.push_back(kernels);
    }
  }
  return all;
}

/// Lengths around every step of the kernels' loops.
const std::vector<std::pair<int64_t, int64_t>> kShapes = {{1, 1},  {3, 7},  {5, 8},  {2, 31},
                                                          {4, 32}, {7, 33}, {6, 97}, {300, 129}};

at::Tensor waves_of(int64_t rows, int64_t cols, double step) {
  return at::sin(at::arange(rows * cols, at::kFloat) * step + 0.2).view({rows, cols});
}

double relative_gap_of(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

detail::RowMatrix matrix_of(const at::Tensor& weights, WeightFormat format, const GemvKernels& kernels) {
  detail::WeightArena arena(detail::RowMatrix::bytes(weights.numel(), weights.size(0), format));
  return {{weights}, format, kernels, arena};
}

at::Tensor multiply_one(const detail::RowMatrix& matrix, const at::Tensor& x) {
  at::Tensor y = at::empty({matrix.rows()});
  detail::RowInput input;
  matrix.prepare(x.const_data_ptr<float>(), input);
  const int64_t half = matrix.rows() / 2;
  matrix.multiply(input, y.mutable_data_ptr<float>(), half, matrix.rows());
  matrix.multiply(input, y.mutable_data_ptr<float>(), 0, half);
  return y;
}

TEST(RowMatrix, EveryInstructionSetAgreesWithTheFrameworksProduct) {
  for (const GemvKernels* kernels : kernels_here()) {
    for (const auto& [rows, cols] : kShapes) {
      SCOPED_TRACE(::testing::Message() << kernels->name << " " << rows << "x" << cols);
      const at::Tensor weights = waves_of(rows, cols, 0.731), x = waves_of(1, cols, 0.37)[0];
      const at::Tensor narrow = weights.to(at::kBFloat16).to(at::kFloat);
      EXPECT_LE(
          relative_gap_of(multiply_one(matrix_of(weights, WeightFormat::kFloat32, *kernels), x), at::mv(weights, x)),
          1e-5);
      EXPECT_LE(
          relative_gap_of(multiply_one(matrix_of(weights, WeightFormat::kBFloat16, *kernels), x), at::mv(narrow, x)),
          1e-5);
      const detail::RowMatrix int8 = matrix_of(weights, WeightFormat::kInt8, *kernels);
      const at::Tensor many = int8.multiply(x.unsqueeze(0))[0];
      // Rounding of the row to whole numbers, and of the sums.
      const double quantum = x.abs().max().item<double>() / largest_level(cols);
      const double most = weights.abs().sum(1).max().item<double>();
      EXPECT_LE((multiply_one(int8, x) - many).abs().max().item<double>(), 0.51 * quantum * most + 1e-5);
      // Rounding to 1/127 of a row's largest weight.
      EXPECT_LE((many - at::mv(weights, x)).abs().max().item<double>(), 0.5 / 127 * x.abs().sum().item<double>());
    }
  }
}

TEST(RowMatrix, ProductsWithFewRowsAgreeWithTheFrameworks) {
  for (const GemvKernels* kernels : kernels_here()) {
    for (const int64_t count : {1, 2, 3, 4, 5, 16, 33, 131}) {
      for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{1, 1},
                                       {3, 7},
                                       {5, 8},
                                       {7, 33},
                                       {13, 48},
                                       {4, 1030},
                                       {9, 1600},
                                       {16, 32},
                                       {45, 96},
                                       {64, 1024}}) {
        SCOPED_TRACE(::testing::Message() << kernels->name << " " << count << "x" << rows << "x" << cols);
        const at::Tensor weights = waves_of(rows, cols, 0.731), x = waves_of(count, cols, 0.37);
        for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kChar}) {
          const at::Tensor held = dtype == at::kChar ? at::mul(weights, 100).to(dtype) : weights.to(dtype);
          at::Tensor y = at::empty({count, rows});
          few_rows_product(*kernels, held, x.const_data_ptr<float>(), count, y.mutable_data_ptr<float>());
          const bool takes_bf16_input = kernels->takes_bf16_input && dtype == at::kBFloat16;
          const at::Tensor seen = takes_bf16_input ? x.to(dtype).to(at::kFloat) : x;
          EXPECT_LE(relative_gap_of(y, at::linear(seen, held.to(at::kFloat))), 1e-5);
        }
      }
    }
  }
}

TEST(RowMatrix, FewRowsServeWhereNothingIsLearnt) {
  const at::Tensor weights = waves_of(6, 8, 0.3), x = waves_of(4, 8, 0.7).view({2, 2, 8}),
                   bias = waves_of(1, 6, 0.9)[0];
  EXPECT_FALSE(few_rows_serve(x, weights));
  const at::NoGradGuard without_gradients;
  EXPECT_EQ(few_rows_serve(x, weights), has_vector_kernels());
  EXPECT_FALSE(few_rows_serve(waves_of(kFewRows + 1, 8, 0.7), weights));
  EXPECT_FALSE(few_rows_serve(x.to(at::kDouble), weights));
  EXPECT_LE(relative_gap_of(few_rows_product(x, weights, bias), at::linear(x, weights, bias)), 1e-5);
}

TEST(RowMatrix, CopiesARowOutOfEveryFormat) {
  const at::Tensor weights = waves_of(4, 9, 0.5);
  for (const WeightFormat format : {WeightFormat::kFloat32, WeightFormat::kBFloat16, WeightFormat::kInt8}) {
    const detail::RowMatrix matrix = matrix_of(weights, format, best_gemv_kernels());
    at::Tensor row = at::empty({9});
    matrix.copy_row(2, row.mutable_data_ptr<float>());
    EXPECT_LE((row - weights[2]).abs().max().item<double>(), format == WeightFormat::kFloat32 ? 0.0 : 0.005);
  }
}

}  // namespace
}  // namespace minimind::testing

namespace minimind::testing {
namespace {

TEST(StepTeam, MembersCoverAllSharesAndMeet) {
  const int before = at::get_num_threads();
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    detail::StepTeam team;
    for (int turn = 0; turn < 40; ++turn) {
      std::vector<std::atomic<int>> parts(24);
      std::atomic<int> early = 0;
      team.run(8, [&](const detail::StepTeam::Member& member) {
        for (int piece = 0; piece < 24; ++piece) {
          parts[static_cast<size_t>(piece)] += static_cast<int>(member.last(100) - member.first(100));
          member.meet();
          early += parts[static_cast<size_t>(piece)] == 100 ? 0 : 1;
        }
      });
      EXPECT_EQ(early, 0);
    }
  }
  at::set_num_threads(before);
}

}  // namespace
}  // namespace minimind::testing
