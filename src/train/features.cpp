#include "train/features.h"

#include <ATen/ops/index_copy.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include <utility>
#include <vector>

#include "io/tensor_hash.h"
#include "minimind/base/content_hash.h"
#include "model/weight_match.h"
#include "train/precision.h"

namespace minimind {

FeatureProvider::FeatureProvider(ClipVision encoder, c10::Device device, at::ScalarType dtype, FeatureCache* cache,
                                 int64_t memory_bytes)
    : encoder_(std::move(encoder)),
      device_(device),
      dtype_(dtype),
      cache_(cache),
      memory_left_(cache == nullptr ? memory_bytes : 0) {}

at::Tensor FeatureProvider::encode(const at::Tensor& images) {
  const c10::NoGradGuard no_grad;
  const AutocastScope autocast(device_.type(), dtype_);
  encoded_ += images.size(0);
  return encoder_->encode(images.to(device_, /*non_blocking=*/true));
}

at::Tensor FeatureProvider::encode_missing(const Batch& batch) {
  const size_t count = batch.image_names.size();
  std::vector<at::Tensor> rows(count);
  std::vector<int64_t> missing;
  for (size_t k = 0; k < count; ++k) {
    const auto found = memory_.find(batch.image_names[k]);
    if (found != memory_.end()) {
      rows[k] = found->second;
    } else {
      missing.push_back(static_cast<int64_t>(k));
    }
  }
  if (!missing.empty()) {
    const bool all = missing.size() == count;
    const at::Tensor encoded =
        encode(all ? batch.pixel_values : batch.pixel_values.index_select(0, at::tensor(missing, at::kLong)));
    const int64_t row_bytes = static_cast<int64_t>(encoded.nbytes()) / encoded.size(0);
    for (size_t i = 0; i < missing.size(); ++i) {
      at::Tensor& row = rows[static_cast<size_t>(missing[i])];
      row = encoded[static_cast<int64_t>(i)];
      if (memory_left_ >= row_bytes) {
        memory_left_ -= row_bytes;
        memory_.emplace(batch.image_names[static_cast<size_t>(missing[i])], row.clone());
      }
    }
    if (all) {
      return encoded;
    }
  }
  return at::stack(rows);
}

at::Tensor FeatureProvider::encode_and_store(const Batch& batch) {
  // Rounded to the dtype of the cache, so that the first epoch equals later epochs.
  const at::Tensor encoded = encode(batch.pixel_values).to(cache_->dtype());
  const at::Tensor rows = encoded.cpu();
  const bool is_part = batch.features.defined();
  for (int64_t k = 0; k < rows.size(0); ++k) {
    const int64_t image = is_part ? batch.missing[static_cast<size_t>(k)] : k;
    cache_->put(batch.image_hashes[static_cast<size_t>(image)], rows[k]);
  }
  if (!is_part) {
    return encoded;
  }
  return batch.features.to(device_).index_copy(0, at::tensor(batch.missing, at::kLong).to(device_), encoded);
}

at::Tensor FeatureProvider::features(const Batch& batch) {
  if (batch.features.defined() && batch.missing.empty()) {
    return batch.features.to(device_, /*non_blocking=*/true);
  }
  if (!batch.pixel_values.defined()) {
    return {};
  }
  if (cache_ != nullptr && batch.image_hashes.size() == batch.image_names.size()) {
    return encode_and_store(batch);
  }
  return encode_missing(batch);
}

std::string encoder_key(ClipVisionImpl& encoder) {
  std::vector<StateDict::Entry> entries = named_weights(encoder);
  for (const auto& item : encoder.named_buffers()) {
    entries.emplace_back(item.key(), item.value());
  }
  ClipVisionConfig config = encoder.config();
  return to_hex(hash_content(fields_to_json(config.fields()), hash_tensors(entries)));
}

}  // namespace minimind
