#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "minimind/data/batch.h"
#include "minimind/data/dataset.h"
#include "minimind/data/feature_cache.h"
#include "minimind/data/image_source.h"
#include "minimind/text/chat_prompt.h"
#include "minimind/text/tokenizer.h"

namespace minimind {

struct LoaderOptions {
  int64_t batch_size = 32;
  int64_t num_workers = 8;    ///< decoding threads, at most most_threads(); 0: in the caller's thread
  int64_t max_seq_len = 512;  ///< samples are truncated to this many tokens
  int64_t image_size = 224;
  int64_t prefetch = 4;  ///< finished batches that may wait
  uint64_t seed = 1337;
  bool original_order = false;   ///< file order in every epoch
  bool bucket_by_length = true;  ///< samples of like length share a batch; seeded, same expectation
  int64_t block_size = 0;        ///< samples of like length that stay together; 0: batch_size * world_size
  Supervision supervision = Supervision::kLastAnswer;
  int64_t rank = 0;
  int64_t world_size = 1;
  std::string instruction_prefix = "COCO_train2014_";  ///< prefix of image files in DataKind::kInstruction
};

/// What a loader reads from. The references outlive it.
struct LoaderInput {
  const Dataset& dataset;
  DataKind kind;
  const Tokenizer& tokenizer;
  const ImagePattern& pattern;
  const ImageSource& images;
  const FeatureCache* cache = nullptr;  ///< null: images are always decoded
};

/// A sample that was left out, and why.
struct SkippedSample {
  std::string id;
  std::string reason;
};

/// Batches of one epoch after the other, prepared by threads ahead of the consumer and handed out in an order that
/// depends only on (seed, epoch, block_size), not on the number of threads. Group g of an epoch's order (its samples
/// from g * batch_size on) goes to rank g % world_size: with the same block_size any number of ranks sees the same
/// order, and n ranks see together what one with n times the batch_size sees. Bad samples are skipped, reported once
/// (log_warning) and counted; a batch without supervised tokens is skipped.
class Loader {
 public:
  Loader(const LoaderInput& input, const LoaderOptions& options);
  ~Loader();

  /// Micro-batches (groups) of an epoch over all ranks: ceil(size / batch_size).
  int64_t groups_per_epoch() const;
  /// Micro-steps of this rank in an epoch: ceil(groups_per_epoch / world_size). On the last one, ranks beyond the last
  /// group get an empty batch.
  int64_t steps_per_epoch() const;

  /// Starts (or restarts) at group `first_group` of an epoch's order, from which the groups are dealt to the ranks:
  /// after a restart with another number of ranks it is the number of groups that all ranks have trained on.
  void start_epoch(int64_t epoch, int64_t first_group = 0);
  /// This rank's next batch; a batch without rows (ids undefined) where every sample of the group was skipped or the
  /// group does not exist, so that all ranks make the same number of steps; nullopt at the end of the epoch. Throws
  /// what a worker threw, and Error where nothing but skipped samples comes (a wrong folder, most likely).
  std::optional<Batch> next();

  /// The `count` longest samples by estimate as one batch, out of turn: what a step needs at most. Not while an epoch
  /// is under way.
  Batch longest(int64_t count);

  /// Skipped so far, over all epochs, each sample once.
  std::vector<SkippedSample> skipped() const;
  /// Seconds that next() has waited for the workers.
  double waited_seconds() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace minimind
