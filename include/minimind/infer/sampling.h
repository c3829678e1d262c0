#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "minimind/base/image_span.h"
#include "minimind/base/random.h"

namespace minimind {

/// What a repetition penalty does to the logit of a token seen before.
enum class RepetitionPenaltyMode {
  kUsual,     ///< divides a positive logit, multiplies a negative one: always less likely
  kOriginal,  ///< divides whatever the sign: a negative logit becomes more likely
};

/// How the next token is chosen. SPEC.md section 7.
struct SamplingOptions {
  /// Smaller numbers than this would make logits infinite; the answer would not differ from that of this one.
  static constexpr double kLeast = 1e-10;

  double temperature = 0.5;         ///< 0: greedy; else kLeast or more
  int64_t top_k = 8;                ///< keep the k highest logits, ties with the last of them too; 0: all
  double repetition_penalty = 1.0;  ///< 1: none; kLeast to 1 / kLeast
  RepetitionPenaltyMode penalty_mode = RepetitionPenaltyMode::kUsual;
  /// Of what top-k leaves, keep the likeliest tokens that together have this probability (at least one); 1: all.
  double top_p = 1.0;

  /// Throws Error on a value that cannot be.
  void validate() const;
};

/// Applies the options to one row of logits. Keeps its working memory between calls; not for several threads at once.
class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options);

  /// The probabilities handed to the sampler: [V], 0 for what top-k and top-p leave out. Penalty over the tokens
  /// of `seen` (each counts once), temperature, top-k, softmax, top-p. At temperature 0 the best token has 1. Valid
  /// until the next call. Throws Error where the logits are not numbers.
  std::span<const float> probabilities(std::span<const float> logits, std::span<const TokenId> seen);

  /// Draws a token from probabilities(). At temperature 0 `random` is not used.
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

/// Index of the highest logit, the first of equals. Throws Error where there is none that is a number.
TokenId best_token(std::span<const float> logits);

}  // namespace minimind
