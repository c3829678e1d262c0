#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

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
  kStopped,      ///< the callback said so
};

struct Generation {
  std::vector<TokenId> ids;  ///< new tokens, the end token left out
  StopReason reason = StopReason::kEos;
  int64_t prompt_tokens = 0;
  double prefill_seconds = 0;
  double decode_seconds = 0;
};

/// Called with every new token (the end token left out); false stops the answer, which keeps that token.
using TokenCallback = std::function<bool(TokenId)>;

/// Prefill and decode. prompt_ids [S]: all ids of the prompt, the images' too, for the repetition penalty; embeddings
/// [S, D]: the same tokens with the images spliced in. Stops at eos, when the decoder's context is full, and after
/// max_new_tokens. Throws Error on an empty prompt and on one that is longer than the context.
Generation generate(Decoder& decoder, std::span<const TokenId> prompt_ids, const at::Tensor& embeddings,
                    const GenerationOptions& options, Random& random, const TokenCallback& on_token = {});

}  // namespace minimind
