#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "dist/process_group.h"
#include "minimind/train/options.h"

namespace minimind::testing {

/// A folder in the system's temporary one that goes away with the object.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// Writes everything that a tiny training needs into `folder`: `samples` images of 16x16 and captions, every fifth
/// without an image, a tokenizer of single bytes, and an encoder of random weights with five vision tokens.
void write_tiny_data(const std::filesystem::path& folder, int64_t samples);

/// Options of a run on it, in seconds: a model of two layers, 16 wide, from fresh weights; everything goes to
/// `folder`/`out`.
TrainOptions tiny_options(const std::filesystem::path& folder, const std::string& out);

}  // namespace minimind::testing
