#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "minimind/base/image_span.h"
#include "minimind/model/vlm.h"

namespace minimind {

/// The language model as generation uses it: one sequence, one new token at a time. What lies behind it (the
/// framework's products, fused weights, narrow number formats) is nobody else's business. One thread at a time.
class Decoder {
 public:
  virtual ~Decoder() = default;
  /// Forgets everything held and reads a prompt: embeddings [S, D] with the images spliced in, 1 <= S <= capacity.
  /// Returns the logits [V] after the last position, valid until the next call.
  virtual std::span<const float> prefill(const at::Tensor& embeddings) = 0;
  /// Appends one token. Returns the logits after it. Throws Error when the context is full.
  virtual std::span<const float> step(TokenId id) = 0;
  /// Tokens held.
  virtual int64_t length() const = 0;
  /// Tokens that fit.
  virtual int64_t capacity() const = 0;
};

enum class DecoderKind {
  kAuto,      ///< the fastest for the model and its device: kFused where it can, else kCached
  kCached,    ///< the model's own layers with a key/value cache; any model, any device
  kUncached,  ///< reads the whole sequence again for each token: the reference of tests
  kFused,     ///< a float32 model on a CPU, without experts: fused copies of the weights, one-row kernels
};

/// Number format in which the weights are held for decoding.
enum class WeightFormat {
  kFloat32,
  kBFloat16,
  kInt8,  ///< with one scale for each row
};

/// float32, bfloat16 or int8, the words of --weights. Throws Error on another one.
WeightFormat weight_format_of(const std::string& name);

/// `capacity`: tokens of the context. `format`: kFloat32 keeps the model's own; the others are for kFused. The model's
/// parameters must not change while a decoder lives. Throws Error where kind or format cannot serve this model.
std::unique_ptr<Decoder> make_decoder(const Vlm& model, int64_t capacity, DecoderKind kind = DecoderKind::kAuto,
                                      WeightFormat format = WeightFormat::kFloat32);

}  // namespace minimind
