#include <ATen/Tensor.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "base/json_limits.h"
#include "base/utf8.h"
#include "io/formats.h"
#include "minimind/base/error.h"
#include "minimind/io/state_dict.h"

namespace minimind {

namespace {

using HeaderJson = nlohmann::json;

constexpr const char* kMetadataKey = "__metadata__";
constexpr const char* kAgain = "; the file is truncated or damaged, copy or download it again";

constexpr std::array<std::pair<const char*, at::ScalarType>, 14> kDtypes = {{{"F32", at::kFloat},
                                                                             {"F16", at::kHalf},
                                                                             {"BF16", at::kBFloat16},
                                                                             {"F64", at::kDouble},
                                                                             {"I64", at::kLong},
                                                                             {"I32", at::kInt},
                                                                             {"I16", at::kShort},
                                                                             {"I8", at::kChar},
                                                                             {"U8", at::kByte},
                                                                             {"BOOL", at::kBool},
                                                                             {"C64", at::kComplexFloat},
                                                                             {"U16", at::kUInt16},
                                                                             {"U32", at::kUInt32},
                                                                             {"U64", at::kUInt64}}};

struct TensorHeader {
  std::string name;
  at::ScalarType dtype = at::kFloat;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;
};

/// Header and data of a mapped file.
struct SafetensorsParts {
  HeaderJson header;
  std::string_view data;
};

SafetensorsParts split_safetensors(const MappedFile& file) {
  // Room for a hundred thousand tensors; parsed, a header takes up to twenty times its size.
  constexpr uint64_t kLargestHeader = uint64_t{16} << 20;
  constexpr size_t kDeepestHeader = 4;
  const std::string where = file.path().string();
  const std::string_view bytes = file.bytes();
  require(bytes.size() >= 8, where, ": expected a safetensors header, found ", bytes.size(), " bytes", kAgain);
  uint64_t size = 0;
  std::memcpy(&size, bytes.data(), sizeof size);
  require(size <= kLargestHeader && size <= bytes.size() - 8, where, ": expected a safetensors header of at most ",
          std::min<uint64_t>(kLargestHeader, bytes.size() - 8), " bytes, found a length of ", size, kAgain);
  const std::string_view text = bytes.substr(8, size);
  check_json_limits(text, where + " (header)", {kLargestHeader, kDeepestHeader});
  std::set<std::string> seen;
  std::optional<std::string> repeated;
  const auto watch = [&](int depth, HeaderJson::parse_event_t event, const HeaderJson& key) {
    if (event == HeaderJson::parse_event_t::key && depth == 1 && !seen.insert(key.get<std::string>()).second) {
      repeated = key.get<std::string>();
    }
    return true;
  };
  HeaderJson header = HeaderJson::parse(text.begin(), text.end(), watch, false);
  require(header.is_object(), where, ": expected a JSON object as safetensors header, found none", kAgain);
  require(!repeated, where, ": key \"", printable(repeated.value_or("")), "\" is there twice", kAgain);
  return {std::move(header), bytes.substr(8 + size)};
}

std::vector<int64_t> whole_numbers(const HeaderJson& entry, const char* key, const std::string& where) {
  const auto found = entry.find(key);
  const bool fits =
      found != entry.end() && found->is_array() && std::ranges::all_of(*found, [](const HeaderJson& item) {
        return item.is_number_unsigned() && item.get<uint64_t>() <= INT64_MAX;
      });
  require(fits, where, ": expected \"", key, "\" as a list of whole numbers, found something else", kAgain);
  return found->get<std::vector<int64_t>>();
}

TensorHeader parse_tensor_header(const std::string& name, const HeaderJson& entry, const std::string& file) {
  const std::string where = file + ": key \"" + printable(name) + "\"";
  require(entry.is_object(), where, ": expected an object in the header, found ", entry.type_name(), kAgain);
  const std::string dtype =
      entry.value("dtype", HeaderJson()).dump(-1, ' ', true, HeaderJson::error_handler_t::replace);
  const auto known =
      std::ranges::find_if(kDtypes, [&](const auto& pair) { return concat('"', pair.first, '"') == dtype; });
  require(known != kDtypes.end(), where,
          ": expected dtype F32, F16, BF16, F64, C64, BOOL, I8 to I64 or U8 to U64, found ", dtype.substr(0, 40));
  TensorHeader tensor{name, known->second, whole_numbers(entry, "shape", where), 0, 0};
  const std::vector<int64_t> offsets = whole_numbers(entry, "data_offsets", where);
  require(offsets.size() == 2 && offsets[0] <= offsets[1], where,
          ": expected two rising data_offsets, found something else", kAgain);
  tensor.begin = static_cast<uint64_t>(offsets[0]);
  tensor.end = static_cast<uint64_t>(offsets[1]);
  const uint64_t bytes =
      static_cast<uint64_t>(detail::checked_numel(tensor.shape, where)) * c10::elementSize(tensor.dtype);
  require(bytes == tensor.end - tensor.begin, where, ": expected ", bytes, " bytes for ", dtype, " ",
          detail::shape_text(tensor.shape), ", found ", tensor.end - tensor.begin, kAgain);
  return tensor;
}

/// The tensors must tile the data: no gap, no overlap, nothing behind the last.
void check_tiling(const std::vector<TensorHeader>& tensors, uint64_t size, const std::string& where) {
  uint64_t at = 0;
  for (const TensorHeader& tensor : tensors) {
    require(tensor.begin == at, where, ": key \"", printable(tensor.name), "\": expected its data at byte ", at,
            ", found ", tensor.begin, tensor.begin < at ? " (it overlaps the one in front)" : " (a gap)", kAgain);
    at = tensor.end;
  }
  require(at == size, where, ": expected ", at, " bytes of data, found ", size, kAgain);
}

const char* dtype_name(at::ScalarType dtype) {
  const auto known = std::ranges::find(kDtypes, dtype, &std::pair<const char*, at::ScalarType>::second);
  if (known == kDtypes.end()) {
    throw std::logic_error(concat("write_safetensors: a dtype that the format lacks: ", c10::toString(dtype)));
  }
  return known->first;
}

/// The entries as contiguous tensors, widest elements first so that each begins at a multiple of its element's size.
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

std::string safetensors_header(const std::vector<StateDict::Entry>& entries,
                               const std::map<std::string, std::string>& metadata) {
  constexpr size_t kAlignment = 64;
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) {
    header[kMetadataKey] = metadata;
  }
  size_t at = 0;
  for (const auto& [name, tensor] : entries) {
    const bool is_new = header
                            .emplace(name, nlohmann::ordered_json{{"dtype", dtype_name(tensor.scalar_type())},
                                                                  {"shape", tensor.sizes().vec()},
                                                                  {"data_offsets", {at, at + tensor.nbytes()}}})
                            .second;
    if (!is_new) {
      throw std::logic_error("write_safetensors: the key " + name + " is there twice");
    }
    at += tensor.nbytes();
  }
  std::string text = header.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  text.resize((text.size() + 8 + kAlignment - 1) / kAlignment * kAlignment - 8, ' ');
  return text;
}

}  // namespace

StateDict detail::read_safetensors(const MappedFile& file) {
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
  std::map<std::string, std::string> metadata;
  if (!detail::is_safetensors(file)) {
    return metadata;
  }
  const SafetensorsParts parts = split_safetensors(file);
  if (const auto found = parts.header.find(kMetadataKey); found != parts.header.end()) {
    const bool fits =
        found->is_object() && std::ranges::all_of(*found, [](const HeaderJson& value) { return value.is_string(); });
    require(fits, path.string(), ": expected texts as metadata, found something else", kAgain);
    metadata = found->get<std::map<std::string, std::string>>();
  }
  return metadata;
}

void write_safetensors(const std::filesystem::path& path, const StateDict& state,
                       const std::map<std::string, std::string>& metadata) {
  const std::vector<StateDict::Entry> entries = aligned_order(state);
  const std::string header = safetensors_header(entries, metadata);
  AtomicFile file(path);
  const uint64_t size = header.size();
  file.write(&size, sizeof size);
  file.write(header);
  for (const auto& [name, tensor] : entries) {
    file.write(detail::tensor_bytes(tensor.detach().cpu().contiguous()));
  }
  file.commit();
}

}  // namespace minimind
