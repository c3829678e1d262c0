#include "train/report/metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "minimind/base/file.h"
#include "train/report/metrics_page.h"
#include "train/tiny_run.h"

namespace minimind {
namespace {

using testing::TemporaryFolder;

MetricsRecord record_at(const std::string& stage, int64_t step) {
  MetricsRecord record;
  record.stage = stage;
  record.micro_step = step;
  record.epoch = 0.25;
  record.loss = 3.5;
  record.learning_rate = 4e-4;
  record.grad_norm = 1.25;
  record.samples_per_second = 10;
  record.tokens_per_second = 700;
  record.data_wait_share = 0.01;
  record.reduce_wait_share = 0.02;
  record.save_wait_share = 0.03;
  record.memory_mb = 900;
  record.seconds = 12.5;
  return record;
}

std::vector<int64_t> steps_of(const MetricsLog& log, const std::string& stage) {
  std::vector<int64_t> steps;
  for (const MetricsRecord& record : log.records()) {
    if (record.stage == stage) {
      steps.push_back(record.micro_step);
    }
  }
  return steps;
}

TEST(Metrics, SurviveTheWayThroughJson) {
  MetricsRecord record = record_at("sft", 7);
  record.expert_loss = 0.125;
  const std::string line = metrics_to_json(record);
  EXPECT_EQ(line.find('\n'), std::string::npos);
  const MetricsRecord back = metrics_from_json<MetricsRecord>(line).value();
  EXPECT_EQ(back.stage, "sft");
  EXPECT_EQ(back.micro_step, 7);
  EXPECT_EQ(back.loss, 3.5);
  EXPECT_EQ(back.learning_rate, 4e-4);
  EXPECT_EQ(back.reduce_wait_share, 0.02);
  EXPECT_EQ(back.save_wait_share, 0.03);
  EXPECT_EQ(back.seconds, 12.5);
  EXPECT_EQ(back.expert_loss, 0.125);
  EXPECT_EQ(metrics_to_json(back), line);
  EXPECT_FALSE(metrics_from_json<MetricsRecord>(metrics_to_json(record_at("sft", 7))).value().expert_loss.has_value());
}

TEST(Metrics, WriteANumberThatIsNotFiniteAsNull) {
  MetricsRecord record = record_at("sft", 7);
  record.loss = std::numeric_limits<double>::quiet_NaN();
  record.grad_norm = std::numeric_limits<double>::infinity();
  const std::string line = metrics_to_json(record);
  EXPECT_NE(line.find("\"loss\":null"), std::string::npos) << line;
  EXPECT_TRUE(std::isnan(metrics_from_json<MetricsRecord>(line).value().loss));
}

TEST(Metrics, AreReadFromLinesWithTheFormerNames) {
  const MetricsRecord record =
      metrics_from_json<MetricsRecord>(R"({"model":"16","stage":"sft","step":7,"data_wait":0.25,"reduce_wait":0.5})")
          .value();
  EXPECT_EQ(record.data_wait_share, 0.25);
  EXPECT_EQ(record.reduce_wait_share, 0.5);
  EXPECT_TRUE(std::isnan(record.loss));
}

TEST(Metrics, GoThroughJsonWithTheLoadOfEachExpert) {
  MetricsRecord record = record_at("sft", 7);
  record.expert_load = {{0.25, 0.75}, {1, 0}};
  const std::string line = metrics_to_json(record);
  EXPECT_NE(line.find(R"("expert_load":[[0.25,0.75],[1.0,0.0]])"), std::string::npos) << line;
  EXPECT_EQ(metrics_from_json<MetricsRecord>(line).value().expert_load, record.expert_load);
  EXPECT_EQ(metrics_to_json(record_at("sft", 7)).find("expert_load"), std::string::npos);
}

TEST(Metrics, IgnoreLinesThatAreNotTheirs) {
  for (const char* line : {"", "{", "[]", "3", R"({"stage": 1, "step": 2})", R"({"stage": "sft"})",
                           R"({"stage": "sft", "step": "x"})", R"({"stage": "sft", "st)"}) {
    EXPECT_FALSE(metrics_from_json<MetricsRecord>(line).has_value()) << line;
  }
}

TEST(MetricsLog, KeepsOtherStagesAndWhatTheResumedRunHasDone) {
  const TemporaryFolder folder;
  const auto write = [&](const std::string& stage, int64_t first_step, int64_t from, int64_t to) {
    MetricsLog log(folder.path(), "16", stage, first_step);
    for (int64_t step = from; step <= to; ++step) {
      log.add(record_at(stage, step));
    }
  };
  write("pretrain", 0, 1, 6);
  write("sft", 0, 1, 3);
  {
    const MetricsLog resumed(folder.path(), "16", "pretrain", 4);
    EXPECT_EQ(steps_of(resumed, "pretrain"), (std::vector<int64_t>{1, 2, 3, 4}));
    EXPECT_EQ(steps_of(resumed, "sft"), (std::vector<int64_t>{1, 2, 3}));
  }
  write("pretrain", 4, 5, 5);
  const MetricsLog read_again(folder.path(), "16", "sft", 3);
  EXPECT_EQ(steps_of(read_again, "pretrain"), (std::vector<int64_t>{1, 2, 3, 4, 5}));
  const MetricsLog fresh(folder.path(), "16", "pretrain", 0);
  EXPECT_EQ(steps_of(fresh, "pretrain"), std::vector<int64_t>{});
  EXPECT_EQ(steps_of(fresh, "sft"), (std::vector<int64_t>{1, 2, 3}));
}

TEST(MetricsLog, DropsALineThatWasCutOff) {
  const TemporaryFolder folder;
  const std::string whole = metrics_to_json(record_at("sft", 1)) + "\n";
  write_file_atomically(folder.path() / "metrics.jsonl", whole + whole.substr(0, whole.size() / 2));
  MetricsLog log(folder.path(), "16", "sft", 10);
  log.add(record_at("sft", 11));
  EXPECT_EQ(steps_of(MetricsLog(folder.path(), "16", "sft", 20), "sft"), (std::vector<int64_t>{1, 11}));
}

TEST(MetricsLog, WritesAPageThatNeedsNothingElse) {
  const TemporaryFolder folder;
  MetricsLog log(folder.path(), "16", "sft", 0);
  for (int64_t step = 1; step <= 5; ++step) {
    log.add(record_at("sft", step));
  }
  const std::string page = metrics_page("A title <b>", log.records(), log.validations(), /*is_live=*/false);
  EXPECT_NE(page.find("<svg"), std::string::npos);
  EXPECT_NE(page.find("A title &lt;b&gt;"), std::string::npos);
  EXPECT_EQ(page.find("src="), std::string::npos) << "something from elsewhere";
}

}  // namespace
}  // namespace minimind
