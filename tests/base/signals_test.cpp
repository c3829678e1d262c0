#include "base/signals.h"

#include <gtest/gtest.h>

namespace minimind {
namespace {

TEST(SignalCatcher, CountsSignalsAndForgetsThem) {
  int calls = 0;
  {
    const SignalCatcher catcher({SIGINT, SIGTERM}, SignalCatcher::SecondSignal::kIsCounted, [&] { ++calls; });
    EXPECT_EQ(SignalCatcher::last(), 0);
    std::raise(SIGTERM);
    std::raise(SIGINT);
    EXPECT_EQ(SignalCatcher::last(), SIGINT);
    EXPECT_EQ(SignalCatcher::count(), 2);
    SignalCatcher::clear();
    EXPECT_EQ(SignalCatcher::count(), 0);
    EXPECT_EQ(SignalCatcher::last(), 0);
  }
  EXPECT_EQ(calls, 2);
}

TEST(SignalCatcher, GivesTheFormerActionBack) {
  static volatile std::sig_atomic_t former_calls = 0;
  std::signal(SIGINT, [](int) { former_calls = former_calls + 1; });
  {
    const SignalCatcher catcher({SIGINT}, SignalCatcher::SecondSignal::kIsCounted);
    std::raise(SIGINT);
  }
  EXPECT_EQ(former_calls, 0);
  std::raise(SIGINT);
  EXPECT_EQ(former_calls, 1);
  std::signal(SIGINT, SIG_DFL);
}

TEST(SignalCatcherDeathTest, LetsASecondSignalEndTheProgram) {
  EXPECT_EXIT(
      {
        const SignalCatcher catcher({SIGINT, SIGTERM}, SignalCatcher::SecondSignal::kEndsProgram);
        std::raise(SIGINT);
        std::raise(SIGTERM);  // another kind: marked too
        std::raise(SIGINT);
      },
      ::testing::KilledBySignal(SIGINT), "");
}

}  // namespace
}  // namespace minimind
