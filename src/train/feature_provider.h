#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "minimind/data/batch.h"
#include "minimind/data/feature_cache.h"
#include "minimind/model/clip_vision.h"

namespace minimind {

/// Bytes of the features of one image that are kept in memory. `dtype`: of the matmuls.
int64_t feature_row_bytes(const ClipVisionConfig& encoder, at::ScalarType dtype);

/// How many images have room in memory, of `images` in the data. On a GPU all or none: a batch with a few missing
/// images would still run the encoder, and nearly each time with another number of images.
int64_t feature_rows(int64_t images, int64_t row_bytes, int64_t memory_bytes, const c10::Device& device);

/// The features of the images of a batch: from the batch itself (where the loader has the feature cache), from memory,
/// or from the frozen encoder.
class FeatureProvider {
 public:
  /// `dtype`: of the encoder's matmuls. `cache`: stores newly encoded features; may be null. `memory_rows`: images
  /// whose features are kept on the device for later epochs, by file name, if there is no cache. They are kept in
  /// `dtype`, to which the projection rounds them anyway.
  FeatureProvider(ClipVision encoder, c10::Device device, at::ScalarType dtype, FeatureCache* cache,
                  int64_t memory_rows);
  /// What features() needs of the batch on the device: images to encode or features; undefined if nothing.
  at::Tensor input_of(const Batch& batch) const;
  /// [N, P, W] on the device; undefined if the batch has no image. `input`: input_of(batch) on the device.
  at::Tensor features(const Batch& batch, const at::Tensor& input);
  at::Tensor features(const Batch& batch);
  /// Images that the encoder has encoded so far.
  int64_t encoded() const { return encoded_; }

 private:
  at::Tensor encode(const at::Tensor& images);
  at::Tensor from_memory(const Batch& batch, const at::Tensor& images);
  void keep(const Batch& batch, const std::vector<int64_t>& missing, const at::Tensor& encoded);
  at::Tensor encode_and_store(const Batch& batch, const at::Tensor& images);
  at::Tensor indices(const std::vector<int64_t>& numbers) const;

  ClipVision encoder_;
  c10::Device device_;
  at::ScalarType dtype_;
  FeatureCache* cache_;
  int64_t memory_rows_;
  int64_t encoded_ = 0;
  at::Tensor memory_;  ///< [memory_rows, P, W]; undefined until an image is kept
  std::unordered_map<std::string, int64_t> row_of_;
};

}  // namespace minimind
