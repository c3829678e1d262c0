#include "minimind/infer/prompt.h"

#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "minimind/base/error.h"

namespace minimind {

std::string with_image_placeholders(const std::string& text, int64_t images, const std::string& placeholder) {
  if (text.find(placeholder) != std::string::npos) {
    return text;
  }
  std::string placeholders;
  for (int64_t i = 0; i < images; ++i) {
    placeholders += placeholder + "\n";
  }
  return placeholders + text;
}

void require_image_for_each_span(int64_t spans, int64_t images, const std::string& placeholder) {
  require(spans == images, "images: expected one for each ", placeholder, " of the text (", spans, "), found ", images,
          "; give ", spans > images ? "more" : "fewer", " images or ", spans > images ? "fewer " : "more ",
          placeholder);
}

Prompt make_prompt(const Tokenizer& tokenizer, const ImagePattern& pattern, const std::vector<Message>& messages,
                   std::vector<at::Tensor> features) {
  EncodedChat chat = encode_chat(tokenizer, pattern, messages);
  require_image_for_each_span(std::ssize(chat.spans), std::ssize(features), pattern.placeholder);
  return {std::move(chat.ids), std::move(chat.spans), std::move(features), ""};
}

int64_t cut_prompt(Prompt& prompt, int64_t limit, int64_t span_length) {
  if (limit < 1) {
    throw std::logic_error("cut_prompt: a limit below 1");
  }
  int64_t cut = std::max<int64_t>(0, std::ssize(prompt.ids) - limit);
  if (cut == 0) {
    return 0;
  }
  std::ptrdiff_t images = 0;
  while (images < std::ssize(prompt.spans) && prompt.spans[static_cast<size_t>(images)] < cut) {
    cut = std::max(cut, prompt.spans[static_cast<size_t>(images)] + span_length);
    ++images;
  }
  prompt.ids.erase(prompt.ids.begin(), prompt.ids.begin() + cut);
  prompt.spans.erase(prompt.spans.begin(), prompt.spans.begin() + images);
  prompt.features.erase(prompt.features.begin(), prompt.features.begin() + images);
  for (int64_t& span : prompt.spans) {
    span -= cut;
  }
  prompt.notice = concat("the prompt was too long: its first ", cut, " tokens were removed",
                         images == 0 ? "" : concat(", including ", images, images == 1 ? " image" : " images"));
  return cut;
}

at::Tensor embed_prompt(const Vlm& model, std::span<const TokenId> ids, std::span<const int64_t> spans,
                        const std::vector<at::Tensor>& features) {
  if (spans.size() != features.size()) {
    throw std::logic_error("embed_prompt: spans and features differ in number");
  }
  const c10::NoGradGuard without_gradients;
  const std::vector<int64_t> indices(ids.begin(), ids.end());
  VlmInput input;
  input.ids = at::tensor(indices, at::kLong).unsqueeze(0).to(model->head_weight().device());
  for (const int64_t span : spans) {
    input.spans.push_back({0, span});
  }
  if (!features.empty()) {
    input.features = at::stack(features);
  }
  return Vlm(model)->embed(input)[0];
}

}  // namespace minimind
