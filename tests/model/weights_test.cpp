#include "minimind/model/weights.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "io/checkpoint_keys.h"
#include "io/io_support.h"
#include "minimind/base/file.h"
#include "model/all_finite.h"
#include "model/weights_support.h"
#include "support/fixtures.h"

namespace minimind {
namespace {

using testing::error_of;
using testing::expect_equal_weights;
using testing::fixtures_dir;
using testing::model_config;
using testing::moe_config;
using testing::renamed;
using testing::same_bytes;
using testing::small_model;
using testing::TemporaryFolder;
using testing::without;

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
  const Vlm source = small_model(moe_config());
  Vlm target = small_model(moe_config(), 6);
  const LoadReport report = load_vlm(*target, vlm_state_dict(*source), "x.pth");
  expect_equal_weights(*source, *target);
  EXPECT_EQ(report.modules.at("vision_proj").matched, 2);
  EXPECT_EQ(report.modules.at("output").matched, 1);
  EXPECT_EQ(report.total().matched, static_cast<int64_t>(vlm_state_dict(*source).size()));
  EXPECT_EQ(report.total().missing + report.total().unexpected + report.total().wrong_shape, 0);
  EXPECT_SAYS(report.summary(), "vision_proj");
}

TEST(LoadVlm, StripsWrappersAndSkipsLeftovers) {
  const Vlm source = small_model(model_config());
  for (const std::string prefix : {"_orig_mod.", "module.", "module._orig_mod.", "_orig_mod.module."}) {
    StateDict state = renamed(vlm_state_dict(*source), [&](const std::string& key) { return prefix + key; });
    state.add(prefix + "layers.0.attention.mask", at::ones({2, 2}));
    state.add(prefix + "pos_cis", at::polar(at::ones({2, 2}), at::ones({2, 2})));
    Vlm target = small_model(model_config(), 6);
    const LoadReport report = load_vlm(*target, state, "x.pth");
    expect_equal_weights(*source, *target);
    EXPECT_EQ(report.total().skipped, 2);
  }
}

TEST(LoadVlm, AcceptsEitherOfTheTiedPairAndRefusesTwoThatDiffer) {
  const Vlm source = small_model(model_config());
  const StateDict state = vlm_state_dict(*source);
  for (const char* absent : {"output.weight", "tok_embeddings.weight"}) {
    Vlm target = small_model(model_config(), 6);
    load_vlm(*target, without(state, absent), "x.pth");
    expect_equal_weights(*source, *target);
  }
  StateDict differing = without(state, "output.weight");
  differing.add("output.weight", state.find("output.weight")->add(1e-3));
  EXPECT_SAYS(load_error(model_config(), differing), "found two different ones");
  EXPECT_SAYS(load_error(model_config(), without(without(state, "output.weight"), "tok_embeddings.weight")),
              "tok_embeddings.weight expected [80, 32], found none");
}

TEST(LoadVlm, KeepsTheProjectionOfALanguageOnlyCheckpointUnlessItIsWanted) {
  const Vlm source = small_model(model_config());
  const StateDict state = without(vlm_state_dict(*source), "vision_proj.");
  Vlm target = small_model(model_config(), 6);
  const at::Tensor projection = target->projection()->weight.clone();
  const LoadReport report = load_vlm(*target, state, "x.pth");
  EXPECT_TRUE(report.lacks_projection());
  EXPECT_EQ(report.missing_allowed.size(), 2U);
  EXPECT_TRUE(same_bytes(projection, target->projection()->weight));
  LoadOptions strict;
  strict.allow_missing_projection = false;
  EXPECT_SAYS(load_error(model_config(), state, strict), "a language-only checkpoint");
  // Half a projection is no language-only checkpoint.
  EXPECT_SAYS(load_error(model_config(), without(vlm_state_dict(*source), "vision_proj.vision_proj.0.bias")),
              "vision_proj.vision_proj.0.bias expected [32], found none");
}

TEST(LoadVlm, AllowsTheMissingKeysThatWereListed) {
  const Vlm source = small_model(model_config());
  const StateDict state = without(vlm_state_dict(*source), "layers.1.");
  EXPECT_SAYS(load_error(model_config(), state), "layers.1.attention.wq.weight expected [32, 32], found none");
  LoadOptions options;
  options.allow_missing = {"layers.1."};
  Vlm target = small_model(model_config(), 6);
  EXPECT_EQ(load_vlm(*target, state, "x.pth", options).missing_allowed.size(), 9U);
}

TEST(LoadVlm, NamesWhatIsAbsentAsAllowed) {
  const StateDict state = without(vlm_state_dict(*small_model(model_config())), "norm.weight");
  LoadOptions options;
  options.allow_missing = {"norm"};
  Vlm target = small_model(model_config());
  EXPECT_SAYS(load_vlm(*target, state, "x.pth", options).summary(), "absent, as allowed: norm.weight");
  // An empty list entry is no prefix of everything.
  options.allow_missing = {""};
  EXPECT_SAYS(load_error(model_config(), state, options), "1 of 23 keys do not fit (22 matched, 1 missing,");
  // What may be absent is told apart from what may not.
  EXPECT_SAYS(load_error(model_config(), StateDict()),
              "20 of 22 keys do not fit (0 matched, 22 missing, of which 2 may be");
}

TEST(LoadVlm, ShowsTheCountsByModuleOfWhatItRefuses) {
  ::testing::internal::CaptureStderr();
  load_error(model_config(), without(vlm_state_dict(*small_model(model_config())), "norm.weight"));
  const std::string shown = ::testing::internal::GetCapturedStderr();
  EXPECT_SAYS(shown, "out/file.pth does not fit:\n  layers                      18 matched");
  EXPECT_SAYS(shown, "  norm                         0 matched    1 missing");
}

TEST(AllFinite, FindsNanAndInfinityAtAnyPlace) {
  EXPECT_TRUE(detail::all_finite(at::empty({0})));
  for (const at::ScalarType dtype : {at::kFloat, at::kHalf, at::kBFloat16, at::kDouble}) {
    at::Tensor numbers = at::arange(-40, 41).to(dtype);
    EXPECT_TRUE(detail::all_finite(numbers));
    for (int64_t i = 0; i < numbers.numel(); ++i) {
      for (const double wrong : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
        at::Tensor damaged = numbers.clone();
        damaged[i] = wrong;
        EXPECT_FALSE(detail::all_finite(damaged)) << c10::toString(dtype) << " " << i << " " << wrong;
      }
    }
  }
}

TEST(LoadVlm, RefusesNumbersThatAreNone) {
  for (const double wrong : {std::nan(""), HUGE_VAL}) {
    for (const at::ScalarType dtype : {at::kFloat, at::kHalf, at::kBFloat16, at::kDouble}) {
      StateDict state;
      for (const auto& [key, tensor] : vlm_state_dict(*small_model(model_config())).entries()) {
        state.add(key, tensor.to(dtype).clone());
      }
      EXPECT_EQ(error_of([&] {
                  Vlm target = small_model(model_config());
                  load_vlm(*target, without(state, "output.weight"), "x.pth");
                }),
                "");
      state.find("layers.1.attention.wo.weight")->view(-1)[1023] = wrong;
      EXPECT_SAYS(load_error(model_config(), without(state, "output.weight")),
                  "key \"layers.1.attention.wo.weight\": expected numbers, found NaN or infinity");
    }
  }
}

TEST(LoadVlm, RefusesAKeyThatIsThereWithAndWithoutAPrefix) {
  StateDict state = vlm_state_dict(*small_model(model_config()));
  state.add("module.norm.weight", at::zeros({32}));
  EXPECT_SAYS(load_error(model_config(), state), "norm.weight is there twice, with and without a prefix");
  state = vlm_state_dict(*small_model(model_config()));
  state.add("x\x1b[31m\n", at::zeros({1}));
  ::testing::internal::CaptureStderr();
  EXPECT_SAYS(load_error(model_config(), state), "x\\u001b[31m\\u000a [1] unexpected");
  EXPECT_EQ(::testing::internal::GetCapturedStderr().find('\x1b'), std::string::npos);
}

TEST(LoadVlm, NamesTheFlagsThatWouldFit) {
  LmConfig wide = model_config();
  wide.dim = 64;
  wide.n_layers = 3;
  wide.vocab_size = 90;
  const std::string message = load_error(model_config(), vlm_state_dict(*small_model(wide)));
  EXPECT_SAYS(message, "out/file.pth: ");
  EXPECT_SAYS(message, "tok_embeddings.weight expected [80, 32], found [90, 64]");
  EXPECT_SAYS(message, "was --dim 64 --n_layers 3 --vocab_size 90 meant?");
  EXPECT_SAYS(load_error(model_config(), vlm_state_dict(*small_model(moe_config()))),
              "a mixture-of-experts model: was --use_moe true --n_routed_experts 3 meant?");
  EXPECT_SAYS(load_error(moe_config(), vlm_state_dict(*small_model(model_config()))),
              "a dense model: was --use_moe false meant?");
  LmConfig unshared = moe_config();
  unshared.has_shared_experts = false;
  EXPECT_SAYS(load_error(moe_config(), vlm_state_dict(*small_model(unshared))), "--n_shared_experts false");
  LmConfig inner = model_config();
  inner.hidden_dim = 56;
  EXPECT_SAYS(load_error(model_config(), vlm_state_dict(*small_model(inner))), "was --hidden_dim 56 meant?");
  LmConfig heads = model_config();
  heads.n_kv_heads = 4;
  EXPECT_SAYS(load_error(model_config(), vlm_state_dict(*small_model(heads))),
              "was --n_kv_heads 4 (if --n_heads is 4; the file shows only their ratio) meant?");
  LmConfig vision = model_config();
  vision.vision_dim = 48;
  EXPECT_SAYS(load_error(model_config(), vlm_state_dict(*small_model(vision))), "another --clip_dir");
}

TEST(LoadVlm, KnowsForeignWeights) {
  StateDict later;
  later.add("model.embed_tokens.weight", at::zeros({80, 32}));
  later.add("model.layers.0.self_attn.q_proj.weight", at::zeros({32, 32}));
  EXPECT_SAYS(load_error(model_config(), later), "a later MiniMind generation");
  EXPECT_SAYS(load_error(model_config(), later), "half-split");
  StateDict clip;
  clip.add("vision_model.embeddings.class_embedding", at::zeros({32}));
  EXPECT_SAYS(load_error(model_config(), clip), "a CLIP encoder");
  StateDict other;
  other.add("fc.weight", at::zeros({3}));
  EXPECT_SAYS(load_error(model_config(), other), "not the weights of a MiniMind language model");
  StateDict integers = without(vlm_state_dict(*small_model(model_config())), "norm.weight");
  integers.add("norm.weight", at::zeros({32}, at::kLong));
  EXPECT_SAYS(load_error(model_config(), integers), "norm.weight expected floating-point numbers");
}

TEST(FindModel, DeducesTheShapeAndSaysWhatItAssumed) {
  const TemporaryFolder folder;
  LmConfig config = moe_config();
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
  const LmConfig config = model_config();
  const StateDict state = vlm_state_dict(*small_model(config));
  write_pth(folder / "a.pth", state);
  // Of another model: ignored, and the notice says so.
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

TEST(FindModel, GoesByContentNotByName) {
  const TemporaryFolder folder;
  const LmConfig config = model_config();
  const StateDict state = without(vlm_state_dict(*small_model(config)), "output.weight");
  write_safetensors(folder / "a.pth", state, {{"config", lm_config_to_json(config)}, {"stage", "vlm_sft"}});
  EXPECT_TRUE(find_model(folder / "a.pth").config_is_given);
  EXPECT_EQ(find_model(folder / "a.pth").config.n_heads, config.n_heads);
  EXPECT_EQ(find_model(folder / "a.pth").stage, "vlm_sft");
  write_pth(folder / "b.safetensors", state);
  EXPECT_FALSE(find_model(folder / "b.safetensors").config_is_given);
  EXPECT_SAYS(find_model(folder / "b.safetensors").notice, "give them in a configuration beside it, b.json");
}

TEST(FindModel, NamesTheFileOfAConfigurationThatCannotBe) {
  const TemporaryFolder folder;
  write_pth(folder / "a.pth", vlm_state_dict(*small_model(model_config())));
  LmConfig config = model_config();
  config.n_heads = 5;
  write_file_atomically(folder / "a.json", lm_config_to_json(config));
  const std::string told = error_of([&] { find_model(folder / "a.pth"); });
  EXPECT_SAYS(told, "a.json: model configuration: dim: expected a multiple of n_heads = 5");
}

TEST(FindModel, OpensATrainingCheckpoint) {
  const TemporaryFolder folder;
  const Vlm source = small_model(model_config());
  StateDict state = renamed(without(vlm_state_dict(*source), "output."), [](auto& key) { return "model." + key; });
  state.add("adam.step", at::scalar_tensor(3, at::kLong));
  const std::string config = nlohmann::json{{"config", lm_config_to_json(model_config())}, {"stage", "sft"}}.dump();
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
  EXPECT_SAYS(stage_warning(file, "vlm_sft"),
              "expected a file of the stage vlm_sft, found one of the stage vlm_pretrain");
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
  EXPECT_SAYS(error_of([&] { find_model(folder.path()); }), "expected an object \"weight_map\"");
  StateDict clip;
  clip.add("vision_model.embeddings.class_embedding", at::zeros({32}));
  write_pth(folder / "clip.pth", clip);
  EXPECT_SAYS(error_of([&] { find_model(folder / "clip.pth"); }), "a CLIP encoder");
}

TEST(FindModel, RefusesAModelThatIsHugeByItsConfigurationAlone) {
  const TemporaryFolder folder;
  const StateDict state = vlm_state_dict(*small_model(model_config()));
  write_pth(folder / "pytorch_model.bin", state);
  LmConfig huge = model_config();
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

}  // namespace
}  // namespace minimind
