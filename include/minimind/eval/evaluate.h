#pragma once

#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "minimind/base/fields.h"
#include "minimind/chat/chat_model.h"

namespace minimind {

/// The settings of evaluate.
struct EvaluateOptions {
  ChatModelFiles files;
  std::string data_path;
  std::string images_dir;
  std::string image_prefix = "COCO_train2014_";
  std::string kind = "sft";
  std::string attributes;
  bool swap_images = false;
  int64_t max_samples = 0;
  int64_t show = 0;
  int64_t max_new_tokens = 128;
  int64_t max_seq_len = 1024;
  int64_t batch_size = 64;
  int64_t seed = 1337;

  Fields file_fields();
  Fields evaluation_fields();
  /// Sets what depends on other options. Throws UsageError if a value is out of range.
  void resolve();
};

struct EvaluationResult {
  int64_t samples = 0;          ///< answered and scored
  int64_t skipped = 0;          ///< samples that cannot be asked; all but failed swaps have a warning
  int64_t with_attributes = 0;  ///< samples with a rule in the attributes
  int64_t right = 0;            ///< right by attributes, of with_attributes
  int64_t exact = 0;            ///< equal to the true answer
  double f1_sum = 0;            ///< sum of token F1 over samples
  double seconds = 0;

  /// One JSON object without a line break: settings, samples, skipped, accuracy, accuracy_by (attributes, else exact
  /// match), exact_match, token_f1, seconds, samples_per_second.
  std::string json(const EvaluateOptions& options) const;
};

/// The program evaluate after its flags are read: reads the data, answers the first question of every sample greedily
/// in batches, and scores the answers. Prints the first `options.show` answers to `out`. Throws Error if no sample can
/// be asked.
EvaluationResult evaluate(const EvaluateOptions& options, std::ostream& out);

}  // namespace minimind
