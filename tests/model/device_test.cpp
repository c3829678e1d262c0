#include "model/device.h"

#include <ATen/Context.h>
#include <gtest/gtest.h>

#include "io/io_support.h"
#include "minimind/base/error.h"
#include "model/cuda_absence.h"

namespace minimind {
namespace {

using testing::error_of;

TEST(Device, HasTheNamesOfTheFlag) {
  for (const char* name : {"auto", "cpu", "cuda", "cuda:0", "cuda:12"}) {
    EXPECT_TRUE(is_device_name(name)) << name;
  }
  for (const char* name : {"", "gpu", "CPU", "cuda:", "cuda:-1", "cuda:x", "cuda:1x", "cuda:99999999999999999999"}) {
    EXPECT_FALSE(is_device_name(name)) << name;
    EXPECT_NE(error_of([&] { device_of(name); }).find("--device: expected auto, cpu, cuda or cuda:N"),
              std::string::npos)
        << name;
  }
}

TEST(Device, IsTheCpuIfThatIsNamedOrNoGpuIsThere) {
  EXPECT_TRUE(device_of("cpu").is_cpu());
  if (at::hasCUDA()) {
    EXPECT_EQ(device_of("auto"), c10::Device(c10::kCUDA, 0));
    EXPECT_NE(error_of([] { device_of("cuda:4096"); }).find("found cuda:4096"), std::string::npos);
  } else {
    EXPECT_TRUE(device_of("auto").is_cpu());
    EXPECT_EQ(error_of([] { device_of("cuda:1"); }),
              concat("--device cuda:1: expected a card that this build can use, ", cuda_absence(cuda_facts(0)),
                     "; or use --device cpu"));
  }
}

}  // namespace
}  // namespace minimind
