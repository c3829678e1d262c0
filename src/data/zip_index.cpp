#include "data/zip_index.h"

#include <algorithm>
#include <utility>

#include "minimind/base/error.h"

namespace minimind::detail {

namespace {

bool less_backwards(std::string_view a, std::string_view b) {
  return std::lexicographical_compare(a.rbegin(), a.rend(), b.rbegin(), b.rend());
}

std::string_view path_of(const ZipEntry& entry) {
  return std::string_view(entry.name).substr(1);
}

}  // namespace

ZipIndex::ZipIndex(const ReadAt& read, uint64_t file_bytes, const std::string& where) {
  read_zip_directory(read, file_bytes, where, [&](ZipEntry&& entry) {
    if (!entry.name.empty() && entry.name.back() != '/') {
      entry.name.insert(0, 1, '/');
      entries_.push_back(std::move(entry));
    }
  });
  // Stable: of equal paths the last one stays the last.
  std::ranges::stable_sort(entries_, less_backwards, &ZipEntry::name);
}

std::pair<ZipIndex::Iterator, ZipIndex::Iterator> ZipIndex::range_ending(std::string_view ending) const {
  const std::string wanted = concat('/', ending);
  const auto tail = [&](const ZipEntry& entry) {
    const std::string_view name = entry.name;
    return name.substr(name.size() - std::min(name.size(), wanted.size()));
  };
  const auto first = std::partition_point(entries_.begin(), entries_.end(),
                                          [&](const ZipEntry& entry) { return less_backwards(tail(entry), wanted); });
  return {first,
          std::partition_point(first, entries_.end(), [&](const ZipEntry& entry) { return tail(entry) == wanted; })};
}

const ZipEntry* ZipIndex::find_path(std::string_view path) const {
  // The shortest names of a range come first.
  const auto [first, last] = range_ending(path);
  const auto end =
      std::partition_point(first, last, [&](const ZipEntry& entry) { return entry.name.size() == path.size() + 1; });
  return first == end ? nullptr : &*(end - 1);
}

const ZipEntry* ZipIndex::find_ending(std::string_view ending) const {
  const auto [first, last] = range_ending(ending);
  return first == last || ambiguous_paths(ending) ? nullptr : &*(last - 1);
}

std::optional<std::pair<std::string_view, std::string_view>> ZipIndex::ambiguous_paths(std::string_view ending) const {
  const auto [first, last] = range_ending(ending);
  // Sorted: if the first and the last name are equal, all names between them are.
  if (first == last || first->name == (last - 1)->name) {
    return std::nullopt;
  }
  return std::minmax({path_of(*first), path_of(*(last - 1))});
}

bool ZipIndex::has_folder(std::string_view folder) const {
  const std::string prefix = concat('/', folder, '/');
  return std::ranges::any_of(entries_, [&](const ZipEntry& entry) { return entry.name.starts_with(prefix); });
}

}  // namespace minimind::detail
