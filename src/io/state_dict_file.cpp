#include "io/state_dict_file.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/file_format.h"
#include "base/json.h"
#include "base/utf8.h"
#include "io/pth.h"
#include "io/safetensors.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"

namespace minimind {

namespace {

/// Throws Error if the bytes are what a failed download leaves in place of a file.
void require_no_stand_in(const std::string& where, std::string_view bytes) {
  require(!bytes.empty(), where, ": expected weights, found an empty file; copy or download it again");
  require(!bytes.starts_with("version https://git-lfs"), where,
          ": expected weights, found a Git LFS pointer (the address of the file, not its contents); fetch it with `git "
          "lfs pull` or download it from its page");
  require(!bytes.starts_with("<"), where,
          ": expected weights, found a web page (an error page saved by a download?); download the file again");
}

[[noreturn]] void refuse_format(const std::string& where, std::string_view bytes) {
  constexpr const char* kSaveAgain =
      "; load it in Python and save it again: torch.save(torch.load(path, weights_only=True), path)";
  require(!bytes.starts_with("\x80"), where,
          ": expected a zip-form .pth (PyTorch 1.6 and later), found the legacy form or another pickle", kSaveAgain);
  require(bytes.size() < 262 || bytes.substr(257, 5) != "ustar", where,
          ": expected a zip-form .pth, found the tar form of 2016", kSaveAgain);
  const std::optional<FileFormat> format = recognise_format(bytes.substr(0, 512));
  require(!format, where, ": expected a zip-form .pth or .bin or a .safetensors file, found ",
          format ? format->name : "", "; ", format ? format->cure : "");
  fail(where, ": expected a zip-form .pth or .bin or a .safetensors file, found a file that begins with \"",
       printable(bytes.substr(0, 16)), "\"");
}

/// The tensors of all parts that an index file lists.
StateDict read_parts(const std::filesystem::path& index) {
  const std::string where = index.string();
  const Json json = parse_json(read_file(index), where);
  const Json map = json.is_object() ? json.value("weight_map", Json()) : Json();
  const bool fits =
      map.is_object() && !map.empty() && std::ranges::all_of(map, [](const Json& file) { return file.is_string(); });
  require(fits, where, ": expected an object \"weight_map\" of keys and file names, found none; download it again");
  std::map<std::string, StateDict> parts;
  StateDict state;
  for (const auto& [key, value] : map.items()) {
    const std::filesystem::path name = value.get<std::string>();
    require(name == name.filename() && !is_weights_index(name) && name != "..", where, ": key \"", printable(key),
            "\": expected the name of a file beside the index, found ", printable(name.string()));
    const std::filesystem::path path = index.parent_path() / name;
    require(std::filesystem::exists(path), where, ": expected the part ", printable(name.string()),
            " beside the index, found no such file; download all parts");
    auto part = parts.find(name.string());
    if (part == parts.end()) {
      part = parts.emplace(name.string(), read_state_dict(path)).first;
    }
    const at::Tensor* tensor = part->second.find(key);
    require(tensor != nullptr, path.string(), ": expected key \"", printable(key), "\", as ", index.filename().string(),
            " says, found no such key; do both belong to one model?");
    state.add(key, *tensor);
  }
  return state;
}

}  // namespace

bool is_weights_index(const std::filesystem::path& path) {
  return path.string().ends_with(kWeightsIndexEnd);
}

StateDict read_state_dict(const std::filesystem::path& path) {
  require(!std::filesystem::is_directory(path), path.string(), ": expected a weight file, found a folder");
  if (is_weights_index(path)) {
    return read_parts(path);
  }
  const MappedFile file(path);
  if (is_zip(file)) {
    return read_pth(file);
  }
  if (!has_safetensors_header(file)) {
    require_no_stand_in(path.string(), file.bytes());
  }
  if (is_safetensors(file)) {
    return read_safetensors(file);
  }
  refuse_format(path.string(), file.bytes());
}

}  // namespace minimind
