#include "minimind/train/reporter.h"

#include <ATen/Tensor.h>

#include <algorithm>
#include <cstdio>
#include <span>

#include "minimind/base/progress.h"

namespace minimind {
namespace {

constexpr auto kPageInterval = std::chrono::seconds(10);
/// The experts' counts stand behind three sums.
constexpr size_t kFirstExpert = 3;

std::string page_title(const std::string& out_dir) {
  return "MiniMind-V training: " + out_dir;
}

}  // namespace

Reporter::Reporter(const ReportedRun& run, ProcessGroup& group) : run_(run), group_(group) {
  if (!group.is_main()) {
    return;
  }
  metrics_.emplace(run.out_dir, run.stage, run.first_step);
  for (const MetricsRecord& earlier : metrics_->records()) {
    if (earlier.stage == run.stage) {
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
}

void Reporter::count(const StepOutcome& outcome) {
  samples_ += outcome.rows;
  ++window_.steps;
  window_.samples += outcome.rows;
  window_.words += outcome.words;
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

MetricsRecord Reporter::make_record(const ReportedMoment& moment, const std::vector<double>& sums) const {
  const double seconds = std::max(1e-9, window_.seconds());
  MetricsRecord record;
  record.stage = run_.stage;
  record.step = moment.step;
  record.epoch = static_cast<double>(moment.step) / static_cast<double>(run_.steps_per_epoch);
  record.loss = sums[0] / sums[1];
  record.learning_rate = moment.learning_rate;
  record.grad_norm = last_norm_;
  record.samples_per_second = static_cast<double>(window_.samples) / seconds;
  record.tokens_per_second = static_cast<double>(window_.words) / seconds;
  record.data_wait = (moment.data_wait - window_.data_wait) / seconds;
  record.reduce_wait = (group_.waited_seconds() - window_.reduce_wait) / seconds;
  record.memory_mb = peak_memory_mb();
  record.seconds = earlier_seconds_ + elapsed();
  if (run_.experts > 0) {
    record.expert_loss = sums[2] / static_cast<double>(std::max<int64_t>(1, window_.steps));
    record.expert_load = expert_shares(std::span(sums).subspan(kFirstExpert), run_.experts);
  }
  return record;
}

std::string Reporter::line_of(const MetricsRecord& record) const {
  const double done = static_cast<double>(record.step - run_.first_step);
  const double left = elapsed() / std::max(1.0, done) * static_cast<double>(run_.total_steps - record.step);
  char text[256];
  std::snprintf(
      text, sizeof(text),
      "%s %lld/%lld  epoch %.2f  loss %.4f  lr %.3g  %.1f samples/s  %.0f tokens/s  norm %.2f  wait %.0f%%  left %s",
      record.stage.c_str(), static_cast<long long>(record.step), static_cast<long long>(run_.total_steps), record.epoch,
      record.loss, record.learning_rate, record.samples_per_second, record.tokens_per_second, record.grad_norm,
      100 * record.data_wait, format_duration(left).c_str());
  return text + experts_text(record);
}

void Reporter::keep(const MetricsRecord& record) {
  metrics_->add(record);
  if (Clock::now() - page_written_ > kPageInterval) {
    page_written_ = Clock::now();
    metrics_->write_page(page_title(run_.out_dir));
  }
}

void Reporter::show(const ReportedMoment& moment, bool lasting) {
  std::vector<double> sums = {window_.loss_sum, static_cast<double>(window_.loss_tokens), window_.expert_loss};
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
    window_ = Window{};
    window_.data_wait = moment.data_wait;
    window_.reduce_wait = group_.waited_seconds();
  }
}

void Reporter::finish() {
  line_.finish();
  if (metrics_) {
    metrics_->write_page(page_title(run_.out_dir));
  }
}

}  // namespace minimind
