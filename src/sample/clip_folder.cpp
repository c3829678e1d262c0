#include "sample/clip_folder.h"

#include <nlohmann/json.hpp>

#include "base/tensor_layout.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/base/random.h"

namespace minimind::sample {
namespace {

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

void write_safetensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors) {
  std::vector<TensorLayout> layout;
  for (const NamedTensor& tensor : tensors) {
    layout.push_back({tensor.name, "F32", tensor.shape, tensor.values.size() * sizeof(float)});
  }
  AtomicFile file(path);
  file.write(safetensors_header(layout, {{"format", "pt"}}));
  for (const NamedTensor& tensor : tensors) {
    file.write(tensor.values.data(), tensor.values.size() * sizeof(float));
  }
  file.commit();
}

}  // namespace

void write_clip_folder(const std::filesystem::path& folder, const ClipFolderOptions& options) {
  require(
      options.hidden_size % (2 * options.num_attention_heads) == 0 && options.image_size % options.patch_size == 0,
      "sample encoder: expected a width divisible by twice the heads and an image size divisible by the patch size, ",
      "found width ", options.hidden_size, ", heads ", options.num_attention_heads, ", image ", options.image_size,
      ", patch ", options.patch_size);
  ensure_writable_folder(folder);
  Random random(options.seed);
  write_safetensors(folder / "model.safetensors", random_encoder_weights(options, random));
  write_file_atomically(folder / "config.json", model_config(options).dump(2) + "\n");
  write_file_atomically(folder / "preprocessor_config.json", preprocessor_config(options.image_size).dump(2) + "\n");
}

}  // namespace minimind::sample
