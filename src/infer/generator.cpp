#include "minimind/infer/generator.h"

#include <stdexcept>

#include "base/stopwatch.h"
#include "minimind/base/error.h"
#include "minimind/infer/sampling.h"

namespace minimind {

Generation generate(Decoder& decoder, SequenceId sequence, std::span<const TokenId> prompt_ids,
                    const at::Tensor& embeddings, const GenerationOptions& options, Random& random,
                    const TokenCallback& on_token) {
  require(options.max_new_tokens >= 0, "max_new_tokens: expected 0 or more, found ", options.max_new_tokens);
  require(!prompt_ids.empty(), "prompt: expected at least one token, found none");
  if (embeddings.dim() != 2 || embeddings.size(0) != std::ssize(prompt_ids)) {
    throw std::logic_error("generate: ids and embeddings of the prompt differ in length");
  }
  Generation result;
  result.prompt_tokens = std::ssize(prompt_ids);
  Sampler sampler(options.sampling);
  std::vector<TokenId> seen(prompt_ids.begin(), prompt_ids.end());
  Stopwatch stopwatch;
  decoder.truncate(sequence, 0);
  std::span<const float> logits = decoder.prefill(sequence, embeddings);
  result.prefill_seconds = stopwatch.restart();
  const auto finish = [&](StopReason reason) {
    result.reason = reason;
    result.decode_seconds = stopwatch.seconds();
    return result;
  };
  while (true) {
    if (std::ssize(result.ids) >= options.max_new_tokens) {
      return finish(StopReason::kMaxTokens);
    }
    if (std::ssize(seen) >= decoder.capacity()) {
      return finish(StopReason::kContextFull);
    }
    const TokenId id = sampler.choose(logits, seen, random);
    if (id == options.eos) {
      return finish(StopReason::kEos);
    }
    result.ids.push_back(id);
    seen.push_back(id);
    if (on_token && !on_token(id)) {
      return finish(StopReason::kStopped);
    }
    // The last token's logits are needed only if another token may follow.
    if (std::ssize(result.ids) < options.max_new_tokens && std::ssize(seen) < decoder.capacity()) {
      logits = decoder.step({&sequence, 1}, {&id, 1});
    }
  }
}

}  // namespace minimind
