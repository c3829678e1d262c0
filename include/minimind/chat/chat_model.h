#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "minimind/base/fields.h"
#include "minimind/base/image_span.h"
#include "minimind/image/image.h"
#include "minimind/infer/decoder.h"
#include "minimind/model/clip_vision.h"
#include "minimind/model/vlm.h"
#include "minimind/text/tokenizer.h"

namespace minimind {

/// The files and settings of a chat model.
struct ChatModelFiles {
  std::string checkpoint = "out/512_vlm_sft.pth";  ///< weights file or Hugging Face folder
  std::string clip_dir = "model/clip_model/clip-vit-base-patch32";
  std::string tokenizer = "model/minimind_tokenizer";
  std::vector<std::string> allow_missing;  ///< state-dict key prefixes that may be missing
  std::string device = "auto";             ///< cpu, cuda or cuda:N; auto: cpu
  std::string stage = "vlm_sft";           ///< expected stage: an earlier one gives a notice; "": any stage
  int64_t threads = 0;                     ///< CPU threads of tensor operations; 0: LibTorch's default
  int64_t cached_images = 64;              ///< number of images whose features are cached
  /// Weight format for decoding: float32, bfloat16 or, on a CPU, int8. On a CPU the last two keep the encoder in
  /// bfloat16.
  std::string weights = "float32";

  /// All but stage and cached_images: the flags with which eval_chat, evaluate and web_chat load a model.
  Fields fields();
  /// Throws UsageError if a value of the flags is out of range.
  void validate() const;
};

/// Tokenizer, frozen encoder and trained model, checked against each other, and a cache of image features. Not for
/// several threads at once.
class ChatModel {
 public:
  using Notice = std::function<void(const std::string&)>;

  /// Throws Error with the file, what was expected and what was found. `notice` gets sentences for the user. On a CPU
  /// in bfloat16 or int8 it calls limit_primitive_cache(), which sets environment variables.
  static std::unique_ptr<ChatModel> load(const ChatModelFiles& files, const Notice& notice = {});
  /// A model from parts, for tests.
  ChatModel(std::unique_ptr<Tokenizer> tokenizer, ClipVision encoder, Vlm model, ImagePattern pattern,
            int64_t cached_images = 64);

  /// Features [P, W] of an image. An image in the cache is not encoded again.
  at::Tensor features(const Image& image);
  /// The number of images that the encoder has encoded.
  int64_t encoded_images() const { return encoded_; }

  /// Embeddings [S, D] of a prompt. spans: the positions in `ids` where the image features [P, W] are spliced in.
  at::Tensor embed(std::span<const TokenId> ids, std::span<const int64_t> spans,
                   const std::vector<at::Tensor>& features) const;

  /// The side in pixels of the square to which images are resized.
  int64_t image_side() const { return encoder_->config().image_size; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const ImagePattern& pattern() const { return pattern_; }
  const Vlm& model() const { return model_; }
  /// Every thread but the one of load() calls it before it uses the model.
  void use_device_in_this_thread() const;
  c10::Device device() const { return model_->head_weight().device(); }

 private:
  /// The resized bytes of an image, and its features.
  using CacheEntries = std::list<std::pair<std::string, at::Tensor>>;

  std::unique_ptr<Tokenizer> tokenizer_;
  ClipVision encoder_;
  Vlm model_;
  ImagePattern pattern_;
  int64_t cached_images_;
  int64_t encoded_ = 0;
  CacheEntries cache_;  ///< most recent first
  std::unordered_map<std::string_view, CacheEntries::iterator> by_content_;
};

}  // namespace minimind
