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

TEST(Device, FollowsFromRankAndGpus) {
  struct Case {
    DeviceChoice choice;
    const char* expected;  ///< name of the device, or part of the error
  };
  for (const Case& known : {
           Case{{"cpu", 1, 2, 8}, "cpu"},
           Case{{"auto", 0, 1, 0}, "cpu"},
           Case{{"auto", 0, 1, 4}, "cuda:0"},
           Case{{"auto", 3, 4, 4}, "cuda:3"},
           Case{{"cuda", 3, 4, 4}, "cuda:3"},
           Case{{"cuda:2", 0, 1, 4}, "cuda:2"},
           // The launcher shows one GPU to each process.
           Case{{"auto", 3, 4, 1}, "cuda:0"},
           Case{{"cuda:0", 3, 4, 1}, "cuda:0"},
           Case{{"cuda:1", 1, 4, 1}, "--device: expected a CUDA device below 1, found cuda:1"},
           Case{{"cuda:4", 0, 1, 4}, "--device: expected a CUDA device below 4, found cuda:4"},
           Case{{"cuda:1", 0, 4, 4}, "--device cuda:1: expected a GPU for each of the 4 processes of this host"},
           Case{{"auto", 0, 3, 2}, "expected at most one process for each GPU, found 3 processes and 2 GPUs"},
           Case{{"cuda", 2, 3, 2}, "start 2 processes here, or use --device cpu"},
       }) {
    const DeviceChoice& choice = known.choice;
    std::string found;
    const std::string error = error_of([&] { found = choose_device(choice).str(); });
    EXPECT_NE((found.empty() ? error : found).find(known.expected), std::string::npos)
        << choice.name << ' ' << choice.local_rank << " of " << choice.local_ranks << ", " << choice.gpus << ": "
        << found << error;
  }
}

TEST(Device, AttentionOfAGpuIsNotThatOfCudnn) {
  at::globalContext().setSDPUseCuDNN(true);
  choose_attention_kernels(c10::kCPU);
  EXPECT_TRUE(at::globalContext().userEnabledCuDNNSDP());
  choose_attention_kernels(c10::Device(c10::kCUDA, 0));
  EXPECT_FALSE(at::globalContext().userEnabledCuDNNSDP());
}

TEST(Device, Float32OfAGpuIsExactUnlessTf32IsAllowed) {
  const c10::Device gpu(c10::kCUDA, 0);
  at::globalContext().setAllowTF32CuDNN(true);
  allow_tf32(gpu, false);
  EXPECT_FALSE(at::globalContext().allowTF32CuBLAS());
  EXPECT_FALSE(at::globalContext().allowTF32CuDNN());
  allow_tf32(c10::kCPU, true);
  EXPECT_FALSE(at::globalContext().allowTF32CuBLAS());
  allow_tf32(gpu, true);
  EXPECT_TRUE(at::globalContext().allowTF32CuBLAS());
  EXPECT_TRUE(at::globalContext().allowTF32CuDNN());
  allow_tf32(gpu, false);
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
