#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "minimind/base/random.h"
#include "minimind/chat/chat_model.h"
#include "minimind/infer/decoder.h"
#include "minimind/infer/generator.h"
#include "minimind/infer/prompt.h"
#include "minimind/text/chat_prompt.h"

namespace minimind {

/// How a conversation answers. SPEC.md section 7.
struct ChatOptions {
  SamplingOptions sampling;
  int64_t context = 1024;  ///< tokens of prompt and answer
  int64_t max_new_tokens = 512;
  uint64_t seed = 1337;
  WeightFormat weights = WeightFormat::kFloat32;  ///< of decoding

  /// Throws Error on a value that cannot be.
  void validate() const;
};

struct Answer {
  std::string text;
  StopReason reason = StopReason::kEos;
  std::string notice;  ///< for the user: what was left out of the prompt; "" if nothing was
  int64_t prompt_tokens = 0;
  int64_t tokens = 0;  ///< new ones
  double prefill_seconds = 0;
  double decode_seconds = 0;
};

/// Called with every piece of an answer as it becomes complete (whole UTF-8 characters); false stops the answer.
using TextCallback = std::function<bool(std::string_view)>;

/// A conversation about images: several turns, each with images of its own. The model outlives the session.
class ChatSession {
 public:
  ChatSession(ChatModel& model, const ChatOptions& options);

  /// Asks. The text may hold one image placeholder for each image; without any placeholder, the placeholders are put
  /// before it, a line each. When the conversation fills the context, its oldest turns go; a question that is too long
  /// by itself loses tokens from the left (cut_prompt). A stopped answer is kept as far as it came. Throws Error
  /// (images against placeholders, an empty question); the conversation is then as before.
  Answer ask(const std::string& text, const std::vector<at::Tensor>& features, const TextCallback& on_text = {});

  /// Forgets the conversation. The random numbers go on.
  void clear();

  const std::vector<Message>& messages() const { return messages_; }
  ChatModel& model() { return model_; }
  ChatOptions& options() { return options_; }

 private:
  struct Turn {
    size_t first_message = 0;
    size_t first_feature = 0;
  };
  Prompt fit(const std::string& question, const std::vector<at::Tensor>& features, size_t& kept_from) const;
  void drop_turns(size_t count);

  ChatModel& model_;
  ChatOptions options_;
  Random random_;
  std::unique_ptr<Decoder> decoder_;
  SequenceId sequence_ = 0;
  std::vector<Message> messages_;
  std::vector<at::Tensor> features_;  ///< of all images of the conversation, in the order of their placeholders
  std::vector<Turn> turns_;
};

/// The question about one image, about two and about more images if the user names no question (docs/SPEC.md section
/// 7).
std::string default_question(int64_t images, const std::string& placeholder);

}  // namespace minimind
