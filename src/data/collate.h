#pragma once

#include <string>
#include <vector>

#include "data/gather_images.h"
#include "minimind/data/batch.h"
#include "minimind/data/encode_sample.h"

namespace minimind::detail {

struct BatchSample {
  std::string id;
  EncodedSample encoded;  ///< without a problem
};

/// Pads the samples to the length of the longest one, shifts the targets by one position and places the images. An
/// empty list gives an empty batch. `images` holds the images of these samples, in order.
Batch collate(std::vector<BatchSample> samples, GatheredImages images);

}  // namespace minimind::detail
