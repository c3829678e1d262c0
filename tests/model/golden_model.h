#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <regex>
#include <span>
#include <string>
#include <vector>

#include "io/state_dict_file.h"
#include "minimind/base/error.h"
#include "minimind/model/vlm.h"
#include "minimind/model/weights.h"
#include "support/fixtures.h"
#include "support/test_device.h"

namespace minimind::testing {

/// The measure of the golden data: max|a - b| / max|b|.
inline double relative_error(const at::Tensor& ours, const at::Tensor& golden) {
  if (ours.sizes() != golden.sizes()) {
    ADD_FAILURE() << "shapes differ: ours " << ours.sizes() << ", golden " << golden.sizes();
    return 1e30;
  }
  const at::Tensor a = ours.detach().to(at::kDouble);
  const at::Tensor b = golden.to(at::kDouble);
  return ((a - b).abs().max() / b.abs().max().clamp_min(1e-30)).item<double>();
}

constexpr double kGoldenTolerance = 1e-4;

/// Greedy tokens are the golden ones. Only where the golden data itself says that somewhere its two best logits were
/// within 1e-4 may the rest differ from there on (SPEC.md section 7).
template <class Id>
void expect_same_tokens(const std::vector<Id>& ours, const std::vector<Id>& golden, double smallest_margin) {
  constexpr double kTie = 1e-4;
  EXPECT_EQ(ours.size(), golden.size());
  if (smallest_margin > kTie) {
    EXPECT_EQ(ours, golden);
  } else if (ours != golden) {
    std::cout << "greedy tokens leave the golden ones beside a margin of " << smallest_margin << std::endl;
  }
}

/// One folder of lm/: its part of the manifest, its tensors and the model with the golden weights.
struct GoldenModel {
  std::string name;
  nlohmann::json manifest;
  StateDict tensors;
  at::Tensor feature_pool;
  std::vector<TokenId> pattern;
  std::shared_ptr<VlmImpl> model;

  const at::Tensor& tensor(const std::string& key) const {
    const at::Tensor* found = tensors.find(key);
    if (found == nullptr) {
      throw std::runtime_error(name + ": case.safetensors holds no " + key);
    }
    return *found;
  }
  bool has(const std::string& key) const { return tensors.find(key) != nullptr; }
};

/// The ids of the image pattern: of the configuration, else of the set's tokenizer, symbol by symbol.
inline std::vector<TokenId> golden_pattern(const LmConfig& config) {
  if (!config.image_ids.empty()) {
    return {config.image_ids.begin(), config.image_ids.end()};
  }
  const nlohmann::json vocabulary = read_json(fixtures_dir() / "tokenizer" / "tokenizer.json").at("model").at("vocab");
  std::vector<TokenId> pattern;
  for (const char symbol : config.image_special_token) {
    pattern.push_back(vocabulary.at(std::string(1, symbol)).get<TokenId>());
  }
  return pattern;
}

/// Width of the projection's input in the manifest's list of [name, shape].
inline int64_t golden_vision_dim(const nlohmann::json& manifest) {
  for (const auto& entry : manifest.at("state_dict")) {
    if (entry.at(0) == "vision_proj.vision_proj.0.weight") {
      return entry.at(1).at(1).get<int64_t>();
    }
  }
  throw std::runtime_error("manifest: state_dict lists no projection");
}

inline LmConfig golden_config(const nlohmann::json& manifest) {
  LmConfig config = lm_config_from_json(manifest.at("config").dump(), "manifest.json");
  config.vision_dim = golden_vision_dim(manifest);
  return config;
}

inline void load_golden_weights(GoldenModel& golden, const std::string& file = "model.pth") {
  const auto path = fixtures_dir() / "lm" / golden.name / file;
  golden.model = std::make_shared<VlmImpl>(golden_config(golden.manifest));
  load_vlm(*golden.model, read_state_dict(path), path.string());
  golden.model->to(test_device());
  golden.model->eval();
}

/// The tensors of a file, on the device of the test.
inline StateDict read_golden_tensors(const std::filesystem::path& path) {
  StateDict tensors;
  for (const auto& [name, tensor] : read_state_dict(path).entries()) {
    tensors.add(name, tensor.to(test_device()));
  }
  return tensors;
}

inline std::vector<GoldenModel> golden_models() {
  std::vector<GoldenModel> models;
  const nlohmann::json manifest = fixtures_manifest();
  const auto folder = fixtures_dir() / "lm";
  const StateDict features = read_golden_tensors(folder / "features.safetensors");
  for (const auto& [name, part] : manifest.at("lm").items()) {
    GoldenModel golden{name, part, read_golden_tensors(folder / name / "case.safetensors"), *features.find("pool"),
                       {},   {}};
    golden.pattern = golden_pattern(golden_config(part));
    load_golden_weights(golden);
    models.push_back(std::move(golden));
  }
  return models;
}

/// A slice in the manifest's words: `pool[:2, 0]` → [2, 1, P, W], `pool[:2, :2]` → [2, 2, P, W]; null → undefined.
inline at::Tensor golden_features(const GoldenModel& golden, const nlohmann::json& words) {
  if (words.is_null()) {
    return {};
  }
  static const std::regex form(R"(pool\[\s*:\s*(\d+)\s*,\s*(:?)\s*(\d+)\s*\])");
  std::smatch match;
  const std::string text = words.get<std::string>();
  if (!std::regex_match(text, match, form)) {
    throw std::runtime_error("manifest: features: unknown form " + text);
  }
  const at::Tensor rows = golden.feature_pool.narrow(0, 0, std::stoll(match[1]));
  const int64_t number = std::stoll(match[3]);
  return match[2].length() > 0 ? rows.narrow(1, 0, number) : rows.narrow(1, number, 1);
}

/// The image spans of every row of ids [B, S] in row order.
inline std::vector<ImageSpan> find_spans(const at::Tensor& ids, std::span<const TokenId> pattern) {
  std::vector<ImageSpan> spans;
  for (int64_t row = 0; row < ids.size(0); ++row) {
    const at::Tensor row_ids = ids[row].to(at::kCPU, at::kInt).contiguous();
    for (const int64_t position :
         find_image_spans({row_ids.const_data_ptr<TokenId>(), static_cast<size_t>(row_ids.numel())}, pattern)) {
      spans.push_back({row, position});
    }
  }
  return spans;
}

/// Spans by the pattern. The spans of a row take its images in order; surplus images are skipped, as the original does.
inline VlmInput golden_input(const GoldenModel& golden, const at::Tensor& ids, const nlohmann::json& feature_words) {
  VlmInput input;
  input.ids = ids;
  const at::Tensor features = golden_features(golden, feature_words);
  if (!features.defined()) {
    return input;
  }
  input.spans = find_spans(ids, golden.pattern);
  std::vector<at::Tensor> images;
  int64_t row = -1, image = 0;
  for (const ImageSpan& span : input.spans) {
    image = span.row == row ? image + 1 : 0;
    row = span.row;
    if (image < features.size(1)) {
      images.push_back(features[row][image]);
    }
  }
  input.features = images.empty() ? at::Tensor() : at::stack(images);
  return input;
}

inline VlmInput golden_case_input(const GoldenModel& golden, const std::string& name) {
  return golden_input(golden, golden.tensor(name + ".X"), golden.manifest.at("cases").at(name).at("features"));
}

}  // namespace minimind::testing
