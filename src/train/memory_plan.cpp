#include "train/memory_plan.h"

#include <c10/core/Allocator.h>
#include <malloc.h>
#include <torch/nn/module.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <functional>
#include <mutex>
#include <numeric>
#include <set>
#include <utility>

#include "base/progress.h"
#include "io/mapped_pages.h"
#include "minimind/base/error.h"
#include "train/train_state.h"
#include "train/train_step.h"

namespace minimind {

class AllocationTrace::Listener : public c10::MemoryReportingInfoBase {
 public:
  explicit Listener(const c10::Device& device) : type_(device.type()) {}

  void reportMemoryUsage(void* /*pointer*/, int64_t size, size_t /*total_allocated*/, size_t /*total_reserved*/,
                         c10::Device device) override {
    if (device.type() == type_) {
      const std::lock_guard guard(mutex_);
      live_ += size;
      values_.push_back(live_);
    }
  }
  bool memoryProfilingEnabled() const override { return true; }

  std::vector<int64_t> take() {
    const std::lock_guard guard(mutex_);
    live_ = 0;
    return std::exchange(values_, {});
  }

 private:
  c10::DeviceType type_;
  std::mutex mutex_;
  int64_t live_ = 0;
  std::vector<int64_t> values_;
};

AllocationTrace::AllocationTrace(const c10::Device& device)
    : listener_(std::make_shared<Listener>(device)), guard_(c10::DebugInfoKind::PROFILER_STATE, listener_) {}

std::vector<int64_t> AllocationTrace::take() {
  return listener_->take();
}

int64_t extrapolated_peak(const std::vector<int64_t>& a, int64_t samples_a, const std::vector<int64_t>& b,
                          int64_t samples_b, int64_t samples) {
  const double part = static_cast<double>(samples - samples_a) / static_cast<double>(samples_b - samples_a);
  const auto between = [&](int64_t at_a, int64_t at_b) {
    return at_a + static_cast<int64_t>(part * static_cast<double>(at_b - at_a));
  };
  if (a.empty() || b.empty()) {
    return 0;
  }
  if (a.size() != b.size()) {
    return between(*std::max_element(a.begin(), a.end()), *std::max_element(b.begin(), b.end()));
  }
  int64_t peak = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    peak = std::max(peak, between(a[i], b[i]));
  }
  return peak;
}

int64_t kept_images(const TrainOptions& options, const TrainingSetup& setup) {
  if (setup.cache || options.feature_memory_mb == 0) {
    return 0;
  }
  int64_t images = 0;
  for (int64_t index = 0; index < setup.dataset->size(); ++index) {
    images += setup.dataset->sample_size(index).images;
  }
  const int64_t row_bytes = feature_row_bytes(setup.encoder->config(), setup.dtype);
  return feature_rows(images, row_bytes, options.feature_memory_mb * 1'000'000, setup.device);
}

namespace {

int64_t parameter_bytes(const torch::nn::Module& module, bool only_trained) {
  int64_t bytes = 0;
  for (const at::Tensor& parameter : module.parameters()) {
    bytes += parameter.requires_grad() || !only_trained ? static_cast<int64_t>(parameter.nbytes()) : 0;
  }
  return bytes;
}

/// If the encoder lies in a mapped file, one of its blocks is in memory at a time.
int64_t encoder_bytes(const ClipVisionImpl& encoder) {
  int64_t own = 0, mapped = 0;
  for (const at::Tensor& parameter : encoder.parameters()) {
    (is_mapped(parameter) ? mapped : own) += static_cast<int64_t>(parameter.nbytes());
  }
  return own + mapped / std::max<int64_t>(1, encoder.config().num_hidden_layers);
}

/// Resident memory of this process.
int64_t resident_bytes() {
  std::ifstream input("/proc/self/statm");
  int64_t all_pages = 0, resident_pages = 0;
  input >> all_pages >> resident_pages;
  return resident_pages * sysconf(_SC_PAGESIZE);
}

/// A step on the longest samples, and the trace of its memory.
struct Trial {
  std::vector<int64_t> trace;
  int64_t samples = 0;
  int64_t tokens = 0;    ///< of the longest sample
  int64_t resident = 0;  ///< of the last trial: memory of this process after all trials
};

std::vector<Trial> run_trials(const TrainOptions& options, Stage stage, const TrainingSetup& setup, ProcessGroup& group,
                              const std::vector<int64_t>& sizes) {
  const std::unique_ptr<Loader> loader = make_loader(setup, options, stage, group.rank(), group.world_size());
  FeatureProvider features(setup.encoder, setup.device, setup.dtype, setup.cache.get(), 0);
  TrainState state(setup.model, options.freeze, options.adam_beta2, setup.dtype);
  StepContext context(options, setup.dtype, state, features, group);
  std::vector<Trial> trials;
  for (const int64_t size : sizes) {
    const std::vector<Batch> batches = {loader->longest(size)};
    require(batches[0].ids.defined(),
            "--plan: expected usable samples, found that all of the longest samples are unusable");
    StepCounts counts = count_batches(batches);
    group.sum(counts.numbers());
    AllocationTrace trace(setup.device);
    train_step(state, context, batches, counts, {0.0, 0.0});
    // Inside the trace, so that the next trace starts without gradients too.
    state.adam.zero_grad();
    trials.push_back({trace.take(), batches[0].ids.size(0), batches[0].ids.size(1)});
  }
  malloc_trim(0);
  trials.back().resident = resident_bytes();
  return trials;
}

std::vector<int64_t> batch_sizes(int64_t chosen) {
  std::set<int64_t> sizes = {chosen};
  for (int64_t size = 1; size <= std::max<int64_t>(64, chosen); size *= 2) {
    sizes.insert(size);
  }
  return {sizes.begin(), sizes.end()};
}

/// Upper bound of the images of one rank in the whole run; the order of each epoch decides which samples it gets.
int64_t images_of_run(const TrainOptions& options, const Dataset& dataset, int64_t world_size) {
  const int64_t block = options.batch_size * world_size;
  const int64_t all_steps = options.epochs * ((dataset.size() + block - 1) / block);
  const int64_t steps = options.max_steps > 0 ? std::min(options.max_steps, all_steps) : all_steps;
  std::vector<int64_t> images;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    images.push_back(dataset.sample_size(i).images);
  }
  std::sort(images.begin(), images.end(), std::greater<>());
  const int64_t samples = std::min(dataset.size(), steps * options.batch_size);
  return std::accumulate(images.begin(), images.begin() + samples, int64_t{0});
}

/// Bytes of the features that the run keeps in memory.
int64_t kept_features(const TrainOptions& options, const TrainingSetup& setup, int64_t world_size) {
  const int64_t rows = kept_images(options, setup);
  // A GPU reserves all of the rows; on a CPU the system provides a page when a row of it is filled.
  const int64_t used =
      setup.device.is_cpu() ? std::min(rows, images_of_run(options, *setup.dataset, world_size)) : rows;
  return used * feature_row_bytes(setup.encoder->config(), setup.dtype);
}

int64_t loader_bytes(const TrainOptions& options, const TrainingSetup& setup, int64_t batch_size, int64_t tokens) {
  const LoaderOptions loader = loader_options(options, setup.encoder->config().image_size, 0, 1);
  const int64_t image = 3 * loader.image_size * loader.image_size;
  constexpr int64_t kBytesPerToken = 8 + 8 + 1;  // ids, targets, mask
  const int64_t batches =
      std::min(loader.prefetch + loader.num_workers, setup.dataset->size() / std::max<int64_t>(1, batch_size) + 1);
  return batches * batch_size * (image + tokens * kBytesPerToken);
}

std::string megabytes(int64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof(text), "%10.1f", static_cast<double>(bytes) / 1e6);
  return text;
}

}  // namespace

MemoryPlan make_plan(const TrainOptions& options, Stage stage, TrainingSetup& setup, ProcessGroup& group) {
  setup.model->train();
  setup.encoder->eval();
  const int64_t many = std::clamp<int64_t>(options.batch_size, 2, 4);
  // In the first step the libraries also allocate memory that they keep.
  const std::vector<Trial> trials = run_trials(options, stage, setup, group, {1, many / 2, many});
  const Trial &small = trials[1], &large = trials[2];
  require(small.samples < large.samples, "--plan: expected at least two usable samples among the longest, found ",
          large.samples);

  MemoryPlan plan;
  plan.on_gpu = !setup.device.is_cpu();
  plan.weights = parameter_bytes(*setup.model, /*only_trained=*/false);
  plan.gradients = parameter_bytes(*setup.model, /*only_trained=*/true);
  plan.adam = 2 * plan.gradients;
  plan.saving = options.save_minutes > 0 || options.save_interval > 0 ? plan.weights + plan.adam : 0;
  plan.encoder = encoder_bytes(*setup.encoder);
  plan.features = kept_features(options, setup, group.world_size());
  plan.tokens = large.tokens;
  if (!plan.on_gpu) {
    plan.program = std::max<int64_t>(0, large.resident - plan.weights - plan.adam - plan.encoder);
  }
  for (const int64_t size : batch_sizes(options.batch_size)) {
    MemoryPlan::Row row;
    row.batch_size = size;
    const int64_t step = extrapolated_peak(small.trace, small.samples, large.trace, large.samples, size);
    row.activations = std::max<int64_t>(0, step - plan.gradients);
    row.allocator = plan.on_gpu ? 0 : (plan.gradients + row.activations) / 4;
    row.loader = plan.on_gpu ? 0 : loader_bytes(options, setup, size, plan.tokens);
    row.peak = plan.weights + plan.gradients + plan.adam + (plan.on_gpu ? 0 : plan.saving) + plan.encoder +
               plan.features + plan.program + row.activations + row.allocator + row.loader;
    plan.rows.push_back(row);
  }
  return plan;
}

std::string plan_table(const MemoryPlan& plan, int64_t chosen_batch_size) {
  const char* place = plan.on_gpu ? "on the GPU" : "of this process";
  std::string out = concat("memory ", place, " in MB, at most (samples of ", plan.tokens, " tokens)\n");
  const auto line = [&](const char* name, int64_t bytes) { out += concat("  ", name, megabytes(bytes), "\n"); };
  line("weights           ", plan.weights);
  line("gradients         ", plan.gradients);
  line("Adam              ", plan.adam);
  if (!plan.on_gpu) {
    line("copy for saving   ", plan.saving);
  }
  line("vision encoder    ", plan.encoder);
  line("kept features     ", plan.features);
  if (!plan.on_gpu) {
    line("program and data  ", plan.program);
  }
  out += "  batch size   activations  allocator    loader        in all\n";
  for (const MemoryPlan::Row& row : plan.rows) {
    char text[32];
    std::snprintf(text, sizeof(text), "  %10lld", static_cast<long long>(row.batch_size));
    out += concat(text, "    ", megabytes(row.activations), " ", megabytes(row.allocator), megabytes(row.loader),
                  "    ", megabytes(row.peak), row.batch_size == chosen_batch_size ? "  <- --batch_size" : "", "\n");
  }
  if (plan.on_gpu && plan.saving > 0) {
    out += concat("beside it, in memory of the host: ", format_bytes(static_cast<double>(plan.saving)),
                  " for the copy that a save writes (--save_minutes)\n");
  }
  return out;
}

}  // namespace minimind
