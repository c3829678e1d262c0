#pragma once

#include <string>
#include <vector>

#include "minimind/base/file.h"

namespace minimind {

/// Throws Error if `folder` is a file, or if it holds weights that an export would leave beside its own or replace by
/// mistake: weights of another format or in parts, another kind of model.
void require_room_in_folder(const fs::path& folder, const std::string& weights_name);

/// Throws Error if a file at `path` is not the configuration of a MiniMind model.
void require_replaceable_config(const fs::path& path);

/// The tokenizer files of a folder, or the one file. Throws Error if there is no tokenizer file.
std::vector<fs::path> tokenizer_files(const fs::path& tokenizer);

}  // namespace minimind
