#include "data/gather_images.h"

#include <ATen/core/TensorBody.h>
#include <ATen/ops/empty.h>

#include <utility>

#include "minimind/image/decode.h"
#include "minimind/image/resize.h"

namespace minimind::detail {

namespace {

struct ImageFile {
  std::string name;
  std::string bytes;  ///< empty until read
};

std::vector<ImageFile> find_files(const ImageInput& input, const std::vector<std::string>& names) {
  std::vector<ImageFile> files;
  files.reserve(names.size());
  for (const auto& name : names) {
    files.push_back({find_image(input.source, name, input.prefix), {}});
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

char* row_of(const at::Tensor& tensor, int64_t row) {
  return static_cast<char*>(tensor.data_ptr()) + row * tensor.stride(0) * tensor.element_size();
}

void decode_into(const ImageInput& input, ImageFile& file, char* out) {
  if (file.bytes.empty()) {
    file.bytes = input.source.read(file.name);
  }
  resize_to_planar(decode_image(file.bytes, file.name), input.image_size, reinterpret_cast<uint8_t*>(out));
}

}  // namespace

GatheredImages::GatheredImages(const ImageInput& input, int64_t capacity) {
  if (capacity == 0) {
    return;
  }
  pixel_values = at::empty({capacity, 3, input.image_size, input.image_size}, at::TensorOptions().dtype(at::kByte));
  if (input.cache != nullptr) {
    features = at::empty({capacity, input.cache->tokens(), input.cache->width()},
                         at::TensorOptions().dtype(input.cache->dtype()));
  }
}

void gather_images(ImageInput& input, int64_t index, const std::vector<std::string>& names, GatheredImages& images) {
  std::vector<ImageFile> files = find_files(input, names);
  std::vector<ContentHash> hashes;
  if (input.cache != nullptr) {
    hashes = hashes_of(input, index, files);
  }
  const int64_t first = std::ssize(images.names);
  std::vector<int64_t> missing;
  for (size_t i = 0; i < files.size(); ++i) {
    const int64_t row = first + static_cast<int64_t>(i);
    if (input.cache == nullptr || !input.cache->lookup(hashes[i], row_of(images.features, row))) {
      decode_into(input, files[i], row_of(images.pixel_values, std::ssize(images.missing) + std::ssize(missing)));
      missing.push_back(row);
    }
  }
  // Nothing throws from here on.
  for (auto& file : files) {
    images.names.push_back(std::move(file.name));
  }
  images.hashes.insert(images.hashes.end(), hashes.begin(), hashes.end());
  images.missing.insert(images.missing.end(), missing.begin(), missing.end());
}

}  // namespace minimind::detail
