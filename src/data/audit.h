#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "minimind/data/loader_options.h"

namespace minimind {

enum class AuditKind {
  kWrongShape,
  kMissingImage,
  kCorruptImage,
  kPlaceholdersAgainstImages,
  kSpanCut,
  kNoTurn,
  kNoMarker,
  kNothingSupervised,
  kBadSample,    ///< cannot be encoded for a reason that is not listed here
  kDuplicateId,  ///< is reported; such a sample is not skipped
};
constexpr int kAuditKinds = 10;

/// One problem of one sample.
struct AuditFinding {
  AuditKind kind;
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
  std::array<int64_t, kAuditKinds> counts{};
  std::vector<AuditFinding> findings;  ///< sorted by kind and position
  std::vector<HistogramBin> histogram;

  int64_t count(AuditKind kind) const { return counts[static_cast<size_t>(kind)]; }
  /// For the terminal: counts, the first findings of each kind, histogram, padding.
  std::string summary() const;
  /// All of the report as a JSON object.
  std::string json() const;
};

/// `missing_picture` and so on: the key in the JSON report.
const char* audit_kind_name(AuditKind kind);

/// Checks a data set without training: encodes every sample and decodes every image once, in `options.num_workers`
/// threads (at least one). `data` names the samples' file in the report. Throws Error if an option is out of range.
AuditReport audit_data(const LoaderInput& input, const LoaderOptions& options, const std::string& data);

}  // namespace minimind
