#pragma once

#include <filesystem>

#include "sample/random_encoder.h"

namespace minimind::sample {

/// Writes a vision-only CLIP folder in the Hugging Face layout: config.json, preprocessor_config.json and
/// model.safetensors (float32), with random weights. Throws Error if the folder cannot be written.
void write_clip_folder(const std::filesystem::path& folder, const ClipFolderOptions& options);

}  // namespace minimind::sample
