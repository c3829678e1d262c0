#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace minimind {

/// One element of the JSON array: SPEC.md section 5.
struct Sample {
  std::string id;
  std::vector<std::string> images;                         ///< file names, split at commas and stripped
  std::vector<std::pair<std::string, std::string>> turns;  ///< question, answer; paired by position
};

enum class DataKind {
  kPretrain,     ///< all turns
  kInstruction,  ///< first turn, file prefix `COCO_train2014_`
  kMultiImage,   ///< first turn, several pictures
};

/// The samples of a JSON file, kept compactly (one text buffer and offsets); order as in the file.
class Dataset {
 public:
  /// Streams the file. Throws Error with line and column on malformed JSON, and with the sample's id on a wrong shape
  /// of it.
  static Dataset load(const std::filesystem::path& json_path, DataKind kind);

  int64_t size() const;
  Sample sample(int64_t index) const;
  std::string_view id(int64_t index) const;

 private:
  std::string text_;
  std::vector<uint64_t> offsets_;
  std::vector<uint64_t> starts_;
};

}  // namespace minimind
