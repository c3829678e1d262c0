#include "train/metrics.h"

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

std::string text_or_none(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : "";
}

/// null where the line is not one of ours.
Json parse_line(const std::string& line) {
  Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  const bool is_ours = json.is_object() && json.contains("stage") && json["stage"].is_string() &&
                       json.contains("step") && json["step"].is_number_integer();
  return is_ours ? json : Json();
}

}  // namespace

std::string metrics_to_json(const MetricsRecord& record) {
  Json json;
  json["model"] = record.model;
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
  json["mfu"] = number(record.mfu);
  json["memory_mb"] = number(record.memory_mb);
  if (record.device_memory_mb) {
    json["device_memory_mb"] = number(*record.device_memory_mb);
  }
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

std::string metrics_to_json(const ValidationRecord& record) {
  Json json;
  json["model"] = record.model;
  json["stage"] = record.stage;
  json["step"] = record.step;
  json["epoch"] = number(record.epoch);
  json["val_loss"] = number(record.right);
  json["val_loss_swapped"] = number(record.swapped);
  json["val_loss_none"] = number(record.none);
  json["val_samples"] = record.samples;
  return json.dump();
}

std::optional<ValidationRecord> validation_from_json(const std::string& line) {
  const Json json = parse_line(line);
  if (json.is_null() || !json.contains("val_loss")) {
    return std::nullopt;
  }
  ValidationRecord record;
  record.model = text_or_none(json, "model");
  record.stage = json["stage"];
  record.step = json["step"];
  record.epoch = number_or_nan(json, "epoch");
  record.right = number_or_nan(json, "val_loss");
  record.swapped = number_or_nan(json, "val_loss_swapped");
  record.none = number_or_nan(json, "val_loss_none");
  const auto samples = json.find("val_samples");
  record.samples = samples != json.end() && samples->is_number_integer() ? samples->get<int64_t>() : 0;
  return record;
}

std::optional<MetricsRecord> metrics_from_json(const std::string& line) {
  const Json json = parse_line(line);
  if (json.is_null() || json.contains("val_loss")) {
    return std::nullopt;
  }
  MetricsRecord record;
  record.model = text_or_none(json, "model");
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
  record.mfu = number_or_nan(json, "mfu");
  record.memory_mb = number_or_nan(json, "memory_mb");
  if (json.contains("device_memory_mb")) {
    record.device_memory_mb = number_or_nan(json, "device_memory_mb");
  }
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

std::string validation_in_words(const ValidationRecord& record) {
  // Below a hundredth of the loss the difference is as likely noise.
  constexpr double kNothing = 0.01;
  const double gap = record.swapped - record.right;
  const double share = gap / std::max(1e-9, record.swapped);
  char numbers[160];
  std::snprintf(numbers, sizeof(numbers),
                "held-out loss %.4f with the right image, %.4f with another one, %.4f with none", record.right,
                record.swapped, record.none);
  char verdict[160];
  if (share >= kNothing) {
    std::snprintf(verdict, sizeof(verdict), "the model looks at the image: the right one saves %.4f (%.1f %%)", gap,
                  100 * share);
  } else if (share > -kNothing) {
    std::snprintf(verdict, sizeof(verdict),
                  "the model does not look at the image yet: the right one makes a difference of %.1f %%",
                  100 * std::abs(share));
  } else {
    std::snprintf(verdict, sizeof(verdict), "the right image misleads the model: another one would save %.4f (%.1f %%)",
                  -gap, -100 * share);
  }
  return concat(numbers, " (", record.samples, " samples); ", verdict);
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

MetricsLog::MetricsLog(std::filesystem::path folder, std::string model, std::string stage, int64_t first_step)
    : folder_(std::move(folder)), model_(std::move(model)), stage_(std::move(stage)) {
  const std::filesystem::path path = folder_ / "metrics.jsonl";
  const auto stays = [&](const auto& record) {
    return record && (record->model != model_ || record->stage != stage_ || record->step <= first_step);
  };
  std::string kept;
  std::ifstream input(path);
  for (std::string line; std::getline(input, line);) {
    const std::optional<MetricsRecord> record = metrics_from_json(line);
    const std::optional<ValidationRecord> validation = validation_from_json(line);
    if (stays(record)) {
      records_.push_back(*record);
    } else if (stays(validation)) {
      validations_.push_back(*validation);
    } else {
      continue;
    }
    kept += line + "\n";
  }
  write_file_atomically(path, kept);
}

void MetricsLog::append(const std::string& line) const {
  const std::filesystem::path path = folder_ / "metrics.jsonl";
  std::ofstream output(path, std::ios::app);
  output << line << '\n';
  output.flush();
  require(output.good(), path.string(),
          ": expected to append a line, found that it cannot be written (full disk?); free some space, then go on with "
          "--resume");
}

void MetricsLog::add(MetricsRecord record) {
  record.model = model_;
  record.stage = stage_;
  records_.push_back(record);
  append(metrics_to_json(record));
}

bool MetricsLog::add(ValidationRecord record) {
  record.model = model_;
  record.stage = stage_;
  const bool is_known = std::ranges::any_of(validations_, [&](const ValidationRecord& known) {
    return known.model == model_ && known.stage == stage_ && known.step == record.step;
  });
  if (!is_known) {
    validations_.push_back(record);
    append(metrics_to_json(record));
  }
  return !is_known;
}

void MetricsLog::write_page(const std::string& title, bool live) const {
  write_file_atomically(page_path(), metrics_page({title, records_, validations_, live}));
}

}  // namespace minimind
