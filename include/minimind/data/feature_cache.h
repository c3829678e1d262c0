#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "minimind/base/content_hash.h"

namespace minimind {

/// The frozen encoder's output per image, [P, W], in a file: filled on the first pass, by several
/// threads and processes at once, and read on the later ones. A row is found by the image's content; a folder may
/// hold the rows of several encoders beside one another. Every row carries a checksum: what a killed process, a full
/// disk or a damaged file left behind reads as "not there" and is written anew.
///
/// lookup() takes no lock and may run beside put() and beside other processes' put().
class FeatureCache {
 public:
  /// `key` stands for what the rows depend on besides the image and its preprocessing (see kPreprocessingVersion): a
  /// hash of the encoder's weights and configuration. dtype: float32, bfloat16 or float16. Where the folder cannot be
  /// written, the rows that it holds are read and none is added, which a warning tells. Throws Error if it cannot be
  /// written and holds none of this key, or dtype is another.
  static std::unique_ptr<FeatureCache> open(const std::filesystem::path& folder, const std::string& key, int64_t tokens,
                                            int64_t width, at::ScalarType dtype);
  ~FeatureCache();
  FeatureCache(const FeatureCache&) = delete;
  FeatureCache& operator=(const FeatureCache&) = delete;

  /// Copies the image's row to `row_out`: a contiguous CPU tensor [P, W] of the cache's dtype (std::logic_error
  /// otherwise). False, and row_out undefined, where there is none or it is damaged.
  bool lookup(const ContentHash& image, at::Tensor row_out) const;
  /// The same into P * W elements of memory.
  bool lookup(const ContentHash& image, void* row_out) const;
  /// Whether there is an undamaged row.
  bool contains(const ContentHash& image) const;

  /// Adds a row [P, W] of any float type, on any device; nothing happens if an undamaged one is there, or if the folder
  /// cannot be written. Where the disk
  /// is full it warns once and adds no more: the cache stays usable. Throws Error on other failures of the system.
  void put(const ContentHash& image, const at::Tensor& row);

  int64_t tokens() const;
  int64_t width() const;
  at::ScalarType dtype() const;
  /// Rows that this process knows of.
  int64_t size() const;

  /// Disk need of one image in bytes.
  static int64_t bytes_per_image(int64_t tokens, int64_t width, at::ScalarType dtype);
  /// One line for the user before the run: need of `images`, what is there, what the disk has left.
  std::string disk_need(int64_t images) const;

 private:
  struct State;
  explicit FeatureCache(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace minimind
