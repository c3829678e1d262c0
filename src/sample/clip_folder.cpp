#include "minimind/sample/clip_folder.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/base/random.h"
#include "sample/safetensors_writer.h"

namespace minimind::sample {
namespace {

// Cosines per axis in a patch filter, and how far the filters follow brightness rather than colour.
constexpr int64_t kCosines = 4;
constexpr double kFrequencyDecay = 0.2;
constexpr double kBrightnessShare = 0.2;
constexpr double kPatchGain = 4.0;
// Spread of a block's output for a normalised input. The feed-forward's random features carry the outlines; attention
// over random keys averages the picture, which only dilutes them.
constexpr double kAttentionGain = 0.2;
constexpr double kFeedForwardInputGain = 1.5;
constexpr double kFeedForwardGain = 1.0;
constexpr double kFeedForwardBias = 0.5;
constexpr double kPositionSpread = 0.5;

class Weights {
 public:
  explicit Weights(Random& random) : random_(random) {}

  void normal(std::string name, std::vector<int64_t> shape, double spread) {
    NamedTensor& tensor = add(std::move(name), std::move(shape));
    for (float& value : tensor.values) {
      value = static_cast<float>(spread * random_.normal());
    }
  }
  void constant(std::string name, std::vector<int64_t> shape, float value) {
    NamedTensor& tensor = add(std::move(name), std::move(shape));
    std::fill(tensor.values.begin(), tensor.values.end(), value);
  }
  void linear(const std::string& name, int64_t out, int64_t in, double gain, double bias = 0) {
    normal(name + ".weight", {out, in}, gain / std::sqrt(static_cast<double>(in)));
    normal(name + ".bias", {out}, bias);
  }
  void norm(const std::string& name, int64_t width) {
    constant(name + ".weight", {width}, 1.0F);
    constant(name + ".bias", {width}, 0.0F);
  }
  NamedTensor& add(std::string name, std::vector<int64_t> shape) {
    size_t count = 1;
    for (int64_t side : shape) {
      count *= static_cast<size_t>(side);
    }
    tensors_.push_back({std::move(name), std::move(shape), std::vector<float>(count)});
    return tensors_.back();
  }
  Random& random() { return random_; }
  const std::vector<NamedTensor>& tensors() const { return tensors_; }

 private:
  Random& random_;
  std::vector<NamedTensor> tensors_;
};

// One filter: a random mixture, for each colour channel, of the lowest cosines of a patch.
void fill_filter(float* filter, int64_t patch, const std::vector<double>& cosines, Random& random) {
  std::vector<double> mixture(3 * kCosines * kCosines);
  for (int64_t i = 0; i < kCosines * kCosines; ++i) {
    double down = static_cast<double>(i / kCosines), across = static_cast<double>(i % kCosines);
    double weight = 1 / std::sqrt(1 + kFrequencyDecay * (down * down + across * across));
    double channel[3], mean = 0;
    for (double& value : channel) {
      value = weight * random.normal();
      mean += value / 3;
    }
    for (int64_t c = 0; c < 3; ++c) {
      mixture[c * kCosines * kCosines + i] = channel[c] - (1 - kBrightnessShare) * mean;
    }
  }
  for (int64_t c = 0; c < 3; ++c) {
    for (int64_t y = 0; y < patch; ++y) {
      for (int64_t x = 0; x < patch; ++x) {
        double sum = 0;
        for (int64_t i = 0; i < kCosines * kCosines; ++i) {
          sum += mixture[c * kCosines * kCosines + i] * cosines[(i / kCosines) * patch + y] *
                 cosines[(i % kCosines) * patch + x];
        }
        filter[(c * patch + y) * patch + x] = static_cast<float>(sum * kPatchGain / static_cast<double>(patch));
      }
    }
  }
}

void add_patch_filters(Weights& weights, int64_t width, int64_t patch) {
  std::vector<double> cosines(kCosines * patch);
  for (int64_t k = 0; k < kCosines; ++k) {
    for (int64_t x = 0; x < patch; ++x) {
      double phase = std::numbers::pi * static_cast<double>(k) * (static_cast<double>(x) + 0.5);
      cosines[k * patch + x] =
          std::cos(phase / static_cast<double>(patch)) * std::sqrt((k == 0 ? 1.0 : 2.0) / static_cast<double>(patch));
    }
  }
  NamedTensor& tensor = weights.add("vision_model.embeddings.patch_embedding.weight", {width, 3, patch, patch});
  for (int64_t filter = 0; filter < width; ++filter) {
    fill_filter(tensor.values.data() + filter * 3 * patch * patch, patch, cosines, weights.random());
  }
}

void add_block(Weights& weights, const std::string& name, const ClipFolderOptions& options) {
  int64_t width = options.hidden_size, inner = options.intermediate_size;
  weights.norm(name + ".layer_norm1", width);
  weights.norm(name + ".layer_norm2", width);
  for (const char* projection : {"q_proj", "k_proj", "v_proj"}) {
    weights.linear(name + ".self_attn." + projection, width, width, 1.0);
  }
  weights.linear(name + ".self_attn.out_proj", width, width, kAttentionGain);
  weights.linear(name + ".mlp.fc1", inner, width, kFeedForwardInputGain, kFeedForwardBias);
  weights.linear(name + ".mlp.fc2", width, inner, kFeedForwardGain);
}

nlohmann::ordered_json model_config(const ClipFolderOptions& options) {
  return {{"architectures", {"CLIPVisionModel"}},
          {"model_type", "clip_vision_model"},
          {"hidden_size", options.hidden_size},
          {"intermediate_size", options.intermediate_size},
          {"num_hidden_layers", options.num_hidden_layers},
          {"num_attention_heads", options.num_attention_heads},
          {"num_channels", 3},
          {"image_size", options.image_size},
          {"patch_size", options.patch_size},
          {"hidden_act", "quick_gelu"},
          {"layer_norm_eps", 1e-5},
          {"attention_dropout", 0.0},
          {"torch_dtype", "float32"}};
}

nlohmann::ordered_json preprocessor_config(int64_t size) {
  return {{"crop_size", {{"height", size}, {"width", size}}},
          {"do_center_crop", true},
          {"do_normalize", true},
          {"do_resize", true},
          {"image_mean", {0.48145466, 0.4578275, 0.40821073}},
          {"image_processor_type", "CLIPImageProcessor"},
          {"image_std", {0.26862954, 0.26130258, 0.27577711}},
          {"resample", 3},
          {"size", {{"shortest_edge", size}}}};
}

}  // namespace

void write_clip_folder(const std::filesystem::path& folder, const ClipFolderOptions& options) {
  require(options.hidden_size % options.num_attention_heads == 0 && options.image_size % options.patch_size == 0,
          "sample encoder: expected a width divisible by the heads and a picture divisible into patches, found width ",
          options.hidden_size, ", heads ", options.num_attention_heads, ", picture ", options.image_size, ", patch ",
          options.patch_size);
  ensure_writable_folder(folder);
  Random random(options.seed);
  Weights weights(random);
  int64_t width = options.hidden_size, side = options.image_size / options.patch_size;
  weights.normal("vision_model.embeddings.class_embedding", {width}, kPositionSpread);
  add_patch_filters(weights, width, options.patch_size);
  weights.normal("vision_model.embeddings.position_embedding.weight", {side * side + 1, width}, kPositionSpread);
  weights.norm("vision_model.pre_layrnorm", width);
  for (int64_t layer = 0; layer < options.num_hidden_layers; ++layer) {
    add_block(weights, "vision_model.encoder.layers." + std::to_string(layer), options);
  }
  weights.norm("vision_model.post_layernorm", width);
  write_float_safetensors(folder / "model.safetensors", weights.tensors());
  write_file_atomically(folder / "config.json", model_config(options).dump(2) + "\n");
  write_file_atomically(folder / "preprocessor_config.json", preprocessor_config(options.image_size).dump(2) + "\n");
}

}  // namespace minimind::sample
