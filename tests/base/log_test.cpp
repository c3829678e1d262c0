#include "minimind/base/log.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "base/log_origin.h"
#include "base/progress.h"

namespace minimind {
namespace {

/// Collects the texts of the log; afterwards stderr is the sink again.
class CollectedLog {
 public:
  CollectedLog() {
    set_log_sink([this](std::string_view text) { texts_.emplace_back(text); });
  }
  ~CollectedLog() { log_to_stderr(); }
  const std::vector<std::string>& texts() const { return texts_; }

 private:
  std::vector<std::string> texts_;
};

TEST(Log, GivesWholeLinesToTheSink) {
  const CollectedLog log;
  log_info("one");
  log_warning("two");
  EXPECT_EQ(log.texts(), (std::vector<std::string>{"one\n", "warning: two\n"}));
}

TEST(Log, NamesAProcessInItsWarningsAndDropsItsInformation) {
  const CollectedLog log;
  set_log_origin("rank 1 of 2");
  log_info("one");
  log_warning("two");
  set_log_origin("");
  log_info("three");
  EXPECT_EQ(log.texts(), (std::vector<std::string>{"warning: rank 1 of 2: two\n", "three\n"}));
}

TEST(Log, IsSilentWithoutASink) {
  set_log_sink({});
  ::testing::internal::CaptureStderr();
  log_info("one");
  ProgressLine().show("two", true);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  log_to_stderr();
}

TEST(Log, CallsTheSinkFromOneThreadAtATime) {
  const CollectedLog log;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      for (int line = 0; line < 100; ++line) {
        log_info("line");
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(log.texts(), std::vector<std::string>(400, "line\n"));
}

TEST(ProgressLine, LogsOnlyLinesThatAreDue) {
  const CollectedLog log;
  {
    ProgressLine line;
    line.show("1", false);
    line.show("2", true);
    line.show("3", false);
  }
  EXPECT_EQ(log.texts(), std::vector<std::string>{"2\n"});
}

TEST(Progress, ShowsNothingInTheFirstSeconds) {
  const CollectedLog log;
  {
    Progress progress("counting", "items", 10);
    progress.update(5);
    progress.update(10);
  }
  EXPECT_TRUE(log.texts().empty());
}

TEST(Progress, FormatsDurationsAndBytes) {
  EXPECT_EQ(format_duration(4.25), "4.2 s");
  EXPECT_EQ(format_duration(123), "2:03");
  EXPECT_EQ(format_duration(3723), "1:02:03");
  EXPECT_EQ(format_bytes(980), "980 B");
  EXPECT_EQ(format_bytes(1234567), "1.2 MB");
}

}  // namespace
}  // namespace minimind
