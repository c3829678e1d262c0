#include "dist/collective.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <new>
#include <stdexcept>
#include <string>

namespace minimind::detail {
namespace {

TEST(Collective, TellsOwnFailuresFromThoseOfAConnection) {
  const c10::SourceLocation place{};
  EXPECT_TRUE(is_own_failure(c10::OutOfMemoryError(place, "CUDA out of memory")));
  EXPECT_TRUE(is_own_failure(c10::Error(place, "device-side assert")));
  EXPECT_TRUE(is_own_failure(std::bad_alloc()));
  EXPECT_TRUE(is_own_failure(std::logic_error("a bug")));
  EXPECT_FALSE(is_own_failure(c10::DistBackendError(place, "NCCL error")));
  EXPECT_FALSE(is_own_failure(c10::DistNetworkError(place, "timeout")));
  EXPECT_FALSE(is_own_failure(std::runtime_error("Gloo: connection closed by peer")));
}

}  // namespace
}  // namespace minimind::detail
