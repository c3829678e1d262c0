#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "minimind/data/batch.h"
#include "minimind/data/encode_sample.h"
#include "minimind/data/loader.h"

namespace minimind::detail {

/// A batch and what had to be left out of it.
struct BuiltBatch {
  Batch batch;
  std::vector<std::pair<int64_t, SkippedSample>> skipped;  ///< with the position in the data set
};

/// Turns positions in the data set into a batch: encodes, reads, decodes or looks up, pads. build() may run in several
/// threads at once as long as no two of them have the same sample. Loops here are plain: an operation of the tensor
/// library in every loader thread would start a team of threads each.
class BatchBuilder {
 public:
  BatchBuilder(const LoaderInput& input, const LoaderOptions& options);
  BuiltBatch build(std::span<const uint32_t> indices);

 private:
  struct Image {
    std::string name;
    ContentHash hash;
    std::string bytes;  ///< empty until read
    bool is_cached = false;
  };
  struct Row {
    int64_t index = 0;
    std::string id;
    EncodedSample encoded;
    std::vector<Image> images;
  };

  Row prepare(int64_t index);
  void find_images(const Sample& sample, Row& row);
  /// Features of the images that the cache has, which it marks, [count, P, W]; undefined if it has none.
  at::Tensor look_up(std::vector<Row>& rows, int64_t count) const;
  void fill_images(std::vector<Row>& rows, BuiltBatch& built) const;
  int64_t decode_row(Row& row, uint8_t* out) const;
  void fill_tokens(const std::vector<Row>& rows, Batch& batch) const;

  LoaderInput input_;
  SampleEncoding encoding_;
  int64_t image_size_;
  std::string prefix_;
  /// Of images seen before, by sample: later epochs need not read them again to find their features.
  std::vector<std::vector<ContentHash>> known_hashes_;
};

}  // namespace minimind::detail
