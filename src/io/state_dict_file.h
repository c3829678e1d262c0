#pragma once

#include <filesystem>

#include "minimind/io/state_dict.h"

namespace minimind {

/// Reads a `.safetensors` file or a zip-form `.pth` / `.bin`; the content decides, not the name. The tensors are
/// read-only views into the mapped file: copy a tensor before you change it in place. Throws Error with path, expected,
/// found and the cure.
StateDict read_state_dict(const std::filesystem::path& path);

/// The end of the name of a file that lists the parts of a model's weights, as Hugging Face's libraries write it.
inline constexpr const char* kWeightsIndexEnd = ".index.json";

/// Whether the path is such a list; read_state_dict() reads its parts.
bool is_weights_index(const std::filesystem::path& path);

}  // namespace minimind
