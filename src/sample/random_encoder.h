#pragma once

#include <cstdint>
#include <vector>

#include "minimind/base/random.h"
#include "sample/clip_folder.h"
#include "sample/safetensors_writer.h"

namespace minimind::sample {

/// All tensors of the sample's encoder, by the names of the Hugging Face folder; drawn from `random`.
std::vector<NamedTensor> random_encoder_weights(const ClipFolderOptions& options, Random& random);

}  // namespace minimind::sample
