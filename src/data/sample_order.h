#pragma once

#include <cstdint>
#include <vector>

#include "minimind/data/dataset.h"

namespace minimind::detail {

struct OrderOptions {
  int64_t block_size = 32;  ///< samples per order block
  uint64_t seed = 0;
  bool original_order = false;
  bool bucket_by_length = true;
};

/// Estimates the tokens of each sample without tokenizing it; at most max_seq_len.
std::vector<uint32_t> estimate_lengths(const Dataset& dataset, int64_t vision_tokens, int64_t max_seq_len);

/// The order of the samples in an epoch. It depends on the options, the lengths and the epoch alone. Bucketing shuffles
/// the samples, sorts windows of many blocks by length, and shuffles the order blocks: samples of similar length that
/// stay together. Every sample still comes once, at a random time.
std::vector<uint32_t> epoch_order(const std::vector<uint32_t>& lengths, const OrderOptions& options, int64_t epoch);

}  // namespace minimind::detail
