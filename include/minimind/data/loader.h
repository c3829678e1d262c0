#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "minimind/data/batch.h"
#include "minimind/data/loader_options.h"

namespace minimind {

/// A sample that no batch contains, and the reason.
struct SkippedSample {
  std::string id;
  std::string reason;
};

/// Loads the micro-batches of one epoch after the other in worker threads, ahead of the consumer. The order of the
/// samples depends on (seed, epoch, block_size) alone, not on the number of threads.
///
/// Micro-batch m of an epoch holds the samples [m * batch_size, (m + 1) * batch_size) of the epoch's order and goes to
/// rank m % world_size. With equal block_size any number of ranks sees the same order, and n ranks together see the
/// samples that one rank sees with n times the batch_size. Bad samples are skipped; each is counted and logged once.
class Loader {
 public:
  /// Throws Error if an option is out of range.
  Loader(const LoaderInput& input, const LoaderOptions& options);
  ~Loader();

  /// Micro-batches of an epoch over all ranks: ceil(size / batch_size).
  int64_t micro_batches_per_epoch() const;
  /// Micro-steps of one rank in an epoch: ceil(micro_batches_per_epoch / world_size). In the last one, ranks beyond the
  /// last micro-batch get an empty batch.
  int64_t micro_steps_per_epoch() const;

  /// Starts an epoch at its micro-batch `first_micro_batch`, and deals the micro-batches from there to the ranks. A
  /// resumed run passes the number of micro-batches that all ranks together have trained on.
  void start_epoch(int64_t epoch, int64_t first_micro_batch = 0);
  /// This rank's next batch; nullopt at the end of the epoch. The batch is empty (ids undefined) if all its samples
  /// were skipped or the micro-batch does not exist, so that all ranks make the same number of steps. Rethrows what a
  /// worker threw. Throws Error if all samples so far were skipped (most likely a wrong folder).
  std::optional<Batch> next();

  /// The `count` longest samples by estimated length as one batch, to find the largest memory need of a step. Only
  /// while no epoch is under way.
  Batch longest(int64_t count);

  /// Samples skipped so far, over all epochs, each once.
  std::vector<SkippedSample> skipped() const;
  /// Seconds that next() has waited for the workers.
  double waited_seconds() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace minimind
