#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace minimind {

/// Cross-entropies of supervised tokens. Sum and count apart, so that micro-batches and ranks can be averaged by token.
struct MaskedLoss {
  at::Tensor sum;     ///< float32 scalar, carries the gradient
  int64_t count = 0;  ///< supervised tokens, those with target 0 included
  /// sum / count; 0 if there is no supervised token.
  at::Tensor mean() const;
};

/// Flat indices into B*S, ascending, where mask [B, S] (bool or any number) is not 0: int64 [R], on the mask's device.
at::Tensor supervised_rows(const at::Tensor& mask);

/// Most logits that the loss holds at a time.
constexpr int64_t kLogitsAtOnce = int64_t{1} << 24;

/// hidden_rows [R, D], head_weight [V, D], targets [R] int64. A target equal to 0 adds nothing to the sum but counts.
/// Works through the rows in chunks of at most logits_at_once logits (one row at least); where gradients are on, they
/// are computed in the same sweep.
MaskedLoss cross_entropy_of_rows(const at::Tensor& hidden_rows, const at::Tensor& head_weight,
                                 const at::Tensor& targets, int64_t logits_at_once = kLogitsAtOnce);

/// The same for hidden [B, S, D], targets and mask [B, S]: only the rows with a mask are looked at.
MaskedLoss masked_cross_entropy(const at::Tensor& hidden, const at::Tensor& head_weight, const at::Tensor& targets,
                                const at::Tensor& mask);

}  // namespace minimind
