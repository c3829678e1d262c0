#include "data/batch_builder.h"

#include <ATen/core/TensorBody.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <utility>

#include "minimind/image/decode.h"
#include "minimind/image/resize.h"

namespace minimind::detail {

namespace {

struct ImageFile {
  std::string name;
  std::string label;  ///< for messages
  std::string bytes;  ///< empty until read
};

std::vector<ImageFile> find_files(const ImageInput& input, const std::vector<std::string>& names) {
  std::vector<ImageFile> files;
  files.reserve(names.size());
  for (const auto& name : names) {
    std::string found = find_image(input.source, name, input.prefix);
    std::string label = image_label(name, found);
    files.push_back({std::move(found), std::move(label), {}});
  }
  return files;
}

const std::vector<ContentHash>& hashes_of(ImageInput& input, int64_t index, std::vector<ImageFile>& files) {
  std::vector<ContentHash>& known = input.known_hashes[static_cast<size_t>(index)];
  if (known.empty()) {
    std::vector<ContentHash> hashes;
    for (auto& file : files) {
      file.bytes = input.source.read(file.name);
      hashes.push_back(hash_content(file.bytes));
    }
    known = std::move(hashes);
  }
  return known;
}

void decode_into(const ImageInput& input, ImageFile& file, const at::Tensor& pixel_values, int64_t row) {
  if (file.bytes.empty()) {
    file.bytes = input.source.read(file.name);
  }
  uint8_t* const out = pixel_values.data_ptr<uint8_t>() + row * pixel_values.stride(0);
  resize_to_planar(decode_image(file.bytes, file.label), input.image_size, out);
}

}  // namespace

BatchBuilder::BatchBuilder(ImageInput& input, int64_t images) : input_(input) {
  if (images == 0) {
    return;
  }
  batch_.pixel_values = at::empty({images, 3, input.image_size, input.image_size}, options(at::kByte));
  if (input.cache != nullptr) {
    batch_.features = at::empty({images, input.cache->tokens(), input.cache->width()}, options(input.cache->dtype()));
  }
}

at::TensorOptions BatchBuilder::options(at::ScalarType dtype) const {
  return at::TensorOptions(dtype).pinned_memory(input_.pinned);
}

void BatchBuilder::add(int64_t index, const Sample& sample, EncodedSample encoded) {
  std::vector<ImageFile> files = find_files(input_, sample.images);
  std::vector<ContentHash> hashes;
  if (input_.cache != nullptr) {
    hashes = hashes_of(input_, index, files);
  }
  std::vector<int64_t> missing;
  for (size_t i = 0; i < files.size(); ++i) {
    const int64_t row = batch_.images() + static_cast<int64_t>(i);
    if (input_.cache == nullptr || !input_.cache->lookup(hashes[i], batch_.features.select(0, row))) {
      decode_into(input_, files[i], batch_.pixel_values, std::ssize(batch_.missing) + std::ssize(missing));
      missing.push_back(row);
    }
  }
  // Nothing throws from here on.
  for (auto& file : files) {
    batch_.image_names.push_back(std::move(file.name));
  }
  batch_.image_hashes.insert(batch_.image_hashes.end(), hashes.begin(), hashes.end());
  batch_.missing.insert(batch_.missing.end(), missing.begin(), missing.end());
  for (const int64_t position : encoded.spans) {
    batch_.spans.push_back({batch_.samples(), position});
  }
  batch_.sample_ids.push_back(sample.id);
  samples_.push_back(std::move(encoded));
}

void BatchBuilder::pad_tokens() {
  int64_t width = 0;
  for (const EncodedSample& sample : samples_) {
    width = std::max(width, std::ssize(sample.ids) - 1);
  }
  const int64_t multiple = input_.length_multiple;
  width = (width + multiple - 1) / multiple * multiple;
  const std::vector<int64_t> shape = {std::ssize(samples_), width};
  batch_.ids = at::empty(shape, options(at::kLong));
  batch_.targets = at::empty(shape, options(at::kLong));
  batch_.mask = at::empty(shape, options(at::kBool));
  auto* ids = batch_.ids.data_ptr<int64_t>();
  auto* targets = batch_.targets.data_ptr<int64_t>();
  auto* mask = batch_.mask.data_ptr<bool>();
  for (const EncodedSample& sample : samples_) {
    const int64_t length = std::ssize(sample.ids) - 1;
    std::copy_n(sample.ids.begin(), length, ids);
    std::copy_n(sample.ids.begin() + 1, length, targets);
    std::transform(sample.mask.begin() + 1, sample.mask.end(), mask, [](uint8_t on) { return on != 0; });
    std::fill(ids + length, ids + width, 0);
    std::fill(targets + length, targets + width, 0);
    std::fill(mask + length, mask + width, false);
    ids += width;
    targets += width;
    mask += width;
    batch_.tokens += length;
    batch_.supervised_tokens += sample.supervised;
  }
}

Batch BatchBuilder::build() {
  if (samples_.empty()) {
    return {};
  }
  pad_tokens();
  const int64_t images = batch_.images(), decoded = std::ssize(batch_.missing);
  batch_.pixel_values = decoded > 0 ? batch_.pixel_values.narrow(0, 0, decoded) : at::Tensor();
  if (batch_.features.defined() && decoded < images) {
    batch_.features = batch_.features.narrow(0, 0, images);
  } else {
    batch_.features = at::Tensor();
    batch_.missing.clear();
  }
  return std::move(batch_);
}

}  // namespace minimind::detail
