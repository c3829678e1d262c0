// Speed of the loader alone: JPEG files and JSON to ready batches, without a model.
// usage: loader_bench [--workers N] [--samples N] [--tokenizer tokenizer.json] [--answer_chars N]
// Ends with one JSON line.

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "minimind/base/error.h"
#include "minimind/base/random.h"
#include "minimind/data/loader.h"
#include "minimind/image/encode.h"
#include "minimind/text/load_tokenizer.h"

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

struct BenchOptions {
  int64_t workers = 1;
  int64_t samples = 4000;
  int64_t answer_chars = 24;
  int64_t epochs = 3;
  std::string tokenizer;
};

BenchOptions parse(int argc, char** argv) {
  BenchOptions options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    if (flag == "--workers") {
      options.workers = std::stoll(argv[i + 1]);
    } else if (flag == "--samples") {
      options.samples = std::stoll(argv[i + 1]);
    } else if (flag == "--answer_chars") {
      options.answer_chars = std::stoll(argv[i + 1]);
    } else if (flag == "--epochs") {
      options.epochs = std::stoll(argv[i + 1]);
    } else if (flag == "--tokenizer") {
      options.tokenizer = argv[i + 1];
    } else {
      minimind::fail("unknown flag ", flag);
    }
  }
  return options;
}

// A coloured disc on a gradient with some noise: a JPEG of the size that such an image has.
std::string make_image(uint64_t seed) {
  minimind::Random random(seed);
  constexpr int64_t kSide = 128;
  minimind::Image image{kSide, kSide, std::vector<uint8_t>(kSide * kSide * 3)};
  const auto x0 = static_cast<int64_t>(random.below(kSide));
  const auto y0 = static_cast<int64_t>(random.below(kSide));
  const int64_t radius = random.between(10, 40);
  const uint64_t colour = random.next();
  for (int64_t y = 0; y < kSide; ++y) {
    for (int64_t x = 0; x < kSide; ++x) {
      const bool inside = (x - x0) * (x - x0) + (y - y0) * (y - y0) < radius * radius;
      for (int64_t c = 0; c < 3; ++c) {
        const auto plain =
            static_cast<int64_t>(inside ? (colour >> (8 * c)) & 0xFFU : static_cast<uint64_t>(x + y / 2));
        const int64_t noisy = plain + static_cast<int64_t>(random.below(16)) - 8;
        image.pixels[static_cast<size_t>((y * kSide + x) * 3 + c)] =
            static_cast<uint8_t>(std::clamp<int64_t>(noisy, 0, 255));
      }
    }
  }
  return minimind::encode_jpeg(image, 85);
}

void write_data(const fs::path& folder, const BenchOptions& options) {
  const std::string words =
      "画面中有一个蓝色的三角形和一个黄色的正方形背景是白色的非常简单清晰在左上角可以看到一个红色的圆形这张图片一共有三"
      "个几何图形";
  fs::create_directories(folder / "pictures");
  std::ofstream json(folder / "data.json");
  json << "[";
  minimind::Random random(1);
  const auto characters = static_cast<int64_t>(words.size() / 3);
  for (int64_t i = 0; i < options.samples; ++i) {
    std::ofstream(folder / "pictures" / (std::to_string(i) + ".jpg"), std::ios::binary)
        << make_image(static_cast<uint64_t>(i));
    std::string answer;
    for (int64_t left = options.answer_chars; left > 0; left -= 8) {
      answer += words.substr(3 * random.below(static_cast<uint64_t>(characters - 8)), 24);
    }
    json
        << (i == 0 ? "" : ",") << R"({"id": ")" << i << R"(", "image": ")" << i
        << R"(.jpg", "conversations": [{"from": "human", "value": "提供给定图像的简要描述。\n<image>"}, {"from": "gpt", "value": ")"
        << answer << "\"}]}";
  }
  json << "]";
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

int run(const BenchOptions& options) {
  minimind::require(!options.tokenizer.empty(), "--tokenizer: expected a tokenizer.json");
  const fs::path folder = fs::temp_directory_path() / minimind::concat("loader_bench.", ::getpid());
  write_data(folder, options);
  const auto tokenizer = minimind::load_tokenizer(options.tokenizer);
  const auto pattern = minimind::make_image_pattern(*tokenizer, std::string(25, '<') + std::string(25, '>'), 50);
  const auto data = minimind::Dataset::load(folder / "data.json", minimind::DataKind::kPretrain);
  const auto images = minimind::open_image_source(folder / "pictures");
  minimind::LoaderOptions loader_options;
  loader_options.num_workers = options.workers;
  minimind::Loader loader({data, minimind::DataKind::kPretrain, *tokenizer, pattern, *images, nullptr}, loader_options);
  std::vector<double> per_core;
  std::vector<double> per_second;
  int64_t tokens = 0;
  int64_t samples = 0;
  for (int64_t epoch = 0; epoch < options.epochs; ++epoch) {
    const double cpu = cpu_seconds();
    const auto start = Clock::now();
    loader.start_epoch(epoch);
    while (const auto batch = loader.next()) {
      tokens += batch->tokens;
      samples += std::ssize(batch->sample_ids);
    }
    per_core.push_back(static_cast<double>(options.samples) / (cpu_seconds() - cpu));
    per_second.push_back(static_cast<double>(options.samples) /
                         std::chrono::duration<double>(Clock::now() - start).count());
    std::cout << "epoch " << epoch << ": " << per_second.back() << " samples/s, " << per_core.back()
              << " per second of processor time" << std::endl;
  }
  fs::remove_all(folder);
  std::sort(per_core.begin(), per_core.end());
  std::sort(per_second.begin(), per_second.end());
  std::printf("{\"loader_per_core\": %.0f, \"samples_per_s\": %.0f, \"workers\": %lld, \"tokens_per_sample\": %.1f}\n",
              per_core[per_core.size() / 2], per_second[per_second.size() / 2], static_cast<long long>(options.workers),
              static_cast<double>(tokens) / static_cast<double>(samples));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(parse(argc, argv));
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 1;
  }
}
