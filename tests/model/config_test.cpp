#include "minimind/model/config.h"

#include <gtest/gtest.h>

#include "io/io_support.h"
#include "minimind/base/error.h"

namespace minimind {
namespace {

using testing::error_of;

LmConfig parse(const std::string& json) {
  return lm_config_from_json(json, "config.json");
}

std::string config_error(const std::string& json) {
  return error_of([&] { parse(json); });
}

TEST(LmConfig, HasTheInnerWidthsOfTheReleasedModels) {
  LmConfig config;
  EXPECT_EQ(config.inner_dim(), 1408);
  config.dim = 768;
  EXPECT_EQ(config.inner_dim(), 2048);
  config.hidden_dim = 100;
  EXPECT_EQ(config.inner_dim(), 100);
}

TEST(LmConfig, LeavesTheSharedExpertOutForNullAlone) {
  EXPECT_TRUE(parse("{}").has_shared_experts);
  EXPECT_TRUE(parse(R"({"n_shared_experts": true})").has_shared_experts);
  EXPECT_TRUE(parse(R"({"n_shared_experts": false})").has_shared_experts);
  EXPECT_TRUE(parse(R"({"n_shared_experts": 0})").has_shared_experts);
  EXPECT_FALSE(parse(R"({"n_shared_experts": null})").has_shared_experts);
}

TEST(LmConfig, GoesThroughJsonUnchanged) {
  LmConfig config;
  config.dim = 64;
  config.n_heads = 4;
  config.n_kv_heads = 2;
  config.use_moe = true;
  config.has_shared_experts = false;
  config.hidden_dim = 72;
  config.image_ids = {30, 32};
  config.norm_eps = 1e-6;
  const std::string json = lm_config_to_json(config);
  EXPECT_EQ(lm_config_to_json(parse(json)), json);
  EXPECT_FALSE(parse(json).has_shared_experts);
  EXPECT_EQ(parse(json).hidden_dim, 72);
  EXPECT_NE(json.find("\"n_shared_experts\": null"), std::string::npos);
}

TEST(LmConfig, IgnoresBookkeepingAndRefusesOtherKeys) {
  const LmConfig config = parse(R"({"model_type": "minimind", "architectures": ["X"], "auto_map": {"a": "b"},
    "torch_dtype": "float32", "dtype": "float32", "transformers_version": "4.44.0", "dim": 768, "hidden_dim": null})");
  EXPECT_EQ(config.dim, 768);
  EXPECT_FALSE(config.hidden_dim.has_value());
  EXPECT_NE(config_error(R"({"n_layer": 8})").find("was \"n_layers\" meant?"), std::string::npos);
  EXPECT_NE(config_error(R"({"shared_experts": true})"), "");
  EXPECT_NE(config_error(R"({"model_type": "llama"})").find("another model"), std::string::npos);
  EXPECT_NE(config_error(R"({"num_hidden_layers": 8, "hidden_size": 512})").find("later MiniMind"), std::string::npos);
  EXPECT_NE(config_error("{\n  \"dim\": ,}").find("line 2"), std::string::npos);
  EXPECT_NE(config_error(R"({"dim": "512"})").find("key \"dim\""), std::string::npos);
  EXPECT_NE(config_error("[]"), "");
}

TEST(LmConfig, RefusesShapesThatCannotBe) {
  for (const char* json :
       {R"({"dim": 500})", R"({"n_heads": 0})", R"({"n_kv_heads": 3})", R"({"dim": 48})", R"({"vocab_size": 0})",
        R"({"norm_eps": 0})", R"({"dropout": 1})", R"({"n_layers": -1})", R"({"image_ids": [6400]})",
        R"({"use_moe": true, "num_experts_per_tok": 5})", R"({"use_moe": true, "scoring_func": "sigmoid"})",
        R"({"hidden_dim": 0})", R"({"dim": 99999999999})"}) {
    EXPECT_NE(config_error(json), "") << json;
  }
}

TEST(ClipVisionConfig, IsReadNestedAndFlat) {
  const char* nested = R"({"model_type": "clip", "vision_config": {"model_type": "clip_vision_model",
    "hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, "intermediate_size": 128, "dropout": 0.0}})";
  const char* flat = R"({"model_type": "clip_vision_model", "hidden_size": 64, "num_attention_heads": 4,
    "num_hidden_layers": 2, "intermediate_size": 128, "projection_dim": 512})";
  for (const char* json : {nested, flat}) {
    const ClipVisionConfig config = clip_config_from_json(json, "config.json");
    EXPECT_EQ(config.hidden_size, 64);
    EXPECT_EQ(config.num_hidden_layers, 2);
    EXPECT_EQ(config.tokens(), 50);
  }
  EXPECT_EQ(clip_config_from_json(R"({"model_type": "clip", "vision_config": {}})", "x").hidden_size, 768);
}

TEST(ClipVisionConfig, RefusesOtherEncoders) {
  for (const char* json : {R"({"model_type": "siglip"})", R"({"hidden_act": "gelu"})", R"({"patch_size": 30})",
                           R"({"num_channels": 1})", R"({"hidden_size": 70})", R"({"vision_config": 5})", "{"}) {
    EXPECT_NE(error_of([&] { clip_config_from_json(json, "config.json"); }), "") << json;
  }
}

}  // namespace
}  // namespace minimind
