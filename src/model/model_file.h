#pragma once

#include <array>
#include <filesystem>

namespace minimind {

/// The weight files that a Hugging Face folder may hold, in the order in which readers look for them. Weights in parts
/// have an index file: the same name and `.index.json`.
inline constexpr std::array<const char*, 2> kFolderWeights = {"model.safetensors", "pytorch_model.bin"};

/// The weight file of a Hugging Face folder. Throws Error if there is none, and if the weights are in parts.
std::filesystem::path folder_weights(const std::filesystem::path& folder);

}  // namespace minimind
