#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "minimind/base/image_span.h"
#include "minimind/data/batch.h"
#include "minimind/data/dataset.h"
#include "minimind/data/image_source.h"
#include "minimind/text/chat_prompt.h"
#include "minimind/text/tokenizer.h"

namespace minimind {

class FeatureCache;

struct LoaderOptions {
  int64_t batch_size = 32;    ///< samples per micro-batch and rank
  int64_t num_workers = 8;    ///< loader threads, at most most_threads(); 0: load in the caller's thread
  int64_t max_seq_len = 512;  ///< maximum tokens per sample; longer samples are truncated
  int64_t image_size = 224;   ///< side of the resized images in pixels
  int64_t prefetch = 4;       ///< finished batches that may wait
  uint64_t seed = 1337;
  bool original_order = false;   ///< keep the file order in every epoch
  bool bucket_by_length = true;  ///< batch samples of similar length; every epoch still has each sample once
  bool pinned = false;           ///< batches in page-locked memory, whose copies to a GPU run beside the host
  int64_t length_multiple = 1;   ///< pad the samples of a batch to a multiple of this length
  int64_t block_size = 0;        ///< samples per order block (epoch_order()); 0: batch_size * world_size
  Supervision supervision = Supervision::kLastAnswer;
  int64_t rank = 0;
  int64_t world_size = 1;
  std::string instruction_prefix = "COCO_train2014_";  ///< file-name prefix of the images of DataKind::kInstruction

  std::string image_prefix(DataKind kind) const { return kind == DataKind::kInstruction ? instruction_prefix : ""; }
};

/// What a loader reads from. The referenced objects must outlive the loader.
struct LoaderInput {
  const Dataset& dataset;
  DataKind kind = DataKind::kPretrain;
  const Tokenizer& tokenizer;
  const ImagePattern& pattern;
  const ImageSource& images;
  const FeatureCache* cache = nullptr;  ///< null: decode every image
};

/// Estimates the tokens of each sample without tokenizing it; at most max_seq_len.
std::vector<uint32_t> estimate_lengths(const LoaderInput& input, int64_t max_seq_len);

/// The order of the samples in an epoch. It depends on their lengths, on the options' seed, block_size, original_order
/// and bucket_by_length, and on the epoch alone. Bucketing shuffles the samples, sorts windows of many order blocks by
/// length, and shuffles the blocks: samples of similar length that stay together. Every sample still comes once, at a
/// random time.
std::vector<uint32_t> epoch_order(const std::vector<uint32_t>& lengths, const LoaderOptions& options, int64_t epoch);

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
