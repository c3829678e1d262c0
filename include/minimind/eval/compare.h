#pragma once

#include <string>
#include <vector>

#include "minimind/base/fields.h"
#include "minimind/chat/eval_chat.h"
#include "minimind/eval/evaluate.h"

namespace minimind {

struct Report;

/// What eval_chat is told about several checkpoints: a report of their answers, their scores.
struct CompareOptions {
  std::vector<std::string> checkpoints;
  std::string report;
  std::string data;
  std::string images_dir;
  std::string attributes;
  std::string kind = "sft";

  Fields fields();
  /// Fills in what depends on other options, also in `chat`, whose own resolve() it calls. Throws UsageError on what
  /// does not go together.
  void resolve(EvalChatOptions& chat);
  /// Whether there is a report to write or a score to tell.
  bool is_wanted() const { return !report.empty() || !data.empty(); }
};

/// Asks every checkpoint about the images of `chat.image_dir`, each in a conversation of its own, and gives the
/// report. Images that cannot be read are told in their rows, questions that cannot be asked in their cells. Throws
/// Error where a checkpoint answers nothing, or all images fail.
Report make_report(const EvalChatOptions& chat, const CompareOptions& options);

/// Scores (a JSON line a checkpoint on standard output) and report of eval_chat. All inputs and the report's place are
/// looked at before the first question. Returns the exit code: 1 if an image or a question failed.
int run_comparison(const EvalChatOptions& chat, const CompareOptions& options);

}  // namespace minimind
