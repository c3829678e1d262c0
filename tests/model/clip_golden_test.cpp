#include "minimind/model/clip_vision.h"
#include "model/golden_model.h"

namespace minimind::testing {
namespace {

/// The features of one `….encoder_out`, from the bytes and, where given, from the pixel values.
void check_image(ClipVision& encoder, const StateDict& images, const std::string& stem, const at::Tensor& golden) {
  SCOPED_TRACE(stem);
  if (const at::Tensor* bytes = images.find(stem + ".u8_chw")) {
    EXPECT_LE(relative_error(encoder->encode(bytes->unsqueeze(0))[0], golden), kGoldenTolerance);
  } else {
    ADD_FAILURE() << "expected.safetensors holds no " << stem << ".u8_chw";
  }
  if (const at::Tensor* pixels = images.find(stem + ".pixel_values")) {
    EXPECT_LE(relative_error(encoder->forward(pixels->unsqueeze(0))[0], golden), kGoldenTolerance);
  }
}

TEST(GoldenClip, FeaturesOfEveryImageAgree) {
  MINIMIND_REQUIRE_FIXTURES();
  ClipVision encoder = load_clip_vision(fixtures_dir() / "clip");
  encoder->to(test_device());
  const int64_t size = encoder->config().image_size;
  const StateDict images = read_golden_tensors(fixtures_dir() / "images" / "expected.safetensors");
  const std::string suffix = ".encoder_out";
  size_t ran = 0, total = 0;
  std::vector<at::Tensor> pixels, features;
  for (const auto& [key, golden] : images.entries()) {
    if (!key.ends_with(suffix)) {
      continue;
    }
    ++total;
    const std::string stem = key.substr(0, key.size() - suffix.size());
    if (stem == "zero_padding_image") {
      const at::Tensor zeros = at::zeros({1, 3, size, size}, test_device());
      EXPECT_LE(relative_error(encoder->forward(zeros)[0], golden), kGoldenTolerance);
    } else {
      check_image(encoder, images, stem, golden);
      pixels.push_back(*images.find(stem + ".u8_chw"));
      features.push_back(golden);
    }
    ++ran;
  }
  EXPECT_LE(relative_error(encoder->encode(at::stack(pixels)), at::stack(features)), kGoldenTolerance);
  golden_ran("clip", ran, total);
}

/// Every entry of the manifest must belong to a kind that some test reads: a set with more in it must not pass unseen.
TEST(GoldenManifest, HoldsNoUnknownKinds) {
  MINIMIND_REQUIRE_FIXTURES();
  const nlohmann::json manifest = fixtures_manifest();
  const std::regex top("versions|lm|clip|images|encoder_batch_shapes|images_note|image_tensors|tokenizer|note|notes");
  for (const auto& [key, value] : manifest.items()) {
    EXPECT_TRUE(std::regex_match(key, top)) << "manifest: unknown kind " << key;
  }
  const std::regex part(
      "config|seed|state_dict|cases|upstream_errors|generation|tensors|grad(_fp32buffer)?(_train[0-9]+)?|"
      "moe_train_(fp32_upstream|cpu_autocast_(float16|bfloat16))|note|notes");
  const std::regex case_tensor(
      "X|Y|loss_mask|final_norm_out|logits|logits_pos|logits_rows|logits_lse|logits_argmax|per_token_ce|"
      "last_only_logits");
  const std::regex generation_tensor("prompt|probs_.*");
  for (const auto& [name, model] : manifest.at("lm").items()) {
    for (const auto& [key, value] : model.items()) {
      EXPECT_TRUE(std::regex_match(key, part)) << "manifest: " << name << ": unknown kind " << key;
    }
    for (const auto& [key, value] : model.at("tensors").items()) {
      const std::string group = key.substr(0, key.find('.')), rest = key.substr(key.find('.') + 1);
      bool known = model.at("cases").contains(group) && std::regex_match(rest, case_tensor);
      known |= group.starts_with("gen_") && model.at("generation").contains(group.substr(4)) &&
               std::regex_match(rest, generation_tensor);
      for (const auto& [gradients, cases] : model.items()) {
        known |= gradients.starts_with("grad") && group == gradients + "_final";
        known |= gradients.starts_with("grad") && group.starts_with(gradients + "_") && cases.is_object() &&
                 cases.contains(group.substr(gradients.size() + 1));
      }
      EXPECT_TRUE(known) << "manifest: " << name << ": tensor of unknown kind " << key;
    }
  }
  const std::regex image_tensor(R"(.*\.(u8_chw|encoder_out|pixel_values|decoded_hwc))");
  for (const auto& [key, value] : manifest.at("image_tensors").items()) {
    EXPECT_TRUE(std::regex_match(key, image_tensor)) << "manifest: image tensor of unknown kind " << key;
  }
}

}  // namespace
}  // namespace minimind::testing
