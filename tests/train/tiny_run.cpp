#include "train/tiny_run.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Generator.h>
#include <ATen/ops/randn.h>
#include <stdlib.h>

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <vector>

#include "base/utf8.h"
#include "io/safetensors.h"
#include "minimind/base/file.h"
#include "minimind/base/random.h"
#include "minimind/image/encode.h"

namespace minimind::testing {
namespace {

constexpr int64_t kWidth = 8;
constexpr int64_t kImageSize = 16;
constexpr int64_t kPatch = 8;

/// The printable stand-ins of byte-level BPE: printable Latin-1 bytes stand for themselves, the others for U+0100 and
/// up, in order.
std::vector<std::string> byte_symbols() {
  std::vector<std::string> symbols;
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    std::string symbol;
    append_utf8(symbol, printable ? static_cast<char32_t>(byte) : next++);
    symbols.push_back(symbol);
  }
  return symbols;
}

void write_tokenizer(const fs::path& path) {
  nlohmann::ordered_json vocab;
  nlohmann::ordered_json added = nlohmann::json::array();
  int id = 0;
  for (const char* special : {"<unk>", "<s>", "</s>"}) {
    added.push_back({{"id", id},
                     {"content", special},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
    vocab[special] = id++;
  }
  for (const std::string& symbol : byte_symbols()) {
    vocab[symbol] = id++;
  }
  nlohmann::ordered_json json;
  json["version"] = "1.0";
  json["truncation"] = nullptr;
  json["padding"] = nullptr;
  json["added_tokens"] = added;
  json["normalizer"] = nullptr;
  json["pre_tokenizer"] = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  json["post_processor"] = nullptr;
  json["decoder"] = {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
  json["model"] = {{"type", "BPE"},
                   {"dropout", nullptr},
                   {"unk_token", nullptr},
                   {"continuing_subword_prefix", nullptr},
                   {"end_of_word_suffix", nullptr},
                   {"fuse_unk", false},
                   {"byte_fallback", false},
                   {"vocab", vocab},
                   {"merges", nlohmann::json::array()}};
  write_file_atomically(path, json.dump(1));
}

void write_encoder(const fs::path& folder) {
  fs::create_directories(folder);
  const nlohmann::json config = {{"model_type", "clip_vision_model"},
                                 {"hidden_size", kWidth},
                                 {"intermediate_size", 2 * kWidth},
                                 {"num_hidden_layers", 1},
                                 {"num_attention_heads", 2},
                                 {"image_size", kImageSize},
                                 {"patch_size", kPatch},
                                 {"layer_norm_eps", 1e-5},
                                 {"hidden_act", "quick_gelu"}};
  write_file_atomically(folder / "config.json", config.dump(1));
  at::Generator generator = at::detail::createCPUGenerator(11);
  StateDict state;
  const auto add = [&](const std::string& name, at::IntArrayRef shape, double mean, double spread) {
    state.add("vision_model." + name, at::randn(shape, generator, at::TensorOptions(at::kFloat)) * spread + mean);
  };
  const int64_t tokens = (kImageSize / kPatch) * (kImageSize / kPatch) + 1;
  add("embeddings.class_embedding", {kWidth}, 0, 0.5);
  add("embeddings.patch_embedding.weight", {kWidth, 3, kPatch, kPatch}, 0, 0.1);
  add("embeddings.position_embedding.weight", {tokens, kWidth}, 0, 0.5);
  add("pre_layrnorm.weight", {kWidth}, 1, 0.1);
  add("pre_layrnorm.bias", {kWidth}, 0, 0.1);
  const std::string layer = "encoder.layers.0.";
  for (const char* norm : {"layer_norm1", "layer_norm2"}) {
    add(layer + norm + ".weight", {kWidth}, 1, 0.1);
    add(layer + norm + ".bias", {kWidth}, 0, 0.1);
  }
  for (const char* name : {"q_proj", "k_proj", "v_proj", "out_proj"}) {
    add(layer + "self_attn." + name + ".weight", {kWidth, kWidth}, 0, 0.3);
    add(layer + "self_attn." + name + ".bias", {kWidth}, 0, 0.1);
  }
  add(layer + "mlp.fc1.weight", {2 * kWidth, kWidth}, 0, 0.3);
  add(layer + "mlp.fc1.bias", {2 * kWidth}, 0, 0.1);
  add(layer + "mlp.fc2.weight", {kWidth, 2 * kWidth}, 0, 0.3);
  add(layer + "mlp.fc2.bias", {kWidth}, 0, 0.1);
  write_safetensors(folder / "model.safetensors", state);
}

Image noisy_image(Random& random) {
  Image image{16, 16, std::vector<uint8_t>(16 * 16 * 3)};
  const int64_t base[3] = {random.between(30, 220), random.between(30, 220), random.between(30, 220)};
  for (size_t i = 0; i < image.pixels.size(); ++i) {
    image.pixels[i] = static_cast<uint8_t>(base[i % 3] + random.between(-30, 30));
  }
  return image;
}

}  // namespace

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (fs::temp_directory_path() / "minimind_train_XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) {
    throw std::runtime_error("cannot make " + pattern);
  }
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void write_tiny_data(const fs::path& folder, int64_t samples) {
  fs::create_directories(folder / "images");
  write_tokenizer(folder / "tokenizer.json");
  write_encoder(folder / "clip");
  Random random(5);
  nlohmann::ordered_json data = nlohmann::json::array();
  for (int64_t i = 0; i < samples; ++i) {
    const std::string name = "p" + std::to_string(i) + ".png";
    write_file_atomically(folder / "images" / name, encode_png(noisy_image(random)));
    const bool has_image = i % 5 != 4;
    const std::string question = has_image ? "what\n<image>" : "who";
    const std::string answer(static_cast<size_t>(random.between(2, 9)), static_cast<char>('a' + i % 7));
    data.push_back(
        {{"id", "sample" + std::to_string(i)},
         {"image", has_image ? name : ""},
         {"conversations", {{{"from", "human"}, {"value", question}}, {{"from", "gpt"}, {"value", answer}}}}});
  }
  write_file_atomically(folder / "data.json", data.dump(1));
}

TrainOptions tiny_options(const fs::path& folder, const std::string& out) {
  TrainOptions options;
  options.data_path = (folder / "data.json").string();
  options.images_dir = (folder / "images").string();
  options.tokenizer = (folder / "tokenizer.json").string();
  options.clip_dir = (folder / "clip").string();
  options.out_dir = (folder / out).string();
  options.init_from = "none";
  options.epochs = 2;
  options.batch_size = 4;
  options.learning_rate = 1e-2;
  options.num_workers = 2;
  options.max_seq_len = 96;
  options.threads = 1;
  options.device = "cpu";
  options.save_interval = 0;
  options.log_interval = 2;
  options.model.dim = 16;
  options.model.n_layers = 2;
  options.model.n_heads = 4;
  options.model.n_kv_heads = 2;
  options.resolve(Stage::kPretrain);
  return options;
}

}  // namespace minimind::testing
