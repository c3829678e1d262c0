#pragma once

#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "minimind/base/fields.h"
#include "minimind/chat/chat_model.h"

namespace minimind {

/// Everything that evaluate is told.
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
  std::string weights = "float32";

  Fields file_fields();
  Fields evaluation_fields();
  /// Throws UsageError on what cannot be.
  void resolve();
};

struct EvaluationResult {
  int64_t samples = 0;
  int64_t skipped = 0;     ///< bad samples, each told in a warning, and with swapped images those without another
  int64_t unreadable = 0;  ///< of them, those with an image that cannot be read
  int64_t right = 0;       ///< by attributes, of `with_attributes`
  int64_t with_attributes = 0;
  int64_t exact = 0;
  double f1_sum = 0;
  double seconds = 0;

  /// One JSON object without a line break: what was evaluated, samples, skipped, accuracy (by attributes, else exact
  /// matches; accuracy_by tells which), exact_match, token_f1, seconds, samples_per_second.
  std::string json(const EvaluateOptions& options) const;
};

/// Reads the data, answers every sample's first question greedily, in batches, and scores the answers. Prints the first
/// `options.show` answers to `out`. Throws Error where nothing can be evaluated.
EvaluationResult evaluate(const EvaluateOptions& options, std::ostream& out);

/// The whole of the program evaluate: the last line on standard output is the JSON object. Returns the exit code.
int run_evaluate(const EvaluateOptions& options);

}  // namespace minimind
