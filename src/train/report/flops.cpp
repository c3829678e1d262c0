#include "train/report/flops.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/DeviceAccelerator.h>
#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/rand.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "base/stopwatch.h"

namespace minimind {
namespace {

/// FLOPs as a multiple of the forward pass: the gradient of each factor of a matmul costs as much as the matmul.
constexpr double kTrained = 3;
constexpr double kFrozen = 2;

double encoder_flops(const ClipVisionConfig& config) {
  const auto width = static_cast<double>(config.hidden_size);
  const auto tokens = static_cast<double>(config.tokens());
  const auto patch = static_cast<double>(config.patch_size);
  const double matmuls = 4 * width * width + 2 * width * static_cast<double>(config.intermediate_size);
  const double attention = 2 * tokens * width;
  return 2 * (static_cast<double>(config.num_hidden_layers) * tokens * (matmuls + attention) +
              (tokens - 1) * 3 * patch * patch * width);
}

double matmul_seconds(const at::Tensor& a, const at::Tensor& b, at::Tensor& out) {
  const Stopwatch watch;
  at::mm_out(out, a, b);
  if (!a.is_cpu()) {
    at::accelerator::synchronizeDevice(a.device().index());
  }
  return watch.seconds();
}

}  // namespace

FlopsCounter::FlopsCounter(const LmConfig& config, const ClipVisionConfig& encoder, const std::string& freeze) {
  const auto dim = static_cast<double>(config.dim);
  const double feed_forward = 3 * dim * static_cast<double>(config.inner_dim());
  const double chosen =
      config.use_moe ? static_cast<double>(config.num_experts_per_tok + (config.has_shared_experts ? 1 : 0)) : 1;
  const double gate = config.use_moe ? dim * static_cast<double>(config.n_routed_experts) : 0;
  // Multiply-adds of one token in one layer.
  const double keys_and_values = 2 * dim * static_cast<double>(config.n_kv_heads * config.head_dim());
  const double rest = 2 * dim * dim + chosen * feed_forward + gate;
  const double whole = keys_and_values + rest;
  const double pair = 2 * dim;
  const double ends = freeze == "language_model" ? kFrozen : kTrained;
  const double middle = freeze == "none" ? kTrained : kFrozen;
  const double first = config.n_layers > 1 ? ends : 0;
  const auto between = static_cast<double>(std::max<int64_t>(0, config.n_layers - 2));
  per_token_ = 2 * (whole * (first + between * middle) + keys_and_values * ends);
  per_supervised_ = 2 * ends * static_cast<double>(config.dim * config.vocab_size);
  // The experts' load-balancing loss needs every token in the last layer too.
  (config.use_moe ? per_token_ : per_supervised_) += 2 * ends * rest;
  per_pair_ = 2 * pair * kTrained * static_cast<double>(config.n_layers - 1);
  per_supervised_pair_ = 2 * pair * kTrained;
  // Nothing below the projection is trained: its input has no gradient.
  per_image_ = 2 * kFrozen * static_cast<double>(encoder.tokens() * encoder.hidden_size * config.dim);
  per_image_encoded_ = encoder_flops(encoder);
}

double FlopsCounter::training(const StepCounts& step) const {
  const auto tokens = static_cast<double>(step.tokens);
  const auto supervised = static_cast<double>(step.supervised_tokens);
  // A token attends to itself and the tokens before it: half of the sample on average.
  const double seen = tokens / static_cast<double>(std::max<int64_t>(1, step.samples)) / 2;
  return tokens * (per_token_ + seen * per_pair_) + supervised * (per_supervised_ + seen * per_supervised_pair_) +
         static_cast<double>(step.images) * per_image_;
}

double measure_peak_flops(const c10::Device& device, c10::ScalarType dtype) {
  constexpr int64_t kSmallest = 256;
  constexpr int64_t kLargest = 8192;
  constexpr double kEnough = 0.005;
  constexpr double kBudget = 0.1;
  // On a busy machine a single matmul can take the whole budget and say nothing about the machine.
  constexpr int kFewest = 8;
  constexpr double kPatience = 2.0;
  const c10::NoGradGuard no_grad;
  at::Generator generator = at::detail::createCPUGenerator(1);
  const at::Tensor tile =
      at::rand({kSmallest, kSmallest}, generator, at::TensorOptions(at::kFloat)).sub_(0.5).to(device).to(dtype);
  double best = 0;
  double spent = 0;
  int64_t size = kSmallest;
  at::Tensor factor = tile;
  at::Tensor out = tile.clone();
  matmul_seconds(factor, factor, out);
  for (int matmuls = 0; spent < kBudget || (matmuls < kFewest && spent < kPatience); ++matmuls) {
    const double seconds = std::max(1e-9, matmul_seconds(factor, factor, out));
    spent += seconds;
    const auto edge = static_cast<double>(size);
    best = std::max(best, 2 * edge * edge * edge / seconds);
    if (seconds < kEnough && size < kLargest) {
      size *= 2;
      factor = tile.repeat({size / kSmallest, size / kSmallest});
      out = factor.clone();
    }
  }
  if (!device.is_cpu()) {
    // Its up to 0.8 GB are no part of the training's peak, and smaller blocks would lie in them.
    factor.reset();
    out.reset();
    at::accelerator::emptyCache();
    at::accelerator::resetPeakStats(device.index());
  }
  return best;
}

}  // namespace minimind
