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
  /// Durations counted by upper bounds.
  struct Histogram {
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
  std::array<int64_t, 4> counters_{};
  std::array<Histogram, 2> timers_;
  std::vector<Gauge> gauges_;
};

}  // namespace minimind
