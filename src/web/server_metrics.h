#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace minimind {

/// The numbers of /metrics, in Prometheus' text format. Safe to use from several threads, except for add_gauge().
class ServerMetrics {
 public:
  enum class Counter { kPromptTokens, kCompletionTokens, kImages, kGoneClients };
  enum class Timer { kFirstToken, kRequest };

  void count_response(const std::string& route, int status);
  void count(Counter counter, int64_t amount = 1);
  void add_seconds(Timer timer, double seconds);
  /// Adds a number that `value` returns whenever the text is made.
  void add_gauge(const std::string& name, const std::string& help, std::function<int64_t()> value);

  std::string text() const;

 private:
  static constexpr std::array<double, 11> kBounds = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60};
  struct Count {
    const char* name;
    const char* help;
    int64_t value = 0;
  };
  /// Durations counted by upper bounds.
  struct Histogram {
    const char* name;
    const char* help;
    std::array<int64_t, kBounds.size()> counts{};
    int64_t count = 0;
    double sum = 0;
  };
  struct Gauge {
    std::string name;
    std::string help;
    std::function<int64_t()> value;
  };

  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, int64_t> responses_;
  std::array<Count, 4> counters_ = {{{"minimind_prompt_tokens_total", "Tokens of prompts."},
                                     {"minimind_completion_tokens_total", "Tokens of answers."},
                                     {"minimind_pictures_total", "Images in requests."},
                                     {"minimind_vanished_clients_total", "Answers given up because the client left."}}};
  std::array<Histogram, 2> timers_ = {
      {{"minimind_first_token_seconds", "From the arrival of a request to its first token."},
       {"minimind_request_seconds", "From the arrival of a request to the end of its answer."}}};
  std::vector<Gauge> gauges_;
};

}  // namespace minimind
