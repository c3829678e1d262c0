#include "web/server_metrics.h"

#include <unistd.h>

#include <charconv>
#include <fstream>

#include "minimind/base/error.h"

namespace minimind {

namespace {

std::string head(const std::string& name, const std::string& help, const std::string& type) {
  return concat("# HELP ", name, ' ', help, "\n# TYPE ", name, ' ', type, '\n');
}

std::string metric(const std::string& name, const std::string& help, const std::string& type, int64_t value) {
  return head(name, help, type) + concat(name, ' ', value, '\n');
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
  counters_.at(static_cast<size_t>(counter)).value += amount;
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
  for (const Count& counter : counters_) {
    text += metric(counter.name, counter.help, "counter", counter.value);
  }
  for (const auto& [name, help, counts, count, sum] : timers_) {
    text += head(name, help, "histogram");
    for (size_t i = 0; i < kBounds.size(); ++i) {
      text += concat(name, "_bucket{le=\"", number(kBounds[i]), "\"} ", counts[i], '\n');
    }
    text += concat(name, "_bucket{le=\"+Inf\"} ", count, '\n', name, "_sum ", number(sum), '\n', name, "_count ", count,
                   '\n');
  }
  for (const Gauge& gauge : gauges_) {
    text += metric(gauge.name, gauge.help, "gauge", gauge.value());
  }
  return text + metric("process_resident_memory_bytes", "Resident memory.", "gauge", resident_bytes());
}

}  // namespace minimind
