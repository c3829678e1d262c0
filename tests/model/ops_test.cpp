#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "model/ops/activations.h"
#include "model/ops/composed.h"
#include "model/ops/narrow_weights.h"
#include "model/ops/rms_norm.h"
#include "model/ops/rope.h"
#include "support/small_model.h"
#include "support/tensor_matcher.h"

// Each op has three forms: the reference in tensor operations, the row form on raw pointers, and the form that the
// model calls.

namespace minimind::testing {
namespace {

constexpr int64_t kRows = 6;
constexpr int64_t kWidth = 37;

double tolerance_of(at::ScalarType dtype) {
  return dtype == at::kFloat ? 2e-6 : 2e-2;
}

uint16_t* bits_of(const at::Tensor& tensor) {
  return static_cast<uint16_t*>(tensor.data_ptr());
}

void for_each_row(const at::Tensor& tensor, const std::function<void(int64_t)>& row) {
  for (int64_t i = 0; i < tensor.size(0); ++i) {
    row(i);
  }
}

TEST(RmsNormOp, ThreeFormsAgree) {
  const double eps = 1e-5;
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor x = (waves({kRows, kWidth}) * 3).to(dtype), weight = (waves({kWidth}) + 1.5).to(dtype);
    const at::Tensor expected = rms_norm_reference(x, weight, eps);
    EXPECT_TRUE(is_near(rms_norm(x, weight, eps), expected, tolerance_of(dtype)));
    // The row form computes in float32.
    const at::Tensor row = x.to(at::kFloat).clone(), scale = weight.to(at::kFloat);
    for_each_row(row, [&](int64_t i) {
      float* const values = row.mutable_data_ptr<float>() + i * kWidth;
      rms_norm_row(values, scale.const_data_ptr<float>(), eps, values, kWidth);
    });
    EXPECT_TRUE(is_near(row, expected, dtype == at::kFloat ? 2e-6 : 4e-2));
  }
}

TEST(RmsNormOp, GradientsAreThoseOfTheReference) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor ours = (waves({70, kWidth}) * 3).to(dtype).requires_grad_();
    const at::Tensor weight = (waves({kWidth}) + 1.5).to(dtype).requires_grad_();
    const at::Tensor theirs = ours.detach().clone().requires_grad_(), other = weight.detach().clone().requires_grad_();
    const at::Tensor gradient = waves({70, kWidth}, 1.1).to(dtype);
    rms_norm(ours, weight, 1e-5).backward(gradient);
    const at::Tensor x = theirs.to(at::kFloat);
    ((x * at::rsqrt(x.pow(2).mean(-1, true) + 1e-5)).to(dtype) * other).backward(gradient);
    const double most = dtype == at::kFloat ? 1e-6 : 1e-2;
    EXPECT_TRUE(is_near(ours.grad(), theirs.grad(), most * theirs.grad().abs().max().item<double>()));
    EXPECT_TRUE(is_near(weight.grad(), other.grad(), most * other.grad().abs().max().item<double>()));
  }
}

TEST(RopeOp, ThreeFormsAgree) {
  const at::Tensor rotations = rope_rotations(8, 7, at::kCPU).narrow(0, 3, 4);
  const at::Tensor angles = at::view_as_real(rotations).contiguous();
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor heads = waves({2, 4, 3, 8}).to(dtype);
    const at::Tensor expected = rope_reference(heads, rotations);
    EXPECT_EQ(expected.scalar_type(), dtype);
    EXPECT_TRUE(is_near(apply_rope(heads, rotations), expected, tolerance_of(dtype)));
    const at::Tensor rows = heads.clone().view({8, 24});
    for_each_row(rows, [&](int64_t i) {
      const float* const turn = angles.const_data_ptr<float>() + i % 4 * 8;
      if (dtype == at::kFloat) {
        rope_row(rows.data_ptr<float>() + i * 24, turn, 1, rows.data_ptr<float>() + i * 24, 3, 8);
      } else {
        rope_row(bits_of(rows) + i * 24, turn, 1, bits_of(rows) + i * 24, 3, 8);
      }
    });
    EXPECT_TRUE(at::equal(rows.view({2, 4, 3, 8}), apply_rope(heads, rotations)));
  }
}

TEST(RopeOp, RotatesConsecutivePairsByThePosition) {
  const int64_t start = 5, count = 3, width = 8;
  const at::Tensor heads = waves({1, count, 2, width});
  const at::Tensor rotated = apply_rope(heads, rope_rotations(width, start + count, at::kCPU).narrow(0, start, count));
  for (int64_t position = 0; position < count; ++position) {
    for (int64_t head = 0; head < 2; ++head) {
      for (int64_t pair = 0; pair < width / 2; ++pair) {
        const double angle =
            static_cast<double>(start + position) * std::pow(10000.0, -2.0 * static_cast<double>(pair) / width);
        const double x = heads[0][position][head][2 * pair].item<double>();
        const double y = heads[0][position][head][2 * pair + 1].item<double>();
        const at::Tensor found = rotated[0][position][head];
        EXPECT_NEAR(found[2 * pair].item<double>(), x * std::cos(angle) - y * std::sin(angle), 1e-5);
        EXPECT_NEAR(found[2 * pair + 1].item<double>(), x * std::sin(angle) + y * std::cos(angle), 1e-5);
      }
    }
  }
}

TEST(RopeOp, BackwardRotatesTheOtherWay) {
  const at::Tensor rotations = rope_rotations(8, 7, at::kCPU).narrow(0, 3, 4);
  const at::Tensor heads = waves({2, 4, 3, 8}).requires_grad_();
  const at::Tensor gradient = waves({2, 4, 3, 8}, 0.9);
  apply_rope(heads, rotations).backward(gradient);
  // A rotation keeps inner products: <R h, R g'> = <h, g'> with g = R g'.
  EXPECT_TRUE(is_near(apply_rope(heads.grad(), rotations), gradient, 1e-5));
}

TEST(RopeOp, BFloat16IsTheFloat32ResultRounded) {
  const at::Tensor rotations = rope_rotations(8, 7, at::kCPU).narrow(0, 3, 4);
  const at::Tensor heads = waves({2, 4, 3, 8}).to(at::kBFloat16).requires_grad_();
  const at::Tensor exact = heads.detach().to(at::kFloat).requires_grad_();
  const at::Tensor gradient = waves({2, 4, 3, 8}, 0.9).to(at::kBFloat16);
  const at::Tensor rotated = apply_rope(heads, rotations), exact_rotated = apply_rope(exact, rotations);
  EXPECT_EQ(rotated.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(at::equal(rotated, exact_rotated.to(at::kBFloat16)));
  rotated.backward(gradient);
  exact_rotated.backward(gradient.to(at::kFloat));
  EXPECT_TRUE(at::equal(heads.grad(), exact.grad().to(at::kBFloat16)));
}

TEST(RopeOp, RotationsDoNotDependOnTheNumberOfPositions) {
  const at::Tensor few = rope_rotations(8, 512, at::kCPU), many = rope_rotations(8, 2003, at::kCPU);
  EXPECT_TRUE(at::equal(few, many.narrow(0, 0, 512)));
}

TEST(SwigluOp, ThreeFormsAgree) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor gate = (waves({kRows, kWidth}) * 9).to(dtype), up = waves({kRows, kWidth}, 0.8).to(dtype);
    const at::Tensor expected = swiglu_reference(gate, up);
    const double scale = expected.abs().max().item<double>();
    EXPECT_TRUE(is_near(swiglu(gate, up), expected, tolerance_of(dtype) * scale));
    const at::Tensor rows = gate.clone();
    for_each_row(rows, [&](int64_t i) {
      if (dtype == at::kFloat) {
        float* const row = rows.data_ptr<float>() + i * kWidth;
        swiglu_row(row, up.const_data_ptr<float>() + i * kWidth, row, kWidth);
      } else {
        swiglu_row(bits_of(rows) + i * kWidth, bits_of(up) + i * kWidth, bits_of(rows) + i * kWidth, kWidth);
      }
    });
    EXPECT_TRUE(at::equal(rows, swiglu(gate, up)));
    const at::Tensor weight = waves({5, kWidth}, 2.1).to(dtype);
    EXPECT_TRUE(
        is_near(swiglu_linear(gate, up, weight), at::linear(expected, weight), 2 * tolerance_of(dtype) * scale * 5));
  }
}

TEST(SwigluOp, GradientsAreThoseOfTheReference) {
  std::vector<at::Tensor> ours, theirs;
  for (std::vector<at::Tensor>* side : {&ours, &theirs}) {
    *side = {waves({2, 3, kWidth}) * 4, waves({2, 3, kWidth}, 0.8), waves({5, kWidth}, 2.1)};
    for (const at::Tensor& tensor : *side) {
      tensor.requires_grad_();
    }
  }
  const at::Tensor gradient = waves({2, 3, 5}, 0.2);
  swiglu_linear(ours[0], ours[1], ours[2]).backward(gradient);
  at::linear(theirs[0] * at::sigmoid(theirs[0]) * theirs[1], theirs[2]).backward(gradient);
  for (size_t i = 0; i < ours.size(); ++i) {
    EXPECT_TRUE(is_near(ours[i].grad(), theirs[i].grad(), 2e-5)) << i;
  }
}

TEST(CastTogether, IsTheCastOfEachWeightWithItsGradient) {
  std::vector<at::Tensor> ours, theirs;
  for (std::vector<at::Tensor>* side : {&ours, &theirs}) {
    *side = {waves({5, 3}), waves({4, 5}, 0.8), waves({7}, 2.1)};
    (*side)[0].requires_grad_();
    (*side)[2].requires_grad_();
  }
  const std::vector<at::Tensor> narrow = cast_together(ours, at::kBFloat16);
  ASSERT_EQ(narrow.size(), 3U);
  at::Tensor sum = at::zeros({}), expected = at::zeros({});
  for (size_t i = 0; i < 2; ++i) {  // the third is not used
    EXPECT_EQ(narrow[i].scalar_type(), at::kBFloat16);
    EXPECT_TRUE(at::equal(narrow[i], theirs[i].to(at::kBFloat16)));
    const at::Tensor factors = waves(narrow[i].sizes().vec(), 0.2).to(at::kBFloat16);
    sum = sum + (narrow[i] * factors).sum();
    expected = expected + (theirs[i].to(at::kBFloat16) * factors).sum();
  }
  sum.backward();
  expected.backward();
  EXPECT_EQ(ours[0].grad().scalar_type(), at::kFloat);
  EXPECT_TRUE(at::equal(ours[0].grad(), theirs[0].grad()));
  EXPECT_FALSE(ours[1].grad().defined());
  EXPECT_FALSE(ours[2].grad().defined());
}

TEST(SwigluOp, KeepsExtremesFinite) {
  at::Tensor gate = at::tensor({-1e30F, 1e4F, -200.0F});
  const at::Tensor up = at::ones({3});
  const at::Tensor found = swiglu(gate, up);
  EXPECT_TRUE(at::isfinite(found).all().item<bool>());
  EXPECT_EQ(found[1].item<float>(), 1e4F);
}

TEST(QuickGeluOp, ThreeFormsAgree) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor x = (waves({kRows, kWidth}) * 9).to(dtype);
    const at::Tensor expected = quick_gelu_reference(x.to(at::kFloat));
    const at::Tensor called = x.clone(), rows = x.clone();
    quick_gelu_(called);
    EXPECT_TRUE(is_near(called, expected, 9 * tolerance_of(dtype)));
    for_each_row(rows, [&](int64_t i) {
      if (dtype == at::kFloat) {
        quick_gelu_row(rows.data_ptr<float>() + i * kWidth, kWidth);
      } else {
        quick_gelu_row(bits_of(rows) + i * kWidth, kWidth);
      }
    });
    EXPECT_TRUE(at::equal(rows, called));
  }
}

TEST(QuickGeluOp, IsXTimesTheSigmoidOfItsMultiple) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor x = at::cat({at::linspace(-110, 110, 39'960, at::kFloat), waves({37})}).view({-1, 37}).to(dtype);
    const at::Tensor expected = x.to(at::kDouble) * at::sigmoid(x.to(at::kDouble) * 1.702);
    const at::Tensor found = x.clone();
    quick_gelu_(found);
    // Rounding 1.702 x to float32 moves its exponential by a relative error that grows with x.
    const at::Tensor step = x.to(at::kDouble).abs() * 2e-7 + (dtype == at::kFloat ? 5e-7 : 4e-3);
    EXPECT_TRUE(((found.to(at::kDouble) - expected).abs() <= expected.abs() * step + 1e-35).all().item<bool>());
  }
  const at::Tensor broken = at::full({1, 20}, std::nan(""));
  quick_gelu_(broken);
  EXPECT_TRUE(broken.isnan().all().item<bool>());
}

}  // namespace
}  // namespace minimind::testing
