#pragma once

#include <c10/core/Device.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "minimind/base/image_span.h"
#include "minimind/data/dataset.h"
#include "minimind/data/feature_cache.h"
#include "minimind/data/image_source.h"
#include "minimind/data/loader.h"
#include "minimind/model/clip_vision.h"
#include "minimind/model/vlm.h"
#include "minimind/text/tokenizer.h"
#include "minimind/train/options.h"
#include "train/adam.h"
#include "train/checkpoint.h"

namespace minimind {

/// `auto`: the GPU of this process if there is one. Throws Error where CUDA is asked for and absent.
c10::Device training_device(const std::string& device, int64_t local_rank);

/// What a run works on, loaded and checked against one another.
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
  std::string data_digest;              ///< as in CheckpointInfo
  std::string tokenizer_digest;         ///< likewise
  int64_t order_block = 0;              ///< LoaderOptions::block_size

  const LmConfig& config() const { return model->config(); }
};

/// Loads everything that the options name; the weights and the shape come from `checkpoint` where there is one. Logs
/// what it found. Throws Error.
TrainingSetup make_setup(const TrainOptions& options, Stage stage, const c10::Device& device,
                         const Checkpoint* checkpoint);

/// The pattern's text for an encoder with another number of tokens than the released one, as long as nothing else was
/// configured.
std::string image_pattern_text(const std::string& configured, int64_t vision_tokens);

LoaderOptions loader_options(const TrainOptions& options, int64_t image_size, int64_t rank, int64_t world_size);

/// The loader of one rank over the setup's data. The setup outlives it.
std::unique_ptr<Loader> make_loader(const TrainingSetup& setup, const TrainOptions& options, Stage stage, int64_t rank,
                                    int64_t world_size);

/// Marks what --freeze names as not trained, and returns the others by learning rate: group 0 the language model, group
/// 1 the projection.
std::vector<ParameterGroup> trained_parameters(VlmImpl& model, const std::string& freeze);

}  // namespace minimind
