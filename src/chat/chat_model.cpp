#include "minimind/chat/chat_model.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <c10/core/GradMode.h>

#include "base/cpu_quota.h"
#include "base/machine_limits.h"
#include "base/primitive_cache.h"
#include "chat/chat_device.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/base/log.h"
#include "minimind/image/resize.h"
#include "minimind/infer/prompt.h"
#include "minimind/model/clip_vision.h"
#include "minimind/model/weights.h"
#include "minimind/text/chat_prompt.h"
#include "minimind/text/load_tokenizer.h"
#include "model/bfloat16_products.h"
#include "model/bfloat16_weights.h"
#include "model/device.h"
#include "model/skip_init.h"

namespace minimind {

namespace {

/// The image pattern of the configuration; without image_ids there, the pattern of the released models.
ImagePattern chat_pattern(const LmConfig& config, const Tokenizer& tokenizer, const ChatModelFiles& files,
                          int64_t vision_tokens) {
  if (config.image_ids.empty()) {
    return make_image_pattern(tokenizer, config.image_special_token, vision_tokens);
  }
  require(std::ssize(config.image_ids) == vision_tokens, files.clip_dir, ": expected ", config.image_ids.size(),
          " vision tokens per image (image_ids of ", files.checkpoint, "), found ", vision_tokens,
          "; is it the encoder that the model was trained with?");
  ImagePattern pattern;
  pattern.text = config.image_special_token;
  pattern.ids.assign(config.image_ids.begin(), config.image_ids.end());
  const std::vector<TokenId> ids = tokenizer.encode(pattern.text);
  require(ids == pattern.ids, files.tokenizer, ": expected a tokenizer that gives the ", pattern.ids.size(),
          " image_ids of ", files.checkpoint, " for its image_special_token, found ", ids.size(),
          " different ids; is it the tokenizer that the model was trained with?");
  return pattern;
}

Vlm uninitialised_model(const LmConfig& config) {
  const SkipInit skip_init;
  return Vlm(config);
}

}  // namespace

Fields ChatModelFiles::fields() {
  return {{"checkpoint", &checkpoint, "weights: .pth, .safetensors or a Hugging Face folder"},
          {"clip_dir", &clip_dir, "Hugging Face folder of the CLIP vision encoder"},
          {"tokenizer", &tokenizer, "tokenizer.json, a sentencepiece .model file, or a folder that holds either file"},
          {"allow_missing", &allow_missing,
           "state-dict key prefixes that may be missing (vision_proj: a language model without vision)"},
          {"device", &device, "compute device: cpu, cuda or cuda:N; auto: cpu"},
          {"weights", &weights, "weight format for decoding; int8 needs a CPU", {"float32", "bfloat16", "int8"}},
          {"threads", &threads, "CPU threads of tensor operations; 0: one for each usable CPU, within the CPU quota"}};
}

void ChatModelFiles::validate() const {
  require_flag_between("threads", threads, 0, most_threads());
}

std::unique_ptr<ChatModel> ChatModel::load(const ChatModelFiles& files, const Notice& notice) {
  const auto notify = [&notice](const std::string& text) {
    if (notice && !text.empty()) {
      notice(text);
    }
  };
  const c10::Device device = device_of(chat_device_name(files.device, weight_format_of(files.weights)));
  use_device(device);
  const bool keeps_bfloat16 = weight_format_of(files.weights) != WeightFormat::kFloat32 && device.is_cpu();
  if (keeps_bfloat16) {
    limit_primitive_cache();
  }
  if (const int64_t threads = threads_to_set(files.threads); threads > 0) {
    at::set_num_threads(static_cast<int>(threads));
  }
  const ModelFile file = find_model(files.checkpoint);
  notify(file.notice);
  notify(stage_warning(file, files.stage));
  std::unique_ptr<Tokenizer> tokenizer = load_tokenizer_for(files.checkpoint, file.config.vocab_size, files.tokenizer);
  Vlm model = uninitialised_model(file.config);
  const LoadReport report = load_vlm(*model, file.state, file.weights.string(),
                                     {/*allow_missing_projection=*/false, files.allow_missing, /*map_weights=*/true});
  log_info(concat(file.weights.string(), ":\n", report.summary()));
  if (report.lacks_projection()) {
    notify(file.weights.string() + ": a language model without vision_proj; it cannot see images");
  }
  // After the model: loading that takes memory for a moment, which the encoder in bfloat16 keeps.
  ClipVisionOptions encoding;
  encoding.small_gemm = true;
  if (keeps_bfloat16) {
    encoding.dtype = at::kBFloat16;
    log_info(concat("--weights ", files.weights, ": ", bfloat16_products().text(/*large=*/false)));
  }
  LoadReport encoder_report;
  ClipVision encoder = load_clip_vision(files.clip_dir, &encoder_report, /*map_weights=*/true, encoding);
  log_info(concat(files.clip_dir, ":\n", encoder_report.summary()));
  const ClipVisionConfig& vision = encoder->config();
  require(vision.hidden_size == file.config.vision_dim, files.clip_dir, ": expected features of width ",
          file.config.vision_dim, " (the projection of ", files.checkpoint, "), found ", vision.hidden_size,
          "; is it the encoder that the model was trained with?");
  ImagePattern pattern = chat_pattern(file.config, *tokenizer, files, vision.tokens());
  model->eval();
  if (!device.is_cpu() && weight_format_of(files.weights) == WeightFormat::kBFloat16) {
    keep_matmul_weights_in_bfloat16(model);
  }
  model->to(device);
  encoder->to(device);
  return std::make_unique<ChatModel>(std::move(tokenizer), std::move(encoder), std::move(model), std::move(pattern),
                                     files.cached_images);
}

void ChatModel::use_device_in_this_thread() const {
  use_device(device());
}

ChatModel::ChatModel(std::unique_ptr<Tokenizer> tokenizer, ClipVision encoder, Vlm model, ImagePattern pattern,
                     int64_t cached_images)
    : tokenizer_(std::move(tokenizer)),
      encoder_(std::move(encoder)),
      model_(std::move(model)),
      pattern_(std::move(pattern)),
      cached_images_(cached_images) {}

at::Tensor ChatModel::features(const Image& image) {
  const int64_t size = encoder_->config().image_size;
  std::string content(static_cast<size_t>(3 * size * size), '\0');
  resize_to_planar(image, size, reinterpret_cast<uint8_t*>(content.data()));
  if (const auto found = by_content_.find(content); found != by_content_.end()) {
    cache_.splice(cache_.begin(), cache_, found->second);
    return cache_.front().second;
  }
  const c10::NoGradGuard without_gradients;
  const at::Tensor bytes = at::empty({1, 3, size, size}, at::kByte);
  content.copy(reinterpret_cast<char*>(bytes.mutable_data_ptr<uint8_t>()), content.size());
  const at::Tensor encoded = encoder_->encode(bytes)[0];  // [P, W]
  ++encoded_;
  if (cached_images_ > 0) {
    cache_.emplace_front(std::move(content), encoded);
    by_content_.emplace(cache_.front().first, cache_.begin());
    if (std::ssize(cache_) > cached_images_) {
      by_content_.erase(cache_.back().first);
      cache_.pop_back();
    }
  }
  return encoded;
}

at::Tensor ChatModel::embed(std::span<const TokenId> ids, std::span<const int64_t> spans,
                            const std::vector<at::Tensor>& features) const {
  require_image_for_each_span(std::ssize(spans), std::ssize(features), pattern_.placeholder);
  return embed_prompt(model_, ids, spans, features);
}

}  // namespace minimind
