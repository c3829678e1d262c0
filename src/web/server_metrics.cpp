#include "web/server_metrics.h"

#include <unistd.h>

#include <charconv>
#include <fstream>

#include "minimind/base/error.h"

namespace minimind {

namespace {

struct Description {
  const char* name;
  const char* help;
};

constexpr std::array<Description, 4> kCounters = {{
    {"minimind_prompt_tokens_total", "Tokens of prompts."},
    {"minimind_completion_tokens_total", "Tokens of answers."},
    {"minimind_pictures_total", "Images in requests."},
    {"minimind_vanished_clients_total", "Answers given up because the client left."},
}};
constexpr std::array<Description, 2> kTimers = {{
    {"minimind_first_token_seconds", "From the arrival of a request to its first token."},
    {"minimind_request_seconds", "From the arrival of a request to the end of its answer."},
}};

std::string head(const std::string& name, const std::string& help, const std::string& type) {
  return concat("# HELP ", name, ' ', help, "\n# TYPE ", name, ' ', type, '\n');
}

/// The shortest text that reads back as the same number.
std::string number(double value) {
  std::array<char, 32> text{};
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr};
}

int64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  int64_t size = 0;
  int64_t resident = 0;
  file >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

}  // namespace

void ServerMetrics::count_response(const std::string& route, int status) {
  const std::lock_guard lock(mutex_);
  ++responses_[{route, status}];
}

void ServerMetrics::count(Counter counter, int64_t amount) {
  const std::lock_guard lock(mutex_);
  counters_.at(static_cast<size_t>(counter)) += amount;
}

void ServerMetrics::add_seconds(Timer timer, double seconds) {
  const std::lock_guard lock(mutex_);
  Histogram& histogram = timers_.at(static_cast<size_t>(timer));
  for (size_t i = 0; i < kBounds.size(); ++i) {
    histogram.counts[i] += seconds <= kBounds[i] ? 1 : 0;
  }
  ++histogram.count;
  histogram.sum += seconds;
}

void ServerMetrics::add_gauge(const std::string& name, const std::string& help, std::function<int64_t()> value) {
  gauges_.push_back({name, help, std::move(value)});
}

std::string ServerMetrics::text() const {
  const std::lock_guard lock(mutex_);
  std::string text = head("minimind_http_responses_total", "Answers by route and status.", "counter");
  for (const auto& [key, count] : responses_) {
    text +=
        concat("minimind_http_responses_total{route=\"", key.first, "\",status=\"", key.second, "\"} ", count, '\n');
  }
  for (size_t i = 0; i < kCounters.size(); ++i) {
    text += head(kCounters[i].name, kCounters[i].help, "counter") + concat(kCounters[i].name, ' ', counters_[i], '\n');
  }
  for (size_t i = 0; i < kTimers.size(); ++i) {
    const auto& [name, help] = kTimers[i];
    text += head(name, help, "histogram");
    for (size_t bound = 0; bound < kBounds.size(); ++bound) {
      text += concat(name, "_bucket{le=\"", number(kBounds[bound]), "\"} ", timers_[i].counts[bound], '\n');
    }
    text += concat(name, "_bucket{le=\"+Inf\"} ", timers_[i].count, '\n', name, "_sum ", number(timers_[i].sum), '\n',
                   name, "_count ", timers_[i].count, '\n');
  }
  for (const Gauge& gauge : gauges_) {
    text += head(gauge.name, gauge.help, "gauge") + concat(gauge.name, ' ', gauge.value(), '\n');
  }
  return text + head("process_resident_memory_bytes", "Resident memory.", "gauge") +
         concat("process_resident_memory_bytes ", resident_bytes(), '\n');
}

}  // namespace minimind
