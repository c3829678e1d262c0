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

void ChatSession::clear() {
  messages_.clear();
  features_.clear();
  turns_.clear();
}

Prompt ChatSession::fit(const std::string& question, const std::vector<at::Tensor>& features, size_t& kept_from) const {
  // Room for an answer of some length; what a long question leaves of the context is enough for a question that stands
  // alone.
  const int64_t reserve = std::min(options_.max_new_tokens, options_.context / 4);
  for (kept_from = 0;; ++kept_from) {
    const bool alone = kept_from == turns_.size();
    const size_t message = alone ? messages_.size() : turns_[kept_from].first_message;
    const size_t feature = alone ? features_.size() : turns_[kept_from].first_feature;
    std::vector<Message> messages(messages_.begin() + static_cast<std::ptrdiff_t>(message), messages_.end());
    messages.push_back({"user", question});
    std::vector<at::Tensor> images(features_.begin() + static_cast<std::ptrdiff_t>(feature), features_.end());
    images.insert(images.end(), features.begin(), features.end());
    Prompt prompt = make_prompt(model_.tokenizer(), model_.pattern(), messages, std::move(images));
    const int64_t length = std::ssize(prompt.ids);
    if (length <= (alone ? options_.context - 1 : options_.context - reserve)) {
      if (kept_from > 0) {
        prompt.notice = concat("the conversation fills the context of ", options_.context, " tokens: its oldest ",
                               kept_from == 1 ? "turn was" : concat(kept_from, " turns were"), " left out");
      }
      return prompt;
    }
    if (alone) {
      cut_prompt(prompt, options_.context - reserve, std::ssize(model_.pattern().ids));
      require(!prompt.ids.empty(), "the question does not fit the context of ", options_.context,
              " tokens; ask for less at once or raise --max_seq_len");
      return prompt;
    }
  }
}

void ChatSession::drop_turns(size_t count) {
  if (count == 0) {
    return;
  }
  const bool all = count == turns_.size();
  const Turn first = all ? Turn{messages_.size(), features_.size()} : turns_[count];
  messages_.erase(messages_.begin(), messages_.begin() + static_cast<std::ptrdiff_t>(first.first_message));
  features_.erase(features_.begin(), features_.begin() + static_cast<std::ptrdiff_t>(first.first_feature));
  turns_.erase(turns_.begin(), turns_.begin() + static_cast<std::ptrdiff_t>(count));
  for (Turn& turn : turns_) {
    turn.first_message -= first.first_message;
    turn.first_feature -= first.first_feature;
  }
}

Answer ChatSession::ask(const std::string& text, const std::vector<at::Tensor>& features, const TextCallback& on_text) {
  const std::string question = with_image_placeholders(text, std::ssize(features), model_.pattern().placeholder);
  require(!question.empty(), "question: expected a text or an image, found neither");
  const std::vector<Message> asked = {{"user", question}};
  require_image_for_each_span(count_image_placeholders(model_.pattern(), asked), std::ssize(features),
                              model_.pattern().placeholder);
  size_t kept_from = 0;
  const Prompt prompt = fit(question, features, kept_from);

  Answer answer;
  answer.notice = prompt.notice;
  StreamDecoder stream(model_.tokenizer());
  const auto show = [&](const std::string& piece) {
    answer.text += piece;
    return piece.empty() || !on_text || on_text(piece);
  };
  const GenerationOptions how{options_.sampling, options_.max_new_tokens, model_.tokenizer().eos_id()};
  const Generation generation =
      generate(*decoder_, sequence_, prompt.ids, model_.embed(prompt.ids, prompt.spans, prompt.features), how, random_,
               [&](TokenId id) { return show(stream.push(id)); });
  show(stream.finish());
  answer.reason = generation.reason;
  answer.prompt_tokens = generation.prompt_tokens;
  answer.tokens = std::ssize(generation.ids);
  answer.prefill_seconds = generation.prefill_seconds;
  answer.decode_seconds = generation.decode_seconds;

  drop_turns(kept_from);
  turns_.push_back({messages_.size(), features_.size()});
  messages_.push_back(asked.front());
  messages_.push_back({"assistant", answer.text});
  features_.insert(features_.end(), features.begin(), features.end());
  return answer;
}

}  // namespace minimind
