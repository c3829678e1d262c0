#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "minimind/chat/chat_model.h"
#include "minimind/infer/decoder.h"

namespace minimind {

/// One question of its own, without a conversation around it.
struct BatchQuestion {
  std::string text;                  ///< with one image placeholder for each image
  std::vector<at::Tensor> features;  ///< [P, W] each
};

struct BatchOptions {
  int64_t context = 1024;
  int64_t max_new_tokens = 128;
  int64_t batch_size = 64;
  WeightFormat weights = WeightFormat::kFloat32;  ///< another one: question by question, through a fused decoder
};

/// Greedy answers to many questions, those of equal length read together: the same tokens as one by one, but for
/// rounding. A question that is longer than the context loses tokens from the left. `on_done` hears how many are
/// answered so far. Throws Error when a question's placeholders and images differ in number.
std::vector<std::string> answer_greedily(const ChatModel& model, const std::vector<BatchQuestion>& questions,
                                         const BatchOptions& options, const std::function<void(int64_t)>& on_done = {});

}  // namespace minimind
