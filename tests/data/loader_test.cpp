#include "minimind/data/loader.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/machine_limits.h"
#include "data_support.h"
#include "loader_support.h"
#include "minimind/data/encode_sample.h"
#include "minimind/image/decode.h"
#include "minimind/image/resize.h"

namespace minimind::testing {

TEST_F(LoaderOfAHundred, FillsABatchAsTheModelWantsIt) {
  LoaderOptions plain = options(0);
  plain.original_order = true;
  Loader loader(input(), plain);
  const std::vector<Batch> batches = take_epoch(loader, 0);
  ASSERT_EQ(batches.size(), 13U);
  const Batch& batch = batches[0];
  EXPECT_EQ(indices_of(batch), (std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6}));
  const int64_t rows = 7;
  int64_t longest = 0;
  int64_t supervised = 0;
  int64_t tokens = 0;
  int64_t image = 0;
  for (int64_t row = 0; row < rows; ++row) {
    const EncodedSample encoded =
        encode_sample(data_->sample(row), {tokenizer_, pattern_, 128, Supervision::kLastAnswer});
    const int64_t length = std::ssize(encoded.ids) - 1;
    longest = std::max(longest, length);
    supervised += encoded.supervised;
    tokens += length;
    for (int64_t i = 0; i < batch.ids.size(1); ++i) {
      ASSERT_EQ(batch.ids[row][i].item<int64_t>(), i < length ? encoded.ids[static_cast<size_t>(i)] : 0);
      ASSERT_EQ(batch.targets[row][i].item<int64_t>(), i < length ? encoded.ids[static_cast<size_t>(i + 1)] : 0);
      ASSERT_EQ(batch.mask[row][i].item<bool>(), i < length && encoded.mask[static_cast<size_t>(i + 1)] != 0);
    }
    if (row != 3) {
      std::vector<uint8_t> bytes(3 * kImageSize * kImageSize);
      resize_to_planar(decode_image(images_->read(std::to_string(row) + ".jpg"), "x"), kImageSize, bytes.data());
      EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), batch.pixel_values[image].contiguous().data_ptr<uint8_t>()));
      EXPECT_EQ(batch.spans[static_cast<size_t>(image)], (ImageSpan{row, encoded.spans[0]}));
      EXPECT_EQ(batch.image_names[static_cast<size_t>(image)], std::to_string(row) + ".jpg");
      ++image;
    }
  }
  EXPECT_EQ(batch.pixel_values.sizes(), (std::vector<int64_t>{6, 3, kImageSize, kImageSize}));
  EXPECT_TRUE(batch.pixel_values.is_contiguous());
  EXPECT_EQ(batch.ids.sizes(), (std::vector<int64_t>{rows, longest}));
  EXPECT_EQ(batch.supervised_tokens, supervised);
  EXPECT_EQ(batch.supervised_tokens, batch.mask.sum().item<int64_t>());
  EXPECT_EQ(batch.tokens, tokens);
  EXPECT_EQ(batch.samples(), 7);
  EXPECT_EQ(batch.images(), 6);
  EXPECT_TRUE(batch.image_hashes.empty());
  EXPECT_EQ(indices_of(batches.back()), (std::vector<int64_t>{96, 97, 98, 99}));
}

TEST_F(LoaderOfAHundred, PadsToAMultipleOfALength) {
  Loader exact(input(), options());
  LoaderOptions rounded = options();
  rounded.length_multiple = 16;
  Loader padded(input(), rounded);
  const std::vector<Batch> expected = take_epoch(exact, 0), found = take_epoch(padded, 0);
  ASSERT_EQ(found.size(), expected.size());
  bool has_longer = false;
  for (size_t i = 0; i < found.size(); ++i) {
    const int64_t length = expected[i].ids.size(1), width = found[i].ids.size(1);
    EXPECT_EQ(width, (length + 15) / 16 * 16);
    has_longer = has_longer || width > length;
    for (const auto& [exact_part, padded_part] :
         {std::pair(expected[i].ids, found[i].ids), std::pair(expected[i].targets, found[i].targets),
          std::pair(expected[i].mask, found[i].mask)}) {
      EXPECT_TRUE(padded_part.narrow(1, 0, length).equal(exact_part));
      EXPECT_FALSE(padded_part.narrow(1, length, width - length).any().item<bool>());
    }
    EXPECT_EQ(found[i].tokens, expected[i].tokens);
    EXPECT_EQ(found[i].supervised_tokens, expected[i].supervised_tokens);
  }
  EXPECT_TRUE(has_longer);
}

TEST_F(LoaderOfAHundred, GivesTheSameBatchesWithAnyNumberOfThreads) {
  Loader reference(input(), options(0));
  for (const int64_t epoch : {0, 1}) {
    const auto expected = take_epoch(reference, epoch);
    for (const int64_t workers : {1, 4}) {
      Loader loader(input(), options(workers));
      expect_equal(take_epoch(loader, epoch), expected);
      std::vector<std::string> skipped;
      for (const auto& sample : loader.skipped()) {
        skipped.push_back(sample.id);
      }
      EXPECT_EQ(skipped.size(), 5U);
    }
  }
}

TEST_F(LoaderOfAHundred, ComesOnceThroughEverySampleInANewOrderEachEpoch) {
  Loader loader(input(), options(2));
  std::set<std::vector<int64_t>> orders;
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    auto indices = indices_of(take_epoch(loader, epoch));
    orders.insert(indices);
    std::sort(indices.begin(), indices.end());
    EXPECT_EQ(indices.size(), 95U);
    EXPECT_EQ(std::set<int64_t>(indices.begin(), indices.end()).size(), 95U);
  }
  EXPECT_EQ(orders.size(), 3U);
  LoaderOptions other = options(2);
  other.seed = 7;
  Loader reseeded(input(), other);
  orders.insert(indices_of(take_epoch(reseeded, 0)));
  EXPECT_EQ(orders.size(), 4U);
}

TEST_F(LoaderOfAHundred, DealsTheSameMicroBatchesToOneRankAndToMore) {
  Loader alone(input(), options(1));
  const auto expected = take_epoch(alone, 2);
  for (const int64_t world : {2, 3, 5}) {
    for (int64_t rank = 0; rank < world; ++rank) {
      LoaderOptions mine = options(2);
      mine.rank = rank;
      mine.world_size = world;
      mine.block_size = 8;
      Loader loader(input(), mine);
      EXPECT_EQ(loader.micro_batches_per_epoch(), 13);
      EXPECT_EQ(loader.micro_steps_per_epoch(), (13 + world - 1) / world);
      const auto batches = take_epoch(loader, 2);
      ASSERT_EQ(std::ssize(batches), loader.micro_steps_per_epoch());
      for (int64_t step = 0; step < std::ssize(batches); ++step) {
        const int64_t micro_batch = step * world + rank;
        if (micro_batch < std::ssize(expected)) {
          expect_equal(batches[static_cast<size_t>(step)], expected[static_cast<size_t>(micro_batch)]);
        } else {
          EXPECT_FALSE(batches[static_cast<size_t>(step)].ids.defined()) << "a rank beyond the last micro-batch";
        }
      }
    }
  }
}

TEST_F(LoaderOfAHundred, GivesTwoRanksTogetherWhatOneGetsWithTheDoubleBatch) {
  LoaderOptions big = options(1);
  big.batch_size = 16;
  Loader alone(input(), big);
  const auto expected = indices_of(take_epoch(alone, 1));
  std::vector<std::vector<Batch>> of_ranks;
  for (int64_t rank = 0; rank < 2; ++rank) {
    LoaderOptions mine = options(1);
    mine.rank = rank;
    mine.world_size = 2;
    Loader loader(input(), mine);
    of_ranks.push_back(take_epoch(loader, 1));
  }
  std::vector<int64_t> dealt;
  for (size_t step = 0; step < of_ranks[0].size(); ++step) {
    for (const auto& batches : of_ranks) {
      const auto part = indices_of(batches.at(step));
      dealt.insert(dealt.end(), part.begin(), part.end());
    }
  }
  EXPECT_EQ(dealt, expected);
}

TEST_F(LoaderOfAHundred, ResumesExactlyAtAnyMicroBatch) {
  Loader loader(input(), options(3));
  const auto whole = take_epoch(loader, 1);
  for (const int64_t first : {1, 4, 12, 13}) {
    const auto rest = take_epoch(loader, 1, first);
    expect_equal(rest, {whole.begin() + first, whole.end()});
  }
  // Two ranks trained on four micro-batches; three ranks go on.
  std::vector<Batch> dealt;
  std::vector<std::vector<Batch>> of_ranks;
  for (int64_t rank = 0; rank < 3; ++rank) {
    LoaderOptions mine = options(1);
    mine.rank = rank;
    mine.world_size = 3;
    mine.block_size = 8;
    Loader part(input(), mine);
    of_ranks.push_back(take_epoch(part, 1, 4));
  }
  for (size_t step = 0; step < of_ranks[0].size(); ++step) {
    for (auto& batches : of_ranks) {
      dealt.push_back(batches.at(step));
    }
  }
  expect_equal(dealt, {whole.begin() + 4, whole.end()});
}

TEST_F(LoaderOfAHundred, PadsLessWithBatchesOfSimilarLength) {
  const auto padding = [&](bool bucket) {
    LoaderOptions chosen = options(1);
    chosen.bucket_by_length = bucket;
    Loader loader(input(), chosen);
    int64_t positions = 0;
    int64_t real = 0;
    for (const auto& batch : take_epoch(loader, 0)) {
      positions += batch.ids.numel();
      real += batch.tokens;
    }
    return 1.0 - static_cast<double>(real) / static_cast<double>(positions);
  };
  EXPECT_LT(padding(true), 0.5 * padding(false));
}

TEST_F(LoaderOfAHundred, ReportsEachSkippedSampleOnceWithItsReason) {
  Loader loader(input(), options(2));
  take_epoch(loader, 0);
  take_epoch(loader, 1);
  std::map<std::string, std::string> reasons;
  for (const auto& sample : loader.skipped()) {
    EXPECT_TRUE(reasons.emplace(sample.id, sample.reason).second) << sample.id;
  }
  ASSERT_EQ(reasons.size(), 5U);
  EXPECT_NE(reasons["s7"].find("7.jpg"), std::string::npos) << reasons["s7"];
  EXPECT_EQ(reasons["s27"], "image 27.jpg not found in memory");
}

TEST_F(LoaderOfAHundred, HandsOutAnEmptyBatchIfAMicroBatchHasNoGoodSample) {
  LoaderOptions single = options(1);
  single.batch_size = 1;
  single.original_order = true;
  Loader loader(input(), single);
  const auto batches = take_epoch(loader, 0);
  ASSERT_EQ(batches.size(), 100U);
  EXPECT_FALSE(batches[7].ids.defined());
  EXPECT_FALSE(batches[7].pixel_values.defined());
  EXPECT_TRUE(batches[7].sample_ids.empty());
  EXPECT_TRUE(batches[3].ids.defined());
  EXPECT_FALSE(batches[3].pixel_values.defined()) << "text alone";
  EXPECT_EQ(batches[8].ids.size(0), 1);
}

TEST_F(LoaderOfAHundred, FailsIfNoSampleIsUsable) {
  const MemoryImages nothing({});
  const std::string json =
      "[" + sample_text(0, "a.jpg", "<image>", "x") + "," + sample_text(1, "b.jpg", "<image>", "x") + "]";
  const Dataset two = Dataset::load(write_bytes(folder_ / "two.json", json), DataKind::kPretrain);
  Loader loader({two, DataKind::kPretrain, tokenizer_, pattern_, nothing, nullptr}, options(2));
  const std::string found = error_of([&] { take_epoch(loader, 0); });
  EXPECT_NE(found.find("no sample can be used: all 2 so far were skipped"), std::string::npos) << found;
  EXPECT_NE(found.find("not found in memory"), std::string::npos) << found;
}

TEST_F(LoaderOfAHundred, RethrowsAWorkersExceptionAndStopsCleanly) {
  images_->throw_at = "50.jpg";
  for (const int64_t workers : {0, 1, 4}) {
    LoaderOptions plain = options(workers);
    plain.original_order = true;  // sample 50 comes in the seventh micro-batch
    Loader loader(input(), plain);
    loader.start_epoch(0);
    for (int i = 0; i < 6; ++i) {
      EXPECT_NO_THROW(loader.next());
    }
    EXPECT_THROW(loader.next(), std::logic_error);
    loader.start_epoch(1);
    EXPECT_NO_THROW(loader.next());
  }
}

TEST_F(LoaderOfAHundred, CanBeLeftAtAnyTime) {
  for (int round = 0; round < 30; ++round) {
    Loader loader(input(), options(4));
    if (round % 3 > 0) {
      loader.start_epoch(round);
    }
    for (int i = 0; i < round % 5 && round % 3 > 1; ++i) {
      loader.next();
    }
    if (round % 4 == 0) {
      loader.start_epoch(round + 1);
    }
  }
}

TEST_F(LoaderOfAHundred, RefusesBadSettings) {
  LoaderOptions bad = options();
  bad.batch_size = 0;
  EXPECT_NE(error_of([&] { Loader(input(), bad); }).find("batch_size: expected at least 1, found 0"),
            std::string::npos);
  bad = options();
  bad.num_workers = -1;
  EXPECT_THROW(Loader(input(), bad), Error);
  bad.num_workers = 100000;
  EXPECT_EQ(error_of([&] { Loader(input(), bad); }),
            concat("num_workers: expected 0 to ", most_threads(), ", found 100000"));
  bad = options();
  bad.max_seq_len = 1;
  EXPECT_THROW(Loader(input(), bad), Error);
  bad = options();
  bad.rank = 1;
  EXPECT_THROW(Loader(input(), bad), std::logic_error);
}

TEST_F(LoaderOfAHundred, TakesCachedFeaturesAndStopsReading) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    fs::remove_all(folder_ / "cache");
    const auto features = cache(dtype);
    Loader loader(input(features.get()), options(2));
    const auto without = take_epoch(loader, 0);
    int64_t images = 0;
    for (const auto& batch : without) {
      EXPECT_FALSE(batch.features.defined());
      ASSERT_EQ(batch.image_hashes.size(), batch.image_names.size());
      for (size_t i = 0; i < batch.image_hashes.size(); ++i) {
        EXPECT_EQ(batch.image_hashes[i], hash_content(images_->read(batch.image_names[i])));
        const double value = std::stod(batch.image_names[i]);
        features->put(batch.image_hashes[i], at::full({kVisionTokens, 4}, value));
        ++images;
      }
    }
    EXPECT_EQ(images, 90);
    const int64_t reads = images_->reads();
    const auto with = take_epoch(loader, 0);
    EXPECT_EQ(images_->reads() - reads, 1) << "only the damaged image is read";
    int64_t cached = 0;
    for (size_t i = 0; i < with.size(); ++i) {
      EXPECT_EQ(indices_of(with[i]), indices_of(without[i]));
      EXPECT_EQ(with[i].spans, without[i].spans);
      EXPECT_FALSE(with[i].pixel_values.defined());
      if (with[i].spans.empty()) {
        continue;
      }
      EXPECT_EQ(with[i].features.scalar_type(), dtype);
      ASSERT_EQ(with[i].features.sizes(), (std::vector<int64_t>{std::ssize(with[i].spans), kVisionTokens, 4}));
      for (size_t k = 0; k < with[i].spans.size(); ++k) {
        const at::Tensor expected = at::full({kVisionTokens, 4}, std::stod(with[i].image_names[k])).to(dtype);
        EXPECT_TRUE(at::equal(with[i].features[static_cast<int64_t>(k)], expected));
        ++cached;
      }
    }
    EXPECT_EQ(cached, 90);
    Loader restarted(input(features.get()), options(2));
    EXPECT_TRUE(take_epoch(restarted, 3)[0].features.defined() || take_epoch(restarted, 3)[1].features.defined());
  }
}

TEST_F(LoaderOfAHundred, DecodesOnlyTheImagesThatAreNotCached) {
  const auto features = cache();
  LoaderOptions plain = options(0);
  plain.original_order = true;
  Loader loader(input(features.get()), plain);
  loader.start_epoch(0);
  const Batch first = *loader.next();  // sample 7's image cannot be decoded, sample 3 has none
  ASSERT_EQ(first.image_hashes.size(), 6U);
  EXPECT_EQ(first.pixel_values.size(0), 6);
  EXPECT_FALSE(first.features.defined());
  for (const size_t k : {0U, 1U, 3U, 5U}) {
    features->put(first.image_hashes[k], at::full({kVisionTokens, 4}, static_cast<double>(k)));
  }
  for (const int64_t epoch : {1, 2}) {
    loader.start_epoch(epoch);
    const int64_t reads = images_->reads();
    const Batch again = *loader.next();
    EXPECT_EQ(images_->reads() - reads, 3) << "two that are not cached, one that is none";
    EXPECT_EQ(again.missing, (std::vector<int64_t>{2, 4}));
    ASSERT_EQ(again.features.size(0), 6);
    for (const int64_t k : {0, 1, 3, 5}) {
      EXPECT_TRUE(at::equal(again.features[k], at::full({kVisionTokens, 4}, static_cast<double>(k))));
    }
    ASSERT_EQ(again.pixel_values.size(0), 2);
    EXPECT_TRUE(at::equal(again.pixel_values[0], first.pixel_values[2]));
    EXPECT_TRUE(at::equal(again.pixel_values[1], first.pixel_values[4]));
  }
}

TEST_F(LoaderOfAHundred, KeepsCachedFeaturesInPlaceIfAnEarlierSampleIsSkipped) {
  const auto features = cache();
  LoaderOptions plain = options(0);
  plain.original_order = true;
  plain.batch_size = 16;
  Loader loader(input(features.get()), plain);
  loader.start_epoch(0);
  const Batch first = *loader.next();
  const auto known = [&](size_t k) { return k % 2 == 0; };
  for (size_t k = 0; k < first.image_hashes.size(); ++k) {
    if (known(k)) {
      features->put(first.image_hashes[k], at::full({kVisionTokens, 4}, std::stod(first.image_names[k])));
    }
  }
  loader.start_epoch(1);
  const Batch again = *loader.next();
  ASSERT_EQ(again.image_names, first.image_names);
  EXPECT_FALSE(std::ranges::count(again.sample_ids, "s7")) << "it stands between the other samples";
  ASSERT_EQ(again.features.size(0), std::ssize(again.image_names));
  for (size_t k = 0; k < again.image_names.size(); ++k) {
    if (known(k)) {
      EXPECT_TRUE(at::equal(again.features[static_cast<int64_t>(k)],
                            at::full({kVisionTokens, 4}, std::stod(again.image_names[k]))));
    } else {
      EXPECT_EQ(std::ranges::count(again.missing, static_cast<int64_t>(k)), 1);
    }
  }
}

TEST(SampleOrder, IsAPermutationOfSimilarLengthsWhoseLastBlockIsNotTheLongest) {
  Random random(1);
  std::vector<uint32_t> lengths(10007);
  for (auto& length : lengths) {
    length = static_cast<uint32_t>(random.below(500));
  }
  LoaderOptions options;
  options.block_size = 32;
  options.seed = 5;
  double last_mean = 0;
  for (int64_t epoch = 0; epoch < 50; ++epoch) {
    auto order = epoch_order(lengths, options, epoch);
    for (size_t i = order.size() / 32 * 32; i < order.size(); ++i) {
      last_mean += lengths[order[i]] / 50.0 / static_cast<double>(order.size() % 32);
    }
    std::sort(order.begin(), order.end());
    for (size_t i = 0; i < order.size(); ++i) {
      ASSERT_EQ(order[i], i);
    }
  }
  EXPECT_NEAR(last_mean, 250, 25);
  options.original_order = true;
  const auto file_order = epoch_order(lengths, options, 3);
  EXPECT_TRUE(std::is_sorted(file_order.begin(), file_order.end()));
}

}  // namespace minimind::testing
