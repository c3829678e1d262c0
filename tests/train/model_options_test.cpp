#include <gtest/gtest.h>

#include <algorithm>

#include "minimind/base/error.h"
#include "minimind/train/options.h"

namespace minimind {
namespace {

TEST(ModelOptions, ChangeWhatWasGivenAlone) {
  LmConfig config;
  config.use_moe = true;
  config.norm_topk_prob = false;
  ModelOptions options;
  options.apply(config);
  EXPECT_TRUE(config.use_moe);
  EXPECT_FALSE(config.norm_topk_prob);
  // A value that is the default of a fresh model counts where it was given.
  options.use_moe = false;
  options.norm_topk_prob = true;
  options.apply(config);
  EXPECT_FALSE(config.use_moe);
  EXPECT_TRUE(config.norm_topk_prob);
}

TEST(ModelOptions, DoNotChangeTheHeadsOfATrainedModel) {
  LmConfig config;
  ModelOptions options;
  options.n_heads = config.n_heads;
  EXPECT_NO_THROW(options.apply_to_known(config, "a.pth"));
  options.n_kv_heads = 4;
  try {
    options.apply_to_known(config, "a.pth");
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "--n_kv_heads: expected 8, the value of a.pth, found 4; leave the flag out");
  }
}

TEST(TrainOptions, ShowFortyFlagsInHelp) {
  TrainOptions options;
  const Fields fields = options.fields();
  // With --multi, --config, --print_config, --help and --version sft_vlm shows 45 flags.
  EXPECT_EQ(std::ranges::count_if(fields, [](const Field& field) { return field.in_help; }), 40);
}

}  // namespace
}  // namespace minimind
