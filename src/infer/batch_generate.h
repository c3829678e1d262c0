#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "minimind/infer/prompt.h"
#include "minimind/model/vlm.h"

namespace minimind {

struct BatchOptions {
  int64_t context = 1024;  ///< tokens of prompt and answer
  int64_t max_new_tokens = 128;
  int64_t batch_size = 64;
  TokenId eos = 2;
  WeightFormat weights = WeightFormat::kFloat32;  ///< other formats: prompt by prompt, through a fused decoder
};

/// Greedy answers: for each prompt its new tokens without `eos`. Decodes prompts of equal length together; apart from
/// rounding the tokens are those of each prompt alone. `on_done` gets the number of prompts answered so far. Throws
/// Error if an option is impossible or a prompt is empty or leaves no room in the context.
std::vector<std::vector<TokenId>> generate_batch(const Vlm& model, const std::vector<Prompt>& prompts,
                                                 const BatchOptions& options,
                                                 const std::function<void(int64_t)>& on_done = {});

}  // namespace minimind
