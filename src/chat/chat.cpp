#include "minimind/chat/chat.h"

#include <filesystem>

#include "minimind/chat/chat_model.h"
#include "minimind/chat/session.h"
#include "minimind/image/decode.h"

namespace minimind {

namespace {

/// The files of the settings; a folder that holds model, tokenizer and `clip` needs no other name.
ChatModelFiles files_of(const ChatSettings& settings) {
  const std::filesystem::path model = settings.model;
  const std::filesystem::path folder = std::filesystem::is_directory(model) ? model : absolute(model).parent_path();
  ChatModelFiles files;
  files.checkpoint = settings.model;
  files.tokenizer = settings.tokenizer.empty() ? folder.string() : settings.tokenizer;
  files.clip_dir = settings.encoder.empty() ? (folder / "clip").string() : settings.encoder;
  files.device = settings.device;
  files.stage.clear();
  files.threads = settings.threads;
  files.weights = settings.weights;
  return files;
}

ChatOptions options_of(const ChatSettings& settings) {
  ChatOptions options;
  options.sampling.temperature = settings.temperature;
  options.sampling.top_k = settings.top_k;
  options.sampling.top_p = settings.top_p;
  options.context = settings.context;
  options.max_new_tokens = settings.max_new_tokens;
  options.seed = settings.seed;
  options.weights = weight_format_of(settings.weights);
  return options;
}

}  // namespace

struct Chat::Parts {
  explicit Parts(const ChatSettings& settings)
      : model(ChatModel::load(files_of(settings))), session(*model, options_of(settings)) {}

  std::unique_ptr<ChatModel> model;
  ChatSession session;
};

Chat::Chat(const ChatSettings& settings) : parts_(std::make_unique<Parts>(settings)) {}
Chat::~Chat() = default;
Chat::Chat(Chat&& other) noexcept = default;
Chat& Chat::operator=(Chat&& other) noexcept = default;

std::string Chat::ask(const std::string& question, const std::vector<ChatImage>& images, const OnText& on_text) {
  std::vector<at::Tensor> features;
  for (const ChatImage& image : images) {
    features.push_back(
        parts_->model->features(image.bytes.empty() ? load_image(image.path) : decode_image(image.bytes, "image")));
  }
  return parts_->session.ask(question, features, on_text).text;
}

void Chat::clear() {
  parts_->session.clear();
}

}  // namespace minimind
