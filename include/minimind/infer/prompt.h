#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "minimind/base/image_span.h"
#include "minimind/model/vlm.h"
#include "minimind/text/chat_prompt.h"
#include "minimind/text/tokenizer.h"

namespace minimind {

/// A prompt as the model reads it.
struct Prompt {
  std::vector<TokenId> ids;
  std::vector<int64_t> spans;        ///< first position of each image in ids
  std::vector<at::Tensor> features;  ///< features [P, W] of these images
  std::string notice;                ///< says what was removed to make the prompt fit; "" if nothing was
};

/// The text with its image placeholders: unchanged if it has a placeholder or there is no image, else with one
/// placeholder a line before it.
std::string with_image_placeholders(const std::string& text, int64_t images, const std::string& placeholder);

/// Throws Error with both numbers unless they are equal.
void require_image_for_each_span(int64_t spans, int64_t images, const std::string& placeholder);

/// Renders and tokenises a conversation. features [P, W] of its images in the order of their placeholders. Throws Error
/// if placeholders and images differ in number.
Prompt make_prompt(const Tokenizer& tokenizer, const ImagePattern& pattern, const std::vector<Message>& messages,
                   std::vector<at::Tensor> features);

/// Removes tokens from the left until at most `limit` remain. If the cut falls into an image span, it removes the whole
/// span and its features. limit >= 1. span_length: P. Returns how many tokens it removed.
int64_t cut_prompt(Prompt& prompt, int64_t limit, int64_t span_length);

/// Embeddings [S, D] of a prompt with the images spliced in, on the model's device. spans and features as in Prompt.
/// Throws std::logic_error if they differ in number.
at::Tensor embed_prompt(const Vlm& model, std::span<const TokenId> ids, std::span<const int64_t> spans,
                        const std::vector<at::Tensor>& features);

}  // namespace minimind
