#include "minimind/model/moe.h"

#include <gtest/gtest.h>

#include "support/small_model.h"
#include "support/tensor_matcher.h"

namespace minimind::testing {
namespace {

MoeFeedForward filled_experts(const LmConfig& config) {
  MoeFeedForward layer(config);
  const at::NoGradGuard without_gradients;
  double phase = 0;
  for (at::Tensor& parameter : layer->parameters()) {
    parameter.copy_(waves(parameter.sizes().vec(), phase += 0.61) * 0.7);
  }
  return layer;
}

at::Tensor swiglu_by_name(const MoeFeedForward& layer, const std::string& prefix, const at::Tensor& token) {
  const auto parameters = layer->named_parameters();
  const at::Tensor gate = at::mv(parameters[prefix + ".w1.weight"], token);
  return at::mv(parameters[prefix + ".w2.weight"],
                gate * at::sigmoid(gate) * at::mv(parameters[prefix + ".w3.weight"], token));
}

struct Routed {
  at::Tensor output;
  std::vector<std::vector<int64_t>> chosen;
};

/// One token after the other, as the definition says it.
Routed route_by_tokens(const MoeFeedForward& layer, const LmConfig& config, const at::Tensor& tokens) {
  Routed routed{at::zeros_like(tokens), {}};
  for (int64_t t = 0; t < tokens.size(0); ++t) {
    const at::Tensor scores = at::softmax(at::mv(layer->named_parameters()["gate.weight"], tokens[t]), 0);
    auto [weights, chosen] = at::topk(scores, config.num_experts_per_tok);
    if (config.norm_topk_prob && config.num_experts_per_tok > 1) {
      weights = weights / weights.sum();
    }
    routed.chosen.emplace_back();
    for (int64_t k = 0; k < config.num_experts_per_tok; ++k) {
      const int64_t expert = chosen[k].item<int64_t>();
      routed.output[t] += weights[k] * swiglu_by_name(layer, "experts." + std::to_string(expert), tokens[t]);
      routed.chosen.back().push_back(expert);
    }
    if (config.has_shared_experts) {
      routed.output[t] += swiglu_by_name(layer, "shared_experts", tokens[t]);
    }
  }
  return routed;
}

std::vector<LmConfig> variants() {
  std::vector<LmConfig> configs(5, small_moe_config());
  configs[1].num_experts_per_tok = 1;
  configs[2].norm_topk_prob = false;
  configs[3].has_shared_experts = false;
  configs[4].n_routed_experts = 7;
  configs[4].num_experts_per_tok = 3;
  return configs;
}

TEST(MoeFeedForward, AgreesWithRoutingTokenByToken) {
  const at::NoGradGuard without_gradients;
  for (const LmConfig& config : variants()) {
    MoeFeedForward layer = filled_experts(config);
    layer->eval();
    const at::Tensor input = waves({2, 9, 32});
    const Routed expected = route_by_tokens(layer, config, input.view({18, 32}));
    const double size = expected.output.abs().max().item<double>();
    EXPECT_TRUE(is_near(layer->forward(input), expected.output.view({2, 9, 32}), 1e-5 * size));
    EXPECT_FALSE(layer->auxiliary_loss().defined());
    EXPECT_EQ(layer->expert_load().sum().item<int64_t>(), 18 * config.num_experts_per_tok);
  }
}

/// alpha * mean over sequences of sum_e f_e p_e, over the first `lengths[b]` tokens of each sequence.
double balance_by_tokens(const MoeFeedForward& layer, const LmConfig& config, const at::Tensor& input,
                         const std::vector<int64_t>& lengths) {
  const int64_t n_experts = config.n_routed_experts;
  double total = 0;
  at::Tensor all_counts = at::zeros({n_experts}), all_scores = at::zeros({n_experts});
  int64_t all_length = 0;
  for (int64_t b = 0; b < input.size(0); ++b) {
    const int64_t length = lengths[static_cast<size_t>(b)];
    at::Tensor counts = at::zeros({n_experts}), score_sum = at::zeros({n_experts});
    const at::Tensor tokens = input[b].narrow(0, 0, length);
    for (const auto& chosen : route_by_tokens(layer, config, tokens).chosen) {
      for (const int64_t expert : chosen) {
        counts[expert] += 1;
      }
    }
    score_sum += at::softmax(at::matmul(tokens, layer->named_parameters()["gate.weight"].t()), 1).sum(0);
    const double share = static_cast<double>(length * config.num_experts_per_tok) / static_cast<double>(n_experts);
    total += (counts / share * score_sum / length).sum().item<double>() / static_cast<double>(input.size(0));
    all_counts += counts;
    all_scores += score_sum;
    all_length += length;
  }
  if (!config.seq_aux) {
    const double share = static_cast<double>(all_length * config.num_experts_per_tok) / static_cast<double>(n_experts);
    total = (all_counts / share * all_scores / all_length).sum().item<double>();
  }
  return config.aux_loss_alpha * total;
}

TEST(MoeFeedForward, AuxiliaryLossLeavesPaddingOut) {
  for (const bool by_sequence : {true, false}) {
    LmConfig config = small_moe_config();
    config.seq_aux = by_sequence;
    config.aux_loss_alpha = 0.3;
    MoeFeedForward layer = filled_experts(config);
    layer->train();
    const at::Tensor input = waves({2, 9, 32});
    layer->forward(input);
    EXPECT_NEAR(layer->auxiliary_loss().item<double>(), balance_by_tokens(layer, config, input, {9, 9}), 1e-5);
    at::Tensor valid = at::ones({2, 9}, at::kBool);
    valid[1].narrow(0, 5, 4).fill_(false);
    layer->forward(input, valid);
    EXPECT_NEAR(layer->auxiliary_loss().item<double>(), balance_by_tokens(layer, config, input, {9, 5}), 1e-5);
    EXPECT_EQ(layer->expert_load().sum().item<int64_t>(), (9 + 5) * config.num_experts_per_tok);
    EXPECT_TRUE(layer->auxiliary_loss().requires_grad());
  }
}

TEST(MoeFeedForward, AnExpertThatNobodyChoseHasZeroGradients) {
  LmConfig config = small_moe_config();
  config.num_experts_per_tok = 1;
  MoeFeedForward layer = filled_experts(config);
  layer->train();
  const at::Tensor input = waves({1, 1, 32}).expand({1, 4, 32});
  layer->forward(input).sum().backward();
  const at::Tensor load = layer->expert_load();
  EXPECT_EQ(load.ne(0).sum().item<int64_t>(), 1);
  for (int64_t expert = 0; expert < config.n_routed_experts; ++expert) {
    const at::Tensor gradient = layer->named_parameters()["experts." + std::to_string(expert) + ".w2.weight"].grad();
    ASSERT_TRUE(gradient.defined());
    EXPECT_EQ(gradient.abs().sum().item<double>() > 0, load[expert].item<int64_t>() > 0);
  }
}

}  // namespace
}  // namespace minimind::testing
