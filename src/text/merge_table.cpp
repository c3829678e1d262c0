#include "text/merge_table.h"

#include <algorithm>
#include <array>
#include <bit>
#include <queue>
#include <stdexcept>
#include <tuple>

namespace minimind::text_detail {

namespace {

// Below, scanning all pairs at each step is faster than a heap.
constexpr size_t kLongWord = 64;

uint64_t pair_key(TokenId left, TokenId right) {
  return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
}

}  // namespace

MergeTable::MergeTable(size_t merges) : slots_(std::bit_ceil(std::max<size_t>(2 * merges, 2))) {
  shift_ = 64 - std::countr_zero(slots_.size());
  merged_by_rank_.reserve(merges);
}

size_t MergeTable::slot_of(uint64_t pair) const {
  size_t slot = (pair * 0x9E3779B97F4A7C15ULL) >> shift_;
  while (slots_[slot].rank != kNoRank && slots_[slot].pair != pair) {
    slot = (slot + 1) & (slots_.size() - 1);
  }
  return slot;
}

int32_t MergeTable::rank_of(TokenId left, TokenId right) const {
  return slots_[slot_of(pair_key(left, right))].rank;
}

void MergeTable::add(TokenId left, TokenId right, TokenId merged) {
  if (2 * (merged_by_rank_.size() + 1) > slots_.size()) {
    throw std::logic_error("MergeTable: more merges than announced");
  }
  const uint64_t pair = pair_key(left, right);
  slots_[slot_of(pair)] = {pair, static_cast<int32_t>(merged_by_rank_.size())};
  merged_by_rank_.push_back(merged);
}

void MergeTable::merge(std::vector<TokenId>& word) const {
  if (word.size() < kLongWord) {
    merge_short(word);
  } else {
    merge_long(word);
  }
}

void MergeTable::merge_short(std::vector<TokenId>& word) const {
  std::array<int32_t, kLongWord> ranks{};  // of the pair (i, i + 1)
  size_t size = word.size();
  for (size_t i = 0; i + 1 < size; ++i) {
    ranks[i] = rank_of(word[i], word[i + 1]);
  }
  while (size > 1) {
    const auto* best = std::min_element(ranks.data(), ranks.data() + size - 1);
    if (*best == kNoRank) {
      break;
    }
    const auto at = static_cast<size_t>(best - ranks.data());
    word[at] = merged_by_rank_[static_cast<size_t>(*best)];
    std::copy(word.data() + at + 2, word.data() + size, word.data() + at + 1);
    std::copy(ranks.data() + at + 1, ranks.data() + size - 1, ranks.data() + at);
    --size;
    if (at > 0) {
      ranks[at - 1] = rank_of(word[at - 1], word[at]);
    }
    if (at + 1 < size) {
      ranks[at] = rank_of(word[at], word[at + 1]);
    }
  }
  word.resize(size);
}

void MergeTable::merge_long(std::vector<TokenId>& word) const {
  constexpr TokenId kGone = -1;
  const size_t size = word.size();
  std::vector<size_t> next(size);
  std::vector<size_t> previous(size);
  using Candidate = std::tuple<int32_t, size_t>;  // rank, position of the left symbol
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> candidates;
  const auto propose = [&](size_t left) {
    const int32_t rank = rank_of(word[left], word[next[left]]);
    if (rank != kNoRank) {
      candidates.emplace(rank, left);
    }
  };
  for (size_t i = 0; i < size; ++i) {
    next[i] = i + 1;
    previous[i] = i - 1;  // of the first one: never read
  }
  for (size_t i = 0; i + 1 < size; ++i) {
    propose(i);
  }
  while (!candidates.empty()) {
    const auto [rank, left] = candidates.top();
    candidates.pop();
    // The pair may have changed since it was proposed.
    if (word[left] == kGone || next[left] == size || rank_of(word[left], word[next[left]]) != rank) {
      continue;
    }
    const size_t right = next[left];
    word[left] = merged_by_rank_[static_cast<size_t>(rank)];
    word[right] = kGone;
    next[left] = next[right];
    if (next[left] != size) {
      previous[next[left]] = left;
      propose(left);
    }
    if (left != 0) {
      propose(previous[left]);
    }
  }
  std::erase(word, kGone);
}

}  // namespace minimind::text_detail
