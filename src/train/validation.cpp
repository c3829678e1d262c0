#include "train/validation.h"

#include <ATen/ops/index_select.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <string>

#include "minimind/base/error.h"
#include "minimind/model/language_model.h"
#include "model/device_copy.h"
#include "train/agreement.h"
#include "train/autocast.h"
#include "train/train_step.h"

namespace minimind {
namespace {

using ImagesOfRows = std::map<int64_t, std::vector<int64_t>>;

ImagesOfRows images_by_row(const Batch& batch) {
  ImagesOfRows images;
  for (size_t k = 0; k < batch.spans.size(); ++k) {
    images[batch.spans[k].row].push_back(static_cast<int64_t>(k));
  }
  return images;
}

void require_different_images(const Dataset& dataset, const std::string& path) {
  std::string first;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    if (dataset.sample_size(i).images == 0) {
      continue;
    }
    const std::string image = dataset.sample(i).images.front();
    if (!first.empty() && image != first) {
      return;
    }
    first = image;
  }
  fail(path, ": expected at least two samples with different images (--val_data), found ",
       first.empty() ? "no image" : "one image");
}

/// A batch size that leaves no sample alone: a single sample cannot swap its images.
int64_t batch_size_for_swaps(int64_t samples, int64_t wanted) {
  int64_t size = std::max<int64_t>(2, wanted);
  while (size > 2 && samples % size == 1) {
    --size;
  }
  return samples % size == 1 ? 3 : size;
}

}  // namespace

std::vector<int64_t> swapped_images(const Batch& batch, const at::Tensor& features) {
  const ImagesOfRows images = images_by_row(batch);
  std::vector<int64_t> others(batch.spans.size(), -1);
  // Copied once: on a GPU each comparison would wait for the device.
  const at::Tensor compared = features.cpu();
  const auto differ = [&](int64_t a, int64_t b) {
    return batch.image_names[static_cast<size_t>(a)] != batch.image_names[static_cast<size_t>(b)] &&
           !compared[a].equal(compared[b]);
  };
  for (auto own = images.begin(); own != images.end(); ++own) {
    for (auto other = std::next(own);; ++other) {
      if (other == images.end()) {
        other = images.begin();
      }
      if (other == own) {
        break;
      }
      if (other->second.size() == own->second.size() &&
          std::equal(own->second.begin(), own->second.end(), other->second.begin(), differ)) {
        for (size_t i = 0; i < own->second.size(); ++i) {
          others[static_cast<size_t>(own->second[i])] = other->second[i];
        }
        break;
      }
    }
  }
  return others;
}

Validation::Validation(const TrainOptions& options, Stage stage, const TrainingSetup& setup, FeatureProvider& features,
                       ProcessGroup& group)
    : model_(setup.model),
      dtype_(setup.dtype),
      device_(setup.device),
      features_(features),
      group_(group),
      dataset_(Dataset::load(options.val_data, data_kind(stage))) {
  require_different_images(dataset_, options.val_data);
  require_equal_contents(content_line("val_data", dataset_), group);
  LoaderOptions loader = loader_options(options, setup.encoder->config().image_size, group.rank(), group.world_size());
  loader.original_order = true;
  loader.bucket_by_length = false;
  suit_device(loader, setup.device);
  loader.batch_size = batch_size_for_swaps(dataset_.size(), options.batch_size);
  const LoaderInput input{dataset_,      data_kind(stage), *setup.tokenizer,
                          setup.pattern, *setup.images,    setup.cache.get()};
  loader_ = std::make_unique<Loader>(input, loader);
}

at::Tensor Validation::loss_of(const VlmInput& input, const at::Tensor& rows, const at::Tensor& targets) {
  const AutocastScope autocast(device_.type(), dtype_);
  const at::Tensor hidden = model_->hidden_rows(input, rows);
  return cross_entropy_of_rows(hidden, model_->head_weight(), targets).sum;
}

void Validation::add(const Batch& batch, Sums& sums) {
  if (!batch.ids.defined() || batch.spans.empty()) {
    return;
  }
  VlmInput input;
  input.ids = copy_to_device(batch.ids, device_);
  input.features = features_.features(batch);
  input.spans = batch.spans;
  std::vector<int64_t> others = swapped_images(batch, input.features);
  at::Tensor compared = at::zeros({batch.ids.size(0), 1}, at::kBool);
  for (size_t k = 0; k < others.size(); ++k) {
    if (others[k] >= 0) {
      compared[batch.spans[k].row].fill_(true);
    } else {
      others[k] = static_cast<int64_t>(k);
    }
  }
  const at::Tensor mask = batch.mask.logical_and(compared);
  const at::Tensor cpu_rows = supervised_rows(mask);
  if (cpu_rows.numel() == 0) {
    return;
  }
  const at::Tensor rows = copy_to_device(cpu_rows, device_);
  const at::Tensor targets = copy_to_device(batch.targets.reshape({-1}).index_select(0, cpu_rows), device_);
  sums.tokens += static_cast<double>(cpu_rows.numel());
  sums.samples += compared.sum().item<double>();
  const at::Tensor right = loss_of(input, rows, targets);
  input.features = input.features.index_select(0, copy_to_device(index_tensor(others, device_), device_));
  const at::Tensor swapped = loss_of(input, rows, targets);
  input.features = at::Tensor();
  input.spans.clear();
  // Read together, so that a GPU is waited for once.
  const at::Tensor losses = at::stack({right, swapped, loss_of(input, rows, targets)}).cpu();
  sums.right += double{losses.const_data_ptr<float>()[0]};
  sums.swapped += double{losses.const_data_ptr<float>()[1]};
  sums.none += double{losses.const_data_ptr<float>()[2]};
}

ValidationRecord Validation::run() {
  const c10::NoGradGuard no_grad;
  model_->eval();
  loader_->start_epoch(0);
  Sums sums;
  while (const std::optional<Batch> batch = loader_->next()) {
    add(*batch, sums);
  }
  model_->train();
  group_.sum(sums.numbers());
  ValidationRecord record;
  record.right = sums.right / sums.tokens;
  record.swapped = sums.swapped / sums.tokens;
  record.none = sums.none / sums.tokens;
  record.samples = static_cast<int64_t>(sums.samples);
  return record;
}

}  // namespace minimind
