#include "train/report/reporter.h"

#include <ATen/DeviceAccelerator.h>
#include <ATen/core/Tensor.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <numeric>
#include <utility>

#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/base/log.h"
#include "train/report/metrics_page.h"

namespace minimind {
namespace {

constexpr double kPageInterval = 10;  // seconds

double peak_memory_mb() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024 / 1e6;
}

/// Nothing on a CPU.
std::optional<double> peak_device_memory_mb(const c10::Device& device) {
  if (device.is_cpu()) {
    return std::nullopt;
  }
  constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  return static_cast<double>(at::accelerator::getDeviceStats(device.index()).allocated_bytes[kAll].peak) / 1e6;
}

/// Choices of each layer's experts as shares of the layer's sum.
MetricField::Matrix load_by_layer(const std::vector<double>& choices, int64_t experts) {
  MetricField::Matrix layers;
  for (auto first = choices.begin(); first != choices.end(); first += experts) {
    const double total = std::max(1.0, std::accumulate(first, first + experts, 0.0));
    std::transform(first, first + experts, std::back_inserter(layers.emplace_back()),
                   [total](double count) { return count / total; });
  }
  return layers;
}

}  // namespace

Reporter::Reporter(const TrainOptions& options, Stage stage, const TrainingSetup& setup, ProcessGroup& group,
                   const Loader& loader, const FeatureProvider& features, const MicroStepRange& range,
                   std::function<void(const MetricsRecord&)> on_record)
    : out_dir_(options.out_dir),
      model_(model_name(setup.config())),
      stage_(stage_name(stage)),
      device_(setup.device),
      experts_(setup.config().use_moe ? setup.config().n_routed_experts : 0),
      group_(group),
      loader_(loader),
      features_(features),
      range_(range),
      flops_(setup.config(), setup.encoder->config(), options.freeze),
      peak_flops_(group.sum(measure_peak_flops(setup.device, setup.dtype))),
      on_record_(std::move(on_record)) {
  // Every rank sums vectors of the same length, also a rank without a batch.
  sums_.expert_choices.resize(static_cast<size_t>(setup.config().n_layers * experts_));
  if (!group.is_main()) {
    return;
  }
  metrics_ = std::make_unique<MetricsLog>(out_dir_, model_, stage_, range.first);
  events_ = std::make_unique<EventFile>(std::filesystem::path(out_dir_) / "tensorboard" / (model_ + "_" + stage_),
                                        range.first);
  for (const MetricsRecord& earlier : metrics_->records()) {
    if (earlier.model == model_ && earlier.stage == stage_) {
      earlier_seconds_ = earlier.seconds;
    }
  }
}

std::vector<double*> Reporter::Sums::numbers() {
  std::vector<double*> all = {&loss, &supervised_tokens, &expert_loss, &encoded_images};
  for (double& choices : expert_choices) {
    all.push_back(&choices);
  }
  return all;
}

void Reporter::start() {
  run_time_.restart();
  begin_line();
}

void Reporter::begin_line() {
  const size_t experts = sums_.expert_choices.size();
  sums_ = {};
  sums_.expert_choices.resize(experts);
  counts_ = {};
  steps_ = 0;
  step_flops_ = 0;
  save_wait_seconds_ = 0;
  encoded_images_ = features_.encoded();
  data_wait_seconds_ = loader_.waited_seconds();
  reduce_wait_seconds_ = group_.reduce_wait_seconds();
  line_time_.restart();
}

void Reporter::add_step(const StepCounts& counts, const at::Tensor& expert_load) {
  samples_ += counts.samples;
  ++steps_;
  counts_.samples += counts.samples;
  counts_.tokens += counts.tokens;
  step_flops_ += flops_.training(counts);
  if (expert_load.defined()) {
    const at::Tensor load = expert_load.cpu().to(at::kDouble).contiguous();
    std::transform(sums_.expert_choices.begin(), sums_.expert_choices.end(), load.const_data_ptr<double>(),
                   sums_.expert_choices.begin(), std::plus<>());
  }
}

void Reporter::add_loss(double loss_sum, int64_t supervised_tokens, double expert_loss, double grad_norm) {
  last_norm_ = grad_norm;
  sums_.loss += loss_sum;
  sums_.supervised_tokens += static_cast<double>(supervised_tokens);
  sums_.expert_loss += expert_loss;
}

MetricsRecord Reporter::make_record(const Sums& sums, int64_t micro_step, double learning_rate) {
  const double seconds = std::max(1e-9, line_time_.seconds());
  MetricsRecord record;
  record.model = model_;
  record.stage = stage_;
  record.micro_step = micro_step;
  record.epoch = epoch_of(micro_step);
  record.loss = sums.loss / sums.supervised_tokens;
  record.learning_rate = learning_rate;
  record.grad_norm = last_norm_;
  record.samples_per_second = static_cast<double>(counts_.samples) / seconds;
  record.tokens_per_second = static_cast<double>(counts_.tokens) / seconds;
  record.data_wait_share = (loader_.waited_seconds() - data_wait_seconds_) / seconds;
  record.reduce_wait_share = (group_.reduce_wait_seconds() - reduce_wait_seconds_) / seconds;
  record.save_wait_share = save_wait_seconds_ / seconds;
  const double flops = (step_flops_ + flops_.encoding(sums.encoded_images)) / seconds;
  // Matmuls that were measured on a busy machine are too slow: training itself may be faster.
  peak_flops_ = std::max(peak_flops_, flops);
  record.mfu = flops / peak_flops_;
  record.memory_mb = peak_memory_mb();
  record.device_memory_mb = peak_device_memory_mb(device_);
  record.seconds = earlier_seconds_ + run_time_.seconds();
  if (experts_ > 0) {
    record.expert_loss = sums.expert_loss / static_cast<double>(std::max<int64_t>(1, steps_));
    record.expert_load = load_by_layer(sums.expert_choices, experts_);
  }
  return record;
}

double Reporter::epoch_of(int64_t micro_step) const {
  return static_cast<double>(micro_step) / static_cast<double>(range_.per_epoch);
}

std::string Reporter::line_of(const MetricsRecord& record) const {
  const double done = static_cast<double>(record.micro_step - range_.first);
  const double left = run_time_.seconds() / std::max(1.0, done) * static_cast<double>(range_.total - record.micro_step);
  std::string memory = format_bytes(1e6 * record.memory_mb);
  if (record.device_memory_mb) {
    memory = concat(format_bytes(1e6 * *record.device_memory_mb), " GPU, ", memory);
  }
  char text[320];
  std::snprintf(text, sizeof(text),
                "%s %lld/%lld  epoch %.2f  loss %.4f  lr %.3g  norm %.2f  %.1f samples/s  %.0f tokens/s  MFU %.0f%%  "
                "wait: data %.0f%% ranks %.0f%% saving %.0f%%  peak %s  left %s",
                stage_.c_str(), static_cast<long long>(record.micro_step), static_cast<long long>(range_.total),
                record.epoch, record.loss, record.learning_rate, record.grad_norm, record.samples_per_second,
                record.tokens_per_second, 100 * record.mfu, 100 * record.data_wait_share,
                100 * record.reduce_wait_share, 100 * record.save_wait_share, memory.c_str(),
                format_duration(left).c_str());
  return text + experts_summary(record);
}

template <class Record>
void Reporter::write_events(Record record) {
  std::vector<NamedScalar> scalars;
  for (const MetricField& field : record.fields()) {
    if (const std::optional<double> number = field.number(); number && *field.tag != '\0') {
      scalars.emplace_back(field.tag, *number);
    }
  }
  events_->add(record.micro_step, scalars);
}

/// A failure does not end the run: `metrics.jsonl` has the numbers.
void Reporter::write_page(bool is_live) {
  page_age_.emplace();
  try {
    write_file_atomically(
        std::filesystem::path(out_dir_) / "index.html",
        metrics_page("MiniMind-V training: " + out_dir_, metrics_->records(), metrics_->validations(), is_live));
  } catch (const Error& error) {
    if (!std::exchange(page_failed_, true)) {
      line_.finish();
      log_warning(concat(error.what(), "; the training continues without this page"));
    }
  }
}

void Reporter::show(int64_t micro_step, double learning_rate, bool is_log_step) {
  Sums sums = sums_;
  sums.encoded_images = static_cast<double>(features_.encoded() - encoded_images_);
  if (is_log_step) {
    group_.sum(sums.numbers());
  }
  if (group_.is_main() && sums.supervised_tokens > 0) {
    const MetricsRecord record = make_record(sums, micro_step, learning_rate);
    last_loss_ = record.loss;
    line_.show(line_of(record), is_log_step);
    if (is_log_step) {
      metrics_->add(record);
      write_events(record);
      if (!page_age_ || page_age_->seconds() > kPageInterval) {
        write_page(/*is_live=*/true);
      }
    }
    if (on_record_) {
      on_record_(record);
    }
  }
  if (is_log_step) {
    begin_line();
  }
}

void Reporter::add_validation(ValidationRecord record, int64_t micro_step) {
  record.micro_step = micro_step;
  record.epoch = epoch_of(micro_step);
  if (group_.is_main()) {
    line_.finish();
    if (record.samples == 0) {
      log_warning("--val_data: expected readable samples with different images, found none; no held-out loss");
    } else {
      log_info(concat("epoch ", record.epoch, ": ", validation_summary(record)));
      if (metrics_->add(record)) {
        write_events(record);
      }
    }
  }
  begin_line();
}

void Reporter::finish() {
  line_.finish();
  if (metrics_) {
    write_page(/*is_live=*/false);
  }
}

}  // namespace minimind
