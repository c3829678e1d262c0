#pragma once

#include <cstdint>
#include <vector>

#include "minimind/base/image_span.h"

namespace minimind::text_detail {

/// The merges of a byte-pair encoding. Immutable after the last add().
class MergeTable {
 public:
  explicit MergeTable(size_t merges = 0);

  /// Adds a merge of the next rank; rank 0 merges first. A pair added twice keeps its last rank.
  void add(TokenId left, TokenId right, TokenId merged);

  /// Merges neighbours in place until no pair has a merge: at each step the pair of the lowest rank, of equal ranks the
  /// leftmost pair. O(n log n) for long words.
  void merge(std::vector<TokenId>& word) const;

 private:
  static constexpr int32_t kNoRank = INT32_MAX;
  struct Slot {
    uint64_t pair = 0;
    int32_t rank = kNoRank;  // kNoRank: a free slot
  };
  size_t slot_of(uint64_t pair) const;
  int32_t rank_of(TokenId left, TokenId right) const;
  void merge_short(std::vector<TokenId>& word) const;
  void merge_long(std::vector<TokenId>& word) const;

  std::vector<Slot> slots_;  // a power of two, at most half full
  std::vector<TokenId> merged_by_rank_;
  int shift_ = 0;
};

}  // namespace minimind::text_detail
