#pragma once

#include <filesystem>

namespace minimind {

/// The folder of a model's files. Hugging Face's cache keeps them in `models--ORG--NAME/snapshots/REVISION`: for such a
/// folder that of the revision `main` or the only one; every other path as it is. Throws Error if the cache holds
/// several revisions and no `main`, or none.
std::filesystem::path hub_snapshot(const std::filesystem::path& folder);

}  // namespace minimind
