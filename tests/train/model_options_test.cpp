#include <gtest/gtest.h>

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
    EXPECT_STREQ(error.what(), "--n_kv_heads: expected 8, as a.pth was trained, found 4; leave the flag out");
  }
}

}  // namespace
}  // namespace minimind
