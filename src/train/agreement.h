#pragma once

#include <string>

#include "dist/process_group.h"
#include "minimind/data/dataset.h"
#include "minimind/train/options.h"

namespace minimind {

/// Throws the same Error on all ranks if one of them has another stage or other options than rank 0. It names the rank
/// and the options. Settings of a host may differ (Field::host_specific), but not whether they are given. All ranks
/// call it together.
void require_equal_options(const TrainOptions& options, Stage stage, ProcessGroup& group);

/// One line about a file that a rank has read: the flag that names it (without `--`), a summary and a digest.
std::string content_line(const std::string& flag, const std::string& summary, const std::string& digest);
std::string content_line(const std::string& flag, const Dataset& dataset);

/// Throws the same Error on all ranks if one of them has read other contents than rank 0. `contents`: content lines of
/// the same flags on all ranks. All ranks call it together.
void require_equal_contents(const std::string& contents, ProcessGroup& group);

}  // namespace minimind
