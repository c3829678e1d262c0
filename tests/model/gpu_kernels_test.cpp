#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <vector>

#include "model/host_kernels.h"
#include "model/ops/composed.h"
#include "model/ops/gpu_compiler.h"
#include "model/ops/gpu_sources.h"
#include "model/ops/rope.h"
#include "support/small_model.h"
#include "support/tensor_matcher.h"

// The kernels of src/model/ops/gpu: NVRTC compiles them, and compiled for the host they compute what the composed forms
// do.

namespace minimind::testing {
namespace {

constexpr auto kDtypes = {at::kFloat, at::kBFloat16, at::kHalf};
// Empty, one number, around one pack, a block and a tail.
constexpr auto kCounts = {0, 1, 3, 4, 5, 7, 8, 9, 37, 256 * 8 + 3, 5003};

/// Calls work(kernels) with the host's kernels for the dtype.
template <class Work>
void with_kernels(at::ScalarType dtype, const Work& work) {
  dtype == at::kFloat ? work(host::Float32{}) : dtype == at::kBFloat16 ? work(host::BFloat16{}) : work(host::Float16{});
}

template <class Kernels>
const typename Kernels::Number* numbers(const at::Tensor& tensor, Kernels /*tag*/) {
  return static_cast<const typename Kernels::Number*>(tensor.const_data_ptr());
}
template <class Kernels>
typename Kernels::Number* results(const at::Tensor& tensor, Kernels /*tag*/) {
  return static_cast<typename Kernels::Number*>(tensor.mutable_data_ptr());
}

/// Float32: within 1e-6 of `scale`, the size of the terms. 16 bits: the exact result, rounded once.
void expect_equal(const at::Tensor& found, const at::Tensor& exact, const at::Tensor& scale, const char* what) {
  if (found.scalar_type() == at::kFloat) {
    const at::Tensor gaps = (found.to(at::kDouble) - exact).abs();
    EXPECT_TRUE((gaps <= scale.abs() * 1e-6 + 1e-37).all().item<bool>()) << what << ", " << found.numel() << " numbers";
  } else {
    EXPECT_TRUE(is_near(found, exact.to(at::kFloat).to(found.scalar_type()), 0)) << what << ", " << found.dtype();
  }
}

/// One block more than is needed must do nothing.
template <class Kernels>
int64_t blocks_of(int64_t count, Kernels /*tag*/) {
  return count / (256 * Kernels::kPack) + 2;
}

TEST(GpuKernels, CompileWithoutWarningForEachGpuAndType) {
  if (!has_gpu_compiler()) {
    GTEST_SKIP() << "SKIPPED, NOT RUN: this LibTorch has no NVRTC (libnvrtc.so.13 or .12)";
  }
  for (const GpuSource& source : gpu_sources()) {
    if (source.name == "numbers.cuh") {
      continue;
    }
    for (const auto dtype : kDtypes) {
      std::set<std::string> binaries;
      for (const auto& [major, minor] : {std::pair(7, 5), {8, 0}, {8, 6}, {9, 0}, {10, 0}, {12, 0}}) {
        const GpuProgram program = compile_gpu_program(source.name, dtype, major, minor);
        EXPECT_EQ(program.error, "") << source.name;
        EXPECT_EQ(program.log, "") << source.name << " for " << major << "." << minor;
        binaries.insert(program.binary);
      }
      EXPECT_EQ(binaries.size(), 6U) << source.name;
    }
  }
}

TEST(GpuKernels, SayWhatTheCompilerSays) {
  if (!has_gpu_compiler()) {
    GTEST_SKIP() << "SKIPPED, NOT RUN: this LibTorch has no NVRTC (libnvrtc.so.13 or .12)";
  }
  const GpuProgram program = compile_gpu_program("rope.cuh", at::kFloat, 1, 0);
  EXPECT_TRUE(program.binary.empty());
  EXPECT_NE(program.error.find("could not compile rope.cuh for compute capability 1.0"), std::string::npos)
      << program.error;
  EXPECT_NE(program.error.find("gpu-architecture"), std::string::npos) << program.error;
}

TEST(GpuKernels, SwigluIsTheReference) {
  for (const auto dtype : kDtypes) {
    for (const int64_t count : kCounts) {
      const at::Tensor gate = (waves({count}) * 9).to(dtype), up = waves({count}, 0.8).to(dtype);
      const at::Tensor found = at::full_like(gate, -7);
      with_kernels(dtype, [&](auto kernels) {
        host::run(blocks_of(count, kernels), 256, kernels.swiglu, numbers(gate, kernels), numbers(up, kernels),
                  results(found, kernels), count);
      });
      const at::Tensor exact = at::silu(gate.to(at::kDouble)) * up.to(at::kDouble);
      expect_equal(found, exact, exact, "product");
    }
  }
}

TEST(GpuKernels, SwigluBackwardIsAutogradOfTheReference) {
  for (const auto dtype : kDtypes) {
    for (const int64_t count : kCounts) {
      const at::Tensor gate = (waves({count}) * 9).to(dtype), up = waves({count}, 0.8).to(dtype);
      const at::Tensor gradient = waves({count}, 1.3).to(dtype);
      const at::Tensor to_gate = at::full_like(gate, -7), to_up = at::full_like(gate, -7),
                       product = at::full_like(gate, -7);
      with_kernels(dtype, [&](auto kernels) {
        host::run(blocks_of(count, kernels), 256, kernels.swiglu_backward, numbers(gradient, kernels),
                  numbers(gate, kernels), numbers(up, kernels), results(to_gate, kernels), results(to_up, kernels),
                  results(product, kernels), count);
      });
      const at::Tensor g = gate.to(at::kDouble).requires_grad_(), u = up.to(at::kDouble).requires_grad_();
      const at::Tensor exact = at::silu(g) * u;
      exact.backward(gradient.to(at::kDouble));
      expect_equal(product, exact.detach(), exact.detach(), "product");
      expect_equal(to_up, u.grad(), u.grad(), "gradient of up");
      expect_equal(to_gate, g.grad(), gradient.to(at::kDouble) * up.to(at::kDouble), "gradient of gate");
    }
  }
}

TEST(GpuKernels, SwigluKeepsExtremesFinite) {
  const at::Tensor gate = at::tensor({-1e30F, 1e4F, -200.0F, 0.0F}), up = at::ones({4}), found = at::zeros({4});
  const at::Tensor gradient = at::ones({4}), to_gate = at::zeros({4}), to_up = at::zeros({4});
  host::run(1, 256, host::Float32::swiglu_backward, gradient.const_data_ptr<float>(), gate.const_data_ptr<float>(),
            up.const_data_ptr<float>(), to_gate.mutable_data_ptr<float>(), to_up.mutable_data_ptr<float>(),
            found.mutable_data_ptr<float>(), 4LL);
  EXPECT_TRUE(at::equal(found, at::tensor({0.0F, 1e4F, 0.0F, 0.0F})));
  EXPECT_TRUE(at::equal(to_gate, at::tensor({0.0F, 1.0F, 0.0F, 0.5F})));
  EXPECT_TRUE(at::equal(to_up, found));
}

TEST(GpuKernels, QuickGeluIsTheReference) {
  for (const auto dtype : kDtypes) {
    for (const int64_t count : kCounts) {
      const at::Tensor x = (waves({count}) * 9).to(dtype), found = x.clone();
      with_kernels(dtype, [&](auto kernels) {
        host::run(blocks_of(count, kernels), 256, kernels.quick_gelu, results(found, kernels), count);
      });
      const at::Tensor exact = quick_gelu_reference(x.to(at::kDouble));
      expect_equal(found, exact, exact, "quick GELU");
    }
  }
}

/// The kernel's result for heads [B, S, H, d] of any strides.
at::Tensor rotate_on_host(const at::Tensor& heads, const at::Tensor& rotations, float sign) {
  const at::Tensor found = at::full(heads.sizes(), -7, heads.options());
  with_kernels(heads.scalar_type(), [&](auto kernels) {
    host::run(heads.size(0) * heads.size(1), 32, kernels.rope, numbers(heads, kernels),
              static_cast<const float*>(rotations.const_data_ptr()), results(found, kernels), sign,
              static_cast<int>(heads.size(1)), static_cast<int>(heads.size(2)), static_cast<int>(heads.size(3) / 2),
              static_cast<long long>(heads.stride(0)), static_cast<long long>(heads.stride(1)),
              static_cast<long long>(heads.stride(2)));
  });
  return found;
}

TEST(GpuKernels, RopeIsTheReferenceForAnyStrides) {
  for (const auto dtype : kDtypes) {
    for (const auto& [positions, heads, width] : {std::tuple(5, 3, 8), {1, 1, 2}, {9, 7, 64}, {0, 2, 8}}) {
      const at::Tensor rotations = rope_rotations(width, positions + 3, at::kCPU).narrow(0, 3, positions).contiguous();
      const at::Tensor plain = waves({2, positions, heads, width}).to(dtype);
      const at::Tensor swapped = waves({2, heads, positions, width}).to(dtype).transpose(1, 2);
      const at::Tensor part =
          waves({2, positions, heads + 2, width + 2}).to(dtype).narrow(2, 1, heads).narrow(3, 2, width);
      for (const at::Tensor& from : {plain, swapped, part}) {
        for (const float sign : {1.0F, -1.0F}) {
          const at::Tensor turns = sign < 0 ? rotations.conj() : rotations;
          const at::Tensor pairs =
              at::view_as_complex(from.to(at::kDouble).reshape({2, positions, heads, width / 2, 2}));
          const at::Tensor exact = at::view_as_real(pairs * turns.unsqueeze(1).to(at::kComplexDouble)).flatten(-2);
          const at::Tensor wide = rotate_on_host(from.to(at::kFloat), rotations, sign);
          expect_equal(wide, exact, at::ones_like(exact), "rotated");
          EXPECT_TRUE(is_near(rotate_on_host(from, rotations, sign), wide.to(dtype), 0)) << dtype;
          EXPECT_TRUE(is_near(rope_reference(from, rotations, sign), exact, dtype == at::kFloat ? 1e-6 : 1e-2));
        }
      }
    }
  }
}

TEST(GpuKernels, RopeBackwardIsTheOtherSign) {
  const at::Tensor rotations = rope_rotations(8, 6, at::kCPU), heads = waves({2, 6, 3, 8}).requires_grad_();
  const at::Tensor gradient = waves({2, 6, 3, 8}, 0.9);
  rope_reference(heads, rotations).backward(gradient);
  EXPECT_TRUE(is_near(rotate_on_host(gradient, rotations, -1), heads.grad(), 1e-6));
}

}  // namespace
}  // namespace minimind::testing
