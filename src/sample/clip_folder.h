#pragma once

#include <cstdint>
#include <filesystem>

namespace minimind::sample {

/// Shape and seed of the sample's frozen image encoder.
struct ClipFolderOptions {
  int64_t hidden_size = 384;
  int64_t intermediate_size = 1536;
  int64_t num_hidden_layers = 1;
  int64_t num_attention_heads = 8;
  int64_t image_size = 224;
  int64_t patch_size = 32;
  uint64_t seed = 1337;
};

/// Writes a vision-only CLIP folder in the Hugging Face layout: config.json, preprocessor_config.json and
/// model.safetensors (float32), with random weights. Throws Error if the folder cannot be written.
void write_clip_folder(const std::filesystem::path& folder, const ClipFolderOptions& options);

}  // namespace minimind::sample
