#pragma once

#include <c10/core/Device.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dist/process_group.h"
#include "minimind/base/image_span.h"
#include "minimind/data/dataset.h"
#include "minimind/data/feature_cache.h"
#include "minimind/data/image_source.h"
#include "minimind/data/loader.h"
#include "minimind/model/clip_vision.h"
#include "minimind/model/vlm.h"
#include "minimind/text/tokenizer.h"
#include "minimind/train/options.h"
#include "train/checkpoint.h"

namespace minimind {

/// Everything that a run loads: device, tokenizer, encoder, data set and model, which fit together.
struct TrainingSetup {
  c10::Device device = c10::kCPU;
  at::ScalarType dtype = at::kFloat;
  std::unique_ptr<Tokenizer> tokenizer;
  ClipVision encoder = nullptr;
  ImagePattern pattern;
  Vlm model = nullptr;
  std::optional<Dataset> dataset;
  std::unique_ptr<ImageSource> images;
  std::unique_ptr<FeatureCache> cache;  ///< null without --feature_cache
  std::string data_digest;              ///< of CheckpointInfo
  std::string tokenizer_digest;         ///< of CheckpointInfo
  int64_t order_block = 0;              ///< LoaderOptions::block_size

  const LmConfig& config() const { return model->config(); }
  /// The description of a checkpoint.
  CheckpointInfo describe(TrainOptions options, Stage stage, const ProcessGroup& group,
                          const TrainingPosition& position) const;
  /// Device, data set, tokenizer, encoder and initial weights, for require_equal_contents().
  std::string contents() const;
};

/// Loads what the options name; logs what was loaded. The shape of the model comes from `checkpoint`, which may be
/// null; TrainState::load() reads its weights. Throws Error.
TrainingSetup make_setup(const TrainOptions& options, Stage stage, const c10::Device& device,
                         const Checkpoint* checkpoint);

/// The setup of a run that may continue from a checkpoint. All ranks call it together. Throws Error also if the ranks
/// have read different files, or if the run cannot continue from the checkpoint: other stage, data, tokenizer, or order
/// of the data.
TrainingSetup make_equal_setup(const TrainOptions& options, Stage stage, ProcessGroup& group,
                               const Checkpoint* checkpoint);

LoaderOptions loader_options(const TrainOptions& options, int64_t image_size, int64_t rank, int64_t world_size);

/// For a GPU: batches that the host does not wait to copy, and few different lengths, so that memory and kernels of one
/// batch serve the next.
void suit_device(LoaderOptions& loader, const c10::Device& device);

/// The loader of one rank. The setup outlives it.
std::unique_ptr<Loader> make_loader(const TrainingSetup& setup, const TrainOptions& options, Stage stage, int64_t rank,
                                    int64_t world_size);

/// `--check_data`: one pass over the data without training. Prints a summary to stdout and writes
/// `OUT_DIR/check_data_{stage}.json`. Needs data, tokenizer and the encoder's configuration, but no weights. Returns
/// the exit code: 1 if no sample is usable.
int check_data(const TrainOptions& options, Stage stage);

}  // namespace minimind
