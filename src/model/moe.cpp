#include "minimind/model/moe.h"

#include <ATen/ATen.h>

namespace minimind {

MoeFeedForwardImpl::MoeFeedForwardImpl(const LmConfig& config) : config_(config) {
  experts_ = register_module("experts", std::make_shared<ModuleListImpl<FeedForward>>());
  for (int64_t expert = 0; expert < config.n_routed_experts; ++expert) {
    experts_->add(FeedForward(config));
  }
  const auto gate = register_module("gate", std::make_shared<torch::nn::Module>("gate"));
  gate_weight_ = gate->register_parameter("weight", at::zeros({config.n_routed_experts, config.dim}));
  if (config.has_shared_experts) {
    shared_experts_ = register_module("shared_experts", FeedForward(config));
  }
}

torch::Tensor MoeFeedForwardImpl::forward(const torch::Tensor& input, const torch::Tensor& valid) {
  const int64_t dim = input.size(-1);
  const at::Tensor tokens = input.reshape({-1, dim});  // [B*S, D]
  const at::Tensor scores = at::softmax(at::linear(tokens, gate_weight_).to(at::kFloat), -1);
  auto [weights, chosen] = at::topk(scores, config_.num_experts_per_tok, -1, /*largest=*/true, /*sorted=*/false);
  if (config_.norm_topk_prob && config_.num_experts_per_tok > 1) {
    weights = weights / (weights.sum(-1, /*keepdim=*/true) + 1e-20);
  }
  // How often each token chose each expert: [B*S, E].
  at::Tensor choices = at::zeros_like(scores).scatter_(1, chosen, 1.0);
  at::Tensor output = tokens.is_cpu()
                          ? run_experts(tokens, chosen, weights)
                          : run_all_experts(tokens, choices, at::zeros_like(scores).scatter(1, chosen, weights));
  if (!shared_experts_.is_empty()) {
    output = output + shared_experts_->forward(tokens);
  }

  // Padding does not count.
  if (valid.defined()) {
    choices = choices * valid.reshape({-1, 1});
  }
  expert_load_ = choices.sum(0).to(at::kLong);
  auxiliary_loss_ = is_training() ? balance_loss(scores, choices, valid, input) : at::Tensor();
  return output.view(input.sizes());
}

torch::Tensor MoeFeedForwardImpl::run_experts(const torch::Tensor& tokens, const torch::Tensor& chosen,
                                              const torch::Tensor& weights) {
  const int64_t n_tokens = tokens.size(0), dim = tokens.size(1), top_k = chosen.size(1);
  const int64_t n_experts = config_.n_routed_experts;
  // Sorts the pairs of token and choice by expert: pair p = token * top_k + choice goes to place inverse[p]. All
  // gathers have distinct indices, so that the backward is deterministic.
  const at::Tensor flat = chosen.flatten();
  const at::Tensor order = at::argsort(flat, /*stable=*/true, /*dim=*/0);
  const at::Tensor inverse = at::empty_like(order).scatter_(0, order, at::arange(order.size(0), order.options()));
  const at::Tensor counts = at::bincount(flat, {}, n_experts).cpu();
  const at::Tensor grouped = to_autocast_dtype(tokens)
                                 .unsqueeze(1)
                                 .expand({n_tokens, top_k, dim})
                                 .reshape({n_tokens * top_k, dim})
                                 .index_select(0, order);
  std::vector<at::Tensor> outputs;
  int64_t start = 0;
  for (int64_t expert = 0; expert < n_experts; ++expert) {
    const int64_t count = counts.data_ptr<int64_t>()[expert];
    // In training an expert without tokens runs too: every rank then has a gradient for it, which is zero.
    if (count > 0 || is_training()) {
      outputs.push_back(experts_->items()[static_cast<size_t>(expert)]->forward(grouped.narrow(0, start, count)));
    }
    start += count;
  }
  const at::Tensor scattered = at::cat(outputs).index_select(0, inverse).view({n_tokens, top_k, dim});
  return (scattered * weights.unsqueeze(-1).to(scattered.scalar_type())).sum(1);
}

torch::Tensor MoeFeedForwardImpl::run_all_experts(const torch::Tensor& tokens, const torch::Tensor& choices,
                                                  const torch::Tensor& weights) {
  const at::Tensor input = to_autocast_dtype(tokens);
  const auto of_each_expert = [&](const at::Tensor& numbers) {  // [tokens, E] → [E, tokens, 1]
    return numbers.to(input.scalar_type()).t().unsqueeze(2);
  };
  // Tokens of other experts are zeros, and so is what the expert makes of them: nothing can overflow there.
  std::vector<at::Tensor> rows = (input.unsqueeze(0) * of_each_expert(choices)).unbind();
  for (size_t expert = 0; expert < rows.size(); ++expert) {
    rows[expert] = experts_->items()[expert]->forward(rows[expert]);
  }
  return (at::stack(rows) * of_each_expert(weights)).sum(0);
}

torch::Tensor MoeFeedForwardImpl::balance_loss(const torch::Tensor& scores, const torch::Tensor& choices,
                                               const torch::Tensor& valid, const torch::Tensor& input) const {
  const int64_t n_experts = config_.n_routed_experts;
  const int64_t n_sequences = config_.seq_aux && input.dim() == 3 ? input.size(0) : 1;
  const at::Tensor counted = valid.defined()
                                 ? valid.reshape({n_sequences, -1, 1}).to(at::kFloat)
                                 : at::ones({n_sequences, scores.size(0) / n_sequences, 1}, scores.options());
  const at::Tensor lengths = counted.sum(1).clamp_min(1.0);  // [sequences, 1]
  const at::Tensor frequencies = choices.view({n_sequences, -1, n_experts}).sum(1) *
                                 (static_cast<double>(n_experts) / static_cast<double>(config_.num_experts_per_tok)) /
                                 lengths;
  const at::Tensor means = (scores.view({n_sequences, -1, n_experts}) * counted).sum(1) / lengths;
  return (frequencies * means).sum(1).mean() * config_.aux_loss_alpha;
}

}  // namespace minimind
