#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "minimind/train/options.h"

namespace minimind {

/// One metric of a record. The list of a record serves `metrics.jsonl` both ways, TensorBoard and the page.
struct MetricField {
  using Matrix = std::vector<std::vector<double>>;

  const char* name;  ///< JSON key
  std::variant<std::string*, int64_t*, double*, std::optional<double>*, Matrix*> value;
  const char* tag = "";          ///< in TensorBoard; empty: not there
  const char* title = "";        ///< of the page's curve; empty: no curve
  const char* unit = "";         ///< of the page's curve
  const char* former_name = "";  ///< JSON key in files of earlier versions

  /// The value of a `double`, or of an optional if it has one.
  std::optional<double> number() const;
};
using MetricFields = std::vector<MetricField>;

/// One line of `metrics.jsonl`. Rates and shares are since the line before.
struct MetricsRecord {
  std::string stage;
  int64_t micro_step = 0;
  double epoch = 0;
  double loss = 0;  ///< mean cross-entropy of the supervised tokens of all ranks since the line before
  double learning_rate = 0;
  double grad_norm = 0;
  double samples_per_second = 0;
  double tokens_per_second = 0;            ///< without padding
  double data_wait_share = 0;              ///< share of the time waiting for the loader
  double reduce_wait_share = 0;            ///< share of the time in collectives
  double save_wait_share = 0;              ///< share of the time waiting for a save
  double mfu = 0;                          ///< model FLOPs utilisation: needed FLOPs over peak FLOPs
  double memory_mb = 0;                    ///< peak resident memory
  std::optional<double> device_memory_mb;  ///< peak memory of the tensors on the GPU
  double seconds = 0;                      ///< since the run began, earlier parts of a resumed run included
  std::optional<double> expert_loss;       ///< load-balancing loss, before --moe_aux_loss scales it
  MetricField::Matrix expert_load;         ///< share of the choices by layer and expert; empty without experts
  std::string model = {};                  ///< model_name(): a folder may hold the curves of several models

  MetricFields fields();
};

/// Losses over held-out samples with an image: also a line of `metrics.jsonl`.
struct ValidationRecord {
  std::string stage;
  int64_t micro_step = 0;
  double epoch = 0;
  double right = 0;     ///< loss with the sample's own images
  double swapped = 0;   ///< loss with different images, of another sample
  double none = 0;      ///< loss without images
  int64_t samples = 0;  ///< in these means
  std::string model = {};

  MetricFields fields();
};

/// The losses in words: whether the model uses the image, and by how much it helps.
std::string validation_summary(const ValidationRecord& record);
/// The part of a progress line about experts: loss, least and most used expert; empty without experts.
std::string experts_summary(const MetricsRecord& record);

/// A line of `metrics.jsonl`. Record: MetricsRecord or ValidationRecord.
template <class Record>
std::string metrics_to_json(Record record);
/// Nothing if the line is no record of this kind.
template <class Record>
std::optional<Record> metrics_from_json(const std::string& line);

/// `metrics.jsonl` in a folder, with the lines of all models and stages that were trained there.
class MetricsLog {
 public:
  /// Keeps the lines of other models and stages, and the lines of `model` and `stage` up to `first_micro_step`. Drops
  /// lines that a crash cut off.
  MetricsLog(std::filesystem::path folder, std::string model, std::string stage, int64_t first_micro_step);
  /// Appends a line; sets its model and stage. Throws Error.
  void add(MetricsRecord record);
  /// Likewise. False if the losses of that step are there already: a run resumed right before them measures them again.
  bool add(ValidationRecord record);
  const std::vector<MetricsRecord>& records() const { return records_; }
  const std::vector<ValidationRecord>& validations() const { return validations_; }

 private:
  template <class Record>
  void append(Record record, std::vector<Record>& records);
  std::filesystem::path path_;
  std::string model_;
  std::string stage_;
  std::vector<MetricsRecord> records_;
  std::vector<ValidationRecord> validations_;
};

/// The shell command that uploads the lines of a model (see model_name()) and stage in `metrics.jsonl` to Weights &
/// Biases. It needs Python with the package `wandb`, whose version 0.31 has removed the upload of TensorBoard files.
std::string wandb_command(const TrainOptions& options, const std::string& model, Stage stage);

}  // namespace minimind
