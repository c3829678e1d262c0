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
  double tokens_per_second = 0;                  ///< real tokens, padding left out
  double data_wait = 0;                          ///< share of the time waiting for the loader
  double reduce_wait = 0;                        ///< share of the time in collectives
  double memory_mb = 0;                          ///< peak resident memory
  double seconds = 0;                            ///< since the run began, earlier parts of a resumed run included
  std::optional<double> expert_loss;             ///< the experts' balance loss, which --moe_aux_loss scales
  std::vector<std::vector<double>> expert_load;  ///< share of the choices by layer and expert; empty without experts
};

/// `metrics.jsonl` in a folder, with the lines of all stages trained there.
class MetricsLog {
 public:
  /// Keeps the lines of other stages, and those of `stage` up to `first_step` (0: a fresh run). Lines cut off by a
  /// crash are dropped.
  MetricsLog(std::filesystem::path folder, const std::string& stage, int64_t first_step);
  void add(const MetricsRecord& record);
  /// The records of all stages.
  const std::vector<MetricsRecord>& records() const { return records_; }
  /// Rewrites `index.html`.
  void write_page(const std::string& title) const;
  std::filesystem::path page_path() const { return folder_ / "index.html"; }

 private:
  std::filesystem::path folder_;
  std::vector<MetricsRecord> records_;
};

/// Counts of `layers` times `experts` numbers, layer by layer, as shares of each layer's sum.
std::vector<std::vector<double>> expert_shares(std::span<const double> counts, int64_t experts);
/// For the progress line: the balance loss and the least and the most used expert; "" without experts.
std::string experts_text(const MetricsRecord& record);

std::string metrics_to_json(const MetricsRecord& record);
/// Nothing if the line is not one of ours.
std::optional<MetricsRecord> metrics_from_json(const std::string& line);

/// A self-contained page with the curves of each stage: loss, learning rate, gradient norm and speed, raw and smoothed.
std::string metrics_page(const std::string& title, const std::vector<MetricsRecord>& records);

}  // namespace minimind
