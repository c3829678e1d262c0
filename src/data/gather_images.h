#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "minimind/base/content_hash.h"
#include "minimind/data/feature_cache.h"
#include "minimind/data/image_source.h"

namespace minimind::detail {

/// Where gather_images() finds images and their features.
struct ImageInput {
  const ImageSource& source;
  std::string prefix;         ///< file-name prefix of the images; may be empty
  int64_t image_size;         ///< side of the resized images in pixels
  const FeatureCache* cache;  ///< null: decode every image
  /// With a cache: the content hashes of each sample's images, once known. Later epochs look up features by them
  /// without reading the files.
  std::vector<std::vector<ContentHash>> known_hashes;
};

/// The images of one batch, in the order of the samples.
struct GatheredImages {
  /// Room for `capacity` images.
  GatheredImages(const ImageInput& input, int64_t capacity);

  std::vector<std::string> names;   ///< N
  std::vector<ContentHash> hashes;  ///< N with a cache, else empty
  std::vector<int64_t> missing;     ///< M: the images without cached features
  at::Tensor pixel_values;          ///< [capacity, 3, image_size, image_size] uint8; the first M rows are filled
  at::Tensor features;              ///< [capacity, P, W]; undefined without a cache; `missing` rows are not filled
};

/// Adds the images of sample `index`: finds and reads the files, looks up their features in the cache, and decodes and
/// resizes the images that have no features there. Throws Error if an image cannot be read or decoded; `images` is then
/// as before. Several threads may call this at once for different samples.
///
/// Loops here are plain: an operation of LibTorch would start a team of threads in each loader thread.
void gather_images(ImageInput& input, int64_t index, const std::vector<std::string>& names, GatheredImages& images);

}  // namespace minimind::detail
