#include <map>
#include <memory>
#include <optional>

#include "infer/make_decoder.h"
#include "minimind/infer/generator.h"
#include "model/golden_model.h"
#include "support/uncached_decoder.h"

namespace minimind::testing {
namespace {

/// A prompt of the golden data as the generator wants it.
struct GoldenPrompt {
  std::vector<TokenId> ids;
  at::Tensor embeddings;  ///< [S, D]
};

GoldenPrompt golden_prompt(GoldenModel& golden, const std::string& name, const nlohmann::json& facts) {
  const at::NoGradGuard without_gradients;
  const VlmInput input = golden_input(golden, golden.tensor("gen_" + name + ".prompt"), facts.at("features"));
  const at::Tensor ids_on_cpu = input.ids.cpu();
  const int64_t* ids = ids_on_cpu.const_data_ptr<int64_t>();
  return {{ids, ids + input.ids.numel()}, golden.model->embed(input)[0]};
}

std::vector<TokenId> token_list(const nlohmann::json& list) {
  return list.get<std::vector<TokenId>>();
}

/// No kind: without a cache.
using Kind = std::optional<DecoderKind>;

std::unique_ptr<Decoder> decoder_of(const GoldenModel& golden, int64_t capacity, Kind kind) {
  return kind ? make_decoder(Vlm(golden.model), capacity, *kind)
              : std::make_unique<UncachedDecoder>(Vlm(golden.model), capacity);
}

struct GreedyRun {
  Kind kind;
  double repetition_penalty = 1.0;
  TokenId eos = -1;
  int64_t limit = 0;
};

std::vector<TokenId> run_greedily(const GoldenModel& golden, const GoldenPrompt& prompt, const GreedyRun& run) {
  const auto decoder = decoder_of(golden, std::ssize(prompt.ids) + run.limit, run.kind);
  GenerationOptions options;
  options.sampling.temperature = 0;
  options.sampling.repetition_penalty = run.repetition_penalty;
  options.max_new_tokens = run.limit;
  options.eos = run.eos;
  Random random(1);
  return generate(*decoder, decoder->open(), prompt.ids, prompt.embeddings, options, random).ids;
}

std::vector<Kind> cached_kinds(const GoldenModel& golden) {
  if (can_fuse(Vlm(golden.model))) {
    return {DecoderKind::kLayers, DecoderKind::kFused};
  }
  return {DecoderKind::kLayers};
}

void check_greedy_key(const GoldenModel& golden, const GoldenPrompt& prompt, const std::string& key,
                      const nlohmann::json& facts) {
  static const std::regex form("greedy_(kv|nokv)(_rp([0-9.]+))?");
  std::smatch match;
  ASSERT_TRUE(std::regex_match(key, match, form)) << "generation: unknown kind " << key;
  GreedyRun run;
  run.repetition_penalty = match[3].matched ? std::stod(match[3]) : 1.0;
  run.limit = std::ssize(facts.at(key));
  for (const Kind kind : match[1] == "kv" ? cached_kinds(golden) : std::vector<Kind>{std::nullopt}) {
    run.kind = kind;
    expect_same_tokens(run_greedily(golden, prompt, run), token_list(facts.at(key)),
                       facts.at(key + "_min_margin").get<double>());
  }
}

void check_ends(const GoldenModel& golden, const GoldenPrompt& prompt, const nlohmann::json& facts) {
  for (const Kind kind : cached_kinds(golden)) {
    if (facts.contains("stop_on_eos")) {
      const nlohmann::json& value = facts.at("stop_on_eos");
      GreedyRun run{kind, 1.0, value.at("eos").get<TokenId>(), std::ssize(facts.at("greedy_kv"))};
      const nlohmann::json& yields = value.at("yields");
      EXPECT_EQ(run_greedily(golden, prompt, run),
                token_list(!yields.empty() && yields.back().is_array() ? yields.back() : yields));
    }
    if (facts.contains("max_new_tokens_is_total_cap")) {
      const nlohmann::json& value = facts.at("max_new_tokens_is_total_cap");
      // The original caps the total.
      GreedyRun run{kind, 1.0, -1, value.at("max_new_tokens").get<int64_t>() - 1 - std::ssize(prompt.ids)};
      EXPECT_EQ(std::ssize(run_greedily(golden, prompt, run)), value.at("n_generated").get<int64_t>());
    }
  }
}

TEST(GoldenChatGeneration, GreedyTokensOfEveryDecoderAgree) {
  MINIMIND_REQUIRE_FIXTURES();
  size_t ran = 0, total = 0;
  for (GoldenModel& golden : golden_models()) {
    total += golden.manifest.at("generation").size();
    for (const auto& [name, facts] : golden.manifest.at("generation").items()) {
      const GoldenPrompt prompt = golden_prompt(golden, name, facts);
      for (const auto& [key, value] : facts.items()) {
        SCOPED_TRACE(golden.name + " " + name + " " + key);
        if (key.starts_with("greedy_") && !key.ends_with("_min_margin")) {
          check_greedy_key(golden, prompt, key, facts);
        }
      }
      check_ends(golden, prompt, facts);
      ++ran;
    }
  }
  golden_ran("lm_generation", ran, total);
}

/// `t0.9_k50_rp1.2`, `t1.3_knone`.
SamplingOptions sampling_of(const std::string& words) {
  static const std::regex form("t([0-9.]+)_k(none|[0-9]+)(_rp([0-9.]+))?");
  std::smatch match;
  if (!std::regex_match(words, match, form)) {
    throw std::runtime_error("manifest: sampling: unknown form " + words);
  }
  SamplingOptions options;
  options.temperature = std::stod(match[1]);
  options.top_k = match[2] == "none" ? 0 : std::stoll(match[2]);
  options.repetition_penalty = match[4].matched ? std::stod(match[4]) : 1.0;
  return options;
}

/// One row: every golden probability, and nothing where the golden has nothing.
void check_probability_row(std::span<const float> ours, const at::Tensor& golden, const at::Tensor& ids) {
  std::map<int64_t, double> expected;
  const at::Tensor values = golden.to(at::kCPU, at::kDouble).contiguous();
  for (int64_t i = 0; i < values.numel(); ++i) {
    const int64_t id = ids.defined() ? ids[i].item<int64_t>() : i;
    expected[id] = values.const_data_ptr<double>()[i];
  }
  double worst = 0, largest = 0;
  for (size_t id = 0; id < ours.size(); ++id) {
    const auto found = expected.find(static_cast<int64_t>(id));
    const double value = found == expected.end() ? 0.0 : found->second;
    worst = std::max(worst, std::abs(static_cast<double>(ours[id]) - value));
    largest = std::max(largest, value);
    if (ids.defined()) {
      EXPECT_EQ(ours[id] > 0, found != expected.end()) << "token " << id;
    }
  }
  EXPECT_LE(worst / largest, kGoldenTolerance);
}

void check_probabilities(GoldenModel& golden, const std::string& name, const std::string& words,
                         const nlohmann::json& facts, Kind kind) {
  const GoldenPrompt prompt = golden_prompt(golden, name, facts);
  const std::string prefix = "gen_" + name + ".probs_";
  const at::Tensor rows = golden.tensor(prefix + words);
  const bool has_ids = golden.has(prefix + "ids_" + words);
  const std::vector<TokenId> path = token_list(facts.at("argmax_path_" + words));
  ASSERT_LE(rows.size(0), std::ssize(path));
  const auto decoder = decoder_of(golden, std::ssize(prompt.ids) + rows.size(0), kind);
  Sampler sampler(sampling_of(words));
  std::vector<TokenId> seen = prompt.ids;
  const SequenceId sequence = decoder->open();
  std::span<const float> logits = decoder->prefill(sequence, prompt.embeddings);
  for (int64_t step = 0; step < rows.size(0); ++step) {
    const std::span<const float> ours = sampler.probabilities(logits, seen);
    check_probability_row(ours, rows[step], has_ids ? golden.tensor(prefix + "ids_" + words)[step] : at::Tensor());
    const TokenId best = best_token(ours);
    EXPECT_EQ(best, path[static_cast<size_t>(step)]);
    seen.push_back(best);
    logits = decoder->step({&sequence, 1}, {&best, 1});
  }
}

TEST(GoldenLmProbs, ProbabilitiesHandedToTheSamplerAgree) {
  MINIMIND_REQUIRE_FIXTURES();
  constexpr std::string_view kPath = "argmax_path_";
  size_t ran = 0, total = 0;
  for (GoldenModel& golden : golden_models()) {
    for (const auto& [key, tensor] : golden.tensors.entries()) {
      total += key.find(".probs_") != std::string::npos && key.find(".probs_ids_") == std::string::npos ? 1U : 0U;
    }
    for (const auto& [name, facts] : golden.manifest.at("generation").items()) {
      for (const auto& [key, value] : facts.items()) {
        if (!key.starts_with(kPath)) {
          continue;
        }
        for (const Kind kind : cached_kinds(golden)) {
          SCOPED_TRACE(golden.name + " " + name + " " + key);
          check_probabilities(golden, name, key.substr(kPath.size()), facts, kind);
        }
        ++ran;
      }
    }
  }
  golden_ran("lm_probs", ran, total);
}

}  // namespace
}  // namespace minimind::testing
