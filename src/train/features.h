#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <string>
#include <unordered_map>

#include "minimind/data/batch.h"
#include "minimind/data/feature_cache.h"
#include "minimind/model/clip_vision.h"

namespace minimind {

/// The frozen encoder's output for the images of a batch: from the batch itself (out of the feature cache), from
/// memory, or by the encoder.
class FeatureProvider {
 public:
  /// `dtype`: of the encoder's products. `cache`: rows that had to be encoded are put there; may be null.
  /// `memory_bytes`: how much may be kept in memory for later epochs, by file name.
  FeatureProvider(ClipVision encoder, c10::Device device, at::ScalarType dtype, FeatureCache* cache,
                  int64_t memory_bytes);
  /// [N, P, W] on the device; undefined if the batch has no image.
  at::Tensor features(const Batch& batch);
  /// Images that went through the encoder so far.
  int64_t encoded() const { return encoded_; }

 private:
  at::Tensor encode(const at::Tensor& images);
  at::Tensor encode_missing(const Batch& batch);
  at::Tensor encode_and_store(const Batch& batch);

  ClipVision encoder_;
  c10::Device device_;
  at::ScalarType dtype_;
  FeatureCache* cache_;
  int64_t memory_left_;
  int64_t encoded_ = 0;
  std::unordered_map<std::string, at::Tensor> memory_;
};

/// Stands for all that the features depend on beside the image: weights, configuration and normalisation of the
/// encoder.
std::string encoder_key(ClipVisionImpl& encoder);

}  // namespace minimind
