#include "train/cpu_dtype.h"

#include "minimind/base/error.h"
#include "minimind/base/log.h"
#include "model/bfloat16_products.h"

namespace minimind {

std::string kept_dtype(const std::string& kept, const std::string& own) {
  if (kept != own) {
    log_info(concat("resuming with ", kept, " products as the run began; a new run on this machine would use ", own));
  }
  return kept;
}

std::string dtype_on_this_cpu(const TrainOptions& options, ProcessGroup& group, const Checkpoint* checkpoint) {
  if (options.dtype != "bfloat16" || !group.device().is_cpu()) {
    return options.dtype;
  }
  const std::string choice = bfloat16_products().in_large_gemms ? "bfloat16" : "float32";
  const std::string first = group.gather(choice)[0];
  log_info(concat("--dtype bfloat16: ", bfloat16_products().text(/*large=*/true),
                  first != choice ? concat("; rank 0 has chosen ", first) : ""));
  if (checkpoint == nullptr) {
    return first;
  }
  TrainOptions before;
  fields_from_json(before.fields(), checkpoint->info.options, checkpoint->path.string());
  const std::string& kept = checkpoint->info.matmul_dtype;
  return before.dtype == options.dtype ? kept_dtype(kept.empty() ? options.dtype : kept, first) : first;
}

}  // namespace minimind
