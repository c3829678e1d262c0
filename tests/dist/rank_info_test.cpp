#include "dist/rank_info.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <map>
#include <string>

#include "minimind/base/error.h"

namespace minimind {
namespace {

/// An environment with these of a launcher's variables and no others.
class Environment {
 public:
  explicit Environment(const std::map<std::string, std::string>& variables) {
    clear();
    for (const auto& [name, value] : variables) {
      ::setenv(name.c_str(), value.c_str(), 1);
    }
  }
  ~Environment() { clear(); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  static void clear() {
    for (const char* name : {"RANK",
                             "WORLD_SIZE",
                             "LOCAL_RANK",
                             "MASTER_ADDR",
                             "MASTER_PORT",
                             "TORCHELASTIC_RUN_ID",
                             "TORCHELASTIC_USE_AGENT_STORE",
                             "SLURM_PROCID",
                             "SLURM_NTASKS",
                             "SLURM_LOCALID",
                             "SLURM_JOB_ID",
                             "SLURM_JOB_NODELIST",
                             "SLURM_STEP_NODELIST",
                             "OMPI_COMM_WORLD_RANK",
                             "OMPI_COMM_WORLD_SIZE",
                             "OMPI_COMM_WORLD_LOCAL_RANK",
                             "PMI_RANK",
                             "PMI_SIZE",
                             "MPI_LOCALRANKID",
                             "LOCAL_WORLD_SIZE",
                             "SLURM_NTASKS_PER_NODE",
                             "OMPI_COMM_WORLD_LOCAL_SIZE",
                             "MPI_LOCALNRANKS",
                             "MINIMIND_TEST_GROUP_OF_ONE"}) {
      ::unsetenv(name);
    }
  }
};

std::string error_of_environment(const std::map<std::string, std::string>& variables) {
  const Environment environment(variables);
  try {
    rank_from_environment();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(RankInfo, IsASingleProcessWithoutALauncher) {
  const Environment environment({});
  const RankInfo info = rank_from_environment();
  EXPECT_EQ(info.launcher, Launcher::kNone);
  EXPECT_EQ(info.rank, 0);
  EXPECT_EQ(info.world_size, 1);
}

TEST(RankInfo, GroupsOneRankOnlyForATest) {
  std::map<std::string, std::string> variables = {
      {"RANK", "0"}, {"WORLD_SIZE", "1"}, {"MASTER_ADDR", "10.0.0.1"}, {"MASTER_PORT", "29500"}};
  {
    const Environment environment(variables);
    EXPECT_FALSE(rank_from_environment().has_group());
  }
  variables["MINIMIND_TEST_GROUP_OF_ONE"] = "1";
  const Environment environment(variables);
  const RankInfo info = rank_from_environment();
  EXPECT_TRUE(info.has_group());
  EXPECT_EQ(info.world_size, 1);
  EXPECT_EQ(info.master_port, 29500);
}

TEST(RankInfo, ReadsTorchrun) {
  std::map<std::string, std::string> variables = {{"RANK", "3"},
                                                  {"WORLD_SIZE", "4"},
                                                  {"LOCAL_RANK", "1"},
                                                  {"LOCAL_WORLD_SIZE", "2"},
                                                  {"MASTER_ADDR", "10.0.0.1"},
                                                  {"MASTER_PORT", "29500"},
                                                  {"TORCHELASTIC_RUN_ID", "job"},
                                                  {"TORCHELASTIC_USE_AGENT_STORE", "True"},
                                                  // Within a SLURM job torchrun's word counts.
                                                  {"SLURM_PROCID", "0"},
                                                  {"SLURM_NTASKS", "2"}};
  {
    const Environment environment(variables);
    const RankInfo info = rank_from_environment();
    EXPECT_EQ(info.launcher, Launcher::kTorchrun);
    EXPECT_EQ(info.rank, 3);
    EXPECT_EQ(info.world_size, 4);
    EXPECT_EQ(info.local_rank, 1);
    EXPECT_EQ(info.local_ranks, 2);
    EXPECT_EQ(info.master_address, "10.0.0.1");
    EXPECT_EQ(info.master_port, 29500);
    EXPECT_TRUE(info.store_is_served);
    EXPECT_EQ(info.store_prefix, "minimind/job");
  }
}

TEST(RankInfo, ReadsSlurmAndFindsItsFirstHost) {
  std::map<std::string, std::string> variables = {{"SLURM_PROCID", "5"},
                                                  {"SLURM_NTASKS", "8"},
                                                  {"SLURM_LOCALID", "1"},
                                                  {"SLURM_JOB_ID", "123456"},
                                                  {"SLURM_JOB_NODELIST", "gpu[007-009,12],other"}};
  {
    const Environment environment(variables);
    const RankInfo info = rank_from_environment();
    EXPECT_EQ(info.launcher, Launcher::kSlurm);
    EXPECT_EQ(info.rank, 5);
    EXPECT_EQ(info.world_size, 8);
    EXPECT_EQ(info.local_rank, 1);
    EXPECT_EQ(info.master_address, "gpu007");
    EXPECT_EQ(info.master_port, 23456);
    EXPECT_FALSE(info.store_is_served);
  }
  for (const auto& [list, host] :
       std::map<std::string, std::string>{{"a,b", "a"}, {"n[3]", "n3"}, {"n[3,5]-ib", "n3"}, {"single", "single"}}) {
    variables["SLURM_STEP_NODELIST"] = list;
    const Environment environment(variables);
    EXPECT_EQ(rank_from_environment().master_address, host) << list;
  }
  variables["MASTER_ADDR"] = "given";
  variables["MASTER_PORT"] = "4000";
  const Environment environment(variables);
  EXPECT_EQ(rank_from_environment().master_address, "given");
  EXPECT_EQ(rank_from_environment().master_port, 4000);
}

TEST(RankInfo, ReadsOpenMpiAndMpich) {
  {
    const Environment environment({{"OMPI_COMM_WORLD_RANK", "1"},
                                   {"OMPI_COMM_WORLD_SIZE", "2"},
                                   {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                                   {"MASTER_ADDR", "h"},
                                   {"MASTER_PORT", "1"}});
    const RankInfo info = rank_from_environment();
    EXPECT_EQ(info.launcher, Launcher::kMpi);
    EXPECT_EQ(info.rank, 1);
    EXPECT_EQ(info.world_size, 2);
    EXPECT_EQ(info.local_rank, 1);
  }
  const Environment environment(
      {{"PMI_RANK", "2"}, {"PMI_SIZE", "3"}, {"MPI_LOCALRANKID", "0"}, {"MASTER_ADDR", "h"}, {"MASTER_PORT", "1"}});
  const RankInfo info = rank_from_environment();
  EXPECT_EQ(info.launcher, Launcher::kMpi);
  EXPECT_EQ(info.rank, 2);
  EXPECT_EQ(info.world_size, 3);
  EXPECT_EQ(info.local_rank, 0);
}

TEST(RankInfo, RefusesAnIncompleteOrContradictoryEnvironment) {
  EXPECT_NE(error_of_environment({{"RANK", "0"}}).find("WORLD_SIZE"), std::string::npos);
  EXPECT_NE(error_of_environment({{"WORLD_SIZE", "2"}}).find("RANK"), std::string::npos);
  EXPECT_NE(error_of_environment({{"RANK", "2"}, {"WORLD_SIZE", "2"}}).find("less than WORLD_SIZE"), std::string::npos);
  EXPECT_NE(error_of_environment({{"RANK", "x"}, {"WORLD_SIZE", "2"}}).find("found 'x'"), std::string::npos);
  EXPECT_NE(error_of_environment({{"RANK", "-1"}, {"WORLD_SIZE", "2"}}).find("found '-1'"), std::string::npos);
  EXPECT_NE(error_of_environment({{"PMI_RANK", "0"}, {"PMI_SIZE", "2"}}).find("MASTER_ADDR"), std::string::npos);
  EXPECT_NE(error_of_environment({{"RANK", "0"}, {"WORLD_SIZE", "0"}}).find("WORLD_SIZE: expected at least 1"),
            std::string::npos);
  EXPECT_NE(error_of_environment({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "h"}, {"MASTER_PORT", "99999"}})
                .find("MASTER_PORT: expected 1 to 65535, found 99999"),
            std::string::npos);
  EXPECT_NE(error_of_environment({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "h"}}).find("no MASTER_PORT"),
            std::string::npos);
}

}  // namespace
}  // namespace minimind
