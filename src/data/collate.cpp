#include "data/collate.h"

#include <ATen/core/TensorBody.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace minimind::detail {

namespace {

void collate_tokens(const std::vector<BatchSample>& samples, Batch& batch) {
  int64_t width = 0;
  for (const auto& sample : samples) {
    width = std::max(width, std::ssize(sample.encoded.ids) - 1);
  }
  const std::vector<int64_t> shape = {std::ssize(samples), width};
  batch.ids = at::empty(shape, at::TensorOptions().dtype(at::kLong));
  batch.targets = at::empty(shape, at::TensorOptions().dtype(at::kLong));
  batch.mask = at::empty(shape, at::TensorOptions().dtype(at::kBool));
  auto* ids = batch.ids.data_ptr<int64_t>();
  auto* targets = batch.targets.data_ptr<int64_t>();
  auto* mask = batch.mask.data_ptr<bool>();
  for (const auto& [id, encoded] : samples) {
    const int64_t length = std::ssize(encoded.ids) - 1;
    std::copy_n(encoded.ids.begin(), length, ids);
    std::copy_n(encoded.ids.begin() + 1, length, targets);
    std::transform(encoded.mask.begin() + 1, encoded.mask.end(), mask, [](uint8_t on) { return on != 0; });
    std::fill(ids + length, ids + width, 0);
    std::fill(targets + length, targets + width, 0);
    std::fill(mask + length, mask + width, false);
    ids += width;
    targets += width;
    mask += width;
    batch.tokens += length;
    batch.supervised_tokens += encoded.supervised;
  }
}

}  // namespace

Batch collate(std::vector<BatchSample> samples, GatheredImages images) {
  Batch batch;
  if (samples.empty()) {
    return batch;
  }
  collate_tokens(samples, batch);
  for (auto& [id, encoded] : samples) {
    for (const int64_t position : encoded.spans) {
      batch.spans.push_back({batch.samples(), position});
    }
    batch.sample_ids.push_back(std::move(id));
  }
  const auto count = std::ssize(images.names);
  const auto decoded = std::ssize(images.missing);
  if (decoded > 0) {
    batch.pixel_values = images.pixel_values.narrow(0, 0, decoded);
  }
  if (images.features.defined() && decoded < count) {
    batch.features = images.features.narrow(0, 0, count);
    batch.missing = std::move(images.missing);
  }
  batch.image_names = std::move(images.names);
  batch.image_hashes = std::move(images.hashes);
  return batch;
}

}  // namespace minimind::detail
