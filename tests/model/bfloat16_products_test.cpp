#include "model/bfloat16_products.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "model/small_gemm.h"
#include "support/temporary_folder.h"

namespace minimind::testing {
namespace {

TEST(WideningKernels, MultiplyTheRoundedWeightsWithTheExactInput) {
  for (const int64_t count : {1, 3, 4, 70, 150}) {
    for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{1, 5}, {12, 64}, {13, 97}, {300, 129}}) {
      SCOPED_TRACE(::testing::Message() << count << " inputs, " << rows << "x" << cols);
      const at::Tensor weight = (at::arange(rows * cols, at::kFloat) * 0.731).sin_().view({rows, cols});
      const at::Tensor narrow = weight.to(at::kBFloat16);
      const at::Tensor x = (at::arange(count * cols, at::kFloat) * 0.37).cos_().view({count, cols});
      const at::Tensor expected = at::linear(x.to(at::kDouble), narrow.to(at::kDouble));
      const at::Tensor y = small_gemm(x, narrow, {}, widening_kernels());
      EXPECT_LE((y - expected).abs().max().item<double>(), 1e-5 * static_cast<double>(cols));
    }
  }
}

int g_measured = 0;  // a plain function counts its calls

Bfloat16Products measured_once() {
  ++g_measured;
  return {.in_large_gemms = true, .in_small_gemms = false, .large_gain = 1.5 + g_measured, .small_gain = 0.75};
}

TEST(Bfloat16Products, AreMeasuredOnceForAProcessor) {
  const TemporaryFolder folder;
  const std::string cache = folder.path() / "cache";
  g_measured = 0;
  const Bfloat16Products first = kept_bfloat16_products(cache, "one", measured_once);
  const Bfloat16Products second = kept_bfloat16_products(cache, "one", measured_once);
  EXPECT_EQ(g_measured, 1);
  EXPECT_TRUE(second.in_large_gemms);
  EXPECT_FALSE(second.in_small_gemms);
  EXPECT_EQ(second.large_gain, first.large_gain);
  EXPECT_EQ(second.small_gain, first.small_gain);
  kept_bfloat16_products(cache, "another", measured_once);
  EXPECT_EQ(g_measured, 2);
}

TEST(Bfloat16Products, AreMeasuredAgainIfTheFileIsDamaged) {
  const TemporaryFolder folder;
  g_measured = 0;
  kept_bfloat16_products(folder.path(), "one", measured_once);
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    std::ofstream(entry.path()) << "{\"key\": \"one\", \"large";
  }
  EXPECT_TRUE(kept_bfloat16_products(folder.path(), "one", measured_once).in_large_gemms);
  EXPECT_EQ(g_measured, 2);
}

TEST(Bfloat16Products, NeedNoFolderThatCanBeWritten) {
  g_measured = 0;
  EXPECT_TRUE(kept_bfloat16_products("", "one", measured_once).in_large_gemms);
  EXPECT_TRUE(kept_bfloat16_products("/dev/null/cache", "one", measured_once).in_large_gemms);
  EXPECT_EQ(g_measured, 2);
}

TEST(Bfloat16Products, SayWhatTheyGain) {
  const Bfloat16Products fast{.in_large_gemms = true, .in_small_gemms = false, .large_gain = 1.93, .small_gain = 0.62};
  EXPECT_EQ(fast.text(/*large=*/true), "bfloat16 products: 1.9x float32 on this processor");
  EXPECT_EQ(fast.text(/*large=*/false), "bfloat16 is widened to float32: bfloat16 products are 0.6x here");
}

TEST(Bfloat16Products, HaveMeasuredGainsWhereTheProcessorHasThem) {
  const Bfloat16Products products = measure_bfloat16_products();
  EXPECT_GT(products.large_gain, 0);
  EXPECT_EQ(products.in_large_gemms, products.large_gain >= 1.2);
  EXPECT_EQ(products.in_small_gemms, products.small_gain >= 1.1);
  EXPECT_EQ(products.small_gain > 0, best_gemv_kernels().takes_bf16_input);
}

}  // namespace
}  // namespace minimind::testing
