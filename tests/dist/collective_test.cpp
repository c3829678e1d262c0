#include "dist/collective.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>
#include <stdlib.h>

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

TEST(Collective, KeepsTheCauseThatNcclNames) {
  const std::string text =
      "NCCL error in: ProcessGroupNCCL.cpp:94, invalid usage (run with NCCL_WARN=INFO for details), NCCL version "
      "2.28.9\nncclInvalidUsage: This usually reflects invalid usage of NCCL library.\nLast error:\n"
      "Duplicate GPU detected : rank 1 and rank 0 both on CUDA device 1000\nException raised from create";
  EXPECT_EQ(connection_failure_text(std::runtime_error(text)),
            "NCCL error in: ProcessGroupNCCL.cpp:94, invalid usage (run with NCCL_WARN=INFO for details), NCCL version "
            "2.28.9; Duplicate GPU detected : rank 1 and rank 0 both on CUDA device 1000");
  EXPECT_EQ(connection_failure_text(std::runtime_error("first\nsecond")), "first");
  EXPECT_EQ(connection_failure_text(std::runtime_error("first\nLast error:\n\n")), "first");
}

TEST(Collective, SwitchesNcclsRecorderOffUnlessTheUserSetIt) {
  ::unsetenv("TORCH_NCCL_DUMP_ON_TIMEOUT");
  ::unsetenv("TORCH_FR_BUFFER_SIZE");
  ::setenv("TORCH_NCCL_TRACE_BUFFER_SIZE", "64", /*overwrite=*/1);
  switch_nccl_recorder_off();
  EXPECT_STREQ(::getenv("TORCH_NCCL_DUMP_ON_TIMEOUT"), "0");
  EXPECT_EQ(::getenv("TORCH_FR_BUFFER_SIZE"), nullptr) << "the user has set the earlier name";
  ::unsetenv("TORCH_NCCL_TRACE_BUFFER_SIZE");
  switch_nccl_recorder_off();
  EXPECT_STREQ(::getenv("TORCH_FR_BUFFER_SIZE"), "0");
}

}  // namespace
}  // namespace minimind::detail
