// usage: dump_images LIST. A line of LIST is "IMAGE WIDTH HEIGHT". Beside each image it writes IMAGE.rgb (the
// decoded bytes), IMAGE.resized (interleaved, WIDTH x HEIGHT) and IMAGE.planar (224 x 224), once by every kind of
// kernel, which must agree. Prints a line for each image: "ok WIDTH HEIGHT IMAGE" or "error IMAGE REASON".
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "image/resize_kernels.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/image/decode.h"
#include "minimind/image/resize.h"

namespace minimind {
namespace {

constexpr int64_t kSide = 224;

std::string text_of(const std::vector<uint8_t>& bytes) {
  return std::string(bytes.begin(), bytes.end());
}

std::vector<uint8_t> planar_of(const Image& image, int64_t width, int64_t height,
                               const detail::ResizeKernels& kernels) {
  std::vector<uint8_t> planar(static_cast<size_t>(3 * width * height));
  detail::resize_planar(image, width, height, planar.data(), kernels);
  return planar;
}

void dump_image(const std::string& path, int64_t width, int64_t height) {
  const Image image = load_image(path);
  const Image resized = resize_bicubic(image, width, height);
  const std::vector<uint8_t> planar = planar_of(image, kSide, kSide, detail::kScalarResize);
  if (const detail::ResizeKernels* other = detail::avx2_resize(); other != nullptr) {
    require(planar_of(image, kSide, kSide, *other) == planar &&
                planar_of(image, width, height, *other) == planar_of(image, width, height, detail::kScalarResize),
            "kernels differ: ", other->name);
  }
  write_file_atomically(path + ".rgb", text_of(image.pixels));
  write_file_atomically(path + ".resized", text_of(resized.pixels));
  write_file_atomically(path + ".planar", text_of(planar));
  std::cout << "ok " << image.width << ' ' << image.height << ' ' << path << '\n';
}

int dump_list(const char* list) {
  std::ifstream lines(list);
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream fields(line);
    std::string path;
    int64_t width = 0;
    int64_t height = 0;
    fields >> path >> width >> height;
    try {
      dump_image(path, width, height);
    } catch (const Error& error) {
      std::cout << "error " << path << ' ' << error.what() << '\n';
    }
  }
  return 0;
}

}  // namespace
}  // namespace minimind

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: dump_images LIST\n";
    return 2;
  }
  return minimind::dump_list(argv[1]);
}
