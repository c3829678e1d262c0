#include "train/agreement.h"

#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "dist/rank_threads.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "train/setup.h"
#include "train/tiny_run.h"

namespace minimind {
namespace {

using testing::run_ranks;
using testing::TemporaryFolder;
using testing::tiny_options;
using testing::write_tiny_data;

/// What each of two ranks says; "agreed" where it says nothing.
std::vector<std::string> answers_of_ranks(const std::function<void(ProcessGroup&)>& body) {
  std::vector<std::string> answers(2, "agreed");
  run_ranks(2, [&](ProcessGroup& group) {
    try {
      body(group);
    } catch (const Error& error) {
      answers[static_cast<size_t>(group.rank())] = error.what();
    }
  });
  return answers;
}

/// The ranks' common answer where rank 1 has other options.
std::string answer_to(const std::function<void(TrainOptions&)>& change) {
  const std::vector<std::string> answers = answers_of_ranks([&](ProcessGroup& group) {
    TrainOptions options;
    if (group.rank() == 1) {
      change(options);
    }
    require_equal_options(options, Stage::kPretrain, group);
  });
  EXPECT_EQ(answers[0], answers[1]);
  return answers[0];
}

TEST(AgreementOfRanks, NamesTheRankAndItsOtherOptions) {
  EXPECT_EQ(answer_to([](TrainOptions& options) {
              options.seed = 9;
              options.learning_rate = 0.1;
            }),
            "rank 1 of 2: expected the options of rank 0, found --learning_rate 0.1 (rank 0: none), --seed 9 (rank 0: "
            "1337); start all ranks with the same options (paths, --device, --threads, --num_workers and "
            "--feature_memory_mb may differ)");
  EXPECT_NE(answer_to([](TrainOptions& options) { options.model.dim = 32; }).find("--dim 32"), std::string::npos);
}

TEST(AgreementOfRanks, LeavesAHostItsPathsAndThreads) {
  EXPECT_EQ(answer_to([](TrainOptions& options) {
              options.out_dir = "/elsewhere";
              options.tokenizer = "/elsewhere/tokenizer.model";
              options.threads = 3;
              options.num_workers = 0;
            }),
            "agreed");
  // Whether there is any decides what the ranks do together.
  EXPECT_NE(answer_to([](TrainOptions& options) { options.val_data = "held_out.json"; }).find("--val_data"),
            std::string::npos);
}

TEST(AgreementOfRanks, NamesTheOtherStage) {
  const std::vector<std::string> answers = answers_of_ranks([](ProcessGroup& group) {
    require_equal_options({}, group.rank() == 0 ? Stage::kPretrain : Stage::kMultiImage, group);
  });
  EXPECT_EQ(answers[0], answers[1]);
  EXPECT_NE(answers[0].find("expected the stage of rank 0, pretrain, found sft_multi"), std::string::npos)
      << answers[0];
}

class ContentsOfRanks : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"0", "1"}) {
      std::filesystem::create_directory(folder_.path() / name);
      write_tiny_data(folder_.path() / name, 12);
    }
  }
  /// Both ranks' answer to what they read in folders of their own.
  std::string answer() const {
    const std::vector<std::string> answers = answers_of_ranks([&](ProcessGroup& group) {
      const TrainOptions options = tiny_options(folder_.path() / std::to_string(group.rank()), "out");
      TrainingSetup setup = make_setup(options, Stage::kPretrain, c10::kCPU, nullptr);
      require_equal_contents(setup.contents(), group);
    });
    EXPECT_EQ(answers[0], answers[1]);
    return answers[0];
  }
  std::filesystem::path data() const { return folder_.path() / "1" / "data.json"; }
  TemporaryFolder folder_;
};

TEST_F(ContentsOfRanks, MayLieInDifferentFolders) {
  EXPECT_EQ(answer(), "agreed");
}

TEST_F(ContentsOfRanks, AreTheSameSamplesInTheSameOrder) {
  nlohmann::ordered_json samples = nlohmann::ordered_json::parse(read_file(data()));
  std::swap(samples[0], samples[1]);
  write_file_atomically(data(), samples.dump());
  EXPECT_NE(answer().find("rank 1 of 2: expected the files of rank 0, --data_path: 12 samples, digest"),
            std::string::npos);
  samples.erase(0);
  write_file_atomically(data(), samples.dump());
  EXPECT_NE(answer().find("found --data_path: 11 samples"), std::string::npos);
}

}  // namespace
}  // namespace minimind
