#pragma once

#include <filesystem>

#include "minimind/io/state_dict.h"

namespace minimind {

/// Reads a `.safetensors` file or a zip-form `.pth` / `.bin`; the content decides, not the name. The tensors are
/// read-only views into the mapped file: copy a tensor before you change it in place. Throws Error with path, expected,
/// found and the cure.
StateDict read_state_dict(const std::filesystem::path& path);

}  // namespace minimind
