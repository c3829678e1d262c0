#include "web/server_metrics.h"

#include <unistd.h>

#include <fstream>

#include "minimind/base/error.h"

namespace minimind {

namespace {

std::string metric_head(const std::string& name, const std::string& help, const std::string& type) {
  return concat("# HELP ", name, " ", help, "\n# TYPE ", name, " ", type, "\n");
}

int64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  int64_t size = 0;
  int64_t resident = 0;
  file >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

}  // namespace

void SecondsHistogram::add(double seconds) {
  for (size_t i = 0; i < kBounds.size(); ++i) {
    counts_[i] += seconds <= kBounds[i] ? 1 : 0;
  }
  ++count_;
  sum_ += seconds;
}

std::string SecondsHistogram::text(const std::string& name, const std::string& help) const {
  std::string text = metric_head(name, help, "histogram");
  for (size_t i = 0; i < kBounds.size(); ++i) {
    text += concat(name, "_bucket{le=\"", kBounds[i], "\"} ", counts_[i], "\n");
  }
  return text +
         concat(name, "_bucket{le=\"+Inf\"} ", count_, "\n", name, "_sum ", sum_, "\n", name, "_count ", count_, "\n");
}

void ServerMetrics::count_response(const std::string& route, int status) {
  const std::lock_guard lock(mutex_);
  ++responses_[{route, status}];
}

void ServerMetrics::count_tokens(int64_t prompt, int64_t completion) {
  const std::lock_guard lock(mutex_);
  prompt_tokens_ += prompt;
  completion_tokens_ += completion;
}

void ServerMetrics::count_images(int64_t images) {
  const std::lock_guard lock(mutex_);
  images_ += images;
}

void ServerMetrics::count_vanished() {
  const std::lock_guard lock(mutex_);
  ++vanished_;
}

void ServerMetrics::add_first_token_seconds(double seconds) {
  const std::lock_guard lock(mutex_);
  first_token_.add(seconds);
}

void ServerMetrics::add_request_seconds(double seconds) {
  const std::lock_guard lock(mutex_);
  request_.add(seconds);
}

void ServerMetrics::add_gauge(const std::string& name, const std::string& help, std::function<double()> value) {
  asked_.push_back({name, help, "gauge", std::move(value)});
}

void ServerMetrics::add_counter(const std::string& name, const std::string& help, std::function<double()> value) {
  asked_.push_back({name, help, "counter", std::move(value)});
}

std::string ServerMetrics::text() const {
  const std::lock_guard lock(mutex_);
  std::string text = metric_head("minimind_http_responses_total", "Answers by route and status.", "counter");
  for (const auto& [key, count] : responses_) {
    text +=
        concat("minimind_http_responses_total{route=\"", key.first, "\",status=\"", key.second, "\"} ", count, "\n");
  }
  const auto counter = [&](const std::string& name, const std::string& help, int64_t value) {
    text += metric_head(name, help, "counter") + concat(name, " ", value, "\n");
  };
  counter("minimind_prompt_tokens_total", "Tokens of prompts read.", prompt_tokens_);
  counter("minimind_completion_tokens_total", "Tokens of answers written.", completion_tokens_);
  counter("minimind_pictures_total", "Images shown in requests.", images_);
  counter("minimind_vanished_clients_total", "Answers given up because their client went away.", vanished_);
  text += first_token_.text("minimind_first_token_seconds", "From a request's arrival to its first token.");
  text += request_.text("minimind_request_seconds", "From a request's arrival to the end of its answer.");
  for (const Asked& one : asked_) {
    text += metric_head(one.name, one.help, one.type) + concat(one.name, " ", one.value(), "\n");
  }
  text += metric_head("process_resident_memory_bytes", "Memory held.", "gauge") +
          concat("process_resident_memory_bytes ", resident_bytes(), "\n");
  return text;
}

}  // namespace minimind
