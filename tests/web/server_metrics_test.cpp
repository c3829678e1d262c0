#include "web/server_metrics.h"

#include <gtest/gtest.h>

namespace minimind {
namespace {

TEST(Metrics, SumsHaveAllTheirDigits) {
  ServerMetrics metrics;
  for (int i = 0; i < 3; ++i) {
    metrics.add_seconds(ServerMetrics::Timer::kRequest, 1234567.0625);
  }
  metrics.count(ServerMetrics::Counter::kPromptTokens, 12'345'678'901);
  const std::string text = metrics.text();
  EXPECT_NE(text.find("minimind_request_seconds_sum 3703701.1875\n"), std::string::npos) << text;
  EXPECT_NE(text.find("minimind_prompt_tokens_total 12345678901\n"), std::string::npos) << text;
}

}  // namespace
}  // namespace minimind
