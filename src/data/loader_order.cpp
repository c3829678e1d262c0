#include <algorithm>
#include <numeric>

#include "minimind/base/random.h"
#include "minimind/data/loader.h"

namespace minimind {

namespace {

// Order blocks that are sorted together. A larger window pads less but is less random.
constexpr size_t kWindowBlocks = 64;
// Measured with the released tokenizer on the released data.
constexpr int64_t kBytesPerToken = 4;

void bucket_by_length(std::vector<uint32_t>& order, const std::vector<uint32_t>& lengths, size_t block_size,
                      Random& random) {
  // The last block, which is smaller, is not sorted: it would always hold the longest samples.
  const size_t whole = order.size() / block_size * block_size;
  const size_t window = kWindowBlocks * block_size;
  for (size_t begin = 0; begin < whole; begin += window) {
    const auto first = order.begin() + static_cast<std::ptrdiff_t>(begin);
    const auto last = order.begin() + static_cast<std::ptrdiff_t>(std::min(begin + window, whole));
    std::stable_sort(first, last, [&](uint32_t a, uint32_t b) { return lengths[a] < lengths[b]; });
  }
  std::vector<uint32_t> blocks(whole / block_size);
  std::iota(blocks.begin(), blocks.end(), 0U);
  random.shuffle(blocks);
  std::vector<uint32_t> mixed;
  mixed.reserve(order.size());
  for (const uint32_t block : blocks) {
    const auto first = order.begin() + static_cast<std::ptrdiff_t>(block * block_size);
    mixed.insert(mixed.end(), first, first + static_cast<std::ptrdiff_t>(block_size));
  }
  mixed.insert(mixed.end(), order.begin() + static_cast<std::ptrdiff_t>(whole), order.end());
  order = std::move(mixed);
}

}  // namespace

std::vector<uint32_t> estimate_lengths(const LoaderInput& input, int64_t max_seq_len) {
  const Dataset& dataset = input.dataset;
  const int64_t vision_tokens = std::ssize(input.pattern.ids);
  std::vector<uint32_t> lengths(static_cast<size_t>(dataset.size()));
  for (int64_t index = 0; index < dataset.size(); ++index) {
    const SampleSize size = dataset.sample_size(index);
    const int64_t tokens = size.text_bytes / kBytesPerToken + size.images * vision_tokens;
    lengths[static_cast<size_t>(index)] = static_cast<uint32_t>(std::min(tokens, max_seq_len));
  }
  return lengths;
}

std::vector<uint32_t> epoch_order(const std::vector<uint32_t>& lengths, const LoaderOptions& options, int64_t epoch) {
  std::vector<uint32_t> order(lengths.size());
  std::iota(order.begin(), order.end(), 0U);
  if (options.original_order) {
    return order;
  }
  Random random(options.seed, static_cast<uint64_t>(epoch));
  random.shuffle(order);
  if (options.bucket_by_length) {
    const int64_t block = options.block_size > 0 ? options.block_size : options.batch_size * options.world_size;
    bucket_by_length(order, lengths, static_cast<size_t>(block), random);
  }
  return order;
}

}  // namespace minimind
