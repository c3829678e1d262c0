#pragma once

#include <string>
#include <vector>

#include "dist/process_group.h"
#include "minimind/data/dataset.h"
#include "minimind/train/options.h"
#include "train/setup.h"

namespace minimind {

/// Throws Error, the same on all ranks, where one was started for another stage or with other options than rank 0; it
/// names the rank and the options. What depends on the host may differ: paths (not whether there is one), the device's
/// number, threads, and memory for features. All ranks call it together.
void require_equal_options(const TrainOptions& options, Stage stage, ProcessGroup& group);

/// Something that a rank has read, which has to be the same on all of them.
struct RankContent {
  std::string flag;      ///< that names the file, without `--`
  std::string in_words;  ///< for the message
  std::string digest;
};

/// `flag`: where the data set comes from.
RankContent content_of(const std::string& flag, const Dataset& dataset);
/// Data set, tokenizer, encoder and the weights to start from.
std::vector<RankContent> contents_of(TrainingSetup& setup);

/// Throws Error, the same on all ranks, where one has read something else than rank 0. The lists are of the same flags.
/// All ranks call it together.
void require_equal_contents(const std::vector<RankContent>& contents, ProcessGroup& group);

}  // namespace minimind
