#include "base/progress.h"
#include "minimind/base/error.h"
#include "minimind/train/trainer.h"

namespace minimind {

std::string ending_summary(const RunSummary& summary, const std::string& out_dir) {
  if (summary.signal == 0 && summary.samples == 0) {
    return concat("finished before: ", summary.micro_steps, " micro-steps; a larger --epochs or --max_steps continues ",
                  "the run; weights and curves in ", out_dir);
  }
  const bool has_weights = summary.signal == 0 || summary.is_saved;
  return concat(summary.signal == 0 ? "finished"
                : summary.is_saved  ? "stopped and saved"
                                    : "stopped, not saved",
                ": ", summary.micro_steps, " micro-steps, ", summary.samples, " samples in ",
                format_duration(summary.seconds), ", last loss ", summary.loss,
                summary.skipped_samples > 0 ? concat(", ", summary.skipped_samples, " samples skipped") : "",
                summary.skipped_steps > 0 ? concat(", ", summary.skipped_steps, " non-finite steps skipped") : "",
                has_weights ? "; weights and curves in " : "; curves in ", out_dir);
}

}  // namespace minimind
