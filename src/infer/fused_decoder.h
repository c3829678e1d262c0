#pragma once

#include <cstdint>
#include <memory>

#include "minimind/infer/decoder.h"
#include "minimind/model/vlm.h"

namespace minimind {

/// Decodes a float32 model without experts on a CPU: copies its weights in `format`, packed so that one GEMV multiplies
/// all weights of the same input. A prompt goes through the model's layers with the packed weights; a step calls the
/// kernels without a tensor. The pages of the model's file are given back.
std::unique_ptr<Decoder> make_fused_decoder(const Vlm& model, int64_t capacity, WeightFormat format);

}  // namespace minimind
