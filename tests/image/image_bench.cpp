// usage: image_bench IMAGE… Processor time of one core to decode each image and to resize it to 224x224 planar
// bytes, the best of several rounds; a JSON line each.
#include <algorithm>
#include <ctime>
#include <functional>
#include <iostream>
#include <vector>

#include "image/resize_kernels.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/image/decode.h"
#include "minimind/image/resize.h"

namespace minimind {
namespace {

constexpr int64_t kSide = 224;
constexpr int kRounds = 30;
constexpr int kCalls = 20;

double processor_ms() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) * 1e-6;
}

double best_ms(const std::function<void()>& body) {
  double best = 1e30;
  for (int round = 0; round < kRounds; ++round) {
    const double start = processor_ms();
    for (int call = 0; call < kCalls; ++call) {
      body();
    }
    best = std::min(best, (processor_ms() - start) / kCalls);
  }
  return best;
}

void measure(const std::string& path) {
  const std::string bytes = read_file(path);
  const Image image = decode_image(bytes, path);
  std::vector<uint8_t> planar(3 * kSide * kSide);
  const double decode = best_ms([&] { decode_image(bytes, path); });
  const double resize = best_ms([&] { resize_to_planar(image, kSide, planar.data()); });
  const double scalar =
      best_ms([&] { detail::resize_planar(image, kSide, kSide, planar.data(), detail::kScalarResize); });
  std::cout << R"({"image": ")" << path << R"(", "width": )" << image.width << R"(, "height": )" << image.height
            << R"(, "decode_ms": )" << decode << R"(, "resize_ms": )" << resize << R"(, "kernels": ")"
            << detail::best_resize().name << R"(", "scalar_resize_ms": )" << scalar << R"(, "images_per_second": )"
            << 1e3 / (decode + resize) << "}\n";
}

}  // namespace
}  // namespace minimind

int main(int argc, char** argv) {
  try {
    for (int i = 1; i < argc; ++i) {
      minimind::measure(argv[i]);
    }
  } catch (const minimind::Error& error) {
    std::cerr << "error: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
