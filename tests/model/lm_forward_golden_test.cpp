#include <set>

#include "model/golden_model.h"
#include "support/model_losses.h"

namespace minimind::testing {
namespace {

void check_rows(const GoldenModel& golden, const std::string& name, const at::Tensor& hidden) {
  const at::Tensor logits = golden.model->logits(hidden);
  EXPECT_LE(relative_error(at::logsumexp(logits, {-1}), golden.tensor(name + ".logits_lse")), kGoldenTolerance);
  if (golden.has(name + ".logits_pos")) {
    const at::Tensor rows = logits.index_select(1, golden.tensor(name + ".logits_pos"));
    EXPECT_LE(relative_error(rows, golden.tensor(name + ".logits_rows")), kGoldenTolerance);
  }
  if (golden.has(name + ".logits")) {
    EXPECT_LE(relative_error(logits, golden.tensor(name + ".logits")), kGoldenTolerance);
  }
  // The golden choice is our best, or so near to it that 1e-4 cannot tell them apart.
  const at::Tensor chosen = logits.gather(-1, golden.tensor(name + ".logits_argmax").unsqueeze(-1)).squeeze(-1);
  EXPECT_LE((std::get<0>(logits.max(-1)) - chosen).max().item<double>(), 1e-4);

  const at::Tensor targets = golden.tensor(name + ".Y");
  const at::Tensor entropy = -at::log_softmax(logits, -1).gather(-1, targets.unsqueeze(-1)).squeeze(-1) * targets.ne(0);
  EXPECT_LE(relative_error(entropy, golden.tensor(name + ".per_token_ce")), kGoldenTolerance);
}

void check_case(const GoldenModel& golden, const std::string& name) {
  SCOPED_TRACE(golden.name + " " + name);
  const at::NoGradGuard without_gradients;
  const nlohmann::json& facts = golden.manifest.at("cases").at(name);
  const VlmInput input = golden_case_input(golden, name);
  EXPECT_EQ(input.features.defined(), facts.at("spliced").get<bool>());
  const at::Tensor hidden = golden.model->hidden(input);
  EXPECT_LE(relative_error(hidden, golden.tensor(name + ".final_norm_out")), kGoldenTolerance);
  check_rows(golden, name, hidden);

  const at::Tensor mask = golden.tensor(name + ".loss_mask");
  const MaskedLoss loss = training_loss(*golden.model, input, golden.tensor(name + ".Y"), mask);
  const double expected = facts.at("masked_loss").get<double>();
  EXPECT_NEAR(mean_of(loss).item<double>(), expected, kGoldenTolerance * expected);
  EXPECT_EQ(loss.count, facts.at("mask_sum").get<int64_t>());

  if (golden.has(name + ".last_only_logits")) {
    const int64_t batch = hidden.size(0), length = hidden.size(1);
    const at::Tensor last =
        at::arange(batch, at::TensorOptions(at::kLong).device(test_device())) * length + (length - 1);
    const at::Tensor logits = golden.model->logits(golden.model->hidden_rows(input, last)).unsqueeze(1);
    EXPECT_LE(relative_error(logits, golden.tensor(name + ".last_only_logits")), kGoldenTolerance);
  }
}

TEST(GoldenLmForward, EveryCaseOfEveryModelAgrees) {
  MINIMIND_REQUIRE_FIXTURES();
  size_t ran = 0, total = 0;
  for (const GoldenModel& golden : golden_models()) {
    total += golden.manifest.at("cases").size();
    for (const auto& [name, facts] : golden.manifest.at("cases").items()) {
      check_case(golden, name);
      ++ran;
    }
  }
  golden_ran("lm_forward", ran, total);
}

TEST(GoldenLmStateDict, KeysAndShapesEqualTheManifest) {
  MINIMIND_REQUIRE_FIXTURES();
  size_t ran = 0, total = 0;
  for (const GoldenModel& golden : golden_models()) {
    SCOPED_TRACE(golden.name);
    ++total;
    using Entry = std::pair<std::string, std::vector<int64_t>>;
    std::set<Entry> expected, found;
    for (const auto& entry : golden.manifest.at("state_dict")) {
      expected.emplace(entry.at(0).get<std::string>(), entry.at(1).get<std::vector<int64_t>>());
    }
    for (const auto& [key, tensor] : vlm_state_dict(*golden.model).entries()) {
      found.emplace(key, tensor.sizes().vec());
    }
    EXPECT_EQ(found, expected);
    ran += found == expected ? 1U : 0U;
  }
  golden_ran("lm_state_dict", ran, total);
}

TEST(GoldenLmStateDict, OtherFilesOfTheFolderLoadToTheSameModel) {
  MINIMIND_REQUIRE_FIXTURES();
  const at::NoGradGuard without_gradients;
  for (GoldenModel& golden : golden_models()) {
    const std::shared_ptr<VlmImpl> reference = golden.model;
    for (const auto& entry : std::filesystem::directory_iterator(fixtures_dir() / "lm" / golden.name)) {
      const std::string file = entry.path().filename().string();
      if (!file.starts_with("model") || !file.ends_with(".pth")) {
        continue;
      }
      SCOPED_TRACE(golden.name + "/" + file);
      load_golden_weights(golden, file);
      const at::Tensor ids = golden.tensor(golden.manifest.at("cases").begin().key() + ".X");
      EXPECT_TRUE(golden.model->hidden({ids, {}, {}, {}}).equal(reference->hidden({ids, {}, {}, {}})));
    }
  }
}

TEST(GoldenLmErrors, WhatTheOriginalCannotDoIsAClearErrorOrWorks) {
  MINIMIND_REQUIRE_FIXTURES();
  size_t ran = 0, total = 0;
  for (const GoldenModel& golden : golden_models()) {
    total += golden.manifest.at("upstream_errors").size();
    for (const auto& [kind, text] : golden.manifest.at("upstream_errors").items()) {
      SCOPED_TRACE(golden.name + " " + kind);
      if (kind == "fewer_features_than_placeholders") {
        for (const auto& [name, facts] : golden.manifest.at("cases").items()) {
          VlmInput input = golden_case_input(golden, name);
          if (input.features.defined()) {
            input.features = input.features.narrow(0, 0, input.features.size(0) - 1);
            EXPECT_THROW(golden.model->hidden(input), Error) << name;
          }
        }
      } else if (kind == "squeezed_batch_of_one") {
        // The original's encoder drops the batch of one; ours keeps it, and features without it are refused.
        for (const auto& [name, facts] : golden.manifest.at("cases").items()) {
          VlmInput input = golden_case_input(golden, name);
          if (!input.features.defined()) {
            continue;
          }
          std::erase_if(input.spans, [](const ImageSpan& span) { return span.row > 0; });
          input.ids = input.ids.narrow(0, 0, 1);
          if (!input.spans.empty()) {
            input.features = input.features.narrow(0, 0, static_cast<int64_t>(input.spans.size()));
            EXPECT_NO_THROW(golden.model->hidden(input)) << name;
            input.features = input.features[0];
            EXPECT_THROW(golden.model->hidden(input), Error) << name;
          }
        }
      } else {
        ADD_FAILURE() << "upstream_errors: unknown kind " << kind;
        continue;
      }
      ++ran;
    }
  }
  golden_ran("lm_errors", ran, total);
}

}  // namespace
}  // namespace minimind::testing
