#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "minimind/base/image_span.h"

namespace minimind {

/// Names a sequence of one decoder.
using SequenceId = int64_t;

/// The language model as generation uses it: sequences of tokens that grow at the end. One thread at a time. Logits are
/// valid until the next call. Every function throws std::logic_error on a sequence that open() did not return.
class Decoder {
 public:
  virtual ~Decoder() = default;
  /// A new, empty sequence. Throws Error if the decoder cannot hold one more.
  virtual SequenceId open() = 0;
  /// Appends embeddings [S, D], S >= 1, with the images spliced in; a kept prefix stays. Returns the logits [V] after
  /// the last position. Throws Error if they do not fit or have another shape.
  virtual std::span<const float> prefill(SequenceId sequence, const at::Tensor& embeddings) = 0;
  /// Appends one token to each sequence. Returns the logits [sequences, V], row by row. Throws Error if a sequence is
  /// full or a token is outside the vocabulary.
  virtual std::span<const float> step(std::span<const SequenceId> sequences, std::span<const TokenId> tokens) = 0;
  /// Keeps the first `length` positions of a sequence; 0 empties it.
  virtual void truncate(SequenceId sequence, int64_t length) = 0;
  /// Positions that a sequence holds.
  virtual int64_t length(SequenceId sequence) const = 0;
  /// Positions that fit into a sequence.
  virtual int64_t capacity() const = 0;
};

}  // namespace minimind
