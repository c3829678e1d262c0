#include "train/feature_provider.h"

#include <ATen/core/TensorBody.h>
#include <ATen/ops/empty.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <utility>

#include "model/device_copy.h"
#include "train/autocast.h"

namespace minimind {

int64_t feature_row_bytes(const ClipVisionConfig& encoder, at::ScalarType dtype) {
  return encoder.tokens() * encoder.hidden_size * static_cast<int64_t>(c10::elementSize(dtype));
}

int64_t feature_rows(int64_t images, int64_t row_bytes, int64_t memory_bytes, const c10::Device& device) {
  const int64_t room = memory_bytes / row_bytes;
  return device.is_cpu() || room >= images ? std::min(room, images) : 0;
}

FeatureProvider::FeatureProvider(ClipVision encoder, c10::Device device, at::ScalarType dtype, FeatureCache* cache,
                                 int64_t memory_rows)
    : encoder_(std::move(encoder)),
      device_(device),
      dtype_(dtype),
      cache_(cache),
      memory_rows_(cache == nullptr ? memory_rows : 0) {}

at::Tensor FeatureProvider::encode(const at::Tensor& images) {
  const c10::NoGradGuard no_grad;
  const AutocastScope autocast(device_.type(), dtype_);
  encoded_ += images.size(0);
  return encoder_->encode(images);
}

at::Tensor FeatureProvider::indices(const std::vector<int64_t>& numbers) const {
  return copy_to_device(index_tensor(numbers, device_), device_);
}

/// Keeps the features of the missing images while there is room.
void FeatureProvider::keep(const Batch& batch, const std::vector<int64_t>& missing, const at::Tensor& encoded) {
  std::vector<int64_t> kept, rows;
  for (size_t i = 0; i < missing.size() && std::ssize(row_of_) < memory_rows_; ++i) {
    const std::string& name = batch.image_names[static_cast<size_t>(missing[i])];
    const auto [place, is_new] = row_of_.try_emplace(name, std::ssize(row_of_));
    if (is_new) {
      kept.push_back(static_cast<int64_t>(i));
      rows.push_back(place->second);
    }
  }
  if (kept.empty()) {
    return;
  }
  if (!memory_.defined()) {
    memory_ = at::empty({memory_rows_, encoded.size(1), encoded.size(2)}, encoded.options().dtype(dtype_));
  }
  const bool is_whole = std::ssize(kept) == encoded.size(0);
  memory_.index_copy_(0, indices(rows), (is_whole ? encoded : encoded.index_select(0, indices(kept))).to(dtype_));
}

at::Tensor FeatureProvider::from_memory(const Batch& batch, const at::Tensor& images) {
  std::vector<int64_t> rows, missing;
  for (const std::string& name : batch.image_names) {
    const auto found = row_of_.find(name);
    if (found == row_of_.end()) {
      missing.push_back(std::ssize(rows));
    }
    rows.push_back(found == row_of_.end() ? 0 : found->second);
  }
  if (missing.empty()) {
    return memory_.index_select(0, indices(rows));
  }
  const bool is_all = missing.size() == rows.size();
  const at::Tensor at_missing = is_all ? at::Tensor() : indices(missing);
  const at::Tensor encoded = encode(is_all ? images : images.index_select(0, at_missing));
  const at::Tensor known = is_all ? at::Tensor() : memory_.index_select(0, indices(rows));
  keep(batch, missing, encoded);
  return is_all ? encoded : known.index_copy(0, at_missing, encoded.to(dtype_));
}

at::Tensor FeatureProvider::encode_and_store(const Batch& batch, const at::Tensor& images) {
  // Rounded to the dtype of the cache, so that the first epoch equals later epochs.
  const at::Tensor encoded = encode(images).to(cache_->dtype());
  const at::Tensor rows = encoded.cpu();
  const bool is_part = batch.features.defined();
  for (int64_t k = 0; k < rows.size(0); ++k) {
    const int64_t image = is_part ? batch.missing[static_cast<size_t>(k)] : k;
    cache_->put(batch.image_hashes[static_cast<size_t>(image)], rows.select(0, k));
  }
  return is_part ? copy_to_device(batch.features, device_).index_copy(0, indices(batch.missing), encoded) : encoded;
}

at::Tensor FeatureProvider::input_of(const Batch& batch) const {
  if (batch.features.defined() && batch.missing.empty()) {
    return batch.features;
  }
  const bool is_known =
      std::ranges::all_of(batch.image_names, [&](const auto& name) { return row_of_.contains(name); });
  return is_known ? at::Tensor() : batch.pixel_values;
}

at::Tensor FeatureProvider::features(const Batch& batch, const at::Tensor& input) {
  if (batch.features.defined() && batch.missing.empty()) {
    return input;
  }
  if (!batch.pixel_values.defined()) {
    return {};
  }
  const c10::NoGradGuard no_grad;
  const bool is_stored = cache_ != nullptr && batch.image_hashes.size() == batch.image_names.size();
  return is_stored ? encode_and_store(batch, input) : from_memory(batch, input);
}

at::Tensor FeatureProvider::features(const Batch& batch) {
  return features(batch, copy_to_device(input_of(batch), device_));
}

}  // namespace minimind
