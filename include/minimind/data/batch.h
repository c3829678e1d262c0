#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "minimind/base/content_hash.h"
#include "minimind/base/image_span.h"

namespace minimind {

/// A micro-batch on the CPU, ready for the model. S is the length of the longest sample minus one, rounded
/// up to LoaderOptions::length_multiple.
struct Batch {
  at::Tensor ids;                ///< [B, S] int64: each sample's ids[:-1], padded with 0
  at::Tensor targets;            ///< [B, S] int64: each sample's ids[1:], padded with 0
  at::Tensor mask;               ///< [B, S] bool: the targets that count in the loss
  at::Tensor pixel_values;       ///< [M, 3, image_size, image_size] uint8: the images without cached features
  at::Tensor features;           ///< [N, P, W] from the feature cache; undefined if it holds none of the images
  std::vector<int64_t> missing;  ///< if `features` is defined: its M unfilled rows, in the order of `pixel_values`
  std::vector<ImageSpan> spans;  ///< N: the place of each image in `ids`
  std::vector<std::string> image_names;   ///< N, for messages
  std::vector<ContentHash> image_hashes;  ///< N if the loader has a feature cache, else empty: keys for put()
  std::vector<std::string> sample_ids;    ///< B
  int64_t tokens = 0;                     ///< real tokens in `ids`, without padding
  int64_t supervised_tokens = 0;          ///< targets that count in the loss; above 0 unless the batch is empty

  int64_t samples() const { return std::ssize(sample_ids); }
  int64_t images() const { return std::ssize(spans); }
};

}  // namespace minimind
