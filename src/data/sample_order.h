#pragma once

#include <cstdint>
#include <vector>

#include "minimind/data/dataset.h"

namespace minimind::detail {

struct OrderOptions {
  int64_t block_size = 32;  ///< samples of like length that stay together
  uint64_t seed = 0;
  bool original_order = false;
  bool bucket_by_length = true;
};

/// A guess at each sample's number of tokens, without tokenising; longer than max_seq_len counts as that.
std::vector<uint32_t> estimate_lengths(const Dataset& dataset, int64_t vision_tokens, int64_t max_seq_len);

/// The sample order of an epoch. Depends on the options, the lengths and the epoch alone. Bucketing sorts by length
/// inside windows of many blocks and then shuffles the blocks, so that every sample still comes once and at a random
/// time.
std::vector<uint32_t> epoch_order(const std::vector<uint32_t>& lengths, const OrderOptions& options, int64_t epoch);

}  // namespace minimind::detail
