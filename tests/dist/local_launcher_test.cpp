#include "dist/local_launcher.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "minimind/base/file.h"
#include "minimind/base/log.h"
#include "support/temporary_folder.h"

namespace minimind {
namespace {

using testing::TemporaryFolder;

std::vector<std::string> shell(const std::string& script) {
  return {"/bin/sh", "-c", script};
}

/// What is logged while it lives.
class CapturedLog {
 public:
  CapturedLog() {
    set_log_sink([this](std::string_view line) { text_ += line; });
  }
  ~CapturedLog() { log_to_stderr(); }
  CapturedLog(const CapturedLog&) = delete;
  CapturedLog& operator=(const CapturedLog&) = delete;
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

TEST(LocalLauncher, GivesEachRankItsPlaceAndAllTheSameStore) {
  const TemporaryFolder folder;
  const std::string script = "echo $RANK $LOCAL_RANK $WORLD_SIZE $LOCAL_WORLD_SIZE $MASTER_ADDR > " +
                             folder.path().string() + "/$RANK; echo $MASTER_PORT > " + folder.path().string() +
                             "/port$RANK";
  ::setenv("MASTER_PORT", "1", 1);
  ::setenv("TORCHELASTIC_USE_AGENT_STORE", "True", 1);
  EXPECT_EQ(run_local_ranks(3, shell(script + "; test -z \"$TORCHELASTIC_USE_AGENT_STORE\"")), 0);
  ::unsetenv("MASTER_PORT");
  ::unsetenv("TORCHELASTIC_USE_AGENT_STORE");
  EXPECT_EQ(read_file(folder.path() / "0"), "0 0 3 3 127.0.0.1\n");
  EXPECT_EQ(read_file(folder.path() / "2"), "2 2 3 3 127.0.0.1\n");
  const std::string port = read_file(folder.path() / "port0");
  EXPECT_GT(std::stoi(port), 1023);
  EXPECT_EQ(port, read_file(folder.path() / "port2"));
}

TEST(LocalLauncher, EndsTheOthersWithTheCodeOfTheFirstRankThatFails) {
  const CapturedLog log;
  int code = 0;
  const double seconds = seconds_of([&] {
    code = run_local_ranks(
        3, shell("if [ $RANK = 1 ]; then echo dropped; echo the cause >&2; exit 7; fi; trap '' TERM; sleep 60"));
  });
  EXPECT_EQ(code, 7);
  EXPECT_LT(seconds, 20);
  EXPECT_NE(log.text().find("rank 1 of 3"), std::string::npos) << log.text();
  EXPECT_NE(log.text().find("ended with exit code 7"), std::string::npos) << log.text();
  EXPECT_NE(log.text().find("the cause"), std::string::npos) << log.text();
  EXPECT_EQ(log.text().find("rank 0"), std::string::npos) << log.text();
}

TEST(LocalLauncher, NamesARankThatASignalKilled) {
  const CapturedLog log;
  EXPECT_EQ(run_local_ranks(2, shell("if [ $RANK = 1 ]; then kill -9 $$; fi; exit 0")), 128 + SIGKILL);
  EXPECT_NE(log.text().find("was killed by signal 9"), std::string::npos) << log.text();
}

TEST(LocalLauncher, PassesASignalOnAndWaitsForAllRanks) {
  const TemporaryFolder folder;
  const std::string place = folder.path().string();
  const CapturedLog log;
  // Rank 0 needs longer to stop than a failure would leave it.
  const std::string script = "trap 'if [ $RANK = 0 ]; then sleep 7; fi; touch " + place +
                             "/stopped$RANK; exit 143' TERM; touch " + place +
                             "/ready$RANK; while true; do sleep 0.1; done";
  const pid_t launcher = fork();
  if (launcher == 0) {
    _exit(run_local_ranks(2, shell(script)));
  }
  for (int i = 0; i < 600 && !(fs::exists(folder.path() / "ready0") && fs::exists(folder.path() / "ready1")); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  ::kill(launcher, SIGTERM);
  int status = 0;
  ASSERT_EQ(waitpid(launcher, &status, 0), launcher);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 143) << status;
  EXPECT_TRUE(fs::exists(folder.path() / "stopped0"));
  EXPECT_TRUE(fs::exists(folder.path() / "stopped1"));
}

TEST(LocalLauncher, ReportsAProgramThatCannotBeStarted) {
  const CapturedLog log;
  EXPECT_EQ(run_local_ranks(2, {"/nowhere/program"}), 127);
}

TEST(LocalLauncher, KnowsTheCommandOfThisProcess) {
  const std::vector<std::string> command = own_command();
  EXPECT_TRUE(command.at(0).ends_with("test_dist")) << command.at(0);
  EXPECT_TRUE(command.at(1).starts_with("--gtest")) << command.at(1);
}

}  // namespace
}  // namespace minimind
