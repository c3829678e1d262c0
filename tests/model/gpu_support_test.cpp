#include "model/gpu_support.h"

#include <gtest/gtest.h>

#include <string>

namespace minimind {
namespace {

TEST(GpuSupport, FollowsFromTheComputeCapability) {
  struct Case {
    int major, minor;
    bool is_refused;
    at::ScalarType auto_dtype;
    bool takes_fewer_kv_heads;  // for --dtype auto
  };
  for (const Case& gpu :
       {Case{6, 1, true, at::kHalf, false}, Case{7, 0, true, at::kHalf, false}, Case{7, 5, false, at::kHalf, false},
        Case{8, 0, false, at::kBFloat16, true}, Case{8, 6, false, at::kBFloat16, true},
        Case{9, 0, false, at::kBFloat16, true}, Case{12, 0, false, at::kBFloat16, true}}) {
    const GpuSupport support = gpu_support(gpu.major, gpu.minor);
    const std::string name = std::to_string(gpu.major) + "." + std::to_string(gpu.minor);
    EXPECT_EQ(!support.refusal.empty(), gpu.is_refused) << name;
    EXPECT_EQ(support.auto_dtype, gpu.auto_dtype) << name;
    EXPECT_EQ(support.has_bfloat16, gpu.major >= 8) << name;
    EXPECT_EQ(takes_fewer_kv_heads(support, support.auto_dtype), gpu.takes_fewer_kv_heads) << name;
    EXPECT_FALSE(takes_fewer_kv_heads(support, at::kFloat)) << name;
  }
  EXPECT_EQ(gpu_support(7, 0).refusal,
            "expected a GPU of compute capability 7.5 (Turing) or later, found 7.0, which LibTorch's kernels do not "
            "serve; use --device cpu");
}

}  // namespace
}  // namespace minimind
