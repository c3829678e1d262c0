#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "minimind/base/content_hash.h"

namespace minimind {

namespace detail {
class FeatureFile;
}

/// The frozen encoder's output per image, [P, W], in files of a folder. Several threads and processes may fill and read
/// it at once. A row is found by the hash of the image's content. A folder may hold the rows of several encoders. Every
/// row has a checksum: a row that a killed process, a full disk or a damaged file spoiled is not found and is written
/// again.
class FeatureCache {
 public:
  /// `key` stands for everything that the rows depend on beside the image and its preprocessing
  /// (kPreprocessingVersion): a hash of the encoder's weights and configuration. dtype: float32, bfloat16 or float16.
  /// If the folder cannot be written, the rows that it holds are read, no row is added, and a warning says so. Throws
  /// Error if it cannot be written and holds no rows of this key, or if dtype is another one.
  static std::unique_ptr<FeatureCache> open(const std::filesystem::path& folder, const std::string& key, int64_t tokens,
                                            int64_t width, at::ScalarType dtype);
  ~FeatureCache();
  FeatureCache(const FeatureCache&) = delete;
  FeatureCache& operator=(const FeatureCache&) = delete;

  /// Copies the image's row into a contiguous CPU tensor [P, W] of the cache's dtype; another tensor throws
  /// std::logic_error. False, with the numbers of row_out undefined, if there is no row or the row is damaged.
  bool lookup(const ContentHash& image, const at::Tensor& row_out) const;

  /// Adds a row [P, W] of any floating-point dtype on any device. Does nothing if an undamaged row is there or if the
  /// folder cannot be written. Warns once if the disk is full and then adds no more rows. Throws Error if the system
  /// fails otherwise.
  void put(const ContentHash& image, const at::Tensor& row);

  int64_t tokens() const { return tokens_; }
  int64_t width() const { return width_; }
  at::ScalarType dtype() const { return dtype_; }
  /// Rows that this process knows of.
  int64_t size() const;

  /// Bytes on disk per image.
  static int64_t bytes_per_image(int64_t tokens, int64_t width, at::ScalarType dtype);
  /// One line for the user before the run: the bytes that `images` need, the images that are cached, the free space.
  std::string disk_need(int64_t images) const;

 private:
  FeatureCache(std::unique_ptr<detail::FeatureFile> file, int64_t tokens, int64_t width, at::ScalarType dtype);

  std::unique_ptr<detail::FeatureFile> file_;
  int64_t tokens_;
  int64_t width_;
  at::ScalarType dtype_;
  std::atomic<bool> disk_full_{false};
};

}  // namespace minimind
