#include "train/reporter.h"

#include <ATen/Tensor.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <span>
#include <utility>

#include "base/progress.h"
#include "minimind/base/error.h"
#include "minimind/base/log.h"

namespace minimind {
namespace {

constexpr auto kPageInterval = std::chrono::seconds(10);
/// The experts' counts stand behind the other sums.
constexpr size_t kFirstExpert = 4;

std::string page_title(const std::string& out_dir) {
  return "MiniMind-V training: " + out_dir;
}

}  // namespace

Reporter::Reporter(const ReportedRun& run, ProcessGroup& group) : run_(run), group_(group) {
  if (!group.is_main()) {
    return;
  }
  metrics_.emplace(run.out_dir, run.model, run.stage, run.first_step);
  events_.emplace(std::filesystem::path(run.out_dir) / "tensorboard" / (run.model + "_" + run.stage), run.first_step);
  for (const MetricsRecord& earlier : metrics_->records()) {
    if (earlier.model == run.model && earlier.stage == run.stage) {
      earlier_seconds_ = earlier.seconds;
    }
  }
}

double Reporter::elapsed() const {
  return std::chrono::duration<double>(Clock::now() - start_).count();
}

void Reporter::start() {
  start_ = Clock::now();
  window_ = Window{};
  // The ranks have waited for one another before: to meet, and while others still read their files.
  window_.reduce_wait = group_.waited_seconds();
}

void Reporter::count(const StepOutcome& outcome) {
  samples_ += outcome.rows;
  ++window_.steps;
  window_.samples += outcome.rows;
  window_.words += outcome.words;
  window_.operations += run_.operations.training({outcome.words, outcome.rows, outcome.tokens, outcome.images});
  if (outcome.expert_load.defined()) {
    window_.expert_load.resize(static_cast<size_t>(run_.layers * run_.experts));
    const at::Tensor load = outcome.expert_load.cpu().to(at::kDouble).contiguous();
    for (size_t i = 0; i < window_.expert_load.size(); ++i) {
      window_.expert_load[i] += load.const_data_ptr<double>()[i];
    }
  }
}

void Reporter::note(double loss_sum, int64_t tokens, double expert_loss, double grad_norm) {
  last_norm_ = grad_norm;
  window_.loss_sum += loss_sum;
  window_.loss_tokens += tokens;
  window_.expert_loss += expert_loss;
}

MetricsRecord Reporter::make_record(const ReportedMoment& moment, const std::vector<double>& sums) {
  const double seconds = std::max(1e-9, window_.seconds());
  MetricsRecord record;
  record.stage = run_.stage;
  record.step = moment.step;
  record.epoch = epoch_of(moment.step);
  record.loss = sums[0] / sums[1];
  record.learning_rate = moment.learning_rate;
  record.grad_norm = last_norm_;
  record.samples_per_second = static_cast<double>(window_.samples) / seconds;
  record.tokens_per_second = static_cast<double>(window_.words) / seconds;
  record.data_wait = (moment.data_wait - window_.data_wait) / seconds;
  record.reduce_wait = (group_.waited_seconds() - window_.reduce_wait) / seconds;
  const double rate = (window_.operations + run_.operations.encoding(std::llround(sums[3]))) / seconds;
  // Products measured while the machine was busy say too little of it: training that is faster knows better.
  run_.operation_rate = std::max(run_.operation_rate, rate);
  record.mfu = rate / run_.operation_rate;
  record.memory_mb = peak_memory_mb();
  record.device_memory_mb = peak_device_memory_mb(run_.device);
  record.seconds = earlier_seconds_ + elapsed();
  if (run_.experts > 0) {
    record.expert_loss = sums[2] / static_cast<double>(std::max<int64_t>(1, window_.steps));
    record.expert_load = expert_shares(std::span(sums).subspan(kFirstExpert), run_.experts);
  }
  return record;
}

double Reporter::epoch_of(int64_t step) const {
  return static_cast<double>(step) / static_cast<double>(run_.steps_per_epoch);
}

std::string Reporter::line_of(const MetricsRecord& record) const {
  const double done = static_cast<double>(record.step - run_.first_step);
  const double left = elapsed() / std::max(1.0, done) * static_cast<double>(run_.total_steps - record.step);
  std::string memory = format_bytes(1e6 * record.memory_mb);
  if (record.device_memory_mb) {
    memory = concat(format_bytes(1e6 * *record.device_memory_mb), " GPU, ", memory);
  }
  char text[320];
  std::snprintf(text, sizeof(text),
                "%s %lld/%lld  epoch %.2f  loss %.4f  lr %.3g  norm %.2f  %.1f samples/s  %.0f tokens/s  MFU %.0f%%  "
                "wait: data %.0f%% ranks %.0f%%  peak %s  left %s",
                record.stage.c_str(), static_cast<long long>(record.step), static_cast<long long>(run_.total_steps),
                record.epoch, record.loss, record.learning_rate, record.grad_norm, record.samples_per_second,
                record.tokens_per_second, 100 * record.mfu, 100 * record.data_wait, 100 * record.reduce_wait,
                memory.c_str(), format_duration(left).c_str());
  return text + experts_text(record);
}

void Reporter::keep(const MetricsRecord& record) {
  metrics_->add(record);
  std::vector<NamedScalar> scalars = {{"loss", record.loss},
                                      {"learning_rate", record.learning_rate},
                                      {"grad_norm", record.grad_norm},
                                      {"speed/samples_per_second", record.samples_per_second},
                                      {"speed/tokens_per_second", record.tokens_per_second},
                                      {"speed/mfu", record.mfu},
                                      {"speed/data_wait", record.data_wait},
                                      {"speed/reduce_wait", record.reduce_wait},
                                      {"memory_mb", record.memory_mb}};
  if (record.device_memory_mb) {
    scalars.emplace_back("device_memory_mb", *record.device_memory_mb);
  }
  if (record.expert_loss) {
    scalars.emplace_back("expert_loss", *record.expert_loss);
  }
  events_->add(record.step, scalars);
  if (Clock::now() - page_written_ > kPageInterval) {
    page_written_ = Clock::now();
    write_page(/*live=*/true);
  }
}

/// The numbers stand in metrics.jsonl: a page that cannot be written is no reason to end a training.
void Reporter::write_page(bool live) {
  try {
    metrics_->write_page(page_title(run_.out_dir), live);
  } catch (const Error& error) {
    if (!page_is_missed_) {
      line_.finish();
      log_warning(concat(error.what(), "; the training goes on without this page (told once)"));
    }
    page_is_missed_ = true;
  }
}

void Reporter::begin_window(const ReportedMoment& moment) {
  window_ = Window{};
  window_.encoded = moment.encoded;
  window_.data_wait = moment.data_wait;
  window_.reduce_wait = group_.waited_seconds();
}

void Reporter::show(const ReportedMoment& moment, bool lasting) {
  std::vector<double> sums = {window_.loss_sum, static_cast<double>(window_.loss_tokens), window_.expert_loss,
                              static_cast<double>(moment.encoded - window_.encoded)};
  // Every rank adds numbers of the same length, one without a batch too.
  window_.expert_load.resize(static_cast<size_t>(run_.layers * run_.experts));
  sums.insert(sums.end(), window_.expert_load.begin(), window_.expert_load.end());
  if (lasting) {
    sums = group_.sum(sums);
  }
  if (group_.is_main() && sums[1] > 0) {
    const MetricsRecord record = make_record(moment, sums);
    last_loss_ = record.loss;
    line_.show(line_of(record), lasting);
    if (lasting) {
      keep(record);
    }
  }
  if (lasting) {
    begin_window(moment);
  }
}

void Reporter::validated(ValidationRecord record, const ReportedMoment& moment) {
  record.step = moment.step;
  record.epoch = epoch_of(moment.step);
  if (group_.is_main()) {
    line_.finish();
    if (record.samples > 0) {
      log_info(concat("epoch ", record.epoch, ": ", validation_in_words(record)));
      if (metrics_->add(record)) {
        events_->add(
            record.step,
            {{"val_loss/right", record.right}, {"val_loss/swapped", record.swapped}, {"val_loss/none", record.none}});
      }
    } else {
      log_warning("--val_data: expected samples whose images can be told apart and read, found none; no held-out loss");
    }
  }
  begin_window(moment);
}

void Reporter::finish() {
  line_.finish();
  if (metrics_) {
    write_page(/*live=*/false);
  }
}

}  // namespace minimind
