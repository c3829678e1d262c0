#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "minimind/base/content_hash.h"
#include "minimind/data/batch.h"
#include "minimind/data/encode_sample.h"
#include "minimind/data/feature_cache.h"
#include "minimind/data/image_source.h"

namespace minimind::detail {

/// Where a batch gets images and their features.
struct ImageInput {
  const ImageSource& source;
  std::string prefix;         ///< file-name prefix of the images; may be empty
  int64_t image_size;         ///< side of the resized images in pixels
  const FeatureCache* cache;  ///< null: decode every image
  bool pinned;                ///< LoaderOptions::pinned
  int64_t length_multiple;    ///< LoaderOptions::length_multiple
  /// With a cache: the content hashes of each sample's images, once known. Later epochs look up features by them
  /// without reading the files.
  std::vector<std::vector<ContentHash>> known_hashes;
};

/// Makes a batch of samples. Several threads may fill batches of different samples from one ImageInput at once.
///
/// Loops here are plain: an operation of LibTorch would start a team of threads in each loader thread.
class BatchBuilder {
 public:
  /// Has room for `images` images.
  BatchBuilder(ImageInput& input, int64_t images);

  /// Adds sample `index` of the data set, which is encoded without a problem: finds and reads its image files, looks up
  /// their features in the cache, and decodes and resizes the images that have no features there. Throws Error if an
  /// image cannot be read or decoded; the batch is then as before.
  void add(int64_t index, const Sample& sample, EncodedSample encoded);

  /// Pads the samples to the length of the longest one, rounded up to `length_multiple`, and shifts the targets by one
  /// position. The batch is empty if no sample was added. Ends the use of the builder.
  Batch build();

 private:
  void pad_tokens();
  at::TensorOptions options(at::ScalarType dtype) const;

  ImageInput& input_;
  std::vector<EncodedSample> samples_;
  Batch batch_;  ///< pixel_values and features have room for all images
};

}  // namespace minimind::detail
