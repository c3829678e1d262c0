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

/// How a conversation answers (docs/SPEC.md section 7).
struct ChatOptions {
  SamplingOptions sampling;
  int64_t context = 1024;  ///< context length in tokens, conversation and answer together
  int64_t max_new_tokens = 512;
  uint64_t seed = 1337;
  WeightFormat weights = WeightFormat::kFloat32;  ///< weight format for decoding

  /// Throws Error if a value is out of range.
  void validate() const;
};

struct Answer : Generation {
  std::string text;
  std::string notice;  ///< says what was removed from the prompt; "" if nothing was
};

/// Called with each piece of an answer, in whole UTF-8 characters; false stops the answer.
using TextCallback = std::function<bool(std::string_view)>;

/// A conversation about images. Each turn has images of its own. The model outlives the session.
class ChatSession {
 public:
  ChatSession(ChatModel& model, const ChatOptions& options);

  /// Asks about images with features [P, W]. The text has one image placeholder for each image, or none: then the
  /// placeholders go before the text, one a line. If the conversation fills the context, its oldest turns are removed;
  /// a question that is too long alone loses tokens from the left (cut_prompt). A stopped answer stays in the
  /// conversation. Throws Error if placeholders and images differ in number or the question is empty; the conversation
  /// is then unchanged.
  Answer ask(const std::string& text, const std::vector<at::Tensor>& features, const TextCallback& on_text = {});

  /// Forgets the conversation. The random generator keeps its state.
  void clear() { turns_.clear(); }

  /// Questions and answers so far.
  std::vector<Message> messages() const;
  ChatModel& model() { return model_; }

 private:
  struct Turn {
    std::string question;
    std::string answer;
    std::vector<at::Tensor> features;  ///< of the question's images, in the order of their placeholders
  };
  Prompt prompt_from(size_t first_turn, const Turn& asked) const;
  Prompt fit(const Turn& asked, size_t& removed_turns) const;

  ChatModel& model_;
  ChatOptions options_;
  Random random_;
  std::unique_ptr<Decoder> decoder_;
  SequenceId sequence_ = 0;
  std::vector<Turn> turns_;
};

/// The question about `images` images if the user asks none (docs/SPEC.md section 7).
std::string default_question(int64_t images, const std::string& placeholder);

}  // namespace minimind
