#include "minimind/io/state_dict.h"

#include <algorithm>
#include <cstring>

#include "io/formats.h"
#include "minimind/base/error.h"

namespace minimind {

namespace {

constexpr const char* kSaveAgain =
    "; load it in Python and save it again: torch.save(torch.load(path, weights_only=True), path)";

}  // namespace

bool detail::is_safetensors(const MappedFile& file) {
  const std::string_view bytes = file.bytes();
  return !bytes.starts_with("PK\x03\x04") &&
         (file.path().extension() == ".safetensors" || (bytes.size() > 8 && bytes[8] == '{'));
}

const at::Tensor* StateDict::find(const std::string& name) const {
  const auto found = std::ranges::find(entries_, name, &Entry::first);
  return found == entries_.end() ? nullptr : &found->second;
}

StateDict read_state_dict(const std::filesystem::path& path) {
  require(!std::filesystem::is_directory(path), path.string(), ": expected a weight file, found a folder");
  const MappedFile file(path);
  const std::string_view bytes = file.bytes();
  require(!bytes.empty(), path.string(), ": expected weights, found an empty file; copy or download it again");
  require(!bytes.starts_with("version https://git-lfs"), path.string(),
          ": expected weights, found a Git LFS pointer (the address of the file, not its contents); fetch it with `git "
          "lfs pull` or download it from its page");
  const bool has_header = bytes.size() > 8 && bytes[8] == '{';
  require(!bytes.starts_with("<") || has_header, path.string(),
          ": expected weights, found a web page (an error page saved by a download?); download the file again");
  if (bytes.starts_with("PK\x03\x04")) {
    return detail::read_pth(file);
  }
  if (detail::is_safetensors(file)) {
    return detail::read_safetensors(file);
  }
  require(!bytes.starts_with("\x80"), path.string(),
          ": expected a zip-form .pth (PyTorch 1.6 and later), found the legacy form or another pickle", kSaveAgain);
  require(bytes.size() < 262 || bytes.substr(257, 5) != "ustar", path.string(),
          ": expected a zip-form .pth, found the tar form of 2016", kSaveAgain);
  fail(path.string(), ": expected a zip-form .pth or .bin or a .safetensors file, found neither");
}

}  // namespace minimind
