#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "minimind/base/error.h"
#include "minimind/base/random.h"
#include "minimind/image/encode.h"
#include "minimind/text/tokenizer.h"

namespace minimind::testing {

namespace fs = std::filesystem;

/// Removed on destruction.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (fs::temp_directory_path() / "minimind_data_XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) {
      throw std::runtime_error("mkdtemp failed");
    }
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code error;
    fs::remove_all(path_, error);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const fs::path& path() const { return path_; }
  fs::path operator/(const std::string& name) const { return path_ / name; }

 private:
  fs::path path_;
};

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

/// One id per byte after the three specials: lengths are known without a vocabulary.
class ByteTokenizer final : public Tokenizer {
 public:
  std::vector<TokenId> encode(std::string_view text) const override {
    std::vector<TokenId> ids;
    while (!text.empty()) {
      size_t taken = 1;
      TokenId id = kFirstByte + static_cast<unsigned char>(text.front());
      for (TokenId special = 0; special < kFirstByte; ++special) {
        if (text.starts_with(kSpecials[special])) {
          taken = kSpecials[special].size();
          id = special;
        }
      }
      ids.push_back(id);
      text.remove_prefix(taken);
    }
    return ids;
  }
  std::string token_bytes(TokenId id) const override {
    if (id >= 0 && id < kFirstByte) {
      return std::string(kSpecials[id]);
    }
    return id < vocab_size() && id >= 0 ? std::string(1, static_cast<char>(id - kFirstByte)) : std::string();
  }
  int64_t vocab_size() const override { return kFirstByte + 256; }
  std::optional<TokenId> token_id(std::string_view token) const override {
    const auto ids = encode(token);
    return ids.size() == 1 ? std::optional<TokenId>(ids[0]) : std::nullopt;
  }
  bool is_special(TokenId id) const override { return id >= 0 && id < kFirstByte; }
  TokenId bos_id() const override { return 1; }
  TokenId eos_id() const override { return 2; }

 private:
  static constexpr TokenId kFirstByte = 3;
  static constexpr std::string_view kSpecials[] = {"<unk>", "<s>", "</s>"};
};

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
