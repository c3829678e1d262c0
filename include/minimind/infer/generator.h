#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "minimind/base/image_span.h"
#include "minimind/base/random.h"
#include "minimind/infer/decoder.h"
#include "minimind/infer/sampling.h"

namespace minimind {

struct GenerationOptions {
  SamplingOptions sampling;
  int64_t max_new_tokens = 512;
  TokenId eos = 2;
};

enum class StopReason {
  kEos,          ///< the model ended its answer
  kMaxTokens,    ///< max_new_tokens
  kContextFull,  ///< prompt and answer fill the context
  kStopped,      ///< the callback returned false
};

struct Generation {
  std::vector<TokenId> ids;  ///< new tokens, without the end token
  StopReason reason = StopReason::kEos;
  int64_t prompt_tokens = 0;
  double prefill_seconds = 0;
  double decode_seconds = 0;
};

/// Called with every new token but the end token. Returning false stops the answer, which keeps that token.
using TokenCallback = std::function<bool(TokenId)>;

/// Empties `sequence`, prefills the prompt and decodes an answer. prompt_ids [S]: all ids of the prompt, image tokens
/// too, for the repetition penalty; embeddings [S, D]: the same tokens with the images spliced in. Stops at eos, if the
/// decoder's context is full, and after max_new_tokens. Throws Error if the prompt is empty or longer than the context.
Generation generate(Decoder& decoder, SequenceId sequence, std::span<const TokenId> prompt_ids,
                    const at::Tensor& embeddings, const GenerationOptions& options, Random& random,
                    const TokenCallback& on_token = {});

}  // namespace minimind
