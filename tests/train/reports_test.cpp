#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "train/report/event_file.h"
#include "train/report/metrics.h"
#include "train/report/metrics_page.h"
#include "train/tiny_run.h"

namespace minimind {
namespace {

namespace fs = std::filesystem;
using testing::TemporaryFolder;

int run_command(const std::string& command) {
  const int status = std::system(command.c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// A Python with the package: MINIMIND_METRICS_PYTHON, else the system's. Empty: none has it.
std::string python_with(const std::string& package) {
  const char* given = std::getenv("MINIMIND_METRICS_PYTHON");
  const std::string python = given != nullptr ? given : "python3";
  return run_command(python + " -c 'import " + package + "' >/dev/null 2>&1") == 0 ? python : "";
}

uint64_t little_endian(const std::string& bytes, size_t at, size_t size) {
  uint64_t value = 0;
  for (size_t i = 0; i < size; ++i) {
    value |= static_cast<uint64_t>(static_cast<uint8_t>(bytes[at + i])) << (8 * i);
  }
  return value;
}

MetricsRecord record_at(int64_t step, double loss) {
  MetricsRecord record;
  record.stage = "pretrain";
  record.micro_step = step;
  record.loss = loss;
  record.mfu = 0.25;
  return record;
}

TEST(EventFile, HasTheChecksumOfItsStandard) {
  EXPECT_EQ(crc32c("123456789"), 0xE3069283U);            // the check value of CRC-32C
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAU);  // RFC 3720, B.4
}

TEST(EventFile, FramesRecordsWithLengthAndMaskedChecksums) {
  const std::string payload = "payload";
  const std::string record = tfrecord(payload);
  ASSERT_EQ(record.size(), 8U + 4U + payload.size() + 4U);
  EXPECT_EQ(little_endian(record, 0, 8), payload.size());
  EXPECT_EQ(record.substr(12, payload.size()), payload);
  const auto masked = [](uint32_t crc) { return ((crc >> 15U) | (crc << 17U)) + 0xA282EAD8U; };
  EXPECT_EQ(little_endian(record, 8, 4), masked(crc32c(record.substr(0, 8))));
  EXPECT_EQ(little_endian(record, 12 + payload.size(), 4), masked(crc32c(payload)));
}

TEST(EventFile, HoldsWholeRecordsThatEndWithTheFile) {
  const TemporaryFolder folder;
  EventFile file(folder.path(), 0);
  file.add(3, {{"loss", 1.5}, {"broken", std::nan("")}});
  const std::string bytes = read_file(file.path());
  std::vector<std::string> payloads;
  size_t at = 0;
  while (at + 12 <= bytes.size()) {
    const size_t size = little_endian(bytes, at, 8);
    ASSERT_LE(at + 16 + size, bytes.size());
    payloads.push_back(bytes.substr(at + 12, size));
    EXPECT_EQ(bytes.substr(at, 16 + size), tfrecord(payloads.back()));
    at += 16 + size;
  }
  EXPECT_EQ(at, bytes.size());
  ASSERT_EQ(payloads.size(), 2U);
  EXPECT_NE(payloads[0].find("brain.Event:2"), std::string::npos);
  EXPECT_NE(payloads[1].find("loss"), std::string::npos);
  EXPECT_EQ(payloads[1].find("broken"), std::string::npos);
}

TEST(EventFile, SaysWhichFileCannotBeWritten) {
  const TemporaryFolder folder;
  std::ofstream(folder.path() / "file") << "x";
  EXPECT_THROW(EventFile(folder.path() / "file", 0), Error);
}

TEST(EventFile, IsReadByTensorBoard) {
  const std::string python = python_with("tensorboard");
  if (python.empty()) {
    GTEST_SKIP() << "NOT RUN: no Python with the package tensorboard; install it and set MINIMIND_METRICS_PYTHON to it";
  }
  const TemporaryFolder folder;
  {
    EventFile first(folder.path(), 0);
    for (int64_t step = 1; step <= 6; ++step) {
      first.add(step, {{"loss", 10.0 - static_cast<double>(step)}, {"learning_rate", 1e-4}});
    }
  }
  {
    // Continued from step 4: steps 5 and 6 of the first part are forgotten.
    EventFile second(folder.path(), 4);
    second.add(5, {{"loss", 50.0}});
  }
  const std::string script = R"(
import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0})
events.Reload()
assert sorted(events.Tags()["scalars"]) == ["learning_rate", "loss"], events.Tags()
points = [(event.step, event.value) for event in events.Scalars("loss")]
assert points == [(1, 9.0), (2, 8.0), (3, 7.0), (4, 6.0), (5, 50.0)], points
)";
  write_file_atomically(folder.path() / "read.py", script);
  EXPECT_EQ(run_command(python + " " + (folder.path() / "read.py").string() + " " + folder.path().string()), 0);
}

TEST(MetricsLog, KeepsLossesAndHeldOutLossesUpToTheResumedStep) {
  const TemporaryFolder folder;
  {
    MetricsLog log(folder.path(), "16", "pretrain", 0);
    log.add(record_at(2, 5.0));
    log.add(ValidationRecord{"pretrain", 2, 1.0, 3.0, 3.5, 4.0, 7});
    log.add(record_at(4, 4.0));
    log.add(ValidationRecord{"pretrain", 4, 2.0, 2.0, 3.5, 4.0, 7});
  }
  MetricsLog resumed(folder.path(), "16", "pretrain", 3);
  ASSERT_EQ(resumed.records().size(), 1U);
  EXPECT_EQ(resumed.records()[0].micro_step, 2);
  EXPECT_EQ(resumed.records()[0].mfu, 0.25);
  const std::string text = read_file(folder.path() / "metrics.jsonl");
  EXPECT_NE(text.find("\"val_loss\":3.0,\"val_loss_swapped\":3.5,\"val_loss_none\":4.0,\"val_samples\":7"),
            std::string::npos)
      << text;
  EXPECT_EQ(text.find("\"val_loss\":2.0"), std::string::npos) << text;
  const std::string live = metrics_page("t", resumed.records(), resumed.validations(), /*is_live=*/true);
  EXPECT_NE(live.find("http-equiv=\"refresh\""), std::string::npos);
  EXPECT_NE(live.find("Held-out loss"), std::string::npos);
  const std::string last = metrics_page("t", resumed.records(), resumed.validations(), /*is_live=*/false);
  EXPECT_EQ(last.find("http-equiv=\"refresh\""), std::string::npos);
}

TEST(MetricsLog, KeepsTheLinesOfAnotherModelAndHasNoHeldOutLossTwice) {
  const TemporaryFolder folder;
  MetricsLog small(folder.path(), "16", "pretrain", 0);
  small.add(record_at(2, 5.0));
  MetricsLog large(folder.path(), "32", "pretrain", 0);
  large.add(record_at(1, 4.0));
  const MetricsLog resumed(folder.path(), "16", "pretrain", 2);
  ASSERT_EQ(resumed.records().size(), 2U);
  EXPECT_EQ(resumed.records()[0].model, "16");
  EXPECT_EQ(resumed.records()[1].model, "32");
  const std::string page = metrics_page("t", resumed.records(), resumed.validations(), /*is_live=*/false);
  EXPECT_NE(page.find("<h2>pretrain, 16</h2>"), std::string::npos) << page;
  EXPECT_NE(page.find("<h2>pretrain, 32</h2>"), std::string::npos) << page;
  const ValidationRecord held_out{"pretrain", 2, 1.0, 3.0, 3.5, 4.0, 7};
  EXPECT_TRUE(large.add(held_out));
  EXPECT_FALSE(MetricsLog(folder.path(), "32", "pretrain", 2).add(held_out));
}

TEST(MetricsPage, SmoothsWithoutLeavingTheStartOrCopyingTheRawCurve) {
  Points raw;
  for (int64_t i = 0; i < 40; ++i) {
    const double noise = i % 2 == 0 ? 0.2 : -0.2;
    raw.emplace_back(static_cast<double>(i), 1 + 5 * std::exp(-static_cast<double>(i) / 4) + (i > 0 ? noise : 0));
  }
  const Points smoothed = smooth(raw);
  ASSERT_EQ(smoothed.size(), raw.size());
  EXPECT_NEAR(smoothed.front().second, 6.0, 0.05);
  for (size_t i = 20; i < smoothed.size(); ++i) {
    const double without_noise = 1 + 5 * std::exp(-static_cast<double>(i) / 4);
    EXPECT_NEAR(smoothed[i].second, without_noise, 0.15) << i;
  }
  EXPECT_EQ(smooth({{1, 2}}).front().second, 2);
  EXPECT_TRUE(smooth({}).empty());
}

TEST(MetricsPage, IsSelfContainedAndLabelsItsAxes) {
  const std::vector<MetricsRecord> records = {record_at(10, 5.0), record_at(20, 4.0)};
  const std::string page = metrics_page("<run>", records, {}, /*is_live=*/false);
  EXPECT_EQ(page.find("http://"), std::string::npos);
  EXPECT_EQ(page.find("https://"), std::string::npos);
  EXPECT_EQ(page.find("<script"), std::string::npos);
  EXPECT_NE(page.find("&lt;run&gt;"), std::string::npos);
  for (const char* label : {"cross-entropy per token", "learning rate", "norm", "samples per second", "micro-batch"}) {
    EXPECT_NE(page.find(std::string(">") + label + "</text>"), std::string::npos) << label;
  }
}

TEST(Validation, SaysWhetherTheModelLooksAtTheImage) {
  const auto summary = [](double right, double swapped) {
    return validation_summary({"pretrain", 1, 1.0, right, swapped, 3.0, 5});
  };
  EXPECT_NE(summary(2.0, 2.5).find("looks at the image: the right image saves 0.5000 (20.0 %)"), std::string::npos)
      << summary(2.0, 2.5);
  EXPECT_NE(summary(2.0, 2.01).find("does not look at the image"), std::string::npos);
  EXPECT_NE(summary(2.5, 2.0).find("misleads"), std::string::npos);
}

TEST(Wandb, CommandUploadsTheStagesLines) {
  TrainOptions options;
  options.out_dir = "out";
  options.wandb_project = "it's mine";
  options.resolve(Stage::kInstruction);
  const std::string command = wandb_command(options, "16", Stage::kInstruction);
  EXPECT_NE(command.find("'out/metrics.jsonl' 16 sft 'it'\\''s mine' 'MiniMind-V-sft-"), std::string::npos) << command;
}

TEST(Wandb, CommandRunsAgainstAStandInForThePackage) {
  const TemporaryFolder folder;
  MetricsLog log(folder.path(), "16", "pretrain", 0);
  log.add(record_at(2, 5.0));
  log.add(ValidationRecord{"pretrain", 2, 1.0, 3.0, 3.5, 4.0, 7});
  write_file_atomically(folder.path() / "wandb.py", R"(
class Run:
    def log(self, values, step):
        print("log", step, sorted(values))
    def finish(self):
        print("finish")
def init(project, name):
    print("init", project, name)
    return Run()
)");
  TrainOptions options;
  options.out_dir = folder.path().string();
  options.wandb_run_name = "a 'name'";
  options.resolve(Stage::kPretrain);
  const std::string told = (folder.path() / "told").string();
  ASSERT_EQ(run_command("PYTHONPATH=" + folder.path().string() + " " + wandb_command(options, "16", Stage::kPretrain) +
                        " > " + told),
            0);
  const std::string text = read_file(told);
  EXPECT_EQ(text.find("init MiniMind-V a 'name'\nlog 2 ['data_wait_share', 'epoch', "), 0U) << text;
  EXPECT_NE(text.find("log 2 ['epoch', 'val_loss', 'val_loss_none', 'val_loss_swapped', 'val_samples']\nfinish"),
            std::string::npos)
      << text;
}

}  // namespace
}  // namespace minimind
