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

#include "minimind/base/image_span.h"
#include "minimind/image/image.h"
#include "minimind/infer/decoder.h"
#include "minimind/model/clip_vision.h"
#include "minimind/model/vlm.h"
#include "minimind/text/tokenizer.h"

namespace minimind {

/// Where a chat's parts lie.
struct ChatModelFiles {
  std::string checkpoint = "out/512_vlm_sft.pth";
  std::string clip_dir = "model/clip_model/clip-vit-base-patch32";
  std::string tokenizer = "model/minimind_tokenizer";
  std::vector<std::string> allow_missing;  ///< keys, or beginnings of keys, that the checkpoint may lack
  std::string device = "auto";             ///< auto, cpu, cuda or cuda:N
  std::string stage = "vlm_sft";           ///< what the checkpoint should have learnt; another one is told in a notice
  int64_t threads = 0;                     ///< of the matrix products; 0: the framework's choice
  int64_t remembered_images = 64;          ///< whose features are kept
  WeightFormat weights = WeightFormat::kFloat32;  ///< another one: the encoder's matrices are kept in bfloat16
};

/// Tokenizer, frozen encoder and trained model, loaded and checked against one another; with the features of the
/// images seen last. Not for several threads at once.
class ChatModel {
 public:
  using Notice = std::function<void(const std::string&)>;

  /// Throws Error that names the file, what was expected and what was found. `notice` hears what the user should know.
  /// In bfloat16 or int8 on a CPU it calls limit_primitive_cache(), which sets environment variables.
  static std::unique_ptr<ChatModel> load(const ChatModelFiles& files, const Notice& notice = {});
  /// From parts, for tests.
  ChatModel(std::unique_ptr<Tokenizer> tokenizer, ClipVision encoder, Vlm model, ImagePattern pattern,
            int64_t remembered_images = 64);

  /// Features [P, W] of an image; each content goes through the encoder once as long as it is remembered.
  at::Tensor features(const Image& image);
  /// The same for a file's bytes; `name` stands in messages. Throws Error if it is no image.
  at::Tensor features(std::string_view bytes, const std::string& name);
  /// The same for a file.
  at::Tensor features_of_file(const std::string& path);
  /// How many images went through the encoder.
  int64_t encoded_images() const { return encoded_; }

  /// Embeddings [S, D] of a prompt, the images' features spliced in at their spans (starts in ids).
  at::Tensor embed(std::span<const TokenId> ids, std::span<const int64_t> spans,
                   const std::vector<at::Tensor>& features) const;

  /// Side of the square to which images are resized.
  int64_t image_side() const { return encoder_->config().image_size; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const ImagePattern& pattern() const { return pattern_; }
  const Vlm& model() const { return model_; }
  c10::Device device() const { return model_->head_weight().device(); }

 private:
  using Remembered = std::list<std::pair<std::string, at::Tensor>>;

  std::unique_ptr<Tokenizer> tokenizer_;
  ClipVision encoder_;
  Vlm model_;
  ImagePattern pattern_;
  int64_t remembered_images_;
  int64_t encoded_ = 0;
  Remembered remembered_;  ///< latest first; by the bytes that the encoder sees, so that equal keys are equal images
  std::unordered_map<std::string_view, Remembered::iterator> by_content_;
};

}  // namespace minimind
