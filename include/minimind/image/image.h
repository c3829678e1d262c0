#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace minimind {

/// 8-bit RGB, rows from the top, interleaved: pixels[(y * width + x) * 3 + channel].
struct Image {
  int64_t width = 0;
  int64_t height = 0;
  std::vector<uint8_t> pixels;

  /// Whether there is a pixel, and as many bytes as the size asks for.
  bool is_whole() const {
    return width > 0 && height > 0 && pixels.size() == static_cast<size_t>(width) * static_cast<size_t>(height) * 3;
  }
};

}  // namespace minimind
