#include "train/failure.h"

#include <c10/util/Exception.h>

#include <new>
#include <string_view>
#include <typeinfo>

#include "minimind/base/error.h"

namespace minimind {
namespace {

/// LibTorch appends a backtrace to its messages.
std::string first_line(const std::exception& error) {
  const std::string text = error.what();
  return text.substr(0, text.find('\n'));
}

bool is_out_of_memory(const std::exception& error) {
  constexpr std::string_view kCpuAllocator = "DefaultCPUAllocator: ";  // LibTorch has no type for it
  return dynamic_cast<const std::bad_alloc*>(&error) != nullptr ||
         dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr ||
         (dynamic_cast<const c10::Error*>(&error) != nullptr &&
          first_line(error).find(kCpuAllocator) != std::string::npos);
}

}  // namespace

std::string rank_text(const RankInfo& info) {
  return concat("rank ", info.rank, " of ", info.world_size);
}

std::string out_of_memory_text(const std::exception& error, const RankInfo& info) {
  if (!is_out_of_memory(error)) {
    return {};
  }
  const std::string place = info.world_size > 1 ? rank_text(info) + ": " : "";
  return concat(place, "out of memory (", first_line(error),
                "); a smaller --batch_size or --max_seq_len needs less, --plan shows how much");
}

void run_and_report_failure(ProcessGroup& group, const std::function<void()>& work) {
  try {
    work();
  } catch (const std::exception& error) {
    const std::string out_of_memory = out_of_memory_text(error, group.info());
    if (!out_of_memory.empty()) {
      group.report_failure(out_of_memory);
      throw Error(out_of_memory);
    }
    if (dynamic_cast<const Error*>(&error) == nullptr) {
      group.report_failure(first_line(error));
      throw;
    }
    group.report_failure(error.what());
    if (group.is_main() || typeid(error) != typeid(Error) || std::string_view(error.what()).starts_with("rank ")) {
      throw;
    }
    throw Error(concat(rank_text(group.info()), ": ", error.what()));
  }
}

}  // namespace minimind
