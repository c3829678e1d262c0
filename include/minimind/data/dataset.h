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

/// One element of the JSON array: SPEC.md section 5.
struct Sample {
  std::string id;
  std::vector<std::string> images;                         ///< file names, split at commas and stripped
  std::vector<std::pair<std::string, std::string>> turns;  ///< question, answer; paired by position
  std::string problem;  ///< what is wrong with its JSON shape: then it has neither images nor turns; "" otherwise
};

enum class DataKind {
  kPretrain,     ///< all turns
  kInstruction,  ///< first turn, file prefix `COCO_train2014_`
  kMultiImage,   ///< first turn, several images
};

/// What an estimate of a sample's length goes by.
struct SampleSize {
  int64_t text_bytes = 0;  ///< of its questions and answers (and a few for their lengths)
  int64_t images = 0;
};

/// The samples of a JSON file, kept compactly (one text buffer and offsets); order as in the file.
class Dataset {
 public:
  /// Streams the file. Rules of SPEC.md section 5: pairs by position, `from` is not read, an unanswered last question
  /// and a pair with an empty side are dropped; `image` may be absent or null (a sample of text alone) or an array of
  /// names; without an `id` a sample is called #position. A sample of a wrong shape (a value that is no text, say) is
  /// kept with its problem. Throws Error with line and column on malformed JSON, where no sample has the right shape,
  /// and on an empty array.
  static Dataset load(const std::filesystem::path& json_path, DataKind kind);

  int64_t size() const;
  Sample sample(int64_t index) const;
  std::string_view id(int64_t index) const;
  /// Without decoding the sample: cheap.
  SampleSize sample_size(int64_t index) const;
  /// Of all samples in their order: equal where a training sees the same, wherever the file lies and however it is laid
  /// out.
  ContentHash digest() const { return hash_content(text_); }

 private:
  const char* record(int64_t index) const;

  std::string text_;              ///< one record per sample: id, image names, turns, each with its length in front
  std::vector<uint64_t> starts_;  ///< size + 1: where each record begins
  std::unordered_map<int64_t, std::string> problems_;  ///< of the samples of a wrong shape, by position
};

}  // namespace minimind
