#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "dist/process_group.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/train/trainer.h"
#include "train/out_dir.h"
#include "train/tiny_run.h"

namespace minimind {
namespace {

using testing::TemporaryFolder;
using testing::tiny_options;
using testing::write_tiny_data;

/// What a run leaves behind stays there until somebody says otherwise.
class KeptRuns : public ::testing::Test {
 protected:
  void SetUp() override { write_tiny_data(folder_.path(), 22); }

  TrainOptions options(int64_t save_interval = 0) const {
    TrainOptions options = tiny_options(folder_.path(), "out");
    options.save_interval = save_interval;
    return options;
  }
  static RunSummary run(TrainOptions options, bool overwrite) {
    options.overwrite = overwrite;
    return run(options);
  }
  static RunSummary run(const TrainOptions& options) {
    ProcessGroup group({}, c10::kCPU);
    return train(options, Stage::kPretrain, group);
  }
  static std::string refusal(const TrainOptions& options) {
    try {
      run(options);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  fs::path out() const { return folder_.path() / "out"; }
  fs::path checkpoint_folder() const { return out() / "16_vlm_pretrain_checkpoints"; }
  std::vector<std::string> checkpoints() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(checkpoint_folder())) {
      names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }
  std::string weights() const { return read_file(out() / "16_vlm_pretrain.pth"); }

  TemporaryFolder folder_;
};

TEST_F(KeptRuns, AreNotReplacedByANewOneUnasked) {
  run(options(5));
  const std::vector<std::string> before = checkpoints();
  const std::string learned = weights();
  TrainOptions again = options(1);
  again.max_steps = 1;
  const std::string told = refusal(again);
  EXPECT_NE(told.find("found 2 (the last one step_000000000012.safetensors); continue that run with --resume"),
            std::string::npos)
      << told;
  EXPECT_NE(told.find("--overwrite"), std::string::npos) << told;
  fs::remove_all(checkpoint_folder());
  const std::string of_weights = refusal(again);
  EXPECT_NE(of_weights.find("16_vlm_pretrain.pth: expected no weights of an earlier run"), std::string::npos)
      << of_weights;
  EXPECT_TRUE(weights() == learned);
}

TEST_F(KeptRuns, AreNotReplacedByTheContinuationOfAnotherUnasked) {
  run(options(5));
  const std::string learned = weights();
  TrainOptions other = options(5);
  other.out_dir = (folder_.path() / "other").string();
  run(other);
  TrainOptions here = options(5);
  here.resume = (folder_.path() / "other/16_vlm_pretrain_checkpoints/step_000000000010.safetensors").string();
  EXPECT_NE(refusal(here).find("expected no checkpoints of an earlier run"), std::string::npos);
  EXPECT_TRUE(weights() == learned);
  TrainOptions instead = here;
  instead.overwrite = true;
  EXPECT_EQ(run(instead).micro_steps, 12);
  EXPECT_EQ(checkpoints(), (std::vector<std::string>{"step_000000000012.safetensors"})) << "none of the run replaced";
  run(options(5), /*overwrite=*/true);
  // Going on from an own one is what it is there for.
  here.resume = (checkpoint_folder() / "step_000000000010.safetensors").string();
  EXPECT_EQ(run(here).micro_steps, 12);
}

TEST_F(KeptRuns, AreToldFromThoseOfExperts) {
  TrainOptions experts = options(5);
  experts.model.use_moe = true;
  experts.resume = "auto";
  run(options(5));
  EXPECT_EQ(run(experts).samples, 22 * experts.epochs) << "began anew beside the dense run";
  EXPECT_EQ(run(experts).samples, 0) << "goes on from its own end";
  TrainOptions either = options(5);
  either.resume = "auto";
  EXPECT_NE(refusal(either).find("--use_moe true or false"), std::string::npos);
  either.model.use_moe = false;
  EXPECT_EQ(run(either).samples, 0);
}

TEST_F(KeptRuns, AreReplacedAsAWholeWhereThatIsAskedFor) {
  run(options(5));
  TrainOptions again = options(1);
  again.max_steps = 1;
  again.overwrite = true;
  run(again);
  EXPECT_EQ(checkpoints(), (std::vector<std::string>{"step_000000000001.safetensors"}));
  again.max_steps = 2;
  again.save_interval = 0;
  run(again);
  // The earlier run's step 1 lies before this one's, and is none of its checkpoints.
  EXPECT_EQ(checkpoints(), (std::vector<std::string>{"step_000000000002.safetensors"}));
}

TEST_F(KeptRuns, AreNotBegunAnewByAResumeThatFindsThemDamaged) {
  run(options(5));
  const std::string learned = weights();
  const std::string metrics = read_file(out() / "metrics.jsonl");
  for (const std::string& name : checkpoints()) {
    fs::resize_file(checkpoint_folder() / name, 3000);
  }
  TrainOptions again = options(5);
  again.resume = "auto";
  const std::string told = refusal(again);
  EXPECT_NE(told.find("found 2 unreadable checkpoints"), std::string::npos) << told;
  EXPECT_TRUE(weights() == learned);
  EXPECT_EQ(read_file(out() / "metrics.jsonl"), metrics);
  // A launcher's restart may come before the first checkpoint: then there is nothing to lose.
  fs::remove_all(out());
  EXPECT_EQ(run(again).micro_steps, 12);
}

TEST_F(KeptRuns, StandWhileTheStepsOfTheirContinuationFail) {
  run(options(5));
  const std::vector<std::string> before = checkpoints();
  const std::string learned = weights();
  TrainOptions wild = options(2);
  wild.resume = "auto";
  wild.epochs = 4;
  wild.learning_rate = 1e30;
  wild.grad_clip = 0;
  wild.max_bad_steps = 5;
  const std::string told = refusal(wild);
  EXPECT_NE(told.find("5 non-finite steps in a row"), std::string::npos) << told;
  EXPECT_NE(told.find("the last checkpoint before these steps is "), std::string::npos) << told;
  EXPECT_NE(told.find(before.back()), std::string::npos) << told;
  EXPECT_EQ(checkpoints(), before);
  EXPECT_TRUE(weights() == learned);
  // Too few steps for --max_bad_steps: the run comes to its end.
  wild.max_steps = 16;
  wild.max_bad_steps = 10;
  const std::string at_end = refusal(wild);
  EXPECT_NE(at_end.find("found that 3 of 4 steps were skipped"), std::string::npos) << at_end;
  EXPECT_EQ(checkpoints(), before);
  EXPECT_TRUE(weights() == learned);
}

TEST_F(KeptRuns, DoNotBeginWithStepsOfWhichHalfFail) {
  TrainOptions wild = options(1);
  wild.learning_rate = 1e30;
  wild.grad_clip = 0;
  wild.max_steps = 2;
  wild.save_interval = 2;
  const std::string told = refusal(wild);
  EXPECT_NE(told.find("found that 1 of 2 steps were skipped as non-finite; the weights were not written, no "
                      "checkpoint was written"),
            std::string::npos)
      << told;
  EXPECT_FALSE(fs::exists(out() / "16_vlm_pretrain.pth"));
}

TEST_F(KeptRuns, GoOnWithTheirOwnDataAndTokenizerAlone) {
  run(options(5));
  TrainOptions again = options(5);
  again.resume = "auto";
  // The same samples elsewhere and in another layout.
  const std::string text = read_file(again.data_path);
  again.data_path = (folder_.path() / "moved.json").string();
  write_file_atomically(again.data_path, nlohmann::ordered_json::parse(text).dump());
  EXPECT_EQ(run(again).micro_steps, 12);
  nlohmann::ordered_json edited = nlohmann::ordered_json::parse(text);
  edited[3]["conversations"][1]["value"] = "zz";
  write_file_atomically(again.data_path, edited.dump());
  EXPECT_NE(refusal(again).find("found other samples"), std::string::npos) << refusal(again);
  EXPECT_NE(refusal(again).find("moved.json"), std::string::npos);
  edited = nlohmann::ordered_json::parse(text);
  std::swap(edited[3], edited[4]);
  write_file_atomically(again.data_path, edited.dump());
  EXPECT_NE(refusal(again).find("another order in"), std::string::npos);
  again = options(5);
  again.resume = "auto";
  nlohmann::ordered_json tokenizer = nlohmann::ordered_json::parse(read_file(again.tokenizer));
  std::swap(tokenizer["model"]["vocab"]["a"], tokenizer["model"]["vocab"]["b"]);
  again.tokenizer = (folder_.path() / "other.json").string();
  write_file_atomically(again.tokenizer, tokenizer.dump());
  EXPECT_NE(refusal(again).find("expected the tokenizer of this checkpoint (digest "), std::string::npos)
      << refusal(again);
}

TEST_F(KeptRuns, HaveTheirFolderToThemselves) {
  fs::create_directories(out());
  const RunLock other(out());
  const std::string told = refusal(options());
  EXPECT_NE(told.find(concat("found that process ", ::getpid(), " on ")), std::string::npos) << told;
  EXPECT_NE(told.find("another --out_dir"), std::string::npos) << told;
}

TEST_F(KeptRuns, LetARestartedOneWaitForTheirEnd) {
  fs::create_directories(out());
  std::optional<RunLock> other(out());
  std::thread end([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    other.reset();
  });
  const RunLock lock(out(), std::chrono::seconds(60));
  EXPECT_FALSE(other.has_value());
  end.join();
  EXPECT_THROW(RunLock(out(), std::chrono::seconds(1)), Error);
}

TEST_F(KeptRuns, LetTheNextOneInWhenTheirProcessWasKilled) {
  fs::create_directories(out());
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      const RunLock lock(out());
      write_file_atomically(out() / "locked", "");
      ::pause();
    } catch (const std::exception&) {
      ::_exit(1);
    }
  }
  while (!fs::exists(out() / "locked")) {
    ASSERT_EQ(::waitpid(child, nullptr, WNOHANG), 0) << "the child ended";
    ::usleep(1000);
  }
  EXPECT_NE(refusal(options()).find(concat("process ", child, " on ")), std::string::npos);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  // What it was writing when it died.
  const std::vector<fs::path> halves = {
      out() / concat("16_vlm_pretrain.pth.tmp.", child, ".7"),
      checkpoint_folder() / concat("step_000000000002.safetensors.tmp.", child, ".0")};
  fs::create_directories(checkpoint_folder());
  for (const fs::path& half : halves) {
    std::ofstream(half) << "half";
  }
  const fs::path running = out() / "other.pth.tmp.1.0";
  std::ofstream(running) << "half";
  run(options());
  EXPECT_FALSE(fs::exists(halves[0]) || fs::exists(halves[1]));
  EXPECT_TRUE(fs::exists(running));
}

TEST(RunEnding, TellsWhatWasSkippedAndWhatWasDoneBefore) {
  RunSummary result;
  result.micro_steps = 24;
  result.samples = 192;
  result.skipped_steps = 3;
  EXPECT_NE(ending_summary(result, "out").find("finished: 24 micro-steps, 192 samples"), std::string::npos);
  EXPECT_NE(ending_summary(result, "out").find(", 3 non-finite steps skipped;"), std::string::npos);
  result = {};
  result.micro_steps = 24;
  EXPECT_NE(ending_summary(result, "out").find("finished before: 24 micro-steps; a larger --epochs"),
            std::string::npos);
}

}  // namespace
}  // namespace minimind
