#pragma once

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

#include "data_support.h"
#include "minimind/data/encode_sample.h"
#include "minimind/data/feature_cache.h"
#include "minimind/data/loader.h"

namespace minimind::testing {

constexpr int64_t kVisionTokens = 6;
constexpr int64_t kImageSize = 16;

// Images in memory, with the number of reads.
class MemoryImages final : public ImageSource {
 public:
  explicit MemoryImages(std::map<std::string, std::string> files) : files_(std::move(files)) {}
  bool contains(const std::string& name) const override { return files_.contains(name); }
  std::string read(const std::string& name) const override {
    const std::lock_guard guard(mutex_);
    ++reads_;
    if (name == throw_at) {
      throw std::logic_error("a mistake of ours");
    }
    return files_.at(name);
  }
  std::string description() const override { return "memory"; }
  int64_t reads() const { return reads_; }
  std::string throw_at;

 private:
  std::map<std::string, std::string> files_;
  mutable std::mutex mutex_;
  mutable int64_t reads_ = 0;
};

std::string sample_text(int64_t number, const std::string& image, const std::string& question,
                        const std::string& answer) {
  return R"({"id": "s)" + std::to_string(number) + R"(", "image": ")" + image +
         R"(", "conversations": [{"from": "h", "value": ")" + question + R"("}, {"from": "g", "value": ")" + answer +
         "\"}]}";
}

// 100 samples: 90 with one image, 5 of text alone, 5 that must be skipped.
class LoaderOfAHundred : public ::testing::Test {
 protected:
  LoaderOfAHundred() {
    std::map<std::string, std::string> files;
    std::string json = "[";
    for (int64_t i = 0; i < 100; ++i) {
      const std::string name = std::to_string(i) + ".jpg";
      const std::string answer(static_cast<size_t>(5 + i * 37 % 60), static_cast<char>('a' + i % 26));
      std::string question = "<image>?";
      if (i % 20 == 3) {
        question = "text alone";
      } else if (i % 20 != 7 || i == 7) {
        files[name] = make_jpeg(static_cast<uint64_t>(i), 20 + i % 7, 15 + i % 5);
      }
      if (i == 7) {
        files[name] = "not an image";
      }
      json += (i == 0 ? "" : ",") + sample_text(i, i % 20 == 3 ? "" : name, question, answer);
    }
    data_ =
        std::make_unique<Dataset>(Dataset::load(write_bytes(folder_ / "data.json", json + "]"), DataKind::kPretrain));
    images_ = std::make_unique<MemoryImages>(std::move(files));
  }

  LoaderInput input(const FeatureCache* cache = nullptr) {
    return {*data_, DataKind::kPretrain, tokenizer_, pattern_, *images_, cache};
  }
  LoaderOptions options(int64_t workers = 1) {
    LoaderOptions options;
    options.batch_size = 8;
    options.num_workers = workers;
    options.max_seq_len = 128;
    options.image_size = kImageSize;
    return options;
  }
  std::unique_ptr<FeatureCache> cache(at::ScalarType dtype = at::kFloat) {
    return FeatureCache::open(folder_ / "cache", "encoder", kVisionTokens, 4, dtype);
  }

  TemporaryFolder folder_;
  ByteTokenizer tokenizer_;
  ImagePattern pattern_ = make_image_pattern(tokenizer_, "<<<>>>", kVisionTokens);
  std::unique_ptr<Dataset> data_;
  std::unique_ptr<MemoryImages> images_;
};

inline std::vector<Batch> take_epoch(Loader& loader, int64_t epoch, int64_t first_micro_batch = 0) {
  std::vector<Batch> batches;
  loader.start_epoch(epoch, first_micro_batch);
  while (auto batch = loader.next()) {
    batches.push_back(std::move(*batch));
  }
  return batches;
}

inline void expect_equal(const Batch& a, const Batch& b) {
  ASSERT_EQ(a.sample_ids, b.sample_ids);
  ASSERT_EQ(a.ids.defined(), b.ids.defined());
  if (a.ids.defined()) {
    EXPECT_TRUE(at::equal(a.ids, b.ids));
    EXPECT_TRUE(at::equal(a.targets, b.targets));
    EXPECT_TRUE(at::equal(a.mask, b.mask));
  }
  ASSERT_EQ(a.pixel_values.defined(), b.pixel_values.defined());
  EXPECT_TRUE(!a.pixel_values.defined() || at::equal(a.pixel_values, b.pixel_values));
  EXPECT_EQ(a.spans, b.spans);
  EXPECT_EQ(a.image_names, b.image_names);
  EXPECT_EQ(a.supervised_tokens, b.supervised_tokens);
  EXPECT_EQ(a.tokens, b.tokens);
}

inline void expect_equal(const std::vector<Batch>& a, const std::vector<Batch>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    SCOPED_TRACE(i);
    expect_equal(a[i], b[i]);
  }
}

/// Positions in the data set: sample 17 has the id "s17".
inline std::vector<int64_t> indices_of(const Batch& batch) {
  std::vector<int64_t> indices;
  for (const auto& id : batch.sample_ids) {
    indices.push_back(std::stoll(id.substr(1)));
  }
  return indices;
}

inline std::vector<int64_t> indices_of(const std::vector<Batch>& batches) {
  std::vector<int64_t> indices;
  for (const auto& batch : batches) {
    const auto part = indices_of(batch);
    indices.insert(indices.end(), part.begin(), part.end());
  }
  return indices;
}

}  // namespace minimind::testing
