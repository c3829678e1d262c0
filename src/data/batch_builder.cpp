#include "data/batch_builder.h"

#include <ATen/core/TensorBody.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>

#include "minimind/base/error.h"
#include "minimind/image/image.h"

namespace minimind::detail {

BatchBuilder::BatchBuilder(const LoaderInput& input, const LoaderOptions& options)
    : input_(input),
      encoding_{input.tokenizer, input.pattern, options.max_seq_len, options.supervision},
      image_size_(options.image_size),
      prefix_(input.kind == DataKind::kInstruction ? options.instruction_prefix : std::string()) {
  if (input.cache != nullptr) {
    known_hashes_.resize(static_cast<size_t>(input.dataset.size()));
  }
}

void BatchBuilder::find_images(const Sample& sample, Row& row) {
  row.images.reserve(sample.images.size());
  for (const auto& name : sample.images) {
    row.images.push_back({find_image(input_.images, name, prefix_), {}, {}, false});
  }
  if (input_.cache == nullptr) {
    return;
  }
  std::vector<ContentHash>& known = known_hashes_[static_cast<size_t>(row.index)];
  if (known.empty()) {
    std::vector<ContentHash> hashes;
    for (auto& image : row.images) {
      image.bytes = input_.images.read(image.name);
      hashes.push_back(hash_content(image.bytes));
    }
    known = std::move(hashes);
  }
  for (size_t i = 0; i < row.images.size(); ++i) {
    row.images[i].hash = known[i];
  }
}

// Throws Error where the sample must be skipped.
BatchBuilder::Row BatchBuilder::prepare(int64_t index) {
  const Sample sample = input_.dataset.sample(index);
  Row row;
  row.index = index;
  row.id = sample.id;
  row.encoded = encode_sample(sample, encoding_);
  require(row.encoded.problem == SampleProblem::kNone, row.encoded.reason);
  find_images(sample, row);
  return row;
}

BuiltBatch BatchBuilder::build(std::span<const uint32_t> indices) {
  BuiltBatch built;
  std::vector<Row> rows;
  rows.reserve(indices.size());
  for (const int64_t index : indices) {
    try {
      rows.push_back(prepare(index));
    } catch (const Error& error) {
      built.skipped.push_back({index, {std::string(input_.dataset.id(index)), error.what()}});
    }
  }
  fill_images(rows, built);
  if (!rows.empty()) {
    fill_tokens(rows, built.batch);
  }
  return built;
}

at::Tensor BatchBuilder::look_up(std::vector<Row>& rows, int64_t count) const {
  if (input_.cache == nullptr) {
    return {};
  }
  const FeatureCache& cache = *input_.cache;
  at::Tensor features = at::empty({count, cache.tokens(), cache.width()}, at::TensorOptions().dtype(cache.dtype()));
  auto* out = static_cast<char*>(features.data_ptr());
  const size_t row_bytes = features.nbytes() / static_cast<size_t>(count);
  bool any = false;
  for (auto& row : rows) {
    for (auto& image : row.images) {
      image.is_cached = cache.lookup(image.hash, static_cast<void*>(out));
      any = any || image.is_cached;
      out += row_bytes;
    }
  }
  return any ? features : at::Tensor();
}

// Returns the number of images decoded.
int64_t BatchBuilder::decode_row(Row& row, uint8_t* out) const {
  int64_t decoded = 0;
  for (auto& image : row.images) {
    if (image.is_cached) {
      continue;
    }
    if (image.bytes.empty()) {
      image.bytes = input_.images.read(image.name);
    }
    const int64_t image_size = 3 * image_size_ * image_size_;
    resize_to_planar(decode_image(image.bytes, image.name), image_size_, out + decoded * image_size);
    ++decoded;
  }
  return decoded;
}

void BatchBuilder::fill_images(std::vector<Row>& rows, BuiltBatch& built) const {
  int64_t count = 0;
  for (const auto& row : rows) {
    count += std::ssize(row.images);
  }
  if (count == 0) {
    return;
  }
  at::Tensor features = look_up(rows, count);
  int64_t uncached = 0;
  for (const auto& row : rows) {
    uncached += std::ranges::count(row.images, false, &Image::is_cached);
  }
  at::Tensor images = at::empty({uncached, 3, image_size_, image_size_}, at::TensorOptions().dtype(at::kByte));
  auto* pixels = images.data_ptr<uint8_t>();
  auto* cached = features.defined() ? static_cast<char*>(features.data_ptr()) : nullptr;
  const size_t row_bytes = features.defined() ? features.nbytes() / static_cast<size_t>(count) : 0;
  int64_t seen = 0, kept = 0, decoded = 0;
  std::erase_if(rows, [&](Row& row) {
    const int64_t first = seen;
    seen += std::ssize(row.images);
    try {
      decoded += decode_row(row, pixels + decoded * 3 * image_size_ * image_size_);
    } catch (const Error& error) {
      built.skipped.push_back({row.index, {row.id, error.what()}});
      return true;
    }
    if (cached != nullptr) {
      // Moves up where a sample before was left out.
      std::memmove(cached + static_cast<size_t>(kept) * row_bytes, cached + static_cast<size_t>(first) * row_bytes,
                   row.images.size() * row_bytes);
      for (int64_t i = 0; i < std::ssize(row.images); ++i) {
        if (!row.images[static_cast<size_t>(i)].is_cached) {
          built.batch.missing.push_back(kept + i);
        }
      }
    }
    kept += std::ssize(row.images);
    return false;
  });
  if (decoded > 0) {
    built.batch.images = decoded == uncached ? images : images.narrow(0, 0, decoded);
  }
  if (cached != nullptr && kept > 0) {
    built.batch.features = kept == count ? features : features.narrow(0, 0, kept);
  }
}

void BatchBuilder::fill_tokens(const std::vector<Row>& rows, Batch& batch) const {
  int64_t width = 0;
  for (const auto& row : rows) {
    width = std::max(width, std::ssize(row.encoded.ids) - 1);
  }
  const auto shape = {std::ssize(rows), width};
  batch.ids = at::empty(shape, at::TensorOptions().dtype(at::kLong));
  batch.targets = at::empty(shape, at::TensorOptions().dtype(at::kLong));
  batch.mask = at::empty(shape, at::TensorOptions().dtype(at::kBool));
  auto* ids = batch.ids.data_ptr<int64_t>();
  auto* targets = batch.targets.data_ptr<int64_t>();
  auto* mask = batch.mask.data_ptr<bool>();
  int64_t line = 0;
  for (const auto& row : rows) {
    const EncodedSample& encoded = row.encoded;
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
    for (size_t i = 0; i < row.images.size(); ++i) {
      batch.spans.push_back({line, encoded.spans[i]});
      batch.image_names.push_back(row.images[i].name);
      if (input_.cache != nullptr) {
        batch.image_hashes.push_back(row.images[i].hash);
      }
    }
    batch.sample_ids.push_back(row.id);
    batch.sample_indices.push_back(row.index);
    batch.supervised_tokens += encoded.supervised;
    batch.tokens += length;
    ++line;
  }
}

}  // namespace minimind::detail
