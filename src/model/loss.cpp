#include "model/loss.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <vector>

#include "minimind/base/error.h"
#include "minimind/model/layers.h"

namespace minimind {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kIgnoredTarget = 0;

/// Sum of the cross-entropies of the rows. Both gradients are linear in the incoming scalar: the forward computes them
/// chunk by chunk, so that no logits are saved.
class HeadLossFunction : public torch::autograd::Function<HeadLossFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& hidden, const at::Tensor& weight,
                            const at::Tensor& targets, int64_t chunk, bool with_gradients) {
    const at::Tensor cast_hidden = to_autocast_dtype(hidden);
    const at::Tensor cast_weight = to_autocast_dtype(weight).to(cast_hidden.scalar_type());
    const int64_t rows = hidden.size(0);
    at::Tensor sum = at::zeros({}, hidden.options().dtype(at::kFloat));
    std::vector<at::Tensor> hidden_gradients;
    at::Tensor weight_gradient;
    for (int64_t start = 0; start < rows; start += chunk) {
      const int64_t count = std::min(chunk, rows - start);
      const at::Tensor part = cast_hidden.narrow(0, start, count);
      const at::Tensor labels = targets.narrow(0, start, count).unsqueeze(1);
      const at::Tensor keep = labels.ne(kIgnoredTarget);
      at::Tensor scores = at::log_softmax(at::mm(part, cast_weight.t()).to(at::kFloat), 1);  // [count, V]
      sum.sub_((scores.gather(1, labels) * keep).sum());
      if (!with_gradients) {
        continue;
      }
      // d/dlogits = softmax - one_hot; the small operands of the GEMMs are masked, not the scores.
      scores.exp_().scatter_add_(1, labels, at::full_like(labels, -1, scores.options()));
      const at::Tensor gradient = scores.to(cast_hidden.scalar_type());
      hidden_gradients.push_back(at::mm(gradient, cast_weight).to(at::kFloat).mul_(keep));
      const at::Tensor weight_part = at::mm(gradient.t(), part * keep).to(at::kFloat);
      weight_gradient = weight_gradient.defined() ? weight_gradient.add_(weight_part) : weight_part;
    }
    if (with_gradients && rows > 0) {
      context->save_for_backward({at::cat(hidden_gradients), weight_gradient});
    } else {
      context->save_for_backward(
          {at::zeros(hidden.sizes(), hidden.options()), at::zeros(weight.sizes(), weight.options())});
    }
    context->saved_data["hidden_type"] = static_cast<int64_t>(hidden.scalar_type());
    context->saved_data["weight_type"] = static_cast<int64_t>(weight.scalar_type());
    return sum;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const auto hidden_type = static_cast<at::ScalarType>(context->saved_data["hidden_type"].toInt());
    const auto weight_type = static_cast<at::ScalarType>(context->saved_data["weight_type"].toInt());
    return {at::mul(saved[0], gradients[0]).to(hidden_type), at::mul(saved[1], gradients[0]).to(weight_type),
            at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor supervised_rows(const at::Tensor& mask) {
  return mask.flatten().nonzero().flatten();
}

MaskedLoss cross_entropy_of_rows(const at::Tensor& hidden_rows, const at::Tensor& head_weight,
                                 const at::Tensor& targets, int64_t logits_at_once) {
  require(hidden_rows.dim() == 2 && targets.dim() == 1 && hidden_rows.size(0) == targets.size(0),
          "loss: expected hidden [R, D] and targets [R], found ", hidden_rows.sizes(), " and ", targets.sizes());
  const bool with_gradients =
      at::GradMode::is_enabled() && (hidden_rows.requires_grad() || head_weight.requires_grad());
  const int64_t chunk = std::max<int64_t>(1, logits_at_once / head_weight.size(0));
  return {HeadLossFunction::apply(hidden_rows, head_weight, targets, chunk, with_gradients), hidden_rows.size(0)};
}

}  // namespace minimind
