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
  kBadSample,    ///< cannot be encoded for another reason
  kDuplicateId,  ///< told, but no reason to skip
};
constexpr int kAuditKinds = 10;

/// One finding about one sample.
struct AuditFinding {
  AuditKind kind;
  int64_t position = 0;  ///< in the data set, from 0
  std::string id;
  std::string detail;
};

struct HistogramBin {
  int64_t from = 0;  ///< tokens
  int64_t to = 0;    ///< included
  int64_t count = 0;
};

/// What one pass over a data set finds. Lengths are of the usable samples, in tokens before truncation.
struct AuditReport {
  int64_t samples = 0;
  int64_t usable = 0;  ///< what a training run would not skip
  int64_t images = 0;  ///< distinct names
  int64_t max_seq_len = 0;
  int64_t truncated = 0;  ///< usable ones that are longer than max_seq_len
  int64_t longest = 0;
  double mean_length = 0;
  int64_t median_length = 0;
  int64_t tokens = 0;                 ///< real positions of an epoch
  int64_t supervised_tokens = 0;      ///< of them, targets that count in the loss
  double padding_share = 0;           ///< of an epoch's positions, in the loader's own batches
  double padding_share_unsorted = 0;  ///< the same without batches of like length
  double padding_share_full = 0;      ///< padded to max_seq_len - 1, as the original does
  double seconds = 0;
  std::string data;          ///< for the report's head: where the samples are from
  std::string image_source;  ///< and the images
  std::array<int64_t, kAuditKinds> counts{};
  std::vector<AuditFinding> findings;  ///< all, by kind and position
  std::vector<HistogramBin> histogram;

  int64_t count(AuditKind kind) const { return counts[static_cast<size_t>(kind)]; }
  /// For the terminal: counts, the first findings of each kind, histogram, padding.
  std::string summary() const;
  /// Everything, as a JSON object.
  std::string json() const;
};

/// `missing_picture` and so on: the key in the JSON report.
const char* audit_kind_name(AuditKind kind);

/// Encodes every sample and decodes every image once, in `options.num_workers` threads (at least one); no training.
/// `data` names the samples' file in the report.
AuditReport audit_data(const LoaderInput& input, const LoaderOptions& options, const std::string& data);

}  // namespace minimind
