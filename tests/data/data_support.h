#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "minimind/base/error.h"
#include "minimind/base/random.h"
#include "minimind/image/encode.h"
#include "support/byte_tokenizer.h"
#include "support/temporary_folder.h"

namespace minimind::testing {

namespace fs = std::filesystem;

inline fs::path write_bytes(const fs::path& path, std::string_view bytes) {
  fs::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return path;
}

/// The message of the Error that `action` throws; fails the test if it throws none.
template <class Action>
std::string error_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "expected an Error";
  return {};
}

/// A JPEG of noise around a colour. Its content depends on the seed.
inline std::string make_jpeg(uint64_t seed, int64_t width = 40, int64_t height = 30) {
  Random random(seed);
  Image image{width, height, std::vector<uint8_t>(static_cast<size_t>(width * height * 3))};
  const uint64_t base = random.below(200);
  for (auto& pixel : image.pixels) {
    pixel = static_cast<uint8_t>(base + random.below(50));
  }
  return encode_jpeg(image, 90);
}

}  // namespace minimind::testing
