#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "minimind/base/error.h"
#include "minimind/model/language_model.h"
#include "support/model_losses.h"
#include "support/small_model.h"
#include "support/tensor_matcher.h"

namespace minimind::testing {
namespace {

/// The definition over all rows: sum(ce * mask) / sum(mask), a target of 0 having no ce.
at::Tensor loss_by_definition(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets,
                              const at::Tensor& mask) {
  const at::Tensor logits = at::matmul(hidden, weight.t());
  const at::Tensor entropy = -at::log_softmax(logits, -1).gather(-1, targets.unsqueeze(-1)).squeeze(-1);
  return (entropy * targets.ne(0) * mask).sum() / mask.sum();
}

void expect_agreement(int64_t logits_at_once) {
  const int64_t batch = 3, length = 11, dim = 8, vocab_size = 61;
  const at::Tensor hidden = waves({batch, length, dim}).requires_grad_();
  const at::Tensor weight = waves({vocab_size, dim}, 0.7).requires_grad_();
  at::Tensor targets = seeded_ids({batch, length}, vocab_size);
  targets[0][length - 1] = 0;
  at::Tensor mask = seeded_ids({batch, length}, 3).remainder(2);
  mask[0][length - 1] = 1;

  const at::Tensor rows = supervised_rows(mask);
  const MaskedLoss ours = cross_entropy_of_rows(hidden.flatten(0, 1).index_select(0, rows), weight,
                                                targets.flatten().index_select(0, rows), logits_at_once);
  mean_of(ours).backward();
  const at::Tensor other_hidden = hidden.detach().clone().requires_grad_();
  const at::Tensor other_weight = weight.detach().clone().requires_grad_();
  const at::Tensor expected = loss_by_definition(other_hidden, other_weight, targets, mask);
  expected.backward();
  EXPECT_NEAR(mean_of(ours).item<double>(), expected.item<double>(), 1e-5);
  EXPECT_EQ(ours.count, mask.sum().item<int64_t>());
  EXPECT_TRUE(is_near(hidden.grad(), other_hidden.grad(), 1e-6));
  EXPECT_TRUE(is_near(weight.grad(), other_weight.grad(), 1e-6));
}

TEST(MaskedCrossEntropy, AgreesWithItsDefinitionAndCountsTargetsOfZero) {
  expect_agreement(kLogitsAtOnce);
}

TEST(MaskedCrossEntropy, AgreesWhenTheRowsNeedSeveralChunks) {
  for (const int64_t rows : {0, 1, 2, 5, 7}) {
    expect_agreement(rows * 61);
  }
}

TEST(MaskedCrossEntropy, WithoutSupervisedTokensIsZeroAndHasZeroGradients) {
  const at::Tensor hidden = waves({1, 4, 8}).requires_grad_(), weight = waves({61, 8}).requires_grad_();
  const MaskedLoss loss = masked_cross_entropy(hidden, weight, seeded_ids({1, 4}, 61), at::zeros({1, 4}, at::kLong));
  EXPECT_EQ(loss.count, 0);
  EXPECT_EQ(mean_of(loss).item<double>(), 0.0);
  mean_of(loss).backward();
  EXPECT_EQ(weight.grad().abs().sum().item<double>(), 0.0);
}

TEST(MaskedCrossEntropy, ScalesItsGradientsByTheIncomingOne) {
  const at::Tensor hidden = waves({1, 4, 8}).requires_grad_(), weight = waves({61, 8}).requires_grad_();
  const at::Tensor ids = seeded_ids({1, 4}, 61), mask = at::ones({1, 4}, at::kLong);
  masked_cross_entropy(hidden, weight, ids, mask).sum.backward();
  const at::Tensor once = hidden.grad().clone(), once_weight = weight.grad().clone();
  (masked_cross_entropy(hidden, weight, ids, mask).sum * 2).backward();
  EXPECT_TRUE(is_near(hidden.grad(), once * 3, 1e-5));
  EXPECT_TRUE(is_near(weight.grad(), once_weight * 3, 1e-5));
}

TEST(MaskedCrossEntropy, RefusesRowsAndTargetsOfDifferentNumber) {
  EXPECT_THROW(cross_entropy_of_rows(waves({3, 8}), waves({61, 8}), seeded_ids({4}, 61)), Error);
}

}  // namespace
}  // namespace minimind::testing
