#include "train/report/metrics.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <type_traits>
#include <utility>

#include "base/json.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"

namespace minimind {
namespace {

using Matrix = MetricField::Matrix;

/// JSON has no NaN and no infinity: the library writes null.
void write_value(OrderedJson& json, const MetricField& field) {
  const auto write = [&](const auto& value) {
    using Value = std::remove_cvref_t<decltype(value)>;
    if constexpr (std::is_same_v<Value, std::optional<double>>) {
      if (value) {
        json[field.name] = *value;
      }
    } else if constexpr (std::is_same_v<Value, Matrix>) {
      for (const std::vector<double>& row : value) {
        OrderedJson& numbers = json[field.name].emplace_back(OrderedJson::array());
        std::ranges::transform(row, std::back_inserter(numbers),
                               [](double number) { return std::round(number * 1e4) / 1e4; });
      }
    } else {
      json[field.name] = value;
    }
  };
  std::visit([&](const auto* value) { write(*value); }, field.value);
}

double to_number(const OrderedJson& json) {
  return json.is_number() ? json.get<double>() : std::nan("");
}

void read_value(const OrderedJson& json, const MetricField& field) {
  const auto read = [&](auto& value) {
    using Value = std::remove_cvref_t<decltype(value)>;
    if constexpr (std::is_same_v<Value, std::string>) {
      value = json.is_string() ? json.get<std::string>() : "";
    } else if constexpr (std::is_same_v<Value, int64_t>) {
      value = json.is_number_integer() ? json.get<int64_t>() : 0;
    } else if constexpr (std::is_same_v<Value, Matrix>) {
      for (const OrderedJson& row : json) {
        std::transform(row.begin(), row.end(), std::back_inserter(value.emplace_back()), to_number);
      }
    } else {
      value = to_number(json);
    }
  };
  std::visit([&](auto* value) { read(*value); }, field.value);
}

/// Quotes the text as one word of a shell.
std::string shell_word(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  }
  return out + "'";
}

constexpr const char* kProgram =
    "import json,sys,wandb;"
    "path,model,stage,project,name=sys.argv[1:];"
    "run=wandb.init(project=project,name=name);"
    "[run.log({k:v for k,v in r.items() if k not in (\"model\",\"stage\",\"step\") and v is not None},step=r[\"step\"])"
    " for r in map(json.loads,open(path)) if (r.get(\"model\"),r[\"stage\"])==(model,stage)];"
    "run.finish()";

}  // namespace

std::optional<double> MetricField::number() const {
  if (const auto* optional = std::get_if<std::optional<double>*>(&value)) {
    return **optional;
  }
  const auto* plain = std::get_if<double*>(&value);
  return plain != nullptr ? std::optional(**plain) : std::nullopt;
}

MetricFields MetricsRecord::fields() {
  return {
      {"model", &model},
      {"stage", &stage},
      {"step", &micro_step},
      {"epoch", &epoch},
      {"loss", &loss, "loss", "Loss", "cross-entropy per token"},
      {"learning_rate", &learning_rate, "learning_rate", "Learning rate", "learning rate"},
      {"grad_norm", &grad_norm, "grad_norm", "Gradient norm, before clipping", "norm"},
      {"samples_per_second", &samples_per_second, "speed/samples_per_second", "Speed", "samples per second"},
      {"tokens_per_second", &tokens_per_second, "speed/tokens_per_second"},
      {"data_wait_share", &data_wait_share, "speed/data_wait", "", "", "data_wait"},
      {"reduce_wait_share", &reduce_wait_share, "speed/reduce_wait", "", "", "reduce_wait"},
      {"save_wait_share", &save_wait_share, "speed/save_wait"},
      {"mfu", &mfu, "speed/mfu"},
      {"memory_mb", &memory_mb, "memory_mb"},
      {"device_memory_mb", &device_memory_mb, "device_memory_mb"},
      {"seconds", &seconds},
      {"expert_loss", &expert_loss, "expert_loss"},
      {"expert_load", &expert_load},
  };
}

MetricFields ValidationRecord::fields() {
  return {
      {"model", &model},
      {"stage", &stage},
      {"step", &micro_step},
      {"epoch", &epoch},
      {"val_loss", &right, "val_loss/right", "right"},
      {"val_loss_swapped", &swapped, "val_loss/swapped", "swapped"},
      {"val_loss_none", &none, "val_loss/none", "none"},
      {"val_samples", &samples},
  };
}

template <class Record>
std::string metrics_to_json(Record record) {
  OrderedJson json;
  for (const MetricField& field : record.fields()) {
    write_value(json, field);
  }
  return json.dump();
}

template <class Record>
std::optional<Record> metrics_from_json(const std::string& line) {
  const OrderedJson json = OrderedJson::parse(line, nullptr, /*allow_exceptions=*/false);
  const bool is_record = json.is_object() && json.contains("stage") && json["stage"].is_string() &&
                         json.contains("step") && json["step"].is_number_integer();
  if (!is_record || json.contains("val_loss") != std::is_same_v<Record, ValidationRecord>) {
    return std::nullopt;
  }
  Record record;
  for (const MetricField& field : record.fields()) {
    const char* name = json.contains(field.name) ? field.name : field.former_name;
    if (json.contains(name)) {
      read_value(json[name], field);
    } else if (double* const* number = std::get_if<double*>(&field.value)) {
      **number = std::nan("");
    }
  }
  return record;
}

template std::string metrics_to_json(MetricsRecord);
template std::string metrics_to_json(ValidationRecord);
template std::optional<MetricsRecord> metrics_from_json(const std::string&);
template std::optional<ValidationRecord> metrics_from_json(const std::string&);

std::string validation_summary(const ValidationRecord& record) {
  constexpr double kNoise = 0.01;  // a smaller share of the loss may be chance
  const double gap = record.swapped - record.right;
  const double share = gap / std::max(1e-9, record.swapped);
  const char* verdict = share >= kNoise   ? "the model looks at the image: the right image saves"
                        : share > -kNoise ? "the model does not look at the image yet: the right image makes a "
                                            "difference of"
                                          : "the right image misleads the model: another image would save";
  char text[320];
  std::snprintf(text, sizeof(text),
                "held-out loss %.4f with the right image, %.4f with another image, %.4f without an image (%lld "
                "samples); %s %.4f (%.1f %%)",
                record.right, record.swapped, record.none, static_cast<long long>(record.samples), verdict,
                std::abs(gap), 100 * std::abs(share));
  return text;
}

std::string experts_summary(const MetricsRecord& record) {
  if (record.expert_load.empty()) {
    return "";
  }
  double least = 1, most = 0;
  for (const std::vector<double>& layer : record.expert_load) {
    least = std::min(least, std::ranges::min(layer));
    most = std::max(most, std::ranges::max(layer));
  }
  char text[96];
  std::snprintf(text, sizeof(text), "  balance loss %.4f  experts' load %.0f-%.0f%%", record.expert_loss.value_or(0),
                100 * least, 100 * most);
  return text;
}

MetricsLog::MetricsLog(std::filesystem::path folder, std::string model, std::string stage, int64_t first_micro_step)
    : path_(std::move(folder) / "metrics.jsonl"), model_(std::move(model)), stage_(std::move(stage)) {
  std::string kept;
  const auto keep = [&](const auto& record, auto& records, const std::string& line) {
    if (record && (record->model != model_ || record->stage != stage_ || record->micro_step <= first_micro_step)) {
      records.push_back(*record);
      kept += line + "\n";
    }
  };
  std::ifstream input;
  if (std::filesystem::is_regular_file(path_)) {  // not a pipe or a device, which the user may have put there
    input.open(path_);
  }
  for (std::string line; std::getline(input, line);) {
    keep(metrics_from_json<MetricsRecord>(line), records_, line);
    keep(metrics_from_json<ValidationRecord>(line), validations_, line);
  }
  write_file_atomically(path_, kept);
}

template <class Record>
void MetricsLog::append(Record record, std::vector<Record>& records) {
  record.model = model_;
  record.stage = stage_;
  records.push_back(record);
  try {
    append_to_file(path_, metrics_to_json(record) + "\n");
  } catch (const Error& error) {
    fail(error.what(), "; then continue with --resume");
  }
}

void MetricsLog::add(MetricsRecord record) {
  append(std::move(record), records_);
}

bool MetricsLog::add(ValidationRecord record) {
  const bool is_known = std::ranges::any_of(validations_, [&](const ValidationRecord& known) {
    return known.model == model_ && known.stage == stage_ && known.micro_step == record.micro_step;
  });
  if (!is_known) {
    append(std::move(record), validations_);
  }
  return !is_known;
}

std::string wandb_command(const TrainOptions& options, const std::string& model, Stage stage) {
  const std::string metrics = (std::filesystem::path(options.out_dir) / "metrics.jsonl").string();
  return concat("python3 -c ", shell_word(kProgram), " ", shell_word(metrics), " ", model, " ", stage_name(stage), " ",
                shell_word(options.wandb_project), " ", shell_word(options.wandb_run_name));
}

}  // namespace minimind
