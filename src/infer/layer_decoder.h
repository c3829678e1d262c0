#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>

#include "minimind/infer/decoder.h"
#include "minimind/model/language_model.h"

namespace minimind {

/// Decodes through the model's own layers and a key/value cache: any model, any device. Holds one sequence.
class LayerDecoder : public Decoder {
 public:
  LayerDecoder(std::shared_ptr<LanguageModelImpl> model, int64_t capacity);

  SequenceId open() override;
  std::span<const float> prefill(SequenceId sequence, const at::Tensor& embeddings) override;
  std::span<const float> step(std::span<const SequenceId> sequences, std::span<const TokenId> tokens) override;
  void truncate(SequenceId sequence, int64_t length) override;
  int64_t length(SequenceId sequence) const override;
  int64_t capacity() const override { return cache_.capacity(); }

 protected:
  /// Checks the arguments of step(). Returns the one token.
  TokenId checked_token(std::span<const SequenceId> sequences, std::span<const TokenId> tokens) const;
  /// hidden [1, D] → [1, V].
  virtual at::Tensor logits_of(const at::Tensor& hidden) const { return model_->logits(hidden); }

  std::shared_ptr<LanguageModelImpl> model_;
  KvCache cache_;

 private:
  void check(SequenceId sequence) const;
  void require_room(int64_t count) const;

  bool is_open_ = false;
  at::Tensor logits_;  ///< float32 [1, V] on the CPU
};

}  // namespace minimind
