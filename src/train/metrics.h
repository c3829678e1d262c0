#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace minimind {

/// One line of `metrics.jsonl`. Rates are since the line before.
struct MetricsRecord {
  std::string stage;
  int64_t step = 0;  ///< micro-batches done
  double epoch = 0;
  double loss = 0;  ///< mean cross-entropy of the supervised tokens since the line before, all ranks
  double learning_rate = 0;
  double grad_norm = 0;
  double samples_per_second = 0;
  double tokens_per_second = 0;            ///< real tokens, padding left out
  double data_wait = 0;                    ///< share of the time waiting for the loader
  double reduce_wait = 0;                  ///< share of the time in collectives
  double mfu = 0;                          ///< needed operations, as a share of what large matrix products reach here
  double memory_mb = 0;                    ///< peak resident memory
  std::optional<double> device_memory_mb;  ///< peak of tensors on the GPU
  double seconds = 0;                      ///< since the run began, earlier parts of a resumed run included
  std::optional<double> expert_loss;       ///< the experts' balance loss, which --moe_aux_loss scales
  std::vector<std::vector<double>> expert_load;  ///< share of the choices by layer and expert; empty without experts
  std::string model = {};  ///< `{dim}[_moe]`, see model_name(): a folder may hold the curves of several
};

/// Loss over held-out samples with an image: the line of `metrics.jsonl` has `val_loss`, `val_loss_swapped` and
/// `val_loss_none`.
struct ValidationRecord {
  std::string stage;
  int64_t step = 0;
  double epoch = 0;
  double right = 0;     ///< with the sample's own images
  double swapped = 0;   ///< with those of another sample, which differ
  double none = 0;      ///< without any
  int64_t samples = 0;  ///< that these are the means of
  std::string model = {};
};

/// What the three losses say: whether the model looks at the image, and by how much it helps.
std::string validation_in_words(const ValidationRecord& record);

/// `metrics.jsonl` in a folder, with the lines of all models and stages trained there.
class MetricsLog {
 public:
  /// Keeps the lines of other models and stages, and those of `model` and `stage` up to `first_step` (0: a fresh run).
  /// Lines cut off by a crash are dropped.
  MetricsLog(std::filesystem::path folder, std::string model, std::string stage, int64_t first_step);
  /// Adds a line; the model and the stage are the log's own.
  void add(MetricsRecord record);
  /// Likewise. False where the held-out losses at that step are there already: a run that was resumed right before
  /// them measures them again.
  bool add(ValidationRecord record);
  /// The records of all models and stages.
  const std::vector<MetricsRecord>& records() const { return records_; }
  /// Rewrites `index.html`; while the run goes on (`live`) the page loads itself anew now and then.
  void write_page(const std::string& title, bool live = false) const;
  std::filesystem::path page_path() const { return folder_ / "index.html"; }

 private:
  void append(const std::string& line) const;
  std::filesystem::path folder_;
  std::string model_;
  std::string stage_;
  std::vector<MetricsRecord> records_;
  std::vector<ValidationRecord> validations_;
};

/// Counts of `layers` times `experts` numbers, layer by layer, as shares of each layer's sum.
std::vector<std::vector<double>> expert_shares(std::span<const double> counts, int64_t experts);
/// For the progress line: the balance loss and the least and the most used expert; "" without experts.
std::string experts_text(const MetricsRecord& record);

std::string metrics_to_json(const MetricsRecord& record);
std::string metrics_to_json(const ValidationRecord& record);
/// Nothing if the line is not one of ours.
std::optional<MetricsRecord> metrics_from_json(const std::string& line);
std::optional<ValidationRecord> validation_from_json(const std::string& line);

/// What a page shows.
struct MetricsPage {
  std::string title;
  const std::vector<MetricsRecord>& records;
  const std::vector<ValidationRecord>& validations;
  bool live = false;  ///< the run goes on
};

/// A self-contained page with the curves of each model and stage: loss, learning rate, gradient norm and speed, raw and
/// smoothed, and the held-out losses.
std::string metrics_page(const MetricsPage& page);

}  // namespace minimind
