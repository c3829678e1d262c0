#include "data/zip_index.h"

#include <iconv.h>

#include <algorithm>
#include <utility>

#include "base/utf8.h"
#include "minimind/base/error.h"
#include "minimind/base/log.h"

namespace minimind::detail {

namespace {

bool less_backwards(std::string_view a, std::string_view b) {
  return std::lexicographical_compare(a.rbegin(), a.rend(), b.rbegin(), b.rend());
}

std::string_view path_of(const ZipEntry& entry) {
  return std::string_view(entry.name).substr(1);
}

// The text in UTF-8; nullopt if it is not in this encoding, or if the system does not know the encoding.
std::optional<std::string> from_encoding(std::string text, const char* encoding) {
  constexpr size_t kMostBytes = 4;  // of a character in UTF-8
  const iconv_t converter = ::iconv_open("UTF-8", encoding);
  if (converter == reinterpret_cast<iconv_t>(-1)) {
    return std::nullopt;
  }
  std::string out(text.size() * kMostBytes, '\0');
  char* from = text.data();
  char* to = out.data();
  size_t from_left = text.size(), to_left = out.size();
  const size_t result = ::iconv(converter, &from, &from_left, &to, &to_left);
  ::iconv_close(converter);
  if (result == static_cast<size_t>(-1)) {
    return std::nullopt;
  }
  out.resize(out.size() - to_left);
  return out;
}

}  // namespace

ZipIndex::ZipIndex(const ReadAt& read, uint64_t file_bytes, const std::string& where) {
  read_zip_directory(read, file_bytes, where, [&](ZipEntry&& entry) {
    if (!entry.name.empty() && entry.name.back() != '/' && entry.name.back() != '\\') {
      entry.name.insert(0, 1, '/');
      entries_.push_back(std::move(entry));
    }
  });
  read_names(where);
  // Stable: of equal paths the last one stays the last.
  std::ranges::stable_sort(entries_, less_backwards, &ZipEntry::name);
}

void ZipIndex::read_names(const std::string& where) {
  const auto is_foreign = [](const ZipEntry& entry) {
    const auto is_ascii = [](char byte) { return static_cast<uint8_t>(byte) < 0x80; };
    return (entry.flags & kZipNameIsUtf8) == 0 && !std::ranges::all_of(entry.name, is_ascii) &&
           repair_utf8(entry.name) != entry.name;
  };
  std::vector<ZipEntry*> foreign;
  for (ZipEntry& entry : entries_) {
    if (is_foreign(entry)) {
      foreign.push_back(&entry);
    }
  }
  for (const char* encoding : {"GB18030", "CP437"}) {
    std::vector<std::string> names;
    for (size_t i = 0; i < foreign.size() && names.size() == i; ++i) {
      if (std::optional<std::string> name = from_encoding(foreign[i]->name, encoding)) {
        names.push_back(std::move(*name));
      }
    }
    if (!foreign.empty() && names.size() == foreign.size()) {
      log_warning(concat(where, ": ", names.size(), " names are not in UTF-8 and were read as ", encoding,
                         " (GBK is a part of GB18030), such as ", printable(names.front().substr(1)),
                         "; if they are in another encoding, pack the archive again with names in UTF-8"));
      for (size_t i = 0; i < names.size(); ++i) {
        foreign[i]->name = std::move(names[i]);
      }
      break;
    }
  }
  for (ZipEntry& entry : entries_) {
    // Windows' own packers; a slash elsewhere in the name says that a backslash is part of a name.
    if (entry.name.find('/', 1) == std::string::npos) {
      std::ranges::replace(entry.name, '\\', '/');
    }
  }
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
