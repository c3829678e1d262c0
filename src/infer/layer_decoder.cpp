#include "infer/layer_decoder.h"

#include <ATen/ops/full.h>
#include <c10/core/GradMode.h>

#include <stdexcept>
#include <utility>

#include "minimind/base/error.h"

namespace minimind {

namespace {

constexpr SequenceId kOnlySequence = 0;

}  // namespace

LayerDecoder::LayerDecoder(std::shared_ptr<LanguageModelImpl> model, int64_t capacity) : model_(std::move(model)) {
  const at::Tensor& weight = model_->head_weight();
  cache_ = make_cache(model_->config(), 1, capacity, weight.scalar_type(), weight.device());
}

SequenceId LayerDecoder::open() {
  require(!is_open_, "decoder: expected one sequence, found a second; make a decoder for each");
  is_open_ = true;
  return kOnlySequence;
}

std::span<const float> LayerDecoder::prefill(SequenceId sequence, const at::Tensor& embeddings) {
  check(sequence);
  const int64_t dim = model_->config().dim;
  require(embeddings.dim() == 2 && embeddings.size(0) >= 1 && embeddings.size(1) == dim,
          "prompt: expected embeddings [S, ", dim, "] of at least one token, found ", embeddings.sizes());
  const int64_t count = embeddings.size(0);
  require_room(count);
  const c10::NoGradGuard without_gradients;
  LmPass pass{&cache_, {}, {}};
  if (count > 1) {
    pass.rows = at::full({1}, count - 1, embeddings.options().dtype(at::kLong));
  }
  // The residual stream is float32 whatever the weights are.
  const at::Tensor hidden = model_->forward(embeddings.to(at::kFloat).unsqueeze(0), pass).view({1, dim});
  logits_ = logits_of(hidden).to(at::kCPU, at::kFloat).contiguous();
  return {logits_.const_data_ptr<float>(), static_cast<size_t>(logits_.numel())};
}

std::span<const float> LayerDecoder::step(std::span<const SequenceId> sequences, std::span<const TokenId> tokens) {
  const at::Tensor& weight = model_->head_weight();
  const at::Tensor id = at::full({1, 1}, checked_token(sequences, tokens), weight.options().dtype(at::kLong));
  const c10::NoGradGuard without_gradients;
  return prefill(sequences.front(), model_->embed(id)[0]);
}

void LayerDecoder::truncate(SequenceId sequence, int64_t length) {
  check(sequence);
  cache_.truncate(length);
}

int64_t LayerDecoder::length(SequenceId sequence) const {
  check(sequence);
  return cache_.length();
}

TokenId LayerDecoder::checked_token(std::span<const SequenceId> sequences, std::span<const TokenId> tokens) const {
  if (sequences.size() != 1 || tokens.size() != 1) {
    throw std::logic_error("LayerDecoder::step: expected one sequence and one token");
  }
  check(sequences.front());
  const int64_t vocab_size = model_->config().vocab_size;
  require(tokens.front() >= 0 && tokens.front() < vocab_size, "token ids: expected 0 to ", vocab_size - 1, ", found ",
          tokens.front());
  require_room(1);
  return tokens.front();
}

void LayerDecoder::check(SequenceId sequence) const {
  if (!is_open_ || sequence != kOnlySequence) {
    throw std::logic_error("LayerDecoder: a sequence that open() did not return");
  }
}

void LayerDecoder::require_room(int64_t count) const {
  require(cache_.length() + count <= capacity(), "context: room for ", capacity(), " tokens, found ",
          cache_.length() + count, "; shorten the prompt or raise max_seq_len");
}

}  // namespace minimind
