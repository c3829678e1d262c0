#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "minimind/base/fields.h"
#include "minimind/chat/eval_chat.h"
#include "minimind/eval/evaluate.h"

namespace minimind {

/// The settings of eval_chat for several checkpoints: a report of their answers and their scores.
struct CompareOptions {
  std::vector<std::string> checkpoints;
  std::string report;
  EvaluateOptions scoring;  ///< data_path, images_dir, attributes and kind alone

  Fields fields();
  /// Calls chat.resolve(), then sets what depends on other options, in `chat` too. Throws UsageError if options
  /// contradict each other.
  void resolve(EvalChatOptions& chat);
  /// Whether a report or scores are wanted.
  bool is_wanted() const { return !report.empty() || !scoring.data_path.empty(); }
};

/// Scores of eval_chat, one JSON line for each checkpoint on `out`, and its report. Opens all inputs and the report
/// file before the first question. Returns the exit code: 1 if an image or a question failed. Throws Error if a
/// checkpoint answers no question or no image can be read.
int run_comparison(const EvalChatOptions& chat, const CompareOptions& options, std::ostream& out);

}  // namespace minimind
