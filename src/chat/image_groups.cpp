#include "chat/image_groups.h"

#include <algorithm>
#include <system_error>

#include "minimind/base/error.h"
#include "minimind/image/decode.h"

namespace minimind {

namespace {

bool is_folder(const std::filesystem::path& path) {
  std::error_code failure;
  return std::filesystem::is_directory(path, failure);
}

/// Entries of a folder for which `wanted` is true, in name order.
template <class Wanted>
std::vector<std::filesystem::path> sorted_entries(const std::filesystem::path& folder, const Wanted& wanted) {
  std::error_code failure;
  std::vector<std::filesystem::path> entries;
  for (std::filesystem::directory_iterator entry(folder, failure), end; !failure && entry != end;
       entry.increment(failure)) {
    if (wanted(entry->path())) {
      entries.push_back(entry->path());
    }
  }
  require(!failure, folder.string(), ": expected a folder of images, found: ", failure.message());
  std::sort(entries.begin(), entries.end());
  return entries;
}

}  // namespace

std::vector<ImageGroup> image_groups(const std::filesystem::path& folder, bool together) {
  require(is_folder(folder), folder.string(), ": expected a folder of images, found no such folder");
  const auto is_image = [](const std::filesystem::path& path) { return !is_folder(path) && has_image_name(path); };
  std::vector<ImageGroup> groups;
  const auto add_together = [&](const std::filesystem::path& from) {
    ImageGroup group{from.filename().string(), {}};
    for (const auto& image : sorted_entries(from, is_image)) {
      group.images.push_back(image.string());
    }
    if (!group.images.empty()) {
      groups.push_back(std::move(group));
    }
  };
  if (together) {
    for (const auto& subfolder : sorted_entries(folder, is_folder)) {
      add_together(subfolder);
    }
    if (groups.empty()) {
      add_together(folder);
    }
  } else {
    for (const auto& image : sorted_entries(folder, is_image)) {
      groups.push_back({image.filename().string(), {image.string()}});
    }
  }
  require(!groups.empty(), folder.string(), ": expected images (jpg, png, bmp, gif, webp)",
          together ? " in subfolders" : "", ", found no image");
  return groups;
}

}  // namespace minimind
