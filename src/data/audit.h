#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "minimind/data/encode_sample.h"
#include "minimind/data/loader.h"

namespace minimind {

/// One problem of one sample.
struct AuditFinding {
  SampleProblem problem = SampleProblem::kNone;
  int64_t position = 0;  ///< in the data set, counted from 0
  std::string id;
  std::string detail;
};

struct HistogramBin {
  int64_t from = 0;   ///< tokens, included
  int64_t to = 0;     ///< tokens, included
  int64_t count = 0;  ///< samples
};

/// The result of one pass over a data set. Lengths are those of the usable samples, in tokens before truncation.
struct AuditReport {
  int64_t samples = 0;
  int64_t usable = 0;  ///< samples that a training run does not skip
  int64_t images = 0;  ///< distinct names of images
  int64_t max_seq_len = 0;
  int64_t truncated = 0;  ///< usable samples that are longer than max_seq_len
  int64_t longest = 0;
  double mean_length = 0;
  int64_t median_length = 0;
  int64_t tokens = 0;                 ///< real tokens of an epoch, without padding
  int64_t supervised_tokens = 0;      ///< tokens of an epoch that count in the loss
  double padding_share = 0;           ///< share of padding in the positions of an epoch, in the loader's batches
  double padding_share_unsorted = 0;  ///< the same in batches of random lengths
  double padding_share_full = 0;      ///< the same if padded to max_seq_len - 1, as the original does
  double seconds = 0;                 ///< duration of the pass
  std::string data;                   ///< file of the samples, for the head of the report
  std::string image_source;           ///< source of the images, for the head of the report
  std::array<int64_t, kSampleProblems> counts{};  ///< findings of each problem
  std::vector<AuditFinding> findings;             ///< sorted by problem and position
  std::vector<HistogramBin> histogram;

  int64_t count(SampleProblem problem) const { return counts[static_cast<size_t>(problem)]; }
  /// For the terminal: counts, the first findings of each problem, histogram, padding.
  std::string summary() const;
  /// All of the report as a JSON object.
  std::string json() const;
};

/// `missing_picture` and so on: the key in the JSON report.
const char* problem_name(SampleProblem problem);

/// Checks a data set without training: encodes every sample and decodes every image once, in `options.num_workers`
/// threads (at least one). `data` names the samples' file in the report. Throws Error if an option is out of range.
AuditReport audit_data(const LoaderInput& input, const LoaderOptions& options, const std::string& data);

}  // namespace minimind
