#pragma once

#include <filesystem>

#include "minimind/model/clip_vision.h"
#include "minimind/model/load_report.h"

namespace minimind {

/// Loads the vision encoder of a Hugging Face CLIP folder, vision-only or full: config.json, mean, standard deviation
/// and size of preprocessor_config.json (CLIP's own if the file is missing), and the weights. Skips the text tower and
/// other known leftovers. map_weights: as in LoadOptions. The folder's mean and standard deviation replace those of
/// `options`. Throws Error if a file is missing or does not fit.
ClipVision load_clip_vision(const std::filesystem::path& clip_dir, LoadReport* report = nullptr,
                            bool map_weights = false, ClipVisionOptions options = {});

}  // namespace minimind
