#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ctime>
#include <fstream>
#include <iostream>
#include <string>

#include "data_support.h"
#include "minimind/data/dataset.h"

namespace minimind::testing {

namespace {

constexpr int64_t kSamples = 600000;

// The size of the page's pretraining file: 600,000 samples, 260 MB, Chinese captions.
void write_large_data_set(const fs::path& path) {
  std::ofstream file(path, std::ios::binary);
  const std::string words =
      "提供给定图像的简要描述。在黑色背景的金属锅中加入盐水慢动作一只白色的鸟站在绿色的树枝上阳光照耀着远处的山脉和湖"
      "泊";
  file << "[";
  for (int64_t i = 0; i < kSamples; ++i) {
    const auto characters = static_cast<size_t>(20 + i * 7919 % 32);
    file << (i == 0 ? "\n" : ",\n") << "  {\n    \"id\": \"" << 100000000 + i << "\",\n    \"image\": \"GCC_train_" << i
         << ".jpg\",\n    \"conversations\": [\n      {\n        \"from\": \"human\",\n        \"value\": \""
         << words.substr(0, 102) << "\\n<image>\"\n      },\n      {\n        \"from\": \"gpt\",\n        \"value\": \""
         << words.substr(36, 3 * characters) << "\"\n      }\n    ]\n  }";
  }
  file << "\n]\n";
}

// In a process of its own, so that the peak is its own.
int load_and_report(const fs::path& path) {
  const std::clock_t start = std::clock();
  const Dataset data = Dataset::load(path, DataKind::kPretrain);
  const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const double megabytes = static_cast<double>(usage.ru_maxrss) * 1024 / 1e6;
  std::cout << "loaded " << data.size() << " samples of " << static_cast<double>(fs::file_size(path)) / 1e6 << " MB in "
            << seconds << " s of processor time, peak " << megabytes << " MB" << std::endl;
  const bool right =
      data.size() == kSamples && data.id(kSamples - 1) == "100599999" && data.sample(5).turns.size() == 1;
  return right && seconds <= 5 && megabytes <= 600 ? 0 : 1;
}

}  // namespace

TEST(DatasetSlow, LoadsSixHundredThousandSamplesInFiveSecondsAndSixHundredMegabytes) {
  TemporaryFolder folder;
  write_large_data_set(folder / "large.json");
  ASSERT_GE(fs::file_size(folder / "large.json"), 255000000U);
  const pid_t child = ::fork();
  if (child == 0) {
    ::_exit(load_and_report(folder / "large.json"));
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace minimind::testing
