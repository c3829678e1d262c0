#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <span>
#include <vector>

#include "minimind/infer/decoder.h"
#include "minimind/model/vlm.h"

namespace minimind::testing {

/// The reference: one sequence, computed as a whole again for each token.
class UncachedDecoder : public Decoder {
 public:
  UncachedDecoder(const Vlm& model, int64_t capacity) : model_(model), capacity_(capacity) {}

  SequenceId open() override { return 0; }
  std::span<const float> prefill(SequenceId, const at::Tensor& embeddings) override {
    embeddings_ = embeddings_.defined() ? at::cat({embeddings_, embeddings}) : embeddings;
    const at::NoGradGuard without_gradients;
    logits_ = model_->logits(model_->forward(embeddings_.unsqueeze(0)).select(1, -1)).cpu().contiguous();
    return {logits_.const_data_ptr<float>(), static_cast<size_t>(logits_.numel())};
  }
  std::span<const float> step(std::span<const SequenceId>, std::span<const TokenId> tokens) override {
    return prefill(
        0, model_->embed(at::full({1, 1}, tokens.front(), model_->head_weight().options().dtype(at::kLong)))[0]);
  }
  void truncate(SequenceId, int64_t length) override {
    embeddings_ = length > 0 ? embeddings_.narrow(0, 0, length) : at::Tensor();
  }
  int64_t length(SequenceId) const override { return embeddings_.defined() ? embeddings_.size(0) : 0; }
  int64_t capacity() const override { return capacity_; }

 private:
  Vlm model_;
  int64_t capacity_;
  at::Tensor embeddings_;  ///< [S, D]
  at::Tensor logits_;      ///< [1, V]
};

/// A decoder with its one sequence.
struct OneSequence {
  std::unique_ptr<Decoder> decoder;
  SequenceId sequence = decoder->open();

  std::vector<float> prefill(const at::Tensor& embeddings) { return copy_of(decoder->prefill(sequence, embeddings)); }
  std::vector<float> step(TokenId id) { return copy_of(decoder->step({&sequence, 1}, {&id, 1})); }
  void truncate(int64_t length) { decoder->truncate(sequence, length); }
  int64_t length() const { return decoder->length(sequence); }

 private:
  static std::vector<float> copy_of(std::span<const float> row) { return {row.begin(), row.end()}; }
};

}  // namespace minimind::testing
