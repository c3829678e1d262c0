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

/// How long things took, counted by upper bounds.
class SecondsHistogram {
 public:
  void add(double seconds);
  /// The lines of Prometheus' text format.
  std::string text(const std::string& name, const std::string& help) const;

 private:
  static constexpr std::array<double, 11> kBounds = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60};
  std::array<int64_t, kBounds.size()> counts_{};
  int64_t count_ = 0;
  double sum_ = 0;
};

/// What the server counts. Safe from several threads.
class ServerMetrics {
 public:
  void count_response(const std::string& route, int status);
  void count_tokens(int64_t prompt, int64_t completion);
  void count_images(int64_t images);
  /// An answer whose client went away.
  void count_vanished();
  void add_first_token_seconds(double seconds);
  void add_request_seconds(double seconds);

  /// A number that is asked for whenever the metrics are.
  void add_gauge(const std::string& name, const std::string& help, std::function<double()> value);
  void add_counter(const std::string& name, const std::string& help, std::function<double()> value);

  /// Everything, in Prometheus' text format.
  std::string text() const;

 private:
  struct Asked {
    std::string name;
    std::string help;
    std::string type;
    std::function<double()> value;
  };
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, int64_t> responses_;
  int64_t prompt_tokens_ = 0;
  int64_t completion_tokens_ = 0;
  int64_t images_ = 0;
  int64_t vanished_ = 0;
  SecondsHistogram first_token_;
  SecondsHistogram request_;
  std::vector<Asked> asked_;
};

}  // namespace minimind
