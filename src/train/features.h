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

/// The features of the images of a batch: from the batch itself (where the loader has the feature cache), from memory,
/// or from the frozen encoder.
class FeatureProvider {
 public:
  /// `dtype`: of the encoder's matmuls. `cache`: stores newly encoded features; may be null. `memory_bytes`: features
  /// kept in memory for later epochs, by file name, if there is no cache.
  FeatureProvider(ClipVision encoder, c10::Device device, at::ScalarType dtype, FeatureCache* cache,
                  int64_t memory_bytes);
  /// [N, P, W] on the device; undefined if the batch has no image.
  at::Tensor features(const Batch& batch);
  /// Images that the encoder has encoded so far.
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

/// A digest of all that the features depend on beside the image: weights, configuration and normalisation.
std::string encoder_key(ClipVisionImpl& encoder);

}  // namespace minimind
