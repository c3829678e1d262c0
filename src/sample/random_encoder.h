#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "minimind/base/random.h"

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

/// A float32 tensor, row-major.
struct NamedTensor {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<float> values;
};

/// All tensors of the encoder by their names in a Hugging Face folder, drawn from `random`.
std::vector<NamedTensor> random_encoder_weights(const ClipFolderOptions& options, Random& random);

}  // namespace minimind::sample
