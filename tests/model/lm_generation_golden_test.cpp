#include <set>

#include "model/golden_model.h"

namespace minimind::testing {
namespace {

struct GreedyRun {
  bool cached = true;
  double repetition_penalty = 1.0;
  int64_t eos = -1;
  size_t limit = 0;
};

struct GreedyTokens {
  std::vector<int64_t> tokens;
  double smallest_margin = 1e30;  ///< between the best and the second-best logit of any step
};

at::Tensor penalise(const at::Tensor& logits, const std::vector<int64_t>& seen, double penalty) {
  at::Tensor penalised = logits.clone();
  for (const int64_t id : std::set<int64_t>(seen.begin(), seen.end())) {
    const double value = logits[id].item<double>();
    penalised[id] = value > 0 ? value / penalty : value * penalty;
  }
  return penalised;
}

GreedyTokens generate(const GoldenModel& golden, const VlmInput& prompt, const GreedyRun& run) {
  const at::NoGradGuard without_gradients;
  GreedyTokens result;
  const int64_t length = prompt.ids.size(1);
  const at::Tensor ids_on_cpu = prompt.ids.cpu();
  std::vector<int64_t> seen(ids_on_cpu.data_ptr<int64_t>(), ids_on_cpu.data_ptr<int64_t>() + length);
  KvCache cache =
      make_cache(golden.model->config(), 1, length + static_cast<int64_t>(run.limit), torch::kFloat32, test_device());
  const LmPass pass{run.cached ? &cache : nullptr, {}, {}};
  at::Tensor last = golden.model->forward(golden.model->embed(prompt), pass);
  while (result.tokens.size() < run.limit) {
    const at::Tensor logits = penalise(golden.model->logits(last.select(1, -1))[0], seen, run.repetition_penalty);
    const auto [best, ids] = at::topk(logits, 2);
    const int64_t token = ids[0].item<int64_t>();
    if (token == run.eos) {
      break;
    }
    result.smallest_margin = std::min(result.smallest_margin, (best[0] - best[1]).item<double>());
    result.tokens.push_back(token);
    seen.push_back(token);
    if (run.cached) {
      last = golden.model->forward(golden.model->embed(at::full({1, 1}, token, prompt.ids.options())), pass);
    } else {
      VlmInput longer = prompt;
      longer.ids = at::tensor(seen, prompt.ids.options()).unsqueeze(0);
      last = golden.model->hidden(longer);
    }
  }
  return result;
}

std::vector<int64_t> ids_of(const nlohmann::json& list) {
  return list.get<std::vector<int64_t>>();
}

/// False where the key is not one of this test's.
bool check_greedy(const GoldenModel& golden, const VlmInput& prompt, const std::string& key,
                  const nlohmann::json& facts) {
  static const std::regex form("greedy_(kv|nokv)(_rp([0-9.]+))?");
  std::smatch match;
  if (!std::regex_match(key, match, form)) {
    return false;
  }
  GreedyRun run;
  run.cached = match[1] == "kv";
  run.repetition_penalty = match[3].matched ? std::stod(match[3]) : 1.0;
  run.limit = facts.at(key).size();
  const GreedyTokens ours = generate(golden, prompt, run);
  const double margin = facts.at(key + "_min_margin").get<double>();
  expect_same_tokens(ours.tokens, ids_of(facts.at(key)), margin);
  EXPECT_NEAR(ours.smallest_margin, margin, 1e-4);
  return true;
}

void check_generation(const GoldenModel& golden, const std::string& name, const nlohmann::json& facts) {
  const VlmInput prompt = golden_input(golden, golden.tensor("gen_" + name + ".prompt"), facts.at("features"));
  const std::vector<int64_t> greedy = ids_of(facts.at("greedy_kv"));
  for (const auto& [key, value] : facts.items()) {
    SCOPED_TRACE(golden.name + " " + name + " " + key);
    if (key == "features" || key.ends_with("_min_margin") || key.starts_with("argmax_path_")) {
      continue;  // the paths belong to the sampler's test
    }
    if (key == "stop_on_eos") {
      GreedyRun run;
      run.eos = value.at("eos").get<int64_t>();
      run.limit = greedy.size();
      EXPECT_EQ(generate(golden, prompt, run).tokens, ids_of(value.at("yields")));
    } else if (key == "max_new_tokens_is_total_cap") {
      GreedyRun run;
      run.limit = static_cast<size_t>(value.at("max_new_tokens").get<int64_t>() - 1 - prompt.ids.size(1));
      EXPECT_EQ(run.limit, value.at("n_generated").get<size_t>());
      const std::vector<int64_t> tokens = generate(golden, prompt, run).tokens;
      EXPECT_EQ(tokens, std::vector<int64_t>(greedy.begin(), greedy.begin() + static_cast<std::ptrdiff_t>(run.limit)));
    } else {
      EXPECT_TRUE(check_greedy(golden, prompt, key, facts)) << "generation: unknown kind " << key;
    }
  }
}

TEST(GoldenLmGeneration, GreedyTokensOfEveryPromptAgree) {
  MINIMIND_REQUIRE_FIXTURES();
  size_t ran = 0, total = 0;
  for (const GoldenModel& golden : golden_models()) {
    total += golden.manifest.at("generation").size();
    for (const auto& [name, facts] : golden.manifest.at("generation").items()) {
      check_generation(golden, name, facts);
      ++ran;
    }
  }
  golden_ran("lm_generation", ran, total);
}

}  // namespace
}  // namespace minimind::testing
