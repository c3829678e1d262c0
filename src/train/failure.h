#pragma once

#include <exception>
#include <functional>
#include <string>

#include "dist/process_group.h"

namespace minimind {

/// `rank R of N`.
std::string rank_text(const RankInfo& info);

/// The message for exhausted memory: where (`rank R of N: ` if there are several ranks), what was found, the cure.
/// Empty if `error` has another cause.
std::string out_of_memory_text(const std::exception& error, const RankInfo& info);

/// Runs `work` of this rank. Tells the other ranks of every exception that leaves it. Exhausted memory becomes an Error
/// with the cure. The
/// Error of a rank other than 0 begins with its name.
void run_and_report_failure(ProcessGroup& group, const std::function<void()>& work);

}  // namespace minimind
