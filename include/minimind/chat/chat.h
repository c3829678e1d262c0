#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

// The door for programs that embed MiniMind-V (examples/embed). It includes no header of LibTorch.
namespace minimind {

/// Where the model lies and how it answers.
struct ChatSettings {
  std::string model;                ///< Hugging Face folder, .pth or .safetensors file
  std::string tokenizer = {};       ///< tokenizer file or its folder; empty: the model's folder
  std::string encoder = {};         ///< folder of the CLIP vision encoder; empty: `clip` in the model's folder
  std::string device = "auto";      ///< cpu, cuda or cuda:N; auto: cpu
  std::string weights = "float32";  ///< weight format for decoding on a CPU: float32, bfloat16 or int8
  int64_t threads = 0;              ///< CPU threads of tensor operations; 0: LibTorch's default
  int64_t context = 1024;           ///< context length in tokens, conversation and answer together
  int64_t max_new_tokens = 512;     ///< maximum tokens per answer
  double temperature = 0;           ///< sampling temperature; 0: greedy decoding
  int64_t top_k = 8;                ///< sample from the k most likely tokens; 0: from all tokens
  double top_p = 1;                 ///< sample from the most likely tokens with this total probability
  uint64_t seed = 1337;             ///< random seed of sampling
};

/// An image of a question: the path of an image file or, if `bytes` is not empty, the file's content.
struct ChatImage {
  std::string path = {};
  std::string bytes = {};
};

/// A loaded model and one conversation with it. Not for several threads at once.
class Chat {
 public:
  /// Called with each piece of an answer, in whole UTF-8 characters; false stops the answer.
  using OnText = std::function<bool(std::string_view)>;

  /// Loads model, tokenizer and encoder. Throws std::runtime_error; its text says which file, what was expected, what
  /// was found and the cure.
  explicit Chat(const ChatSettings& settings);
  ~Chat();
  Chat(Chat&& other) noexcept;
  Chat& operator=(Chat&& other) noexcept;

  /// Asks about the images and the conversation so far. Returns the whole answer. Throws std::runtime_error if an image
  /// cannot be read; the conversation is then unchanged.
  std::string ask(const std::string& question, const std::vector<ChatImage>& images = {}, const OnText& on_text = {});

  /// Forgets the conversation and its images.
  void clear();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace minimind
