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
#include "train/report/metrics.h"
#include "train/setup.h"
#include "train/train_step.h"

namespace minimind {

/// For each image of the batch the index of the image that replaces it. A sample gets the images of the next sample
/// with as many images that all differ in name and features. -1 for all images of a sample if there is no such sample.
/// `features`: [N, P, W].
std::vector<int64_t> swapped_images(const Batch& batch, const at::Tensor& features);

/// Losses over held-out data with the right, swapped and no images. All three losses are over the same samples: the
/// samples whose images can be swapped within their batch.
class Validation {
 public:
  /// The references outlive it. Throws Error if --val_data cannot be read or has no two samples with different images.
  Validation(const TrainOptions& options, Stage stage, const TrainingSetup& setup, FeatureProvider& features,
             ProcessGroup& group);
  /// All ranks call it together; each evaluates its part. The caller sets stage, step and epoch of the result. The
  /// model is in training mode before and after.
  ValidationRecord run();

 private:
  /// Sums of losses, and counts, over the samples of this rank.
  struct Sums {
    double right = 0;
    double swapped = 0;
    double none = 0;
    double tokens = 0;
    double samples = 0;

    std::vector<double*> numbers() { return {&right, &swapped, &none, &tokens, &samples}; }
  };
  void add(const Batch& batch, Sums& sums);
  at::Tensor loss_of(const VlmInput& input, const at::Tensor& rows, const at::Tensor& targets);

  Vlm model_;
  at::ScalarType dtype_;
  c10::Device device_;
  FeatureProvider& features_;
  ProcessGroup& group_;
  Dataset dataset_;
  std::unique_ptr<Loader> loader_;
};

}  // namespace minimind
