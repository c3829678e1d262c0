#include "model/ops/gpu_ops.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <optional>

#include "model/ops/composed.h"
#include "model/ops/rope.h"
#include "support/small_model.h"
#include "support/tensor_matcher.h"

// The ops of gpu_ops.h on a GPU, beside the composed forms on the CPU. Without a GPU nothing is tested.

namespace minimind::testing {
namespace {

class GpuOps : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!at::hasCUDA() || at::getNumGPUs() == 0) {
      GTEST_SKIP() << "SKIPPED, NOT RUN: no GPU";
    }
  }
  static double tolerance(at::ScalarType dtype) { return dtype == at::kFloat ? 2e-6 : 1e-2; }
  static at::Tensor on_gpu(const at::Tensor& tensor) { return tensor.to(at::kCUDA); }
};

constexpr auto kDtypes = {at::kFloat, at::kBFloat16, at::kHalf};

TEST_F(GpuOps, SwigluAndItsGradients) {
  for (const auto dtype : kDtypes) {
    for (const int64_t width : {1, 37, 1408}) {
      const at::Tensor gate = (waves({3, 5, width}) * 4).to(dtype), up = waves({3, 5, width}, 0.8).to(dtype);
      const at::Tensor gradient = waves({3, 5, width}, 1.3).to(dtype);
      const auto [to_gate, to_up] = swiglu_backward_reference(gradient, gate, up);
      const auto [gate_found, up_found, product] = gpu::swiglu_backward(on_gpu(gradient), on_gpu(gate), on_gpu(up));
      const double most = 4 * tolerance(dtype);
      EXPECT_TRUE(is_near(gpu::swiglu(on_gpu(gate), on_gpu(up)), swiglu_reference(gate, up), most));
      EXPECT_TRUE(is_near(product, swiglu_reference(gate, up), most));
      EXPECT_TRUE(is_near(gate_found, to_gate, most));
      EXPECT_TRUE(is_near(up_found, to_up, most));
    }
  }
}

TEST_F(GpuOps, QuickGelu) {
  for (const auto dtype : kDtypes) {
    const at::Tensor x = (waves({3, 5, 37}) * 4).to(dtype), found = on_gpu(x);
    gpu::quick_gelu_(found);
    EXPECT_TRUE(is_near(found, quick_gelu_reference(x), 4 * tolerance(dtype)));
  }
}

TEST_F(GpuOps, RopeOfAnyStrides) {
  const at::Tensor rotations = rope_rotations(64, 9, at::kCPU);
  for (const auto dtype : kDtypes) {
    const at::Tensor plain = waves({2, 9, 8, 64}).to(dtype), swapped = waves({2, 8, 9, 64}).to(dtype).transpose(1, 2);
    const at::Tensor odd = waves({2, 9, 8, 65}).to(dtype).narrow(3, 1, 64);
    for (const at::Tensor& heads : {plain, swapped, odd}) {
      for (const double sign : {1.0, -1.0}) {
        const at::Tensor found = gpu::rope(on_gpu(heads), on_gpu(rotations), sign);
        EXPECT_TRUE(found.is_contiguous());
        EXPECT_TRUE(is_near(found, rope_reference(heads, rotations, sign), tolerance(dtype)));
      }
    }
  }
}

TEST_F(GpuOps, RmsNormAndItsGradients) {
  for (const auto dtype : kDtypes) {
    const at::Tensor x = (waves({3, 70, 512}) * 3).to(dtype), weight = waves({512}) + 1.5;
    const at::Tensor gradient = waves({3, 70, 512}, 1.1);
    const auto [y, factors] = rms_norm_with_factors(x, weight, 1e-5);
    const auto [to_x, to_weight] = rms_norm_backward_reference(gradient, x, weight, factors, true);
    const auto [y_found, factors_found] = gpu::rms_norm(on_gpu(x), on_gpu(weight), 1e-5);
    EXPECT_TRUE(is_near(y_found, y, 4 * tolerance(dtype)));
    EXPECT_EQ(factors_found.sizes(), factors.sizes());
    EXPECT_TRUE(is_near(factors_found, factors, 1e-5));
    const auto [x_found, weight_found] =
        gpu::rms_norm_backward(on_gpu(gradient), on_gpu(x), on_gpu(weight), factors_found, true);
    EXPECT_TRUE(is_near(x_found, to_x, 2 * tolerance(dtype)));
    EXPECT_TRUE(is_near(weight_found, to_weight, 1e-3));
    EXPECT_FALSE(std::get<1>(gpu::rms_norm_backward(on_gpu(gradient), on_gpu(x), on_gpu(weight), factors_found, false))
                     .defined());
  }
}

}  // namespace
}  // namespace minimind::testing
