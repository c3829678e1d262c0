#include "minimind/infer/decoder.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <c10/core/GradMode.h>

#include "infer/decoders.h"
#include "minimind/base/error.h"

namespace minimind {

namespace detail {

void check_room(int64_t held, int64_t count, int64_t capacity) {
  require(held + count <= capacity, "context: room for ", capacity, " tokens, found ", held + count,
          "; shorten the prompt or raise max_seq_len");
}

void check_prompt(const at::Tensor& embeddings, int64_t dim, int64_t capacity) {
  require(embeddings.dim() == 2 && embeddings.size(0) >= 1 && embeddings.size(1) == dim,
          "prompt: expected embeddings [S, ", dim, "] of at least one token, found ", embeddings.sizes());
  check_room(0, embeddings.size(0), capacity);
}

}  // namespace detail

namespace {

/// The model's own layers, with or without a key/value cache.
class PlainDecoder : public Decoder {
 public:
  PlainDecoder(const Vlm& model, int64_t capacity, bool cached)
      : language_model_(model->language_model()), capacity_(capacity), cached_(cached) {
    if (cached_) {
      const at::Tensor& weight = language_model_->tok_embeddings->weight;
      cache_ = make_cache(model->config(), 1, capacity, weight.scalar_type(), weight.device());
    }
  }

  std::span<const float> prefill(const at::Tensor& embeddings) override {
    detail::check_prompt(embeddings, language_model_->config().dim, capacity_);
    held_.reset();
    length_ = 0;
    cache_.truncate(0);
    return append(embeddings.unsqueeze(0));
  }

  std::span<const float> step(TokenId id) override {
    detail::check_room(length_, 1, capacity_);
    const at::Tensor& weight = language_model_->tok_embeddings->weight;
    return append(language_model_->embed(at::full({1, 1}, id, weight.options().dtype(at::kLong))));
  }

  int64_t length() const override { return length_; }
  int64_t capacity() const override { return capacity_; }

 private:
  std::span<const float> append(const at::Tensor& embeddings) {
    const c10::NoGradGuard without_gradients;
    length_ += embeddings.size(1);
    at::Tensor hidden;
    if (cached_) {
      hidden = language_model_->forward(embeddings, &cache_);
    } else {
      held_ = held_.defined() ? at::cat({held_, embeddings}, 1) : embeddings;
      hidden = language_model_->forward(held_);
    }
    logits_ = language_model_->logits(hidden.select(1, -1)).to(at::kCPU, at::kFloat).contiguous();
    return {logits_.const_data_ptr<float>(), static_cast<size_t>(logits_.numel())};
  }

  LanguageModel language_model_;
  int64_t capacity_;
  bool cached_;
  KvCache cache_;
  at::Tensor held_;  ///< uncached: embeddings of all tokens, [1, length, D]
  int64_t length_ = 0;
  at::Tensor logits_;
};

}  // namespace

WeightFormat weight_format_of(const std::string& name) {
  require(name == "float32" || name == "bfloat16" || name == "int8",
          "weights: expected float32, bfloat16 or int8, found ", name);
  return name == "int8" ? WeightFormat::kInt8 : name == "bfloat16" ? WeightFormat::kBFloat16 : WeightFormat::kFloat32;
}

std::unique_ptr<Decoder> make_decoder(const Vlm& model, int64_t capacity, DecoderKind kind, WeightFormat format) {
  require(capacity >= 2, "context: expected room for 2 tokens at least, found ", capacity);
  if (kind == DecoderKind::kAuto) {
    kind = detail::can_fuse(model) ? DecoderKind::kFused : DecoderKind::kCached;
  }
  if (kind == DecoderKind::kFused) {
    require(detail::can_fuse(model), "fused decoding: expected a float32 model without experts on a CPU");
    return detail::make_fused_decoder(model, capacity, format);
  }
  require(format == WeightFormat::kFloat32,
          "weights: bfloat16 and int8 are for models without experts on a CPU; use --weights float32");
  return std::make_unique<PlainDecoder>(model, capacity, kind == DecoderKind::kCached);
}

}  // namespace minimind
