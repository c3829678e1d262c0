#include "minimind/data/feature_cache.h"

#include <ATen/core/TensorBody.h>

#include <algorithm>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/progress.h"
#include "data/feature_file.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/base/log.h"
#include "minimind/image/resize.h"

namespace minimind {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kRowsSuffix = ".rows";

bool is_cache_dtype(at::ScalarType dtype) {
  return dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf;
}

size_t row_size(int64_t tokens, int64_t width, at::ScalarType dtype) {
  return static_cast<size_t>(tokens * width) * c10::elementSize(dtype);
}

// Rows of other encoders are large and stay until the user removes them.
void report_other_caches(const fs::path& folder, const fs::path& own_rows) {
  uint64_t bytes = 0;
  int64_t count = 0;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("features_") && entry.path().extension() == kRowsSuffix && entry.path() != own_rows) {
      ++count;
      bytes += entry.file_size(error);
    }
  }
  if (count > 0) {
    log_info(concat(folder.string(), ": ", count,
                    " feature file(s) of other encoders, dtypes or preprocessing are in this folder (",
                    format_bytes(static_cast<double>(bytes)), "); remove them if they are not needed"));
  }
}

/// Why nothing can be written to the folder; "" if it can.
std::string why_read_only(const fs::path& folder) {
  try {
    ensure_writable_folder(folder);
    return {};
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace

FeatureCache::FeatureCache(std::unique_ptr<detail::FeatureFile> file, int64_t tokens, int64_t width,
                           at::ScalarType dtype)
    : file_(std::move(file)), tokens_(tokens), width_(width), dtype_(dtype) {}
FeatureCache::~FeatureCache() = default;

std::unique_ptr<FeatureCache> FeatureCache::open(const std::filesystem::path& folder, const std::string& key,
                                                 int64_t tokens, int64_t width, at::ScalarType dtype) {
  require(is_cache_dtype(dtype), "feature cache: expected dtype float32, bfloat16 or float16, found ",
          c10::toString(dtype));
  if (tokens <= 0 || width <= 0) {
    throw std::logic_error(concat("FeatureCache: rows of ", tokens, " x ", width));
  }
  const ContentHash file_key =
      hash_content(concat(key, '\n', kPreprocessingVersion, '\n', tokens, 'x', width, '\n', c10::toString(dtype)));
  const std::string obstacle = why_read_only(folder);
  const auto access =
      obstacle.empty() ? detail::FeatureFile::Access::kReadWrite : detail::FeatureFile::Access::kReadOnly;
  std::unique_ptr<detail::FeatureFile> file;
  try {
    file = std::make_unique<detail::FeatureFile>(folder, file_key, row_size(tokens, width, dtype), access);
  } catch (const Error& error) {
    require(obstacle.empty(), obstacle, " (nor can a feature cache be read there: ", error.what(), ")");
    throw;
  }
  if (!obstacle.empty()) {
    log_warning(
        concat(obstacle, ". The ", file->size(),
               " images that the feature cache there holds are used; all other images are encoded in every epoch"));
  }
  report_other_caches(folder, file->rows_path());
  return std::unique_ptr<FeatureCache>(new FeatureCache(std::move(file), tokens, width, dtype));
}

bool FeatureCache::lookup(const ContentHash& image, const at::Tensor& row_out) const {
  if (!row_out.is_cpu() || !row_out.is_contiguous() || row_out.scalar_type() != dtype_ ||
      row_out.numel() != tokens_ * width_) {
    throw std::logic_error("FeatureCache::lookup: row_out must be a contiguous CPU tensor [P, W] of the cache's dtype");
  }
  return file_->read(image, row_out.data_ptr());
}

void FeatureCache::put(const ContentHash& image, const at::Tensor& row) {
  if (row.dim() != 2 || row.size(0) != tokens_ || row.size(1) != width_) {
    throw std::logic_error("FeatureCache::put: row must be [P, W]");
  }
  if (file_->is_read_only() || disk_full_.load(std::memory_order_relaxed)) {
    return;
  }
  const at::Tensor stored = row.detach().to(at::kCPU, dtype_).contiguous();
  if (!file_->append(image, stored.data_ptr()) && !disk_full_.exchange(true)) {
    log_warning(concat(file_->folder().string(), ": the disk is full; the feature cache stops at ", size(),
                       " images, all other images are encoded in every epoch"));
  }
}

int64_t FeatureCache::size() const {
  return file_->size();
}

int64_t FeatureCache::bytes_per_image(int64_t tokens, int64_t width, at::ScalarType dtype) {
  return static_cast<int64_t>(detail::FeatureFile::bytes_per_row(row_size(tokens, width, dtype)));
}

std::string FeatureCache::disk_need(int64_t images) const {
  const auto each = static_cast<double>(bytes_per_image(tokens_, width_, dtype_));
  const double missing = each * static_cast<double>(std::max<int64_t>(images - size(), 0));
  std::string line = concat("feature cache ", file_->folder().string(), ": ", images, " images x ", format_bytes(each),
                            " = ", format_bytes(each * static_cast<double>(images)), "; ", size(), " are there");
  if (file_->is_read_only()) {
    return concat(line, "; read only");
  }
  std::error_code error;
  const auto space = fs::space(file_->folder(), error);
  if (!error) {
    line += concat("; ", format_bytes(static_cast<double>(space.available)), " free on the disk");
    if (static_cast<double>(space.available) < missing) {
      line += concat(", ", format_bytes(missing), " needed; images that do not fit are encoded in every epoch");
    }
  }
  return line;
}

}  // namespace minimind
