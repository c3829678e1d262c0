#pragma once

#include <string>
#include <vector>

#include "dist/process_group.h"
#include "minimind/data/dataset.h"
#include "minimind/train/options.h"
#include "train/setup.h"

namespace minimind {

/// Throws the same Error on all ranks if one of them has another stage or other options than rank 0. It names the rank
/// and the options. Settings of a host may differ (Field::host_specific), but not whether they are given. All ranks
/// call it together.
void require_equal_options(const TrainOptions& options, Stage stage, ProcessGroup& group);

/// A file that a rank has read and that must be the same on all ranks.
struct RankContent {
  std::string flag;     ///< that names the file, without `--`
  std::string summary;  ///< for the message
  std::string digest;
};

/// `flag`: names the data set.
RankContent content_of(const std::string& flag, const Dataset& dataset);
/// Device, data set, tokenizer, encoder and initial weights.
std::vector<RankContent> contents_of(TrainingSetup& setup);

/// Throws the same Error on all ranks if one of them has read other contents than rank 0. The lists have the same
/// flags. All ranks call it together.
void require_equal_contents(const std::vector<RankContent>& contents, ProcessGroup& group);

}  // namespace minimind
