#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <iterator>
#include <string>
#include <vector>

#include "io/pth.h"
#include "io/safetensors.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "train/out_dir.h"
#include "train/tiny_run.h"

namespace minimind {
namespace {

using testing::TemporaryFolder;

CheckpointInfo info_at(int64_t step) {
  CheckpointInfo info;
  info.run_id = "run7";
  info.stage = "pretrain";
  info.config = R"({"dim": 16})";
  info.options = R"({"batch_size": 4})";
  info.position = {2, 12, step};
  info.world_size = 3;
  info.threads = 5;
  info.samples = 77;
  info.data_digest = "d1";
  info.tokenizer_digest = "t2";
  info.order_block = 24;
  return info;
}

StateDict state_of(double value) {
  StateDict state;
  state.add("model.w", at::full({3, 2}, value));
  state.add("adam.t.w", at::arange(4, at::kLong));
  return state;
}

std::vector<std::string> names_in(const CheckpointStore& folder) {
  std::vector<std::string> names;
  for (const auto& path : folder.list()) {
    names.push_back(path.filename().string());
  }
  return names;
}

CheckpointStore::RunFilter of_run(const std::string& run_id) {
  return [run_id](const std::string& found) { return found == run_id; };
}

std::string error_reading(const fs::path& path) {
  try {
    read_checkpoint(path);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

class CheckpointFiles : public ::testing::Test {
 protected:
  TemporaryFolder temporary_;
  CheckpointStore folder_{temporary_.path() / "checkpoints", "pretrain", 2};
};

TEST_F(CheckpointFiles, GiveBackEverythingThatWasSaved) {
  EXPECT_FALSE(folder_.newest().has_value());
  folder_.save(info_at(9), state_of(1.5));
  const Checkpoint found = folder_.newest().value();
  EXPECT_EQ(found.info.run_id, "run7");
  EXPECT_EQ(found.info.stage, "pretrain");
  EXPECT_EQ(found.info.config, R"({"dim": 16})");
  EXPECT_EQ(found.info.options, R"({"batch_size": 4})");
  EXPECT_EQ(found.info.position.epoch, 2);
  EXPECT_EQ(found.info.position.micro_batch, 12);
  EXPECT_EQ(found.info.position.micro_step, 9);
  EXPECT_EQ(found.info.world_size, 3);
  EXPECT_EQ(found.info.threads, 5);
  EXPECT_EQ(found.info.samples, 77);
  EXPECT_EQ(found.info.data_digest, "d1");
  EXPECT_EQ(found.info.tokenizer_digest, "t2");
  EXPECT_EQ(found.info.order_block, 24);
  ASSERT_EQ(found.state.size(), 2U);
  EXPECT_TRUE(found.state.find("model.w")->equal(at::full({3, 2}, 1.5)));
  EXPECT_TRUE(found.state.find("adam.t.w")->equal(at::arange(4, at::kLong)));
}

TEST_F(CheckpointFiles, KeepTheLastOnesInTheOrderOfSteps) {
  for (const int64_t step : {5, 99, 100, 1000000}) {
    folder_.save(info_at(step), state_of(1));
  }
  EXPECT_EQ(names_in(folder_),
            (std::vector<std::string>{"step_000000000100.safetensors", "step_000001000000.safetensors"}));
  // A run that starts anew in the folder: the earlier one's must not be taken for its newest.
  folder_.save(info_at(3), state_of(1));
  EXPECT_EQ(names_in(folder_), (std::vector<std::string>{"step_000000000003.safetensors"}));
}

TEST_F(CheckpointFiles, DoNotMakeRoomForUnverifiedOnes) {
  for (const int64_t step : {1, 2, 3, 4}) {
    folder_.save(info_at(step), state_of(1), /*is_unverified=*/step > 2);
  }
  EXPECT_EQ(folder_.list().size(), 4U);
  folder_.save(info_at(5), state_of(1));
  EXPECT_EQ(folder_.list().size(), 2U);
}

TEST_F(CheckpointFiles, KnowWhichFilesLieAmongThem) {
  folder_.save(info_at(1), state_of(1));
  const fs::path file = folder_.list().back();
  fs::create_directory(temporary_.path() / "other");
  fs::copy_file(file, temporary_.path() / "other" / file.filename());
  fs::create_symlink(file, temporary_.path() / "latest.safetensors");
  EXPECT_TRUE(folder_.holds(file));
  EXPECT_TRUE(folder_.holds(folder_.path() / ".." / "checkpoints" / file.filename()));
  EXPECT_TRUE(folder_.holds(temporary_.path() / "latest.safetensors"));
  EXPECT_FALSE(folder_.holds(temporary_.path() / "other" / file.filename()));
  EXPECT_FALSE(folder_.holds(""));
  const fs::path before = fs::current_path();
  fs::current_path(folder_.path());
  EXPECT_TRUE(folder_.holds(file.filename()));
  fs::current_path(before);
}

TEST_F(CheckpointFiles, OfThisRunAloneCountAfterARestart) {
  folder_.save(info_at(1), state_of(1));
  CheckpointInfo later = info_at(2);
  later.run_id = "run8";
  folder_.save(later, state_of(1));
  EXPECT_EQ(folder_.newest(of_run("run7")).value().info.position.micro_step, 1);
  EXPECT_EQ(folder_.newest(of_run("run8")).value().info.position.micro_step, 2);
  EXPECT_FALSE(folder_.newest(of_run("run9")).has_value());
  EXPECT_EQ(folder_.newest().value().info.position.micro_step, 2);
}

TEST_F(CheckpointFiles, ArePassedOverWhereTheyAreCutOff) {
  folder_.save(info_at(1), state_of(1));
  folder_.save(info_at(2), state_of(2));
  const fs::path newest = folder_.list().back();
  const std::string whole = read_file(newest);
  for (const size_t size : {size_t{0}, size_t{4}, size_t{20}, whole.size() / 2, whole.size() - 1}) {
    write_file_atomically(newest, whole.substr(0, size));
    EXPECT_NE(error_reading(newest).find(newest.string()), std::string::npos) << size << ": " << error_reading(newest);
    EXPECT_EQ(folder_.newest().value().info.position.micro_step, 1) << size;
  }
}

TEST_F(CheckpointFiles, ArePassedOverWhereABitIsFlipped) {
  folder_.save(info_at(1), state_of(1));
  folder_.save(info_at(2), state_of(2));
  const fs::path newest = folder_.list().back();
  const std::string whole = read_file(newest);
  for (size_t at = 0; at < whole.size(); at += 3) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    write_file_atomically(newest, damaged);
    EXPECT_EQ(folder_.newest().value().info.position.micro_step, 1) << at;
  }
}

TEST_F(CheckpointFiles, AreMissedAloudWhereNoneCanBeRead) {
  for (const int64_t step : {1, 2}) {
    folder_.save(info_at(step), state_of(1));
    write_file_atomically(folder_.list().back(), "cut");
  }
  try {
    folder_.newest();
    FAIL() << "no error";
  } catch (const Error& error) {
    const std::string told = error.what();
    EXPECT_NE(told.find("found 2 unreadable checkpoints"), std::string::npos) << told;
    EXPECT_NE(told.find("--overwrite"), std::string::npos) << told;
  }
}

TEST_F(CheckpointFiles, LeaveFilesOfAnotherOriginAlone) {
  folder_.save(info_at(12), state_of(1));
  const fs::path backup = folder_.path() / "step_12_backup.safetensors";
  fs::copy_file(folder_.list().back(), backup);
  const fs::path foreign = folder_.path() / "step_000000000999.safetensors";
  write_safetensors(foreign, state_of(3));
  CheckpointInfo other_stage = info_at(500);
  other_stage.stage = "sft";
  const fs::path other = folder_.path() / "step_000000000500.safetensors";
  write_checkpoint(other, other_stage, state_of(4));
  EXPECT_EQ(folder_.newest().value().info.position.micro_step, 12);
  for (const int64_t step : {13, 14, 15}) {
    folder_.save(info_at(step), state_of(1));
  }
  EXPECT_TRUE(fs::exists(backup) && fs::exists(foreign) && fs::exists(other));
  EXPECT_EQ(folder_.newest().value().info.position.micro_step, 15);
  EXPECT_EQ(folder_.list().size(), 4U) << "of our own the last two";
  folder_.save(info_at(999), state_of(1));
  EXPECT_EQ(folder_.newest().value().info.position.micro_step, 999);
  EXPECT_TRUE(fs::exists(foreign.string() + ".set_aside"));
}

TEST_F(CheckpointFiles, AreToldFromOtherFiles) {
  const fs::path plain = temporary_.path() / "weights.safetensors";
  write_safetensors(plain, state_of(1));
  EXPECT_NE(error_reading(plain).find("expected a training checkpoint"), std::string::npos);
  write_safetensors(plain, state_of(1), {{"minimind_checkpoint", "{"}});
  EXPECT_NE(error_reading(plain).find("found malformed JSON"), std::string::npos);
  write_safetensors(plain, state_of(1), {{"minimind_checkpoint", R"({"version": 99})"}});
  EXPECT_NE(error_reading(plain).find("found version 99"), std::string::npos) << error_reading(plain);
  write_safetensors(plain, state_of(1), {{"minimind_checkpoint", R"({"version": 3, "group": 5})"}});
  EXPECT_NE(error_reading(plain).find("expected a checkpoint of version 4, found version 3; finish the run with"),
            std::string::npos)
      << error_reading(plain);
  const fs::path weights = temporary_.path() / "64_vlm_pretrain.pth";
  write_pth(weights, state_of(1));
  EXPECT_NE(error_reading(weights).find("found weights (.pth); start a run from weights with --init_from"),
            std::string::npos)
      << error_reading(weights);
  EXPECT_NE(error_reading(temporary_.path() / "none"), "no error");
}

TEST_F(CheckpointFiles, StandWhereANewOneDoesNotFitOnTheDisk) {
  folder_.save(info_at(1), state_of(1));
  const std::string before = read_file(folder_.list()[0]);
  const pid_t child = ::fork();
  if (child == 0) {
    const rlimit limit{100, 100};
    ::signal(SIGXFSZ, SIG_IGN);
    ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      folder_.save(info_at(2), state_of(2));
      ::_exit(1);
    } catch (const Error& error) {
      ::_exit(std::string(error.what()).find("cannot be written: File too large") != std::string::npos ? 0 : 2);
    }
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  ASSERT_EQ(folder_.list().size(), 1U);
  EXPECT_EQ(read_file(folder_.list()[0]), before);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), {}), 1) << "a half-written file is left";
}

}  // namespace
}  // namespace minimind
