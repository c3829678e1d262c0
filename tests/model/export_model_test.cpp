#include "minimind/model/export_model.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "minimind/base/file.h"
#include "model/weights_support.h"

namespace minimind {
namespace {

using testing::error_of;
using testing::expect_equal_weights;
using testing::model_config;
using testing::moe_config;
using testing::same_bytes;
using testing::small_model;
using testing::TemporaryFolder;
using testing::without;

at::Tensor logits_of(VlmImpl& model) {
  const at::NoGradGuard without_gradients;
  VlmInput input;
  input.ids = at::arange(12, at::kLong).view({2, 6});
  return model.logits(model.hidden(input));
}

TEST(ExportModel, GoesToEveryFormAndBackWithTheSameLogits) {
  const TemporaryFolder folder;
  const LmConfig config = moe_config();
  Vlm source = small_model(config);
  const std::string text = lm_config_to_json(config) + "\n";
  write_pth(folder / "32_moe_vlm_sft.pth", vlm_state_dict(*source), text);
  write_file_atomically(folder / "32_moe_vlm_sft.json", text);
  std::filesystem::create_directory(folder / "tokenizer");
  write_file_atomically(folder / "tokenizer/tokenizer.json", "{\"a\": 1}");
  write_file_atomically(folder / "tokenizer/readme.txt", "no tokenizer file");
  std::filesystem::path last = folder / "32_moe_vlm_sft.pth";
  const auto step = [&](const std::string& target, const std::string& weights) {
    ExportOptions options;
    options.target = folder / target;
    options.weights = weights;
    if (exports_folder(options.target)) {
      options.tokenizer = folder / "tokenizer";
    }
    export_model(find_model(last), options);
    last = options.target;
    const ModelFile file = find_model(last);
    EXPECT_TRUE(file.config_is_given) << target;
    Vlm found(file.config);
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
  step("CAPITALS.PTH", "safetensors");
  EXPECT_EQ(testing::read_bytes(folder / "CAPITALS.PTH"), testing::read_bytes(folder / "back.pth"));
}

TEST(ExportModel, LeavesALanguageOnlyCheckpointOne) {
  const TemporaryFolder folder;
  write_pth(folder / "a.pth", without(vlm_state_dict(*small_model(model_config())), "vision_proj."));
  ExportOptions options;
  options.target = folder / "b.pth";
  options.dtype = "bfloat16";
  ModelFile file = find_model(folder / "a.pth");
  EXPECT_EQ(export_model(file, options).size(), 2U);
  const StateDict state = read_state_dict(folder / "b.pth");
  EXPECT_EQ(state.find("vision_proj.vision_proj.0.weight"), nullptr);
  EXPECT_EQ(state.find("norm.weight")->scalar_type(), at::kBFloat16);
  EXPECT_EQ(state.find("output.weight")->const_data_ptr(), state.find("tok_embeddings.weight")->const_data_ptr());
}

TEST(ExportModel, KeepsSettingsThatTheShapesDoNotTell) {
  const TemporaryFolder folder;
  LmConfig config = moe_config();
  config.norm_topk_prob = false;
  config.seq_aux = false;
  write_safetensors(folder / "a.safetensors", without(vlm_state_dict(*small_model(config)), "output.weight"),
                    {{"config", lm_config_to_json(config)}});
  ExportOptions options;
  options.target = folder / "b.pth";
  export_model(find_model(folder / "a.safetensors"), options);
  EXPECT_EQ(lm_config_to_json(find_model(folder / "b.pth").config), lm_config_to_json(config));
}

TEST(ExportModel, RefusesATargetThatHoldsSomethingElse) {
  const TemporaryFolder folder;
  write_pth(folder / "a.pth", vlm_state_dict(*small_model(model_config())));
  const auto refusal = [&](const std::string& target, const std::string& weights = "safetensors") {
    ExportOptions options;
    options.target = folder / target;
    options.weights = weights;
    return error_of([&] { export_model(find_model(folder / "a.pth"), options); });
  };
  EXPECT_EQ(refusal("hf"), "");
  EXPECT_EQ(refusal("hf"), "") << "the same form takes the place of an earlier export";
  EXPECT_NE(refusal("hf", "bin").find("found model.safetensors, which would stay beside pytorch_model.bin"),
            std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(folder / "hf/pytorch_model.bin"));

  std::filesystem::create_directory(folder / "clip");
  write_file_atomically(folder / "clip/config.json", R"({"model_type": "clip_vision_model"})");
  write_file_atomically(folder / "clip/model.safetensors", "weights");
  EXPECT_NE(refusal("clip").find("this is the configuration of another model"), std::string::npos);
  EXPECT_EQ(testing::read_bytes(folder / "clip/model.safetensors"), "weights");

  write_file_atomically(folder / "sft.json", "[]");
  EXPECT_NE(refusal("sft.pth").find("give --out another name"), std::string::npos);
  EXPECT_EQ(testing::read_bytes(folder / "sft.json"), "[]");
  EXPECT_FALSE(std::filesystem::exists(folder / "sft.pth"));
  EXPECT_NE(refusal("model.pt").find("the name of another kind of file"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(folder / "model.pt"));

  ExportOptions options;
  options.target = folder / "b.pth";
  options.tokenizer = folder / "hf";
  EXPECT_NE(error_of([&] { export_model(find_model(folder / "a.pth"), options); }).find("leave --tokenizer out"),
            std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(folder / "b.pth"));
}

TEST(ExportModel, RefusesNumbersThatTheFormatCannotHold) {
  const TemporaryFolder folder;
  Vlm model = small_model(model_config());
  model->named_parameters()["norm.weight"].detach().fill_(1e6);
  write_pth(folder / "a.pth", vlm_state_dict(*model));
  ExportOptions options;
  options.target = folder / "b.pth";
  options.dtype = "float16";
  const std::string told = error_of([&] { export_model(find_model(folder / "a.pth"), options); });
  EXPECT_NE(told.find("\"norm.weight\": expected numbers that float16 can hold, found the magnitude 1"),
            std::string::npos)
      << told;
  EXPECT_FALSE(std::filesystem::exists(folder / "b.pth"));
  options.dtype = "bfloat16";
  EXPECT_EQ(export_model(find_model(folder / "a.pth"), options).size(), 2U);
}

}  // namespace
}  // namespace minimind
