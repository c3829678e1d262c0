#include "minimind/data/feature_cache.h"

#include <ATen/core/TensorBody.h>

#include <algorithm>
#include <atomic>
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

int64_t row_size(int64_t tokens, int64_t width, at::ScalarType dtype) {
  return tokens * width * static_cast<int64_t>(c10::elementSize(dtype));
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

struct FeatureCache::State {
  State(const fs::path& folder_path, const std::string& key, int64_t token_count, int64_t row_width,
        at::ScalarType row_dtype, bool can_write)
      : folder(folder_path),
        tokens(token_count),
        width(row_width),
        dtype(row_dtype),
        row_bytes(static_cast<size_t>(row_size(token_count, row_width, row_dtype))),
        read_only(!can_write),
        file(folder_path, file_key(key), row_bytes,
             can_write ? detail::FeatureFile::Access::kReadWrite : detail::FeatureFile::Access::kReadOnly) {}

  ContentHash file_key(const std::string& key) const {
    return hash_content(concat(key, '\n', kPreprocessingVersion, '\n', tokens, 'x', width, '\n', c10::toString(dtype)));
  }

  fs::path folder;
  int64_t tokens;
  int64_t width;
  at::ScalarType dtype;
  size_t row_bytes;
  bool read_only;
  detail::FeatureFile file;
  std::atomic<bool> disk_full{false};
};

FeatureCache::FeatureCache(std::unique_ptr<State> state) : state_(std::move(state)) {}
FeatureCache::~FeatureCache() = default;

std::unique_ptr<FeatureCache> FeatureCache::open(const std::filesystem::path& folder, const std::string& key,
                                                 int64_t tokens, int64_t width, at::ScalarType dtype) {
  require(is_cache_dtype(dtype), "feature cache: expected dtype float32, bfloat16 or float16, found ",
          c10::toString(dtype));
  if (tokens <= 0 || width <= 0) {
    throw std::logic_error(concat("FeatureCache: rows of ", tokens, " x ", width));
  }
  const std::string obstacle = why_read_only(folder);
  std::unique_ptr<State> state;
  try {
    state = std::make_unique<State>(folder, key, tokens, width, dtype, obstacle.empty());
  } catch (const Error& error) {
    require(obstacle.empty(), obstacle, " (nor can a feature cache be read there: ", error.what(), ")");
    throw;
  }
  if (!obstacle.empty()) {
    log_warning(
        concat(obstacle, ". The ", state->file.size(),
               " images that the feature cache there holds are used; all other images are encoded in every epoch"));
  }
  report_other_caches(folder, state->file.rows_path());
  return std::unique_ptr<FeatureCache>(new FeatureCache(std::move(state)));
}

bool FeatureCache::lookup(const ContentHash& image, void* row_out) const {
  return state_->file.read(image, row_out);
}

bool FeatureCache::lookup(const ContentHash& image, at::Tensor row_out) const {
  if (!row_out.is_cpu() || !row_out.is_contiguous() || row_out.scalar_type() != state_->dtype ||
      row_out.numel() != state_->tokens * state_->width) {
    throw std::logic_error("FeatureCache::lookup: row_out must be a contiguous CPU tensor [P, W] of the cache's dtype");
  }
  return lookup(image, row_out.data_ptr());
}

void FeatureCache::put(const ContentHash& image, const at::Tensor& row) {
  if (row.dim() != 2 || row.size(0) != state_->tokens || row.size(1) != state_->width) {
    throw std::logic_error("FeatureCache::put: row must be [P, W]");
  }
  if (state_->read_only || state_->disk_full.load(std::memory_order_relaxed)) {
    return;
  }
  const at::Tensor stored = row.detach().to(at::kCPU, state_->dtype).contiguous();
  if (!state_->file.append(image, stored.data_ptr()) && !state_->disk_full.exchange(true)) {
    log_warning(concat(state_->folder.string(), ": the disk is full; the feature cache stops at ", size(),
                       " images, all other images are encoded in every epoch"));
  }
}

int64_t FeatureCache::tokens() const {
  return state_->tokens;
}

int64_t FeatureCache::width() const {
  return state_->width;
}

at::ScalarType FeatureCache::dtype() const {
  return state_->dtype;
}

int64_t FeatureCache::size() const {
  return state_->file.size();
}

int64_t FeatureCache::bytes_per_image(int64_t tokens, int64_t width, at::ScalarType dtype) {
  return static_cast<int64_t>(detail::FeatureFile::bytes_per_row(static_cast<size_t>(row_size(tokens, width, dtype))));
}

std::string FeatureCache::disk_need(int64_t images) const {
  const auto each = static_cast<double>(bytes_per_image(state_->tokens, state_->width, state_->dtype));
  const double missing = each * static_cast<double>(std::max<int64_t>(images - size(), 0));
  std::string line = concat("feature cache ", state_->folder.string(), ": ", images, " images x ", format_bytes(each),
                            " = ", format_bytes(each * static_cast<double>(images)), "; ", size(), " are there");
  if (state_->read_only) {
    return concat(line, "; read only");
  }
  std::error_code error;
  const auto space = fs::space(state_->folder, error);
  if (!error) {
    line += concat("; ", format_bytes(static_cast<double>(space.available)), " free on the disk");
    if (static_cast<double>(space.available) < missing) {
      line += concat(", ", format_bytes(missing), " needed; images that do not fit are encoded in every epoch");
    }
  }
  return line;
}

}  // namespace minimind
