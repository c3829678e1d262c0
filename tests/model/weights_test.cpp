#include "minimind/model/weights.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <functional>

#include "io/io_support.h"
#include "minimind/base/file.h"
#include "minimind/model/export_model.h"
#include "model/small_model.h"
#include "support/fixtures.h"

namespace minimind {
namespace {

using testing::error_of;
using testing::fixtures_dir;
using testing::same_bytes;
using testing::TemporaryFolder;

LmConfig small_config() {
  LmConfig config = testing::small_config();
  config.vocab_size = 80;
  config.hidden_dim = 48;
  config.vision_dim = 24;
  return config;
}

LmConfig small_moe_config() {
  LmConfig config = small_config();
  config.use_moe = true;
  config.n_routed_experts = 3;
  return config;
}

Vlm small_model(const LmConfig& config, uint64_t seed = 5) {
  Vlm model(config);
  initialise(*model, seed);
  model->eval();
  return model;
}

StateDict renamed(const StateDict& state, const std::function<std::string(const std::string&)>& rename) {
  StateDict result;
  for (const auto& [key, tensor] : state.entries()) {
    if (const std::string name = rename(key); !name.empty()) {
      result.add(name, tensor);
    }
  }
  return result;
}

StateDict without(const StateDict& state, const std::string& prefix) {
  return renamed(state, [&](const std::string& key) { return key.starts_with(prefix) ? "" : key; });
}

void expect_equal_weights(const VlmImpl& a, const VlmImpl& b) {
  const StateDict left = vlm_state_dict(a), right = vlm_state_dict(b);
  ASSERT_EQ(left.size(), right.size());
  for (const auto& [key, tensor] : left.entries()) {
    EXPECT_TRUE(same_bytes(tensor, *right.find(key))) << key;
  }
}

/// The message of a load that must fail, after the check that nothing was copied.
std::string load_error(const LmConfig& config, const StateDict& state, const LoadOptions& options = {}) {
  Vlm model = small_model(config, 99);
  const Vlm untouched = small_model(config, 99);
  const std::string message = error_of([&] { load_vlm(*model, state, "out/file.pth", options); });
  expect_equal_weights(*model, *untouched);
  EXPECT_EQ(message.find('\n'), std::string::npos);
  return message;
}

#define EXPECT_SAYS(message, text) EXPECT_NE((message).find(text), std::string::npos) << (message)

TEST(LoadVlm, CopiesEveryTensorAndCountsByModule) {
  const Vlm source = small_model(small_moe_config());
  Vlm target = small_model(small_moe_config(), 6);
  const LoadReport report = load_vlm(*target, vlm_state_dict(*source), "x.pth");
  expect_equal_weights(*source, *target);
  EXPECT_EQ(report.modules.at("vision_proj").matched, 2);
  EXPECT_EQ(report.modules.at("output").matched, 1);
  EXPECT_EQ(report.total().matched, static_cast<int64_t>(vlm_state_dict(*source).size()));
  EXPECT_EQ(report.total().missing + report.total().unexpected + report.total().wrong_shape, 0);
  EXPECT_SAYS(report.summary(), "vision_proj");
}

TEST(LoadVlm, StripsWrappersAndSkipsLeftovers) {
  const Vlm source = small_model(small_config());
  for (const std::string prefix : {"_orig_mod.", "module.", "module._orig_mod.", "_orig_mod.module."}) {
    StateDict state = renamed(vlm_state_dict(*source), [&](const std::string& key) { return prefix + key; });
    state.add(prefix + "layers.0.attention.mask", at::ones({2, 2}));
    state.add(prefix + "pos_cis", at::ones({2, 2}));
    Vlm target = small_model(small_config(), 6);
    const LoadReport report = load_vlm(*target, state, "x.pth");
    expect_equal_weights(*source, *target);
    EXPECT_EQ(report.total().skipped, 2);
  }
}

TEST(LoadVlm, AcceptsEitherOfTheTiedPairAndRefusesTwoThatDiffer) {
  const Vlm source = small_model(small_config());
  const StateDict state = vlm_state_dict(*source);
  for (const char* absent : {"output.weight", "tok_embeddings.weight"}) {
    Vlm target = small_model(small_config(), 6);
    load_vlm(*target, without(state, absent), "x.pth");
    expect_equal_weights(*source, *target);
  }
  StateDict differing = without(state, "output.weight");
  differing.add("output.weight", state.find("output.weight")->add(1e-3));
  EXPECT_SAYS(load_error(small_config(), differing), "found two different ones");
  EXPECT_SAYS(load_error(small_config(), without(without(state, "output.weight"), "tok_embeddings.weight")),
              "tok_embeddings.weight expected [80, 32], found none");
}

TEST(LoadVlm, KeepsTheProjectionOfALanguageOnlyCheckpointUnlessItIsWanted) {
  const Vlm source = small_model(small_config());
  const StateDict state = without(vlm_state_dict(*source), "vision_proj.");
  Vlm target = small_model(small_config(), 6);
  const at::Tensor projection = target->projection()->weight.clone();
  const LoadReport report = load_vlm(*target, state, "x.pth");
  EXPECT_TRUE(report.lacks_projection());
  EXPECT_EQ(report.missing_allowed.size(), 2U);
  EXPECT_TRUE(same_bytes(projection, target->projection()->weight));
  LoadOptions strict;
  strict.allow_missing_projection = false;
  EXPECT_SAYS(load_error(small_config(), state, strict), "a language-only checkpoint");
  // Half a projection is no language-only checkpoint.
  EXPECT_SAYS(load_error(small_config(), without(vlm_state_dict(*source), "vision_proj.vision_proj.0.bias")),
              "vision_proj.vision_proj.0.bias expected [32], found none");
}

TEST(LoadVlm, AllowsTheMissingKeysThatWereListed) {
  const Vlm source = small_model(small_config());
  const StateDict state = without(vlm_state_dict(*source), "layers.1.");
  EXPECT_SAYS(load_error(small_config(), state), "layers.1.attention.wq.weight expected [32, 32], found none");
  LoadOptions options;
  options.allow_missing = {"layers.1."};
  Vlm target = small_model(small_config(), 6);
  EXPECT_EQ(load_vlm(*target, state, "x.pth", options).missing_allowed.size(), 9U);
}

TEST(LoadVlm, NamesTheFlagsThatWouldFit) {
  LmConfig wide = small_config();
  wide.dim = 64;
  wide.n_layers = 3;
  wide.vocab_size = 90;
  const std::string message = load_error(small_config(), vlm_state_dict(*small_model(wide)));
  EXPECT_SAYS(message, "out/file.pth: ");
  EXPECT_SAYS(message, "tok_embeddings.weight expected [80, 32], found [90, 64]");
  EXPECT_SAYS(message, "was --dim 64 --n_layers 3 --vocab_size 90 meant?");
  EXPECT_SAYS(load_error(small_config(), vlm_state_dict(*small_model(small_moe_config()))),
              "a mixture-of-experts model: was --use_moe true --n_routed_experts 3 meant?");
  EXPECT_SAYS(load_error(small_moe_config(), vlm_state_dict(*small_model(small_config()))),
              "a dense model: was --use_moe false meant?");
  LmConfig unshared = small_moe_config();
  unshared.has_shared_experts = false;
  EXPECT_SAYS(load_error(small_moe_config(), vlm_state_dict(*small_model(unshared))), "--n_shared_experts false");
  LmConfig inner = small_config();
  inner.hidden_dim = 56;
  EXPECT_SAYS(load_error(small_config(), vlm_state_dict(*small_model(inner))), "was --hidden_dim 56 meant?");
  LmConfig heads = small_config();
  heads.n_kv_heads = 4;
  EXPECT_SAYS(load_error(small_config(), vlm_state_dict(*small_model(heads))), "was --n_kv_heads 4 meant?");
  LmConfig vision = small_config();
  vision.vision_dim = 48;
  EXPECT_SAYS(load_error(small_config(), vlm_state_dict(*small_model(vision))), "another --clip_dir");
}

TEST(LoadVlm, KnowsForeignWeights) {
  StateDict later;
  later.add("model.embed_tokens.weight", at::zeros({80, 32}));
  later.add("model.layers.0.self_attn.q_proj.weight", at::zeros({32, 32}));
  EXPECT_SAYS(load_error(small_config(), later), "a later MiniMind generation");
  EXPECT_SAYS(load_error(small_config(), later), "half-split");
  StateDict clip;
  clip.add("vision_model.embeddings.class_embedding", at::zeros({32}));
  EXPECT_SAYS(load_error(small_config(), clip), "a CLIP encoder");
  StateDict other;
  other.add("fc.weight", at::zeros({3}));
  EXPECT_SAYS(load_error(small_config(), other), "not the weights of a MiniMind language model");
  StateDict integers = without(vlm_state_dict(*small_model(small_config())), "norm.weight");
  integers.add("norm.weight", at::zeros({32}, at::kLong));
  EXPECT_SAYS(load_error(small_config(), integers), "norm.weight expected floating-point numbers");
}

TEST(FindModel, DeducesTheShapeAndSaysWhatItAssumed) {
  const TemporaryFolder folder;
  LmConfig config = small_moe_config();
  config.n_heads = 16;
  config.n_kv_heads = 8;
  write_pth(folder / "32_moe_vlm_sft.pth", vlm_state_dict(*small_model(config)));
  const ModelFile file = find_model(folder / "32_moe_vlm_sft.pth");
  EXPECT_FALSE(file.config_is_given);
  EXPECT_EQ(file.stage, "vlm_sft");
  EXPECT_SAYS(file.notice, "n_heads 16, n_kv_heads 8");
  EXPECT_EQ(lm_config_to_json(file.config), lm_config_to_json([&] {
              LmConfig expected;
              expected.dim = 32, expected.n_layers = 2, expected.vocab_size = 80, expected.hidden_dim = 48;
              expected.vision_dim = 24, expected.use_moe = true, expected.n_routed_experts = 3;
              return expected;
            }()));
  Vlm model(file.config);
  EXPECT_NO_THROW(load_vlm(*model, file.state, "x.pth"));
}

TEST(FindModel, ReadsTheConfigurationThatBelongsToTheFile) {
  const TemporaryFolder folder;
  const LmConfig config = small_config();
  const StateDict state = vlm_state_dict(*small_model(config));
  write_pth(folder / "a.pth", state);
  // Of another model: left out of account, and said so.
  LmConfig other = config;
  other.n_layers = 7;
  write_file_atomically(folder / "config.json", lm_config_to_json(other));
  const LmConfig guessed = find_model(folder / "a.pth").config;
  EXPECT_EQ(guessed.n_layers, 2);
  EXPECT_EQ(guessed.n_heads, 16);
  EXPECT_SAYS(find_model(folder / "a.pth").notice, "another shape");
  write_file_atomically(folder / "config.json", lm_config_to_json(config));
  EXPECT_EQ(find_model(folder / "a.pth").config.n_heads, 4);
  EXPECT_EQ(find_model(folder / "a.pth").notice, "");
  // The file's own comes first.
  LmConfig own = config;
  own.norm_eps = 1e-6;
  write_file_atomically(folder / "a.json", lm_config_to_json(own));
  EXPECT_EQ(find_model(folder / "a.pth").config.norm_eps, 1e-6);
  EXPECT_TRUE(find_model(folder / "a.pth").config_is_given);
}

TEST(FindModel, OpensATrainingCheckpoint) {
  const TemporaryFolder folder;
  const Vlm source = small_model(small_config());
  StateDict state = renamed(without(vlm_state_dict(*source), "output."), [](auto& key) { return "model." + key; });
  state.add("adam.step", at::scalar_tensor(3, at::kLong));
  const std::string config = nlohmann::json{{"config", lm_config_to_json(small_config())}, {"stage", "sft"}}.dump();
  write_safetensors(folder / "step_1.safetensors", state, {{kCheckpointMetadataKey, config}});
  const ModelFile file = find_model(folder / "step_1.safetensors");
  EXPECT_EQ(file.config.n_heads, 4);
  EXPECT_EQ(file.stage, "vlm_sft");
  Vlm target(file.config);
  load_vlm(*target, file.state, "step");
  expect_equal_weights(*source, *target);
}

TEST(FindModel, WarnsOfAnEarlierStage) {
  ModelFile file;
  file.weights = "out/512_vlm_pretrain.pth";
  file.stage = "vlm_pretrain";
  EXPECT_SAYS(stage_warning(file, "vlm_sft"), "vlm_pretrain where vlm_sft is meant");
  EXPECT_EQ(stage_warning(file, "vlm_pretrain"), "");
  file.stage = "vlm_sft_multi";
  EXPECT_EQ(stage_warning(file, "vlm_sft"), "");
  file.stage = "";
  EXPECT_EQ(stage_warning(file, "vlm_sft"), "");
}

TEST(FindModel, SaysWhatIsThereInstead) {
  const TemporaryFolder folder;
  EXPECT_SAYS(error_of([&] { find_model(folder / "none.pth"); }), "found nothing there");
  EXPECT_SAYS(error_of([&] { find_model(folder.path()); }), "expected model.safetensors or pytorch_model.bin");
  write_file_atomically(folder / "model.safetensors.index.json", "{}");
  EXPECT_SAYS(error_of([&] { find_model(folder.path()); }), "in one piece");
  StateDict clip;
  clip.add("vision_model.embeddings.class_embedding", at::zeros({32}));
  write_pth(folder / "clip.pth", clip);
  EXPECT_SAYS(error_of([&] { find_model(folder / "clip.pth"); }), "a CLIP encoder");
}

TEST(FindModel, RefusesAModelThatIsHugeByItsConfigurationAlone) {
  const TemporaryFolder folder;
  const StateDict state = vlm_state_dict(*small_model(small_config()));
  write_pth(folder / "pytorch_model.bin", state);
  LmConfig huge = small_config();
  huge.dim = 65536;
  huge.n_layers = 1000;
  write_file_atomically(folder / "config.json", lm_config_to_json(huge));
  const std::string message = error_of([&] { find_model(folder.path()); });
  EXPECT_SAYS(message, "million parameters, as its configuration says");
  EXPECT_SAYS(message, "--dim 32 --n_layers 2");
  StateDict far = without(state, "layers.1.");
  far.add("layers.999999.attention.wq.weight", at::zeros({32, 32}));
  write_pth(folder / "far.pth", far);
  EXPECT_LE(find_model(folder / "far.pth").config.n_layers, static_cast<int64_t>(far.size()));
}

at::Tensor logits_of(VlmImpl& model) {
  const at::NoGradGuard without_gradients;
  VlmInput input;
  input.ids = at::arange(12, at::kLong).view({2, 6});
  return model.logits(model.hidden(input));
}

TEST(ExportModel, GoesToEveryFormAndBackWithTheSameLogits) {
  const TemporaryFolder folder;
  const LmConfig config = small_moe_config();
  Vlm source = small_model(config);
  write_pth(folder / "32_moe_vlm_sft.pth", vlm_state_dict(*source));
  write_file_atomically(folder / "32_moe_vlm_sft.json", lm_config_to_json(config));
  std::filesystem::create_directory(folder / "tokenizer");
  write_file_atomically(folder / "tokenizer/tokenizer.json", "{\"a\": 1}");
  write_file_atomically(folder / "tokenizer/readme.txt", "no tokenizer file");
  std::filesystem::path last = folder / "32_moe_vlm_sft.pth";
  const auto step = [&](const std::string& target, const std::string& weights) {
    ExportOptions options;
    options.target = folder / target;
    options.weights = weights;
    options.tokenizer = folder / "tokenizer";
    export_model(find_model(last), options);
    last = options.target;
    const ModelFile file = find_model(last);
    EXPECT_TRUE(file.config_is_given || target.ends_with(".pth")) << target;
    Vlm found(file.config_is_given ? file.config : config);
    load_vlm(*found, file.state, target);
    found->eval();
    EXPECT_TRUE(same_bytes(logits_of(*found), logits_of(*source))) << target;
    expect_equal_weights(*found, *source);
  };
  step("hf_safetensors", "safetensors");
  step("one.safetensors", "safetensors");
  EXPECT_EQ(find_model(last).config.n_heads, config.n_heads);
  step("hf_bin", "bin");
  step("back.pth", "bin");
  EXPECT_EQ(testing::read_bytes(folder / "hf_bin/tokenizer.json"), "{\"a\": 1}");
  EXPECT_FALSE(std::filesystem::exists(folder / "hf_bin/readme.txt"));
  EXPECT_EQ(testing::read_bytes(folder / "back.pth"), testing::read_bytes(folder / "32_moe_vlm_sft.pth"));
}

TEST(ExportModel, LeavesALanguageOnlyCheckpointOne) {
  const TemporaryFolder folder;
  write_pth(folder / "a.pth", without(vlm_state_dict(*small_model(small_config())), "vision_proj."));
  ExportOptions options;
  options.target = folder / "b.pth";
  options.dtype = "bfloat16";
  ModelFile file = find_model(folder / "a.pth");
  EXPECT_EQ(export_model(file, options).size(), 1U);
  const StateDict state = read_state_dict(folder / "b.pth");
  EXPECT_EQ(state.find("vision_proj.vision_proj.0.weight"), nullptr);
  EXPECT_EQ(state.find("norm.weight")->scalar_type(), at::kBFloat16);
  EXPECT_EQ(state.find("output.weight")->const_data_ptr(), state.find("tok_embeddings.weight")->const_data_ptr());
}

}  // namespace
}  // namespace minimind
