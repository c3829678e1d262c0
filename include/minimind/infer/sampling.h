#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "minimind/base/image_span.h"
#include "minimind/base/random.h"

namespace minimind {

/// What a repetition penalty does to the logit of a token that occurred before.
enum class RepetitionPenaltyMode {
  kUsual,     ///< divides a positive logit, multiplies a negative one: always less likely
  kOriginal,  ///< divides every logit: a negative one becomes more likely
};

/// How the next token is chosen. SPEC.md section 7.
struct SamplingOptions {
  /// A smaller temperature or penalty would make logits infinite; its answer would not differ from this one's.
  static constexpr double kLeast = 1e-10;

  double temperature = 0.5;         ///< 0: greedy; else kLeast or more
  int64_t top_k = 8;                ///< keep the k highest logits and ties with the last of them; 0: all
  double repetition_penalty = 1.0;  ///< kLeast to 1 / kLeast; 1: no penalty
  RepetitionPenaltyMode penalty_mode = RepetitionPenaltyMode::kUsual;
  double top_p = 1.0;  ///< after top-k keep the likeliest tokens (at least one) up to this total probability; 1: all

  /// Throws Error on an impossible value.
  void validate() const;
};

/// Applies the options to one row of logits. Reuses its working memory between calls. One thread at a time.
class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options);

  /// The probabilities [V] from which choose() draws; 0 for tokens that top-k and top-p exclude. Applies the penalty
  /// (once per token of `seen`), temperature, top-k, softmax, top-p. At temperature 0 the best token has 1. Valid until
  /// the next call. Throws Error if the logits are NaN or infinite.
  std::span<const float> probabilities(std::span<const float> logits, std::span<const TokenId> seen);

  /// Draws a token from probabilities(). At temperature 0 it does not use `random`.
  TokenId choose(std::span<const float> logits, std::span<const TokenId> seen, Random& random);

  const SamplingOptions& options() const { return options_; }

 private:
  void penalise(std::span<const TokenId> seen);
  void keep_top_k();
  void softmax();
  void keep_top_p();

  SamplingOptions options_;
  std::vector<float> row_;
  std::vector<float> heap_;
  std::vector<int32_t> candidates_;
  std::vector<uint8_t> is_seen_;
};

/// Index of the highest logit, the first of equals. Throws Error if every logit is NaN or -infinity.
TokenId best_token(std::span<const float> logits);

}  // namespace minimind
