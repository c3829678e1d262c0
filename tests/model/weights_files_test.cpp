#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <functional>

#include "io/io_support.h"
#include "io/mapped_pages.h"
#include "minimind/model/clip_vision.h"
#include "minimind/model/weights.h"
#include "model/skip_init.h"
#include "support/fixtures.h"
#include "support/small_model.h"

namespace minimind {
namespace {

using testing::error_of;
using testing::fixtures_dir;
using testing::fixtures_manifest;
using testing::run_python;
using testing::same_bytes;
using testing::small_config;
using testing::TemporaryFolder;

std::vector<std::filesystem::path> pth_files(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".pth") {
      files.push_back(entry.path());
    }
  }
  return files;
}

/// The golden configuration, with the projection's width as the manifest's shapes tell it.
LmConfig golden_config(const nlohmann::json& model) {
  LmConfig config = lm_config_from_json(model["config"].dump(), "manifest.json");
  for (const auto& entry : model["state_dict"]) {
    if (entry[0] == "vision_proj.vision_proj.0.weight") {
      config.vision_dim = entry[1][1].get<int64_t>();
    }
  }
  return config;
}

std::string key_of(std::string name) {
  for (const std::string prefix : {"module.", "_orig_mod."}) {
    name = name.starts_with(prefix) ? name.substr(prefix.size()) : name;
  }
  return name;
}

Vlm unfilled() {
  const SkipInit guard;
  return Vlm(small_config());
}

TEST(SharedWeights, AreTheFilesOwnAndEqualCopiedOnes) {
  const TemporaryFolder folder;
  Vlm source(small_config());
  initialise(*source, 1);
  write_pth(folder / "32_vlm_sft.pth", vlm_state_dict(*source));
  const StateDict file = read_state_dict(folder / "32_vlm_sft.pth");
  Vlm target = unfilled();
  LoadOptions options;
  options.map_weights = true;
  load_vlm(*target, file, "x.pth", options);
  for (const auto& named : target->named_parameters()) {
    SCOPED_TRACE(named.key());
    EXPECT_EQ(named.value().const_data_ptr(), file.find(named.key())->const_data_ptr());
    EXPECT_TRUE(same_bytes(named.value(), source->named_parameters()[named.key()]));
    release_mapped_pages(named.value().detach());
    EXPECT_TRUE(same_bytes(named.value(), source->named_parameters()[named.key()])) << "after its pages went";
  }
}

TEST(SharedWeights, AreZeroWhereTheFileLacksThem) {
  Vlm source(small_config());
  initialise(*source, 1);
  StateDict language_only;
  for (const auto& [key, tensor] : vlm_state_dict(*source).entries()) {
    if (!key.starts_with("vision_proj.")) {
      language_only.add(key, tensor);
    }
  }
  Vlm target = unfilled();
  LoadOptions options;
  options.map_weights = true;
  EXPECT_TRUE(load_vlm(*target, language_only, "x.pth", options).lacks_projection());
  EXPECT_TRUE(target->projection()->weight.is_contiguous());
  EXPECT_EQ(target->projection()->weight.abs().sum().item<double>(), 0.0);
}

TEST(SharedWeights, ReleaseLeavesATensorOfItsOwnAlone) {
  const at::Tensor tensor = at::ones({5000});
  release_mapped_pages(tensor);
  EXPECT_EQ(tensor.sum().item<double>(), 5000.0);
}

TEST(SharedWeights, GuardEndsWithItsScope) {
  unfilled();
  EXPECT_EQ(Vlm(small_config())->head_weight().storage().nbytes(),
            static_cast<size_t>(4 * small_config().vocab_size * small_config().dim));
}

TEST(GoldenWeights, LoadCompletelyUnderTheOriginalsNames) {
  MINIMIND_REQUIRE_FIXTURES();
  const nlohmann::json models = fixtures_manifest()["lm"];
  size_t ran = 0, total = 0;
  for (const auto& [name, entry] : models.items()) {
    for (const auto& path : pth_files(fixtures_dir() / "lm" / name)) {
      SCOPED_TRACE(path.string());
      ++total;
      const StateDict file = read_state_dict(path);
      Vlm model(golden_config(entry));
      initialise(*model, 1);
      load_vlm(*model, file, path.string());
      const StateDict ours = vlm_state_dict(*model);
      // The whole key list with its shapes, in the original's order.
      ASSERT_EQ(ours.size(), entry["state_dict"].size());
      for (size_t i = 0; i < ours.size(); ++i) {
        EXPECT_EQ(ours.entries()[i].first, entry["state_dict"][i][0]);
        EXPECT_EQ(ours.entries()[i].second.sizes().vec(), entry["state_dict"][i][1].get<std::vector<int64_t>>());
      }
      for (const auto& [key, tensor] : file.entries()) {
        if (const at::Tensor* copy = ours.find(key_of(key))) {
          EXPECT_TRUE(same_bytes(*copy, tensor)) << key;
        }
      }
      ++ran;
    }
  }
  testing::golden_ran("weights", ran, total);
}

TEST(GoldenWeights, ClipFilesHoldTheSameTensorsInBothForms) {
  MINIMIND_REQUIRE_FIXTURES();
  const StateDict safetensors = read_state_dict(fixtures_dir() / "clip" / "model.safetensors");
  const StateDict pickled = read_state_dict(fixtures_dir() / "clip" / "pytorch_model.bin");
  size_t ran = 0, total = 0;
  for (const auto& [key, tensor] : pickled.entries()) {
    if (!key.ends_with("position_ids")) {
      ++total;
      ASSERT_NE(safetensors.find(key), nullptr) << key;
      EXPECT_TRUE(same_bytes(*safetensors.find(key), tensor)) << key;
      ++ran;
    }
  }
  EXPECT_EQ(total, safetensors.size());
  testing::golden_ran("clip_weights", ran, total);
}

/// The golden CLIP folder with one of its weight files, or with what `change` makes of its tensors.
class ClipFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    MINIMIND_REQUIRE_FIXTURES();
    for (const char* name : {"config.json", "preprocessor_config.json"}) {
      if (std::filesystem::exists(fixtures_dir() / "clip" / name)) {
        std::filesystem::copy(fixtures_dir() / "clip" / name, folder_ / name);
      }
    }
  }
  void write(const std::function<bool(const std::string&)>& keep) {
    StateDict state;
    const StateDict full = read_state_dict(fixtures_dir() / "clip" / "pytorch_model.bin");
    for (const auto& [key, tensor] : full.entries()) {
      if (keep(key)) {
        state.add(key, tensor);
      }
    }
    write_pth(folder_ / "pytorch_model.bin", state);
  }
  /// The set's own tensors, vision-only or full, and whatever else a full CLIP holds.
  void write_full() {
    StateDict state = read_state_dict(fixtures_dir() / "clip" / "pytorch_model.bin");
    for (const char* key : {"text_model.embeddings.token_embedding.weight", "text_model.embeddings.position_ids",
                            "vision_model.embeddings.position_ids", "text_projection.weight",
                            "visual_projection.weight", "logit_scale"}) {
      if (state.find(key) == nullptr) {
        state.add(key, at::ones({2, 3}));
      }
    }
    write_pth(folder_ / "pytorch_model.bin", state);
  }
  static void expect_equal(const ClipVision& a, const ClipVision& b) {
    const auto left = a->named_parameters(), right = b->named_parameters();
    ASSERT_EQ(left.size(), right.size());
    for (const auto& item : left) {
      EXPECT_TRUE(same_bytes(item.value(), right[item.key()])) << item.key();
    }
  }

  TemporaryFolder folder_;
};

TEST_F(ClipFolder, GivesTheSameFeaturesWhileItsFilesPagesComeAndGo) {
  StateDict plain;  // a set's own file may hold tensors that cannot be mapped
  const StateDict file = read_state_dict(fixtures_dir() / "clip" / "pytorch_model.bin");
  for (const auto& [key, tensor] : file.entries()) {
    if (key.starts_with("vision_model.")) {
      plain.add(key, tensor.to(at::kFloat).contiguous());
    }
  }
  write_pth(folder_ / "pytorch_model.bin", plain);
  ClipVision own = load_clip_vision(folder_.path());
  ClipVisionOptions options;
  options.release_pages = true;
  ClipVision shared = load_clip_vision(folder_.path(), nullptr, /*map_weights=*/true, options);
  for (const at::Tensor& parameter : shared->parameters()) {
    EXPECT_TRUE(is_mapped(parameter));
  }
  EXPECT_FALSE(is_mapped(own->parameters().back()));
  const int64_t size = own->config().image_size;
  const at::Tensor images = at::arange(2 * 3 * size * size).remainder(251).to(at::kByte).view({2, 3, size, size});
  const at::Tensor expected = own->encode(images);
  for (int turn = 0; turn < 2; ++turn) {
    EXPECT_TRUE(same_bytes(shared->encode(images), expected)) << turn;
  }
}

TEST_F(ClipFolder, LoadsFullOrVisionOnlyFromEitherFile) {
  LoadReport report;
  const ClipVision full = load_clip_vision(fixtures_dir() / "clip", &report);
  EXPECT_EQ(report.modules.at("vision_model.encoder").missing, 0);
  write([](const std::string& key) { return key.starts_with("vision_model."); });
  expect_equal(load_clip_vision(folder_.path()), full);
  write_full();
  expect_equal(load_clip_vision(folder_.path(), &report), full);
  EXPECT_GE(report.modules.at("text_model").skipped, 2);
  for (const auto& item : full->named_parameters()) {
    EXPECT_FALSE(item.value().requires_grad()) << item.key();
  }
}

TEST_F(ClipFolder, PrefersSafetensors) {
  write([](const std::string&) { return true; });
  testing::write_bytes(folder_ / "pytorch_model.bin", "damaged");
  EXPECT_NE(error_of([&] { load_clip_vision(folder_.path()); }), "");
  std::filesystem::copy(fixtures_dir() / "clip" / "model.safetensors", folder_ / "model.safetensors");
  EXPECT_EQ(error_of([&] { load_clip_vision(folder_.path()); }), "");
}

TEST_F(ClipFolder, IsRefusedWhenAKeyIsMissingOrUnknown) {
  write([](const std::string& key) { return key != "vision_model.pre_layrnorm.bias"; });
  EXPECT_NE(error_of([&] { load_clip_vision(folder_.path()); }).find("vision_model.pre_layrnorm.bias expected"),
            std::string::npos);
  EXPECT_NE(error_of([&] { load_clip_vision(folder_ / "none"); }).find("expected a CLIP folder"), std::string::npos);
}

TEST_F(ClipFolder, IsRefusedBeforeAHugeEncoderIsBuilt) {
  write([](const std::string&) { return true; });
  testing::write_bytes(folder_ / "config.json",
                       R"({"model_type": "clip_vision_model", "hidden_size": 65536, "intermediate_size": 1048576,
                           "num_hidden_layers": 1000, "num_attention_heads": 16})");
  const std::string message = error_of([&] { load_clip_vision(folder_.path()); });
  EXPECT_NE(message.find("million parameters, as its configuration says"), std::string::npos) << message;
}

TEST_F(ClipFolder, IsRefusedIfItsImagesAreCroppedToAnotherSize) {
  write([](const std::string&) { return true; });
  const auto error = [&](const std::string& json) {
    testing::write_bytes(folder_ / "preprocessor_config.json", json);
    return error_of([&] { load_clip_vision(folder_.path()); });
  };
  EXPECT_EQ(error(R"({"crop_size": 224})"), "");
  EXPECT_EQ(error(R"({"crop_size": {"height": 224, "width": 224}, "do_center_crop": true})"), "");
  EXPECT_EQ(error(R"({"crop_size": 336, "do_center_crop": false})"), "");
  EXPECT_EQ(error(R"({"size": {"shortest_edge": 224}})"), "");
  EXPECT_NE(
      error(R"({"crop_size": 336})").find("key \"crop_size\": expected 224, the image_size of config.json, found 336"),
      std::string::npos);
  EXPECT_NE(error(R"({"crop_size": {"height": 224, "width": 336}})").find("found {\"height\":224,\"width\":336}"),
            std::string::npos);
  EXPECT_NE(error(R"({"crop_size": "224"})").find("found \"224\""), std::string::npos);
}

TEST_F(ClipFolder, IsRefusedIfItsNormalisationIsNotThreeNumbers) {
  write([](const std::string&) { return true; });
  const auto error = [&](const std::string& json) {
    testing::write_bytes(folder_ / "preprocessor_config.json", json);
    return error_of([&] { load_clip_vision(folder_.path()); });
  };
  EXPECT_NE(error(R"({"image_mean": [1, 2], "image_std": [1, 1, 1]})").find("expected three numbers, found [1,2]"),
            std::string::npos);
  EXPECT_NE(error(R"({"image_mean": [1, 2, 3], "image_std": [1, -1, 1]})").find("above 0, found [1,-1,1]"),
            std::string::npos);
  EXPECT_NE(error("[1]").find("preprocessor_config.json"), std::string::npos);
}

/// Full-size files as the wheel's own Python writes them; the framework's state-dict names, random weights.
constexpr const char* kFullSize = R"PY(
import collections, json, os, sys, torch
out = sys.argv[1]
def lm(dim, layers, inner):
    state = collections.OrderedDict()
    head = torch.randn(6400, dim) * 0.02
    state['tok_embeddings.weight'] = head
    for i in range(layers):
        p = f'layers.{i}.'
        for name, shape in [('attention.wq', (dim, dim)), ('attention.wk', (dim // 2, dim)),
                            ('attention.wv', (dim // 2, dim)), ('attention.wo', (dim, dim)),
                            ('attention_norm', (dim,)), ('ffn_norm', (dim,)), ('feed_forward.w1', (inner, dim)),
                            ('feed_forward.w2', (dim, inner)), ('feed_forward.w3', (inner, dim))]:
            state[p + name + '.weight'] = torch.randn(shape) * 0.02
    state['norm.weight'] = torch.ones(dim)
    state['output.weight'] = head
    state['vision_proj.vision_proj.0.weight'] = torch.randn(dim, 768) * 0.02
    state['vision_proj.vision_proj.0.bias'] = torch.zeros(dim)
    return state
torch.save(lm(512, 8, 1408), out + '/512_vlm_sft.pth')
os.mkdir(out + '/clip')
W, L, M = 768, 12, 3072
state = {'logit_scale': torch.tensor(2.6), 'visual_projection.weight': torch.randn(512, W),
         'text_projection.weight': torch.randn(512, 512), 'text_model.embeddings.token_embedding.weight': torch.randn(49408, 512),
         'vision_model.embeddings.position_ids': torch.arange(50)[None],
         'vision_model.embeddings.class_embedding': torch.randn(W),
         'vision_model.embeddings.patch_embedding.weight': torch.randn(W, 3, 32, 32),
         'vision_model.embeddings.position_embedding.weight': torch.randn(50, W)}
def norm(name):
    state[name + '.weight'], state[name + '.bias'] = torch.ones(W), torch.zeros(W)
def linear(name, o, i):
    state[name + '.weight'], state[name + '.bias'] = torch.randn(o, i) * 0.02, torch.zeros(o)
norm('vision_model.pre_layrnorm')
norm('vision_model.post_layernorm')
for i in range(L):
    p = f'vision_model.encoder.layers.{i}.'
    norm(p + 'layer_norm1'), norm(p + 'layer_norm2')
    for n in 'qkv':
        linear(p + f'self_attn.{n}_proj', W, W)
    linear(p + 'self_attn.out_proj', W, W), linear(p + 'mlp.fc1', M, W), linear(p + 'mlp.fc2', W, M)
torch.save(state, out + '/clip/pytorch_model.bin')
json.dump({'model_type': 'clip', 'vision_config': {'model_type': 'clip_vision_model'}}, open(out + '/clip/config.json', 'w'))
)PY";

TEST(FullSizeSlow, FilesWrittenByPythonLoadAndRun) {
  MINIMIND_REQUIRE_PYTHON();
  const TemporaryFolder folder;
  run_python(folder, kFullSize, folder.path().string());
  const ModelFile file = find_model(folder / "512_vlm_sft.pth");
  EXPECT_EQ(file.config.dim, 512);
  EXPECT_EQ(file.config.n_layers, 8);
  EXPECT_EQ(file.config.n_kv_heads, 8);
  EXPECT_FALSE(file.config.hidden_dim.has_value());
  Vlm model(file.config);
  LoadOptions strict;
  strict.allow_missing_projection = false;
  const LoadReport report = load_vlm(*model, file.state, file.weights.string(), strict);
  EXPECT_EQ(report.total().matched, 77);
  LoadReport clip_report;
  ClipVision clip = load_clip_vision(folder / "clip", &clip_report);
  EXPECT_EQ(clip_report.total().matched, 5 + 12 * 16);
  const at::Tensor features = clip->encode(at::full({1, 3, 224, 224}, 100, at::kByte));
  EXPECT_EQ(features.sizes(), at::IntArrayRef({1, 50, 768}));
  const at::NoGradGuard without_gradients;
  VlmInput input;
  input.ids = at::arange(60, at::kLong).view({1, 60});
  input.features = features;
  input.spans = {{0, 3}};
  const at::Tensor logits = model->logits(model->hidden(input));
  EXPECT_EQ(logits.sizes(), at::IntArrayRef({1, 60, 6400}));
  EXPECT_TRUE(logits.isfinite().all().item<bool>());
}

}  // namespace
}  // namespace minimind
