#include "chat/image_groups.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <system_error>
#include <utility>

#include "minimind/base/error.h"
#include "minimind/image/decode.h"

namespace minimind {

namespace {

namespace fs = std::filesystem;

/// Entries of a folder, in name order, each list of one kind.
struct Entries {
  std::vector<fs::path> folders;
  std::vector<fs::path> images;
  std::vector<fs::path> others;
};

/// Whether an entry is nothing that a person put there.
bool is_hidden(const fs::path& path) {
  constexpr std::array<std::string_view, 3> kNames = {"Thumbs.db", "desktop.ini", "__MACOSX"};
  const std::string name = path.filename().string();
  return name.starts_with('.') || std::ranges::count(kNames, name) > 0;
}

Entries read_entries(const fs::path& folder) {
  std::error_code failure;
  Entries entries;
  for (fs::directory_iterator entry(folder, failure), end; !failure && entry != end; entry.increment(failure)) {
    std::error_code unknown;
    const fs::path& path = entry->path();
    if (!is_hidden(path)) {
      (fs::is_directory(path, unknown) ? entries.folders
       : has_image_name(path)          ? entries.images
                                       : entries.others)
          .push_back(path);
    }
  }
  require(!failure, folder.string(), ": expected a folder of images, found: ", failure.message());
  for (std::vector<fs::path>* list : {&entries.folders, &entries.images, &entries.others}) {
    std::ranges::sort(*list);
  }
  return entries;
}

/// Collects what belongs to no group.
class LeftOut {
 public:
  explicit LeftOut(fs::path folder) : folder_(std::move(folder)) {}

  void add(const std::vector<fs::path>& paths, const char* end = "") {
    for (const fs::path& path : paths) {
      names_.push_back(path.lexically_relative(folder_).string() + end);
    }
  }

  /// `a.heic, b.txt and 3 more`; "" if nothing was left out.
  std::string text() const {
    constexpr size_t kShown = 8;
    std::string text;
    for (size_t i = 0; i < std::min(kShown, names_.size()); ++i) {
      text += (i == 0 ? "" : ", ") + names_[i];
    }
    return names_.size() > kShown ? concat(text, " and ", names_.size() - kShown, " more") : text;
  }

 private:
  fs::path folder_;
  std::vector<std::string> names_;
};

void add_group(const fs::path& folder, const std::vector<fs::path>& images, std::vector<ImageGroup>& groups) {
  if (!images.empty()) {
    ImageGroup& group = groups.emplace_back(ImageGroup{folder.filename().string(), {}});
    std::ranges::transform(images, std::back_inserter(group.images),
                           [](const fs::path& path) { return path.string(); });
  }
}

}  // namespace

ImageFolder image_groups(const fs::path& folder, bool together) {
  std::error_code failure;
  require(fs::is_directory(folder, failure), folder.string(), ": expected a folder of images, found no such folder");
  const Entries entries = read_entries(folder);
  ImageFolder found;
  LeftOut left_out(folder);
  if (!together) {
    for (const fs::path& image : entries.images) {
      add_group(image, {image}, found.groups);
    }
    left_out.add(entries.folders, "/");
  } else {
    for (const fs::path& subfolder : entries.folders) {
      const Entries inner = read_entries(subfolder);
      add_group(subfolder, inner.images, found.groups);
      left_out.add(inner.folders, "/");
      left_out.add(inner.others);
    }
    if (found.groups.empty()) {
      add_group(folder, entries.images, found.groups);
    } else {
      left_out.add(entries.images);
    }
  }
  left_out.add(entries.others);
  const std::string names = left_out.text();
  require(!found.groups.empty(), folder.string(), ": expected images (jpg, png, bmp, gif, webp)",
          together ? " in subfolders" : "", ", found ", names.empty() ? "no image" : concat("no image but ", names));
  if (!names.empty()) {
    found.notes.push_back(concat(folder.string(), ": left out ", names, " (",
                                 together ? "images of subfolders" : "images",
                                 " are asked about: jpg, png, bmp, gif, webp)"));
  }
  return found;
}

}  // namespace minimind
