#include "dist/collective.h"

#include <c10/util/Exception.h>
#include <stdlib.h>

#include <new>
#include <stdexcept>
#include <string_view>

namespace minimind::detail {

void switch_nccl_recorder_off() {
  ::setenv("TORCH_NCCL_DUMP_ON_TIMEOUT", "0", /*overwrite=*/0);
  if (::getenv("TORCH_NCCL_TRACE_BUFFER_SIZE") == nullptr) {  // the earlier name
    ::setenv("TORCH_FR_BUFFER_SIZE", "0", /*overwrite=*/0);
  }
}

bool is_own_failure(const std::exception& error) {
  if (dynamic_cast<const c10::Error*>(&error) != nullptr) {
    return dynamic_cast<const c10::DistError*>(&error) == nullptr;
  }
  return dynamic_cast<const std::bad_alloc*>(&error) != nullptr ||
         dynamic_cast<const std::logic_error*>(&error) != nullptr;
}

std::string connection_failure_text(const std::exception& error) {
  const std::string text = error.what();
  std::string shown = text.substr(0, text.find('\n'));
  constexpr std::string_view kNcclCause = "\nLast error:\n";
  const size_t cause = text.find(kNcclCause);
  if (cause != std::string::npos) {
    const size_t start = cause + kNcclCause.size();
    const std::string line = text.substr(start, text.find('\n', start) - start);
    shown += line.empty() ? "" : "; " + line;
  }
  return shown;
}

}  // namespace minimind::detail
