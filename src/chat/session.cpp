#include "minimind/chat/session.h"

#include <algorithm>
#include <utility>

#include "base/machine_limits.h"
#include "infer/make_decoder.h"
#include "minimind/base/error.h"

namespace minimind {

void ChatOptions::validate() const {
  sampling.validate();
  require(context >= 2 && context <= kLongestContext, "max_seq_len: expected 2 to ", kLongestContext, " tokens, found ",
          context);
  require(max_new_tokens >= 1, "max_new_tokens: expected 1 or more, found ", max_new_tokens);
}

std::string default_question(int64_t images, const std::string& placeholder) {
  const std::string question = images == 1   ? "这个图片描述的是什么内容？"
                               : images == 2 ? "Name all the differences between these two birds."
                                             : "Name all the differences between these images.";
  return with_image_placeholders(question, images, placeholder);
}

ChatSession::ChatSession(ChatModel& model, const ChatOptions& options)
    : model_(model), options_(options), random_(options.seed) {
  options_.validate();
  decoder_ = make_decoder(model.model(), options_.context, DecoderKind::kAuto, options_.weights);
  sequence_ = decoder_->open();
}

std::vector<Message> ChatSession::messages() const {
  std::vector<Message> messages;
  for (const Turn& turn : turns_) {
    messages.push_back({"user", turn.question});
    messages.push_back({"assistant", turn.answer});
  }
  return messages;
}

Prompt ChatSession::prompt_from(size_t first_turn, const Turn& asked) const {
  const std::vector<Message> all = messages();
  std::vector<Message> kept(all.begin() + static_cast<std::ptrdiff_t>(2 * first_turn), all.end());
  kept.push_back({"user", asked.question});
  std::vector<at::Tensor> features;
  for (size_t i = first_turn; i < turns_.size(); ++i) {
    features.insert(features.end(), turns_[i].features.begin(), turns_[i].features.end());
  }
  features.insert(features.end(), asked.features.begin(), asked.features.end());
  return make_prompt(model_.tokenizer(), model_.pattern(), kept, std::move(features));
}

/// The prompt of as many turns as leave room for an answer. A question alone needs room for one token.
Prompt ChatSession::fit(const Turn& asked, size_t& removed_turns) const {
  const int64_t reserve = std::min(options_.max_new_tokens, options_.context / 4);
  removed_turns = 0;
  Prompt prompt = prompt_from(0, asked);
  while (removed_turns < turns_.size() && std::ssize(prompt.ids) > options_.context - reserve) {
    prompt = prompt_from(++removed_turns, asked);
  }
  if (std::ssize(prompt.ids) >= options_.context) {
    cut_prompt(prompt, options_.context - reserve, std::ssize(model_.pattern().ids));
    require(!prompt.ids.empty(), "question: expected a question that fits the context of ", options_.context,
            " tokens, found a longer one; ask for less at once or raise --max_seq_len");
  } else if (removed_turns > 0) {
    prompt.notice = concat("the conversation fills the context of ", options_.context, " tokens: its oldest ",
                           removed_turns == 1 ? "turn was" : concat(removed_turns, " turns were"), " dropped");
  }
  return prompt;
}

Answer ChatSession::ask(const std::string& text, const std::vector<at::Tensor>& features, const TextCallback& on_text) {
  const std::string& placeholder = model_.pattern().placeholder;
  Turn turn{with_image_placeholders(text, std::ssize(features), placeholder), "", features};
  require(!turn.question.empty(), "question: expected a text or an image, found neither");
  const std::vector<Message> asked = {{"user", turn.question}};
  require_image_for_each_span(count_image_placeholders(model_.pattern(), asked), std::ssize(features), placeholder);
  size_t removed_turns = 0;
  const Prompt prompt = fit(turn, removed_turns);

  Answer answer;
  answer.notice = prompt.notice;
  StreamDecoder stream(model_.tokenizer());
  const auto show = [&](const std::string& piece) {
    answer.text += piece;
    return piece.empty() || !on_text || on_text(piece);
  };
  const GenerationOptions how{options_.sampling, options_.max_new_tokens, model_.tokenizer().eos_id()};
  static_cast<Generation&>(answer) =
      generate(*decoder_, sequence_, prompt.ids, model_.embed(prompt.ids, prompt.spans, prompt.features), how, random_,
               [&](TokenId id) { return show(stream.push(id)); });
  show(stream.finish());

  turns_.erase(turns_.begin(), turns_.begin() + static_cast<std::ptrdiff_t>(removed_turns));
  turn.answer = answer.text;
  turns_.push_back(std::move(turn));
  return answer;
}

}  // namespace minimind
