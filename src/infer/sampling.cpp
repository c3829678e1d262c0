#include "minimind/infer/sampling.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <stdexcept>

#include "minimind/base/error.h"

namespace minimind {

namespace {

constexpr float kExcluded = -std::numeric_limits<float>::infinity();

}  // namespace

void SamplingOptions::validate() const {
  require(std::isfinite(temperature) && (temperature == 0 || temperature >= kLeast),
          "temperature: expected 0 (greedy), or ", kLeast, " or more, found ", temperature);
  require(top_k >= 0, "top_k: expected 0 (all tokens) or more, found ", top_k);
  require(repetition_penalty >= kLeast && repetition_penalty <= 1 / kLeast, "repetition_penalty: expected ", kLeast,
          " to ", 1 / kLeast, " (1: no penalty), found ", repetition_penalty);
  require(top_p > 0 && top_p <= 1, "top_p: expected more than 0 and at most 1 (all tokens), found ", top_p);
}

TokenId best_token(std::span<const float> logits) {
  size_t best = logits.size();
  for (size_t i = 0; i < logits.size(); ++i) {
    // A comparison with NaN is false, so that a NaN never wins.
    if (logits[i] > (best == logits.size() ? kExcluded : logits[best])) {
      best = i;
    }
  }
  require(best < logits.size(),
          "the model's logits: expected numbers, found NaN or -infinity only; are the weights damaged?");
  return static_cast<TokenId>(best);
}

Sampler::Sampler(const SamplingOptions& options) : options_(options) {
  options_.validate();
}

std::span<const float> Sampler::probabilities(std::span<const float> logits, std::span<const TokenId> seen) {
  row_.assign(logits.begin(), logits.end());
  if (options_.repetition_penalty != 1.0) {
    penalise(seen);
  }
  if (options_.temperature == 0) {
    const TokenId best = best_token(row_);
    std::fill(row_.begin(), row_.end(), 0.0F);
    row_[static_cast<size_t>(best)] = 1.0F;
    return row_;
  }
  const auto temperature = static_cast<float>(options_.temperature);
  for (float& logit : row_) {
    logit /= temperature;
  }
  keep_top_k();
  softmax();
  if (options_.top_p < 1.0) {
    keep_top_p();
  }
  return row_;
}

TokenId Sampler::choose(std::span<const float> logits, std::span<const TokenId> seen, Random& random) {
  if (options_.temperature == 0 && options_.repetition_penalty == 1.0) {
    return best_token(logits);
  }
  const std::span<const float> probability = probabilities(logits, seen);
  if (options_.temperature == 0) {
    return best_token(probability);
  }
  const double drawn = random.uniform();
  double sum = 0;
  size_t last = 0;
  for (size_t i = 0; i < probability.size(); ++i) {
    if (probability[i] > 0) {
      sum += static_cast<double>(probability[i]);
      last = i;
      if (drawn < sum) {
        break;
      }
    }
  }
  // Rounding may leave the sum a little below 1: then the last token with a probability is drawn.
  return static_cast<TokenId>(last);
}

void Sampler::penalise(std::span<const TokenId> seen) {
  is_seen_.assign(row_.size(), 0);
  const auto penalty = static_cast<float>(options_.repetition_penalty);
  for (const TokenId id : seen) {
    if (id < 0 || static_cast<size_t>(id) >= row_.size()) {
      throw std::logic_error("Sampler: a token outside the vocabulary");
    }
    if (is_seen_[static_cast<size_t>(id)] == 0) {
      is_seen_[static_cast<size_t>(id)] = 1;
      float& logit = row_[static_cast<size_t>(id)];
      const bool multiply = options_.penalty_mode == RepetitionPenaltyMode::kUsual && logit < 0;
      logit = multiply ? logit * penalty : logit / penalty;
    }
  }
}

void Sampler::keep_top_k() {
  const auto k = static_cast<size_t>(options_.top_k);
  if (k == 0 || k >= row_.size()) {
    return;
  }
  // A heap of the k highest logits, the lowest on top: one pass, few exchanges, no sorting of the vocabulary.
  heap_.assign(row_.begin(), row_.begin() + static_cast<std::ptrdiff_t>(k));
  std::make_heap(heap_.begin(), heap_.end(), std::greater<>());
  for (size_t i = k; i < row_.size(); ++i) {
    if (row_[i] > heap_.front()) {
      std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
      heap_.back() = row_[i];
      std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
    }
  }
  const float lowest_kept = heap_.front();
  for (float& logit : row_) {
    if (logit < lowest_kept) {
      logit = kExcluded;
    }
  }
}

void Sampler::softmax() {
  const float highest = row_[static_cast<size_t>(best_token(row_))];
  double sum = 0;
  for (float& value : row_) {
    value = value == kExcluded ? 0.0F : std::exp(value - highest);
    sum += static_cast<double>(value);
  }
  require(std::isfinite(sum), "the model's logits: expected numbers, found NaN or infinity; are the weights damaged?");
  const double scale = 1.0 / sum;
  for (float& value : row_) {
    value = static_cast<float>(static_cast<double>(value) * scale);
  }
}

void Sampler::keep_top_p() {
  candidates_.clear();
  for (size_t i = 0; i < row_.size(); ++i) {
    if (row_[i] > 0) {
      candidates_.push_back(static_cast<int32_t>(i));
    }
  }
  // A heap with the likeliest on top: only the kept tokens leave it. Of equals the first in the vocabulary leaves
  // first.
  const auto less_likely = [this](int32_t a, int32_t b) {
    const float pa = row_[static_cast<size_t>(a)];
    const float pb = row_[static_cast<size_t>(b)];
    return pa != pb ? pa < pb : a > b;
  };
  std::make_heap(candidates_.begin(), candidates_.end(), less_likely);
  auto rest = candidates_.end();
  double sum = 0;
  while (rest != candidates_.begin() && sum < options_.top_p) {
    std::pop_heap(candidates_.begin(), rest, less_likely);
    --rest;
    sum += static_cast<double>(row_[static_cast<size_t>(*rest)]);
  }
  for (auto dropped = candidates_.begin(); dropped != rest; ++dropped) {
    row_[static_cast<size_t>(*dropped)] = 0.0F;
  }
  for (auto kept = rest; kept != candidates_.end(); ++kept) {
    float& probability = row_[static_cast<size_t>(*kept)];
    probability = static_cast<float>(static_cast<double>(probability) / sum);
  }
}

}  // namespace minimind
