#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "dist/process_group.h"
#include "dist/rank_threads.h"

namespace minimind {
namespace {

using testing::run_ranks;

at::Tensor parameter(int64_t size) {
  return at::ones({size}, testing::rank_device_type()).set_requires_grad(true);
}

/// The gradient that (factor * p).sum() leaves.
at::Tensor filled(int64_t size, double value) {
  return at::full({size}, value, testing::rank_device_type());
}

TEST(GradientReducer, IsAPlainBackwardPassWithOneProcess) {
  ProcessGroup group({}, c10::kCPU);
  const at::Tensor a = parameter(3);
  GradientReducer reducer(group, {a}, 100);
  reducer.accumulate((a * 2).sum());
  reducer.accumulate_and_sum((a * 3).sum());
  EXPECT_TRUE(a.grad().equal(filled(3, 5)));
  reducer.accumulate_and_sum({});
  EXPECT_TRUE(a.grad().equal(filled(3, 5)));
}

TEST(GradientReducer, SumsOverRanksAndMicroBatchesAndReducesOnce) {
  run_ranks(2, [](ProcessGroup& group) {
    const double own = static_cast<double>(group.rank() + 1);  // 1 and 2
    const at::Tensor a = parameter(3), b = parameter(5);
    GradientReducer reducer(group, {a, b}, 8);
    for (int step = 1; step <= 3; ++step) {
      a.mutable_grad().reset();
      b.mutable_grad().reset();
      reducer.accumulate((a * own).sum() + (b * own).sum());
      EXPECT_EQ(reducer.launched(), 2 * (step - 1)) << "an accumulating pass must not reduce";
      EXPECT_TRUE(a.grad().equal(filled(3, own)));
      reducer.accumulate_and_sum((a * 10 * own).sum() + (b * own).sum());
      EXPECT_EQ(reducer.launched(), 2 * step);
      EXPECT_TRUE(a.grad().equal(filled(3, 33)));
      EXPECT_TRUE(b.grad().equal(filled(5, 6)));
    }
  });
}

TEST(GradientReducer, TakesParametersThatSomeOrAllRanksDoNotUse) {
  run_ranks(2, [](ProcessGroup& group) {
    const bool first = group.rank() == 0;
    const at::Tensor always = parameter(4), sometimes = parameter(4), earlier = parameter(4), never = parameter(4);
    GradientReducer reducer(group, {always, sometimes, earlier, never}, 16);
    for (int step = 0; step < 3; ++step) {
      for (const at::Tensor& tensor : {always, sometimes, earlier, never}) {
        tensor.mutable_grad().reset();
      }
      // `earlier` is used by one rank, and only in the pass that does not reduce.
      reducer.accumulate(first ? (always + earlier).sum() : always.sum());
      reducer.accumulate_and_sum(first ? always.sum() : (always + sometimes * 3).sum());
      EXPECT_TRUE(always.grad().equal(filled(4, 4)));
      EXPECT_TRUE(sometimes.grad().equal(filled(4, 3)));
      EXPECT_TRUE(earlier.grad().equal(filled(4, 1)));
      EXPECT_FALSE(never.grad().defined());
    }
  });
}

TEST(GradientReducer, TakesRanksWithoutData) {
  run_ranks(3, [](ProcessGroup& group) {
    const at::Tensor a = parameter(2), b = parameter(2);
    GradientReducer reducer(group, {a, b}, 1);
    for (int step = 0; step < 2; ++step) {
      a.mutable_grad().reset();
      b.mutable_grad().reset();
      reducer.accumulate_and_sum(group.rank() == 1 ? (b * 5).sum() : at::Tensor());
      EXPECT_TRUE(b.grad().equal(filled(2, 5)));
    }
    // Nobody has any.
    a.mutable_grad().reset();
    b.mutable_grad().reset();
    reducer.accumulate_and_sum({});
    EXPECT_FALSE(a.grad().defined());
    EXPECT_TRUE(b.grad().equal(filled(2, 0)));
  });
}

// The last layer's bucket is on its way before the first layer's gradient is known.
TEST(GradientReducer, ReducesWhileTheBackwardPassRuns) {
  run_ranks(2, [](ProcessGroup& group) {
    std::vector<at::Tensor> layers = {parameter(8), parameter(8), parameter(8)};
    GradientReducer reducer(group, layers, 32);
    at::Tensor value = at::ones({8}, testing::rank_device_type());
    std::vector<int64_t> launched_before;
    for (const at::Tensor& layer : layers) {
      value = value * layer;
      layer.register_hook([&](const at::Tensor& gradient) {
        launched_before.push_back(reducer.launched());
        return gradient;
      });
    }
    reducer.accumulate_and_sum(value.sum());
    EXPECT_EQ(launched_before, (std::vector<int64_t>{0, 1, 2}));
    EXPECT_EQ(reducer.launched(), 3);
  });
}

}  // namespace
}  // namespace minimind
