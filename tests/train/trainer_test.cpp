#include "minimind/train/trainer.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <csignal>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "dist/process_group.h"
#include "io/pth.h"
#include "io/state_dict_file.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/model/weights.h"
#include "train/out_dir.h"
#include "train/report/metrics.h"
#include "train/tiny_run.h"

namespace minimind {
namespace {

using testing::TemporaryFolder;
using testing::tiny_options;
using testing::write_tiny_data;

std::vector<double> run_and_record(const TrainOptions& options, Stage stage = Stage::kPretrain) {
  std::vector<double> losses;
  ProcessGroup group({}, c10::kCPU);
  train(options, stage, group, [&](const MetricsRecord& record) { losses.push_back(record.loss); });
  return losses;
}

std::string weights_of(const TrainOptions& options) {
  return read_file(fs::path(options.out_dir) / "16_vlm_pretrain.pth");
}

class TrainerRun : public ::testing::Test {
 protected:
  void SetUp() override { write_tiny_data(folder_.path(), 22); }
  TrainOptions options(const std::string& out) const { return tiny_options(folder_.path(), out); }
  TemporaryFolder folder_;
};

TEST_F(TrainerRun, LearnsAndWritesWeightsCurvesAndConfiguration) {
  TrainOptions settings = options("out");
  settings.epochs = 12;
  const std::vector<double> losses = run_and_record(settings);
  ASSERT_EQ(losses.size(), 12U * 6U);
  EXPECT_LT(losses.back(), 0.7 * losses.front());
  const fs::path out = settings.out_dir;
  const ModelFile file = find_model(out / "16_vlm_pretrain.pth");
  EXPECT_EQ(file.config.n_heads, 4);
  EXPECT_EQ(file.config.n_kv_heads, 2);
  EXPECT_TRUE(file.config_is_given);
  Vlm model(file.config);
  EXPECT_EQ(load_vlm(*model, file.state, "weights").total().missing, 0);
  EXPECT_NE(read_file(out / "metrics.jsonl").find("\"learning_rate\""), std::string::npos);
  EXPECT_NE(read_file(out / "index.html").find("<polyline"), std::string::npos);
}

TEST_F(TrainerRun, GivesTheSameWeightsForAnyNumberOfLoaderThreads) {
  TrainOptions none = options("none");
  none.num_workers = 0;
  TrainOptions three = options("three");
  three.num_workers = 3;
  run_and_record(none);
  run_and_record(three);
  EXPECT_TRUE(weights_of(none) == weights_of(three));
}

TEST_F(TrainerRun, ContinuesByteForByteAfterAStop) {
  TrainOptions straight = options("straight");
  straight.accumulation_steps = 2;
  straight.model.dropout = 0.2;
  run_and_record(straight);
  for (const int stop_after : {1, 2, 4}) {
    TrainOptions parts = options("parts" + std::to_string(stop_after));
    parts.accumulation_steps = 2;
    parts.model.dropout = 0.2;
    ProcessGroup group({}, c10::kCPU);
    int steps = 0;
    const RunSummary first = train(parts, Stage::kPretrain, group, [&](const MetricsRecord&) {
      if (++steps == stop_after) {
        raise(SIGTERM);
      }
    });
    EXPECT_EQ(first.signal, SIGTERM);
    EXPECT_LT(first.micro_steps, 12);
    parts.resume = "auto";
    const RunSummary second = train(parts, Stage::kPretrain, group);
    EXPECT_EQ(second.signal, 0);
    EXPECT_EQ(second.micro_steps, 12);
    EXPECT_TRUE(weights_of(straight) == weights_of(parts)) << "stopped after " << stop_after << " steps";
  }
}

TEST_F(TrainerRun, TakesTheOlderCheckpointWhereTheNewestIsDamaged) {
  TrainOptions settings = options("out");
  settings.save_interval = 3;
  run_and_record(settings);
  const std::string straight = weights_of(settings);
  const CheckpointStore folder(fs::path(settings.out_dir) / "16_vlm_pretrain_checkpoints", "pretrain", 2);
  ASSERT_EQ(folder.list().size(), 2U);
  const std::string newest = read_file(folder.list().back());
  write_file_atomically(folder.list().back(), newest.substr(0, newest.size() / 2));
  settings.resume = "auto";
  run_and_record(settings);
  EXPECT_TRUE(weights_of(settings) == straight);
}

TEST_F(TrainerRun, OfAThousandShortStepsSavesAtItsEndAlone) {
  TrainOptions settings = options("out");
  settings.save_interval = TrainOptions().save_interval;
  settings.keep_last = 1000;
  settings.batch_size = 1;
  settings.epochs = 50;
  settings.max_steps = 1000;
  settings.log_interval = 100;
  run_and_record(settings);
  const CheckpointStore folder(fs::path(settings.out_dir) / "16_vlm_pretrain_checkpoints", "pretrain", 1000);
  EXPECT_LE(folder.list().size(), 2U);
  EXPECT_EQ(folder.list().back().filename(), "step_000000001000.safetensors");
}

TEST_F(TrainerRun, StartsALaterStageFromTheEarlierOnesFile) {
  TrainOptions first = options("out");
  run_and_record(first);
  TrainOptions second = options("out");
  second.init_from.clear();
  second.model = {};
  second.model.dim = 16;
  second.image_prefix.clear();
  second.resolve(Stage::kInstruction);
  const std::vector<double> losses = run_and_record(second, Stage::kInstruction);
  EXPECT_LT(losses.front(), std::log(259.0));
  EXPECT_TRUE(fs::exists(fs::path(second.out_dir) / "16_vlm_sft.pth"));
}

TEST_F(TrainerRun, GoesOnWithoutThePageWhereItCannotBeWritten) {
  const TrainOptions settings = options("out");
  fs::create_directories(fs::path(settings.out_dir) / "index.html");
  ::testing::internal::CaptureStderr();
  run_and_record(settings);
  const std::string told = ::testing::internal::GetCapturedStderr();
  const std::string warning = "index.html: expected a file to write, found a folder";
  const size_t at = told.find(warning);
  ASSERT_NE(at, std::string::npos) << told;
  EXPECT_EQ(told.find(warning, at + 1), std::string::npos) << told;
  EXPECT_FALSE(weights_of(settings).empty());
}

TEST_F(TrainerRun, KeepsTheWeightsOfAnEarlierRunWhereEverySampleIsSkipped) {
  TrainOptions settings = options("out");
  run_and_record(settings);
  const std::string learned = weights_of(settings);
  settings.overwrite = true;
  settings.max_seq_len = 8;  // no answer is left
  settings.max_steps = 3;    // before the loader has given up
  settings.save_interval = 1;
  EXPECT_THROW(run_and_record(settings), Error);
  EXPECT_TRUE(weights_of(settings) == learned);
}

TEST_F(TrainerRun, RefusesAShapeThatTheStartingWeightsDoNotHave) {
  run_and_record(options("out"));
  TrainOptions settings = options("other");
  settings.init_from = (folder_.path() / "out" / "16_vlm_pretrain.pth").string();
  settings.model.n_layers = 3;
  EXPECT_THROW(run_and_record(settings), Error);
  EXPECT_FALSE(fs::exists(fs::path(settings.out_dir) / "16_vlm_pretrain.pth"));
}

TEST_F(TrainerRun, RefusesToResumeOnOtherData) {
  TrainOptions settings = options("out");
  run_and_record(settings);
  settings.resume = "auto";
  settings.batch_size = 5;
  EXPECT_THROW(run_and_record(settings), Error);
}

TEST_F(TrainerRun, SkipsNonFiniteStepsAndStopsAfterSeveral) {
  TrainOptions settings = options("out");
  settings.learning_rate = 1e30;
  settings.max_bad_steps = 3;
  settings.epochs = 50;
  ::testing::internal::CaptureStderr();
  try {
    run_and_record(settings);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("3 non-finite steps in a row"), std::string::npos) << error.what();
  }
  const std::string told = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(told.find("not finite, step skipped (1 in a row of at most 3); samples: sample"), std::string::npos)
      << told;
  EXPECT_NE(told.find("gradient norms before: "), std::string::npos) << told;
}

TEST_F(TrainerRun, TrainsOnlyTheProjectionWhereTheLanguageModelIsFrozen) {
  TrainOptions settings = options("out");
  run_and_record(settings);
  const StateDict before = read_state_dict(fs::path(settings.out_dir) / "16_vlm_pretrain.pth");
  TrainOptions frozen = options("frozen");
  frozen.init_from = (fs::path(settings.out_dir) / "16_vlm_pretrain.pth").string();
  frozen.model = {};
  frozen.freeze = "language_model";
  run_and_record(frozen);
  const StateDict after = read_state_dict(fs::path(frozen.out_dir) / "16_vlm_pretrain.pth");
  for (const auto& [name, tensor] : before.entries()) {
    const bool is_projection = name.starts_with("vision_proj.");
    EXPECT_EQ(tensor.equal(*after.find(name)), !is_projection) << name;
  }
}

TEST_F(TrainerRun, TrainsTheOuterLayersAloneWhereTheMiddleOnesAreFrozen) {
  for (const std::string freeze : {"middle_layers", "none"}) {
    TrainOptions first = options("first_" + freeze);
    first.model.n_layers = 4;
    first.max_steps = 1;
    run_and_record(first);
    const std::string start = (fs::path(first.out_dir) / "16_vlm_pretrain.pth").string();
    TrainOptions second = options("second_" + freeze);
    second.init_from = start;
    second.model = {};
    second.freeze = freeze;
    run_and_record(second);
    const StateDict before = read_state_dict(start);
    const StateDict after = read_state_dict(fs::path(second.out_dir) / "16_vlm_pretrain.pth");
    int frozen = 0;
    for (const auto& [name, tensor] : before.entries()) {
      const bool is_middle = name.starts_with("layers.1.") || name.starts_with("layers.2.");
      const bool stays = freeze == "middle_layers" && is_middle;
      EXPECT_EQ(tensor.equal(*after.find(name)), stays) << freeze << ": " << name;
      frozen += stays ? 1 : 0;
    }
    EXPECT_EQ(frozen, freeze == "middle_layers" ? 18 : 0);
  }
}

// Adam's first update of a weight is the learning rate, whatever the gradient.
TEST_F(TrainerRun, GivesTheProjectionItsOwnLearningRate) {
  TrainOptions first = options("first");
  first.max_steps = 1;
  run_and_record(first);
  const std::string start = (fs::path(first.out_dir) / "16_vlm_pretrain.pth").string();
  TrainOptions second = options("second");
  second.init_from = start;
  second.model = {};
  second.max_steps = 1;
  second.learning_rate = 1e-2;
  second.projection_learning_rate = 3e-3;
  run_and_record(second);
  const StateDict before = read_state_dict(start);
  const StateDict after = read_state_dict(fs::path(second.out_dir) / "16_vlm_pretrain.pth");
  for (const auto& [name, tensor] : before.entries()) {
    const double change = (*after.find(name) - tensor).abs().max().item<double>();
    const double rate = name.starts_with("vision_proj.") ? 3e-3 : 1e-2;
    EXPECT_NEAR(change, rate, 0.01 * rate) << name;
  }
}

TEST_F(TrainerRun, ReportsSpeedAsShareOfTheMeasuredProductRate) {
  TrainOptions settings = options("out");
  run_and_record(settings);
  const std::string text = read_file(fs::path(settings.out_dir) / "metrics.jsonl");
  const auto record = metrics_from_json<MetricsRecord>(text.substr(0, text.find('\n')));
  ASSERT_TRUE(record.has_value());
  EXPECT_GT(record->mfu, 0);
  EXPECT_LE(record->mfu, 1);
  EXPECT_GT(record->tokens_per_second, record->samples_per_second);
  EXPECT_FALSE(record->device_memory_mb.has_value());
  const fs::path events = fs::path(settings.out_dir) / "tensorboard" / "16_pretrain";
  EXPECT_EQ(std::distance(fs::directory_iterator(events), fs::directory_iterator()), 1);
}

TEST_F(TrainerRun, GivesTheSameWeightsWithAFloat32FeatureCache) {
  TrainOptions plain = options("plain");
  plain.feature_memory_mb = 0;
  TrainOptions memory = options("memory");
  TrainOptions cached = options("cached");
  cached.feature_cache = (folder_.path() / "cache").string();
  run_and_record(plain);
  run_and_record(memory);
  run_and_record(cached);
  EXPECT_TRUE(weights_of(plain) == weights_of(memory));
  EXPECT_TRUE(weights_of(plain) == weights_of(cached));
}

TEST_F(TrainerRun, TrainsWithExperts) {
  TrainOptions settings = options("out");
  settings.model.use_moe = true;
  settings.epochs = 12;
  const std::vector<double> losses = run_and_record(settings);
  EXPECT_LT(losses.back(), losses.front());
  EXPECT_TRUE(fs::exists(fs::path(settings.out_dir) / "16_moe_vlm_pretrain.pth"));
  EXPECT_NE(read_file(fs::path(settings.out_dir) / "metrics.jsonl").find("expert_loss"), std::string::npos);
}

TEST_F(TrainerRun, LogsTheBalanceLossAndTheLoadOfEveryExpert) {
  TrainOptions settings = options("out");
  settings.model.use_moe = true;
  settings.model.n_routed_experts = 3;
  ::testing::internal::CaptureStderr();
  run_and_record(settings);
  const std::string shown = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(shown.find("  balance loss 0."), std::string::npos) << shown;
  EXPECT_NE(shown.find("experts' load "), std::string::npos) << shown;
  std::istringstream lines(read_file(fs::path(settings.out_dir) / "metrics.jsonl"));
  int64_t records = 0;
  for (std::string line; std::getline(lines, line); ++records) {
    const std::optional<MetricsRecord> record = metrics_from_json<MetricsRecord>(line);
    ASSERT_TRUE(record && record->expert_loss);
    EXPECT_GT(*record->expert_loss, 0);
    ASSERT_EQ(record->expert_load.size(), 2U);
    for (const std::vector<double>& layer : record->expert_load) {
      ASSERT_EQ(layer.size(), 3U);
      EXPECT_NEAR(layer[0] + layer[1] + layer[2], 1, 1e-3);
    }
  }
  EXPECT_GT(records, 2);
}

TEST_F(TrainerRun, WarnsWhereTheFirstLossIsThatOfGuessing) {
  run_and_record(options("out"));
  const fs::path trained = fs::path(options("out").out_dir) / "16_vlm_pretrain.pth";
  TrainOptions settings = options("next");
  settings.model = {};
  settings.init_from = trained.string();
  settings.overwrite = true;
  const auto warnings = [&] {
    ::testing::internal::CaptureStderr();
    run_and_record(settings);
    return ::testing::internal::GetCapturedStderr();
  };
  const std::string fine = warnings();
  EXPECT_EQ(fine.find("probably untrained"), std::string::npos) << fine;
  // Every load prints its counts.
  EXPECT_NE(fine.find("vision_model.encoder"), std::string::npos) << fine;
  EXPECT_NE(fine.find(" matched"), std::string::npos) << fine;
  const ModelFile file = find_model(trained);
  Vlm fresh(file.config);
  initialise(*fresh, 3);
  StateDict state = vlm_state_dict(*fresh);
  const at::NoGradGuard without_gradients;
  state.find("tok_embeddings.weight")->mul_(20);
  state.find("norm.weight")->mul_(-1);  // the answers repeat letters: now the last one is the least likely
  write_pth(trained, state);
  const std::string bad = warnings();
  EXPECT_NE(bad.find("expected less than ln(259) = 5.55"), std::string::npos) << bad;
  EXPECT_NE(bad.find("probably untrained"), std::string::npos) << bad;
}

TEST_F(TrainerRun, NeedsAProjectionInEveryStageButTheFirstUnlessToldOtherwise) {
  run_and_record(options("out"));
  const ModelFile file = find_model(fs::path(options("out").out_dir) / "16_vlm_pretrain.pth");
  StateDict language_only;
  for (const auto& [name, tensor] : file.state.entries()) {
    if (!name.starts_with("vision_proj.")) {
      language_only.add(name, tensor.clone());
    }
  }
  const fs::path path = folder_.path() / "16_llm.pth";
  write_pth(path, language_only);
  write_file_atomically(folder_.path() / "16_llm.json", lm_config_to_json(file.config));
  TrainOptions settings = options("next");
  settings.model = {};
  settings.init_from = path.string();
  EXPECT_NO_THROW(run_and_record(settings, Stage::kPretrain));
  settings.image_prefix.clear();
  try {
    run_and_record(settings, Stage::kInstruction);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("a language-only checkpoint"), std::string::npos) << error.what();
  }
  settings.allow_missing = {"vision_proj."};
  EXPECT_NO_THROW(run_and_record(settings, Stage::kInstruction));
}

TEST(TrainOptions, RefusesValuesThatCannotBe) {
  TrainOptions options;
  options.resolve(Stage::kPretrain);
  EXPECT_NO_THROW(options.validate());
  options.batch_size = 0;
  EXPECT_THROW(options.validate(), UsageError);
  options.batch_size = 1;
  options.device = "gpu";
  EXPECT_THROW(options.validate(), UsageError);
  options.device = "cpu";
  for (int64_t* const count : {&options.threads, &options.num_workers, &options.max_seq_len}) {
    const int64_t before = std::exchange(*count, 100'000'000);
    EXPECT_THROW(options.validate(), UsageError);
    *count = before;
  }
  EXPECT_NO_THROW(options.validate());
}

TEST(TrainOptions, HasTheStagesOwnDefaults) {
  TrainOptions pretrain;
  pretrain.resolve(Stage::kPretrain);
  EXPECT_EQ(pretrain.learning_rate, 4e-4);
  EXPECT_EQ(pretrain.log_interval, 10);
  EXPECT_EQ(default_init_path(pretrain, Stage::kPretrain), fs::path("out/512_llm.pth"));
  TrainOptions multi;
  multi.model.dim = 768;
  multi.model.use_moe = true;
  multi.resolve(Stage::kMultiImage);
  EXPECT_EQ(multi.learning_rate, 1e-6);
  EXPECT_EQ(multi.data_path, "dataset/sft_multi_images/output.json");
  EXPECT_EQ(default_init_path(multi, Stage::kMultiImage), fs::path("out/768_moe_vlm_sft.pth"));
}

}  // namespace
}  // namespace minimind
