#pragma once

#include <cstdint>
#include <memory>

#include "minimind/infer/decoder.h"
#include "minimind/model/vlm.h"

namespace minimind {

enum class DecoderKind {
  kAuto,    ///< kFused if it serves the model and is faster, else kLayers
  kLayers,  ///< the model's own layers; any model, any device
  kFused,   ///< packed weights and GEMV kernels; a float32 model on a CPU, without experts
};

/// Whether kFused serves this model.
bool can_fuse(const Vlm& model);

/// capacity: positions of a sequence, at least 2. format: of the weights; formats other than kFloat32 need kFused,
/// except kBFloat16 for a model with weights in bfloat16. The model's parameters must not change while the decoder
/// lives. kFused lets malloc keep up to 32 MB of freed memory in this process. Throws Error if kind or format cannot
/// serve this model.
std::unique_ptr<Decoder> make_decoder(const Vlm& model, int64_t capacity, DecoderKind kind = DecoderKind::kAuto,
                                      WeightFormat format = WeightFormat::kFloat32);

}  // namespace minimind
