#pragma once

#include <ATen/ATen.h>

#include <algorithm>

#include "minimind/model/vlm.h"

namespace minimind::testing {

/// Per supervised token; 0 if there is none.
inline at::Tensor mean_of(const MaskedLoss& loss) {
  return loss.sum / static_cast<double>(std::max<int64_t>(loss.count, 1));
}

/// The loss of hidden [B, S, D] at the positions where mask [B, S] is not 0; targets [B, S].
inline MaskedLoss masked_cross_entropy(const at::Tensor& hidden, const at::Tensor& head_weight,
                                       const at::Tensor& targets, const at::Tensor& mask) {
  const at::Tensor rows = supervised_rows(mask);
  return cross_entropy_of_rows(hidden.flatten(0, -2).index_select(0, rows), head_weight,
                               targets.flatten().index_select(0, rows));
}

/// The training loss of one batch.
inline MaskedLoss training_loss(VlmImpl& model, const VlmInput& input, const at::Tensor& targets,
                                const at::Tensor& mask) {
  const at::Tensor rows = supervised_rows(mask);
  return cross_entropy_of_rows(model.hidden_rows(input, rows), model.head_weight(),
                               targets.flatten().index_select(0, rows));
}

}  // namespace minimind::testing
