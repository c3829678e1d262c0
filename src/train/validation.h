#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "dist/process_group.h"
#include "minimind/data/batch.h"
#include "minimind/data/dataset.h"
#include "minimind/data/loader.h"
#include "minimind/model/vlm.h"
#include "minimind/train/options.h"
#include "train/features.h"
#include "train/metrics.h"
#include "train/setup.h"

namespace minimind {

/// For each image of the batch the one to show in its place: each sample gets the images of the next one in the
/// batch that has as many and of which every one differs (in name and in features). -1 where there is none, and then
/// for all images of the sample. `features`: [N, P, W].
std::vector<int64_t> swapped_images(const Batch& batch, const at::Tensor& features);

/// Losses over held-out data: with the right images, another sample's, and none. All three are over the same samples,
/// those with an image that can be swapped within their batch.
class Validation {
 public:
  /// The references outlive it. Throws Error where --val_data cannot be read or has no two samples with different
  /// images.
  Validation(const TrainOptions& options, Stage stage, const TrainingSetup& setup, FeatureProvider& features,
             ProcessGroup& group);
  /// All ranks call it together; each looks at its part. Stage, step and epoch of the result are left to the caller.
  /// The model is in training mode before and after.
  ValidationRecord run();

 private:
  struct Sums {
    double right = 0;
    double swapped = 0;
    double none = 0;
    int64_t tokens = 0;
    int64_t samples = 0;
  };
  void add(const Batch& batch, Sums& sums);
  double loss_of(const VlmInput& input, const at::Tensor& rows, const at::Tensor& targets);

  Vlm model_;
  at::ScalarType dtype_;
  c10::Device device_;
  FeatureProvider& features_;
  ProcessGroup& group_;
  Dataset dataset_;
  std::unique_ptr<Loader> loader_;
};

}  // namespace minimind
