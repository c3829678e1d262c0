#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "minimind/base/content_hash.h"

namespace minimind {

/// One element of the JSON array (SPEC.md section 5).
struct Sample {
  std::string id;
  std::vector<std::string> images;                         ///< file names, split at commas and stripped
  std::vector<std::pair<std::string, std::string>> turns;  ///< question, answer; paired by position
  std::string problem;  ///< why its JSON has the wrong shape, else ""; such a sample has no images and no turns
  std::string note;     ///< which message its roles leave out, else ""
};

enum class DataKind {
  kPretrain,     ///< all turns
  kInstruction,  ///< first turn, file prefix `COCO_train2014_`
  kMultiImage,   ///< first turn, several images
};

/// What the length of a sample is estimated from.
struct SampleSize {
  int64_t text_bytes = 0;  ///< bytes of its questions and answers, plus a few bytes for their lengths
  int64_t images = 0;
};

/// The samples of a JSON file, in the order of the file. They are kept compactly: one text buffer and offsets.
class Dataset {
 public:
  /// Reads the file from front to back by the rules of SPEC.md section 5. It is a JSON array, or JSON Lines: one sample
  /// a line. A last question without an answer or a pair with an empty side is dropped. `image` may be absent, null or
  /// NaN (a sample of text alone) or an array of names. The keys `images`, `messages`, `role` and `content` stand for
  /// `image`, `conversations`, `from` and `value`. A sample without an `id`, or with null or NaN, is called #position.
  /// The last of repeated keys counts. A sample of the wrong shape (for example a value that is not a string) is kept
  /// with its problem. Warns if roles leave messages out. Throws Error if the JSON is malformed (with line and column)
  /// or not UTF-8, if the array is empty, or if no sample has the right shape.
  static Dataset load(const std::filesystem::path& json_path, DataKind kind);

  int64_t size() const;
  Sample sample(int64_t index) const;
  std::string_view id(int64_t index) const;
  /// Cheap: does not decode the sample.
  SampleSize sample_size(int64_t index) const;
  /// Hash of all samples in their order. It does not depend on the file's path or layout.
  ContentHash digest() const { return hash_content(text_); }

 private:
  void append(const Sample& sample);
  const char* record(int64_t index) const;

  std::string text_;                 ///< one record per sample: id, image names, turns; each with its length in front
  std::vector<uint64_t> starts_{0};  ///< size + 1: where each record begins
  std::unordered_map<int64_t, std::string> problems_;  ///< of the samples of the wrong shape, by position
  std::unordered_map<int64_t, std::string> notes_;     ///< of the samples that lost messages, by position
};

}  // namespace minimind
