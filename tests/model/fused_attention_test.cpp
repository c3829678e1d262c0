#include "model/ops/fused_attention.h"

#include <gtest/gtest.h>

#include "minimind/model/layers.h"
#include "support/small_model.h"
#include "support/tensor_matcher.h"

namespace minimind::testing {
namespace {

// The keys of one position decode; those of equal numbers are a prompt; the rest is a second prompt.
TEST(FusedAttention, GivesTheSameWithRepeatedKeysAndValues) {
  for (const int64_t count : {1, 3, 5}) {
    const at::Tensor queries = waves({2, count, 4, 8}), keys = waves({2, 2, 5, 8}) + 0.1,
                     values = waves({2, 2, 5, 8}) * 2;
    const at::Tensor expected = grouped_query_attention(queries, keys, values);
    for (const bool takes_fewer : {true, false}) {
      EXPECT_TRUE(is_near(fused_attention(queries, keys, values, 0, takes_fewer), expected, 1e-5))
          << count << takes_fewer;
    }
  }
}

}  // namespace
}  // namespace minimind::testing
