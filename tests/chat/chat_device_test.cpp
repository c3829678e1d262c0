#include "chat/chat_device.h"

#include <gtest/gtest.h>

#include <string>

#include "minimind/base/error.h"

namespace minimind::testing {
namespace {

TEST(ChatDevice, IsTheCpuUnlessAGpuIsNamed) {
  struct Case {
    const char* name;
    WeightFormat weights;
    const char* expected;
  };
  for (const Case& known :
       {Case{"auto", WeightFormat::kFloat32, "cpu"}, Case{"auto", WeightFormat::kBFloat16, "cpu"},
        Case{"auto", WeightFormat::kInt8, "cpu"}, Case{"cpu", WeightFormat::kInt8, "cpu"},
        Case{"cuda", WeightFormat::kFloat32, "cuda"}, Case{"cuda:1", WeightFormat::kBFloat16, "cuda:1"}}) {
    EXPECT_EQ(chat_device_name(known.name, known.weights), known.expected);
  }
  try {
    chat_device_name("cuda:1", WeightFormat::kInt8);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "--weights int8 --device cuda:1: expected a CPU for int8, found a GPU; use --weights bfloat16, or "
                 "--device cpu");
  }
}

}  // namespace
}  // namespace minimind::testing
