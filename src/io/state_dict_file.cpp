#include "io/state_dict_file.h"

#include <string>
#include <string_view>

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
  fail(where, ": expected a zip-form .pth or .bin or a .safetensors file, found a file that begins with \"",
       printable(bytes.substr(0, 16)), "\"");
}

}  // namespace

StateDict read_state_dict(const std::filesystem::path& path) {
  require(!std::filesystem::is_directory(path), path.string(), ": expected a weight file, found a folder");
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
