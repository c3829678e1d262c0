#include "io/safetensors.h"

#include <ATen/Tensor.h>

#include <algorithm>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/json.h"
#include "base/tensor_layout.h"
#include "base/utf8.h"
#include "io/dtype_names.h"
#include "io/mapped_pages.h"
#include "io/pth.h"
#include "minimind/base/error.h"

namespace minimind {

namespace {

constexpr const char* kMetadataKey = "__metadata__";
constexpr const char* kAgain = "; the file is truncated or damaged, copy or download it again";

struct TensorHeader {
  std::string name;
  at::ScalarType dtype = at::kFloat;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;  ///< bytes of the data
};

/// Header and data of a mapped file.
struct SafetensorsParts {
  Json header;
  std::string_view data;
};

SafetensorsParts split_safetensors(const MappedFile& file) {
  // Room for a hundred thousand tensors; parsed, a header takes up to twenty times its size.
  constexpr uint64_t kLargestHeader = uint64_t{16} << 20;
  constexpr size_t kDeepestHeader = 4;
  const std::string where = file.path().string();
  const std::string_view bytes = file.bytes();
  require(bytes.size() >= 8, where, ": expected a safetensors header, found ", bytes.size(), " bytes", kAgain);
  const auto size = read_little_endian<uint64_t>(bytes);
  require(size <= kLargestHeader && size <= bytes.size() - 8, where, ": expected a safetensors header of at most ",
          std::min<uint64_t>(kLargestHeader, bytes.size() - 8), " bytes, found a length of ", size, kAgain);
  const std::string_view text = bytes.substr(8, size);
  check_json_limits(text, where + " (header)", {kLargestHeader, kDeepestHeader});
  std::set<std::string> seen;
  std::optional<std::string> repeated;
  const auto watch = [&](int depth, Json::parse_event_t event, const Json& key) {
    if (event == Json::parse_event_t::key && depth == 1 && !seen.insert(key.get<std::string>()).second) {
      repeated = key.get<std::string>();
    }
    return true;
  };
  Json header = Json::parse(text.begin(), text.end(), watch, false);
  require(header.is_object(), where, ": expected a JSON object as safetensors header, found ",
          header.is_discarded() ? "malformed JSON" : header.type_name(), kAgain);
  require(!repeated, where, ": key \"", printable(repeated.value_or("")), "\" is there twice", kAgain);
  return {std::move(header), bytes.substr(8 + size)};
}

/// A value of the header for a message.
std::string shown(const Json& value) {
  return value.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 40);
}

std::vector<int64_t> integers(const Json& entry, const char* key, const std::string& where) {
  const Json found = entry.value(key, Json());
  const bool fits = found.is_array() && std::ranges::all_of(found, [](const Json& item) {
                      return item.is_number_unsigned() && item.get<uint64_t>() <= INT64_MAX;
                    });
  if (!fits) {
    fail(where, ": expected \"", key, "\" as a list of integers of 0 or more, found ", shown(found), kAgain);
  }
  return found.get<std::vector<int64_t>>();
}

TensorHeader parse_tensor_header(const std::string& name, const Json& entry, const std::string& file) {
  const std::string where = file + ": key \"" + printable(name) + "\"";
  require(entry.is_object(), where, ": expected an object in the header, found ", entry.type_name(), kAgain);
  const Json dtype = entry.value("dtype", Json());
  TensorHeader tensor{name, at::ScalarType::Undefined, integers(entry, "shape", where)};
  if (dtype.is_string()) {
    tensor.dtype = dtype_by(&DtypeNames::safetensors, dtype.get_ref<const std::string&>());
  }
  require(tensor.dtype != at::ScalarType::Undefined, where,
          ": expected dtype F32, F16, BF16, F64, C64, BOOL, I8 to I64 or U8 to U64, found ", shown(dtype));
  const std::vector<int64_t> offsets = integers(entry, "data_offsets", where);
  require(offsets.size() == 2 && offsets[0] <= offsets[1], where, ": expected two rising data_offsets, found ",
          at::IntArrayRef(offsets), kAgain);
  tensor.begin = static_cast<uint64_t>(offsets[0]);
  tensor.end = static_cast<uint64_t>(offsets[1]);
  const uint64_t bytes = static_cast<uint64_t>(checked_numel(tensor.shape, where)) * c10::elementSize(tensor.dtype);
  require(bytes == tensor.end - tensor.begin, where, ": expected ", bytes, " bytes for ", shown(dtype), " ",
          at::IntArrayRef(tensor.shape), ", found ", tensor.end - tensor.begin, kAgain);
  return tensor;
}

/// Throws Error unless the tensors tile the data: no gap, no overlap, no byte behind the last tensor.
void check_tiling(const std::vector<TensorHeader>& tensors, uint64_t size, const std::string& where) {
  uint64_t at = 0;
  for (const TensorHeader& tensor : tensors) {
    if (tensor.begin != at) {
      fail(where, ": key \"", printable(tensor.name), "\": expected its data at byte ", at, ", found ", tensor.begin,
           tensor.begin < at ? " (it overlaps the tensor in front)" : " (a gap)", kAgain);
    }
    at = tensor.end;
  }
  require(at == size, where, ": expected ", at, " bytes of data, found ", size, kAgain);
}

std::string_view dtype_name(at::ScalarType dtype) {
  const std::string_view name = names_of(dtype).safetensors;
  if (name.empty()) {
    throw std::logic_error(concat("write_safetensors: a dtype that the format lacks: ", c10::toString(dtype)));
  }
  return name;
}

/// The entries, widest elements first so that each begins at a multiple of its element's size.
std::vector<StateDict::Entry> aligned_order(const StateDict& state) {
  std::vector<StateDict::Entry> entries = state.entries();
  std::ranges::stable_sort(entries, std::ranges::greater(),
                           [](const StateDict::Entry& entry) { return entry.second.element_size(); });
  std::set<const void*> seen;
  for (const auto& [name, tensor] : entries) {
    if (tensor.numel() > 0 && !seen.insert(tensor.const_data_ptr()).second) {
      throw std::logic_error("write_safetensors: " + name + " shares its data with another tensor");
    }
  }
  return entries;
}

}  // namespace

bool has_safetensors_header(const MappedFile& file) {
  return file.bytes().size() > 8 && file.bytes()[8] == '{';
}

bool is_safetensors(const MappedFile& file) {
  return !is_zip(file) && (file.path().extension() == ".safetensors" || has_safetensors_header(file));
}

StateDict read_safetensors(const MappedFile& file) {
  const SafetensorsParts parts = split_safetensors(file);
  const std::string where = file.path().string();
  std::vector<TensorHeader> tensors;
  for (const auto& [name, entry] : parts.header.items()) {
    if (name != kMetadataKey) {
      tensors.push_back(parse_tensor_header(name, entry, where));
    }
  }
  std::ranges::stable_sort(tensors, {}, [](const TensorHeader& tensor) { return std::pair(tensor.begin, tensor.end); });
  check_tiling(tensors, parts.data.size(), where);
  StateDict state;
  for (const TensorHeader& tensor : tensors) {
    const std::string_view bytes = parts.data.substr(tensor.begin, tensor.end - tensor.begin);
    state.add(tensor.name, mapped_tensor(file, bytes, tensor.dtype).view(tensor.shape));
  }
  return state;
}

std::map<std::string, std::string> read_safetensors_metadata(const std::filesystem::path& path) {
  const MappedFile file(path);
  if (!is_safetensors(file)) {
    return {};
  }
  const Json metadata = split_safetensors(file).header.value(kMetadataKey, Json::object());
  const bool fits =
      metadata.is_object() && std::ranges::all_of(metadata, [](const Json& value) { return value.is_string(); });
  if (!fits) {
    fail(path.string(), ": expected an object of strings as metadata, found ", shown(metadata), kAgain);
  }
  return metadata.get<std::map<std::string, std::string>>();
}

void write_safetensors(const std::filesystem::path& path, const StateDict& state,
                       const std::map<std::string, std::string>& metadata) {
  const std::vector<StateDict::Entry> entries = aligned_order(state);
  std::vector<TensorLayout> layout;
  layout.reserve(entries.size());
  for (const auto& [name, tensor] : entries) {
    layout.push_back({name, std::string(dtype_name(tensor.scalar_type())), tensor.sizes().vec(), tensor.nbytes()});
  }
  AtomicFile file(path);
  file.write(safetensors_header(layout, metadata));
  for (const auto& [name, tensor] : entries) {
    file.write(tensor_bytes(tensor.detach().cpu().contiguous()));
  }
  file.commit();
}

}  // namespace minimind
