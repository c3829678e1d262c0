#include "infer/graph_decoder.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "infer/layer_decoder.h"
#include "minimind/base/log.h"
#include "model/bfloat16_weights.h"
#include "model/gpu_graph.h"
#include "support/toy_model.h"
#include "support/uncached_decoder.h"

namespace minimind::testing {
namespace {

/// Stands in for a CUDA graph: runs the recorded work again.
class Tape : public RecordedWork {
 public:
  Tape(std::function<void()> work, int& replays) : work_(std::move(work)), replays_(replays) {}
  void replay() override {
    ++replays_;
    work_();
  }

 private:
  std::function<void()> work_;
  int& replays_;
};

Recorder tape_recorder(int& replays) {
  return [&replays](const std::function<void()>& work) { return std::make_unique<Tape>(work, replays); };
}

TEST(RepeatedWork, RunsTwiceThenRecordsAndReplaysEachKey) {
  int replays = 0, runs = 0;
  RepeatedWork repeated(tape_recorder(replays), 8, "test");
  const auto work = [&] { ++runs; };
  for (int i = 0; i < 5; ++i) {
    repeated.run(1, work);
  }
  EXPECT_EQ(runs, 5);
  EXPECT_EQ(replays, 3);
  EXPECT_EQ(repeated.recordings(), 1U);
  repeated.run(2, work);
  repeated.run(2, work);
  EXPECT_EQ(replays, 3);
  repeated.run(2, work);
  EXPECT_EQ(replays, 4);
  EXPECT_EQ(repeated.recordings(), 2U);
}

TEST(RepeatedWork, RecordsNoMoreThanItMay) {
  int replays = 0, runs = 0;
  RepeatedWork repeated(tape_recorder(replays), 1, "test");
  for (int i = 0; i < 4; ++i) {
    repeated.run(1, [&] { ++runs; });
    repeated.run(2, [&] { ++runs; });
  }
  EXPECT_EQ(runs, 8);
  EXPECT_EQ(replays, 2);
  EXPECT_EQ(repeated.recordings(), 1U);
}

TEST(RepeatedWork, GoesOnWithAWordIfARecordingFails) {
  int runs = 0, tries = 0;
  std::string log;
  set_log_sink([&](std::string_view line) { log += line; });
  RepeatedWork repeated(
      [&](const std::function<void()>&) -> std::unique_ptr<RecordedWork> {
        ++tries;
        throw std::runtime_error("operation not permitted when stream is capturing\nmore");
      },
      8, "decoding");
  for (int i = 0; i < 5; ++i) {
    repeated.run(1, [&] { ++runs; });
  }
  log_to_stderr();
  EXPECT_EQ(runs, 5);
  EXPECT_EQ(tries, 1);
  EXPECT_NE(
      log.find("decoding: expected to record a CUDA graph, found an error (operation not permitted when stream is "
               "capturing); each kernel"),
      std::string::npos)
      << log;
}

double relative_gap(const std::vector<float>& found, const std::vector<float>& expected) {
  const at::Tensor a = at::tensor(found), b = at::tensor(expected);
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

/// Decodes past the end of a window and back; compares each step with the layers' decoder.
void expect_equal_decoding(const Vlm& model, double tolerance) {
  int replays = 0;
  auto own = std::make_unique<GraphDecoder>(model.ptr(), 200, tape_recorder(replays));
  OneSequence found{std::move(own)}, expected{std::make_unique<LayerDecoder>(model.ptr(), 200)};
  const int64_t dim = model->config().dim;
  const at::Tensor prompt = at::sin(at::arange(120 * dim, at::kFloat) * 0.37).view({120, dim});
  for (const int round : {0, 1}) {
    EXPECT_LE(relative_gap(found.prefill(prompt), expected.prefill(prompt)), tolerance);
    for (TokenId token = 3; token < 19; ++token) {
      EXPECT_LE(relative_gap(found.step(token), expected.step(token)), tolerance) << "round " << round << ", " << token;
    }
    EXPECT_EQ(found.length(), 136);
    found.truncate(0);
    expected.truncate(0);
  }
  // Of 8 and 8 steps in each of two windows, the first two of a window run as they are.
  EXPECT_EQ(replays, 32 - 4);
}

TEST(GraphDecoder, HasTheLogitsOfTheLayers) {
  expect_equal_decoding(toy_vlm(toy_lm_config(false)), 1e-4);
  expect_equal_decoding(toy_vlm(toy_lm_config(true)), 1e-4);
}

TEST(GraphDecoder, TakesWeightsInBfloat16) {
  Vlm model = toy_vlm(toy_lm_config(false));
  keep_matmul_weights_in_bfloat16(model);
  expect_equal_decoding(model, 3e-2);
}

}  // namespace
}  // namespace minimind::testing
