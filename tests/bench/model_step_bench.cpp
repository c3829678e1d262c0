// One training step of the model alone (forward, loss, backward) in float32 and under bfloat16 autocast, beside the
// rate of plain matrix products on the same threads. The last line is one JSON object.
// usage: bench_model_step [threads] [dim] [layers] [batch] [tokens] [seconds]

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include "minimind/model/vlm.h"
#include "support/model_losses.h"

namespace {

struct Times {
  double forward = 0;  // milliseconds, medians
  double backward = 0;
};

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

/// Billions of floating-point operations a second of products of the feed-forward's own shape.
double product_rate(int64_t rows, int64_t inner, int64_t dim, at::ScalarType type) {
  const at::NoGradGuard without_gradients;
  const at::Tensor input = at::rand({rows, dim}).to(type), weight = at::rand({inner, dim}).to(type);
  std::vector<double> times;
  for (int turn = 0; turn < 30; ++turn) {
    times.push_back(seconds_of([&] { at::linear(input, weight); }));
  }
  return 2e-9 * static_cast<double>(rows * inner * dim) / median(times);
}

Times measure(minimind::VlmImpl& model, const minimind::VlmInput& input, const at::Tensor& targets,
              const at::Tensor& mask, bool narrow, double seconds) {
  std::vector<double> forward, backward;
  double spent = 0;
  while (spent < seconds || forward.size() < 2) {
    for (at::Tensor& parameter : model.parameters()) {
      parameter.mutable_grad() = at::Tensor();
    }
    at::Tensor loss;
    forward.push_back(1e3 * seconds_of([&] {
                        at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
                        at::autocast::set_autocast_enabled(at::kCPU, narrow);
                        loss =
                            minimind::testing::mean_of(minimind::testing::training_loss(model, input, targets, mask));
                        at::autocast::set_autocast_enabled(at::kCPU, false);
                        at::autocast::clear_cache();
                      }));
    backward.push_back(1e3 * seconds_of([&] { loss.backward(); }));
    spent += 1e-3 * (forward.back() + backward.back());
  }
  return {median({forward.begin() + 1, forward.end()}), median({backward.begin() + 1, backward.end()})};
}

}  // namespace

int main(int argc, char** argv) {
  const auto number = [&](int index, double fallback) { return argc > index ? std::atof(argv[index]) : fallback; };
  at::set_num_threads(static_cast<int>(number(1, 1)));
  minimind::LmConfig config;
  config.dim = static_cast<int64_t>(number(2, 512));
  config.n_layers = static_cast<int64_t>(number(3, 8));
  const auto batch = static_cast<int64_t>(number(4, 8)), tokens = static_cast<int64_t>(number(5, 100));
  minimind::Vlm model(config);
  const double initialised = seconds_of([&] { minimind::initialise(*model, 1); });
  model->train();

  minimind::VlmInput input;
  input.ids = at::randint(3, config.vocab_size, {batch, tokens}, at::kLong);
  input.features = at::randn({batch, 50, config.vision_dim});
  for (int64_t row = 0; row < batch; ++row) {
    input.spans.push_back({row, 3});
  }
  // The image and the question are not supervised, the answer is.
  at::Tensor mask = at::zeros({batch, tokens}, at::kLong);
  mask.narrow(1, 64, tokens - 64).fill_(1);

  const int64_t rows = mask.sum().item<int64_t>(), all = batch * tokens, inner = config.inner_dim();
  const int64_t kv_width = config.n_kv_heads * config.head_dim();
  const int64_t queries = 2 * config.dim * config.dim, keys = 2 * config.dim * kv_width;
  const int64_t feed_forward = 3 * config.dim * inner, attention = tokens * config.dim;
  const double products = static_cast<double>(
      (config.n_layers - 1) * all * (queries + keys + feed_forward + attention) + all * (keys + attention) +
      rows * (queries + feed_forward + config.vocab_size * config.dim) + batch * 50 * config.vision_dim * config.dim);
  const double work = 6e-9 * products;  // forward and two products backward, in billions of operations

  std::printf("initialise %.0f ms, %.1f GF a step, %lld supervised of %lld tokens\n", 1e3 * initialised, work,
              static_cast<long long>(rows), static_cast<long long>(all));
  std::string json = "{";
  for (const bool narrow : {false, true}) {
    const Times times = measure(*model, input, input.ids.roll(-1, 1), mask, narrow, number(6, 10));
    const double peak = product_rate(all, inner, config.dim, narrow ? at::kBFloat16 : at::kFloat);
    const double rate = 1e3 * work / (times.forward + times.backward);
    const char* name = narrow ? "bf16" : "f32";
    std::printf("%s: forward %.0f ms, backward %.0f ms, %.0f GF/s of %.0f (plain products)\n", name, times.forward,
                times.backward, rate, peak);
    char part[160];
    std::snprintf(part, sizeof part, "%s\"%s_ms\": %.1f, \"%s_gfs\": %.1f, \"%s_share\": %.3f", narrow ? ", " : "",
                  name, times.forward + times.backward, name, rate, name, rate / peak);
    json += part;
  }
  std::printf("%s}\n", json.c_str());
  return 0;
}
