#include "minimind/train/metrics.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

#include "minimind/base/error.h"
#include "minimind/base/file.h"

namespace minimind {
namespace {

using Json = nlohmann::ordered_json;

/// JSON has no NaN: such a value is null.
Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

double number_or_nan(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_number() ? found->get<double>() : std::nan("");
}

}  // namespace

std::string metrics_to_json(const MetricsRecord& record) {
  Json json;
  json["stage"] = record.stage;
  json["step"] = record.step;
  json["epoch"] = number(record.epoch);
  json["loss"] = number(record.loss);
  json["learning_rate"] = number(record.learning_rate);
  json["grad_norm"] = number(record.grad_norm);
  json["samples_per_second"] = number(record.samples_per_second);
  json["tokens_per_second"] = number(record.tokens_per_second);
  json["data_wait"] = number(record.data_wait);
  json["reduce_wait"] = number(record.reduce_wait);
  json["memory_mb"] = number(record.memory_mb);
  json["seconds"] = number(record.seconds);
  if (record.expert_loss) {
    json["expert_loss"] = number(*record.expert_loss);
  }
  for (const std::vector<double>& layer : record.expert_load) {
    Json shares = Json::array();
    for (const double share : layer) {
      shares.push_back(number(std::round(share * 1e4) / 1e4));
    }
    json["expert_load"].push_back(shares);
  }
  return json.dump();
}

std::optional<MetricsRecord> metrics_from_json(const std::string& line) {
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("stage") || !json["stage"].is_string() || !json.contains("step") ||
      !json["step"].is_number_integer()) {
    return std::nullopt;
  }
  MetricsRecord record;
  record.stage = json["stage"];
  record.step = json["step"];
  record.epoch = number_or_nan(json, "epoch");
  record.loss = number_or_nan(json, "loss");
  record.learning_rate = number_or_nan(json, "learning_rate");
  record.grad_norm = number_or_nan(json, "grad_norm");
  record.samples_per_second = number_or_nan(json, "samples_per_second");
  record.tokens_per_second = number_or_nan(json, "tokens_per_second");
  record.data_wait = number_or_nan(json, "data_wait");
  record.reduce_wait = number_or_nan(json, "reduce_wait");
  record.memory_mb = number_or_nan(json, "memory_mb");
  record.seconds = number_or_nan(json, "seconds");
  if (json.contains("expert_loss")) {
    record.expert_loss = number_or_nan(json, "expert_loss");
  }
  if (json.contains("expert_load") && json["expert_load"].is_array()) {
    for (const Json& layer : json["expert_load"]) {
      std::vector<double>& shares = record.expert_load.emplace_back();
      for (const Json& share : layer) {
        shares.push_back(share.is_number() ? share.get<double>() : std::nan(""));
      }
    }
  }
  return record;
}

std::vector<std::vector<double>> expert_shares(std::span<const double> counts, int64_t experts) {
  std::vector<std::vector<double>> layers;
  for (; std::ssize(counts) >= experts && experts > 0; counts = counts.subspan(static_cast<size_t>(experts))) {
    const std::span<const double> layer = counts.first(static_cast<size_t>(experts));
    const double total = std::max(1.0, std::accumulate(layer.begin(), layer.end(), 0.0));
    for (double& share : layers.emplace_back(layer.begin(), layer.end())) {
      share /= total;
    }
  }
  return layers;
}

std::string experts_text(const MetricsRecord& record) {
  double least = 1;
  double most = 0;
  for (const std::vector<double>& layer : record.expert_load) {
    least = std::min(least, *std::min_element(layer.begin(), layer.end()));
    most = std::max(most, *std::max_element(layer.begin(), layer.end()));
  }
  char text[96];
  std::snprintf(text, sizeof(text), "  balance loss %.4f  experts' load %.0f-%.0f%%", record.expert_loss.value_or(0),
                100 * least, 100 * most);
  return record.expert_load.empty() ? "" : text;
}

MetricsLog::MetricsLog(std::filesystem::path folder, const std::string& stage, int64_t first_step)
    : folder_(std::move(folder)) {
  const std::filesystem::path path = folder_ / "metrics.jsonl";
  std::string kept;
  std::ifstream input(path);
  for (std::string line; std::getline(input, line);) {
    const std::optional<MetricsRecord> record = metrics_from_json(line);
    if (record && (record->stage != stage || record->step <= first_step)) {
      records_.push_back(*record);
      kept += line + "\n";
    }
  }
  write_file_atomically(path, kept);
}

void MetricsLog::add(const MetricsRecord& record) {
  records_.push_back(record);
  const std::filesystem::path path = folder_ / "metrics.jsonl";
  std::ofstream output(path, std::ios::app);
  output << metrics_to_json(record) << '\n';
  output.flush();
  require(output.good(), path.string(), ": expected to append a line, found that it cannot be written (full disk?)");
}

void MetricsLog::write_page(const std::string& title) const {
  write_file_atomically(page_path(), metrics_page(title, records_));
}

}  // namespace minimind
