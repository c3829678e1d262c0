#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace minimind {

/// Cross-entropies of supervised tokens. Sum and count are apart, so that micro-batches and ranks can be averaged over
/// tokens.
struct MaskedLoss {
  at::Tensor sum;     ///< float32 scalar, carries the gradient
  int64_t count = 0;  ///< supervised tokens, including those with target 0
};

/// Flat indices into B*S, ascending, where mask [B, S] (bool or any number) is not 0: int64 [R], on the mask's device.
at::Tensor supervised_rows(const at::Tensor& mask);

/// Most logits that the loss holds at a time.
constexpr int64_t kLogitsAtOnce = int64_t{1} << 24;

/// hidden_rows [R, D], head_weight [V, D], targets int64 [R]. A target of 0 adds nothing to the sum but counts.
/// Computes chunks of at most logits_at_once logits (at least one row), and with gradients also their gradients. Throws
/// Error if rows and targets differ in number.
MaskedLoss cross_entropy_of_rows(const at::Tensor& hidden_rows, const at::Tensor& head_weight,
                                 const at::Tensor& targets, int64_t logits_at_once = kLogitsAtOnce);

}  // namespace minimind
