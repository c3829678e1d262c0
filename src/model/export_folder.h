#pragma once

#include <string>
#include <vector>

#include "minimind/base/file.h"

namespace minimind::detail {

/// Throws Error where `folder` is no folder, or holds what would stay beside the export or be lost by it: weights of
/// another form or in parts, another kind of model.
void require_room_in_folder(const fs::path& folder, const std::string& weights_name);

/// Throws Error where `path` holds something that is no configuration of this program's.
void require_replaceable_config(const fs::path& path);

/// The tokenizer's files of a folder, or the one file. Throws Error where there are none.
std::vector<fs::path> tokenizer_files(const fs::path& tokenizer);

}  // namespace minimind::detail
