#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "dist/rank_threads.h"
#include "io/state_dict_file.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "train/report/metrics.h"
#include "train/tiny_run.h"

namespace minimind {
namespace {

using testing::free_port;
using testing::TemporaryFolder;
using testing::write_tiny_data;

int run_shell(const std::string& command) {
  const int status = std::system(("bash -c '" + command + "'").c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// Takes the images from samples [8, 12), so that one rank has a batch without any beside one with, and from
/// [16, 24), so that a whole step has none; gives some of the others two.
void thin_out_images(const fs::path& file) {
  nlohmann::ordered_json data = nlohmann::ordered_json::parse(read_file(file));
  for (size_t i = 0; i < data.size(); ++i) {
    nlohmann::ordered_json& sample = data[i];
    const std::string name = sample["image"];
    std::string& question = sample["conversations"][0]["value"].get_ref<std::string&>();
    if ((i >= 8 && i < 12) || (i >= 16 && i < 24)) {
      sample["image"] = "";
      question = "who";
    }
  }
  write_file_atomically(file, data.dump(1));
  for (size_t i = 0; i < data.size(); i += 3) {
    nlohmann::ordered_json& sample = data[i];
    if (sample["image"] != "") {
      sample["image"] = sample["image"].get<std::string>() + ", p1.png";
      sample["conversations"][0]["value"] = "<image> or\n<image>";
    }
  }
  write_file_atomically(file.parent_path() / "multi.json", data.dump(1));
}

struct RanksCase {
  const char* name;
  const char* stage;
  const char* options;  ///< JSON members that both runs share
};

class RanksSlow : public ::testing::TestWithParam<RanksCase> {
 protected:
  // 26 samples in groups of 4: every epoch ends with a group of two for one rank and none for the other.
  void SetUp() override {
    write_tiny_data(folder_.path(), 26);
    thin_out_images(folder_.path() / "data.json");
  }
  std::string worker(const RanksCase& kind, const std::string& out, int batch_size) const {
    std::string json = concat(R"({"batch_size":)", batch_size, ",", kind.options, "}");
    if (std::string(kind.stage) == "multi") {
      json.insert(1, R"("data_path":")" + (folder_.path() / "multi.json").string() + R"(",)");
    }
    std::string quoted;
    for (const char letter : json) {
      quoted += letter == '"' ? "\\\"" : std::string(1, letter);
    }
    return concat(MINIMIND_TRAIN_WORKER, " ", folder_.path().string(), " ", out, " ", kind.stage, " \"", quoted, "\"");
  }
  std::vector<double> losses_of(const std::string& out) const {
    std::vector<double> losses;
    std::ifstream lines(folder_.path() / out / "metrics.jsonl");
    for (std::string line; std::getline(lines, line);) {
      losses.push_back(metrics_from_json<MetricsRecord>(line).value().loss);
    }
    return losses;
  }
  fs::path weights_of(const std::string& out) const {
    for (const auto& entry : fs::directory_iterator(folder_.path() / out)) {
      if (entry.path().extension() == ".pth") {
        return entry.path();
      }
    }
    fail(out, ": no weights");
  }
  void expect_equal_runs(const std::string& a, const std::string& b) const {
    const std::vector<double> losses = losses_of(a), others = losses_of(b);
    ASSERT_EQ(losses.size(), 20U);
    ASSERT_EQ(others.size(), 20U);
    for (size_t i = 0; i < losses.size(); ++i) {
      EXPECT_NEAR(losses[i], others[i], 1e-5 * others[i]) << "step " << i;
    }
    EXPECT_LT(losses.back(), losses.front()) << "nothing was learnt";
    const StateDict first = read_state_dict(weights_of(a));
    const StateDict second = read_state_dict(weights_of(b));
    ASSERT_EQ(first.size(), second.size());
    for (const auto& [name, tensor] : first.entries()) {
      const at::Tensor& other = *second.find(name);
      EXPECT_LE(((tensor - other).norm() / other.norm()).item<double>(), 1e-5) << name;
    }
  }
  TemporaryFolder folder_;
};

TEST_P(RanksSlow, TrainLikeOneProcessWithTheDoubleBatch) {
  const RanksCase& kind = GetParam();
  ASSERT_EQ(run_shell(worker(kind, "one", 8)), 0);
  const std::string environment = concat("export WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=", free_port(), "; ");
  ASSERT_EQ(run_shell(environment + "RANK=1 LOCAL_RANK=1 " + worker(kind, "two", 4) + " & RANK=0 LOCAL_RANK=0 " +
                      worker(kind, "two", 4) + " && wait $!"),
            0);
  expect_equal_runs("two", "one");
}

// max_steps counts micro-batches: 20 optimiser steps in each case.
INSTANTIATE_TEST_SUITE_P(
    Kinds, RanksSlow,
    ::testing::Values(RanksCase{"Pretrain", "pretrain", R"("max_steps":20,"original_order":true)"},
                      RanksCase{"PretrainShuffled", "pretrain", R"("max_steps":20)"},
                      RanksCase{"Sft", "sft", R"("max_steps":20,"freeze":"middle_layers","n_layers":3)"},
                      RanksCase{"MultiImage", "multi", R"("max_steps":40,"accumulation_steps":2)"},
                      RanksCase{"Experts", "pretrain", R"("max_steps":20,"use_moe":true)"},
                      RanksCase{"ExpertsAccumulated", "pretrain",
                                R"("max_steps":40,"accumulation_steps":2,"use_moe":true,"original_order":true)"}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace minimind
