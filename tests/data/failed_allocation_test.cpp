#include <ATen/core/TensorBody.h>
#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include <cstdint>

namespace minimind::testing {

// This program links libsentencepiece and LibTorch, as all programs do. If libsentencepiece's FLAGS_minloglevel lay in
// libc10's memory, it would have set a flag there that makes LibTorch abort here.
TEST(FailedAllocation, IsAnExceptionBesideLibsentencepiece) {
  EXPECT_ANY_THROW(at::empty({int64_t{1} << 50}));
}

}  // namespace minimind::testing
