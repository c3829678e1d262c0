#include "minimind/train/trainer.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <iostream>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/cpu_quota.h"
#include "base/signals.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/base/log.h"
#include "minimind/model/weights.h"
#include "train/agreement.h"
#include "train/background_save.h"
#include "train/failure.h"
#include "train/memory_plan.h"
#include "train/out_dir.h"
#include "train/report/reporter.h"
#include "train/setup.h"
#include "train/step_guard.h"
#include "train/step_judge.h"
#include "train/train_step.h"
#include "train/validation.h"

namespace minimind {
namespace {

/// The steps of one run from a checkpoint or the start to its end or a stop signal.
class Trainer {
 public:
  Trainer(const TrainOptions& options, Stage stage, ProcessGroup& group, TrainingSetup setup,
          const Checkpoint* checkpoint, const std::function<void(const MetricsRecord&)>& on_record);
  RunSummary run();

 private:
  std::vector<Batch> next_batches();
  StepCounts sum_counts(const std::vector<Batch>& batches);
  StartedStep start_step(const std::vector<Batch>& batches, const StepCounts& counts);
  void finish_step(const StartedStep& step, StepVerdict verdict);
  void add_update(const StartedStep& step, StepVerdict verdict);
  void validate();
  void save(bool waits);
  bool save_at_end();

  const TrainOptions& options_;
  Stage stage_;
  ProcessGroup& group_;
  TrainingSetup setup_;
  std::unique_ptr<Loader> loader_;
  FeatureProvider features_;
  TrainState state_;
  StepContext context_;
  int64_t total_;  // micro-steps of the whole run
  Schedule schedule_, projection_schedule_;
  CheckpointStore checkpoints_;
  StepGuard guard_;
  int64_t first_micro_step_ = 0;
  std::optional<Validation> validation_;
  std::optional<Reporter> reporter_;
  StepJudge judge_;
  SignalCatcher signals_{{SIGINT, SIGTERM}, SignalCatcher::SecondSignal::kEndsProgram};
  int stop_signal_ = 0;       // the same on all ranks
  bool is_save_due_ = false;  // the same on all ranks
  BackgroundSave saver_;      // the last member: its thread uses the others
};

Trainer::Trainer(const TrainOptions& options, Stage stage, ProcessGroup& group, TrainingSetup setup,
                 const Checkpoint* checkpoint, const std::function<void(const MetricsRecord&)>& on_record)
    : options_(options),
      stage_(stage),
      group_(group),
      setup_(std::move(setup)),
      loader_(make_loader(setup_, options, stage, group.rank(), group.world_size())),
      features_(setup_.encoder, setup_.device, setup_.dtype, setup_.cache.get(), kept_images(options, setup_)),
      state_(setup_.model, options.freeze, options.adam_beta2, setup_.dtype),
      context_(options, setup_.dtype, state_, features_, group),
      checkpoints_(checkpoint_folder(options, setup_.config(), stage), stage_name(stage), options.keep_last),
      guard_(options.max_bad_steps),
      judge_(group, !setup_.device.is_cpu(),
             [this](const StartedStep& step, StepVerdict verdict) { finish_step(step, verdict); }),
      saver_(options.save_minutes, setup_.device) {
  const int64_t all_steps = options.epochs * loader_->micro_steps_per_epoch();
  total_ = options.max_steps > 0 ? std::min(all_steps, options.max_steps) : all_steps;
  schedule_ = {*options.learning_rate, options.warmup_iters, total_};
  projection_schedule_ = {options.projection_learning_rate.value_or(*options.learning_rate), options.warmup_iters,
                          total_};
  if (checkpoint != nullptr) {
    state_.resume(*checkpoint, group, *loader_);
    first_micro_step_ = state_.position.micro_step;
  }
  if (!checkpoint || !checkpoints_.holds(checkpoint->path)) {
    checkpoints_.replace_earlier_run();
  }
  if (!options.val_data.empty()) {
    validation_.emplace(options, stage, setup_, features_, group);
  }
  const MicroStepRange range{first_micro_step_, total_, loader_->micro_steps_per_epoch()};
  reporter_.emplace(options, stage, setup_, group, *loader_, features_, range, on_record);
}

RunSummary Trainer::run() {
  TrainingPosition& position = state_.position;
  setup_.model->train();
  setup_.encoder->eval();
  reporter_->start();
  while (position.epoch < options_.epochs && position.micro_step < total_) {
    loader_->start_epoch(position.epoch, position.micro_batch);
    while (stop_signal_ == 0) {
      const int64_t before = position.micro_step;
      const std::vector<Batch> batches = next_batches();
      if (batches.empty()) {
        break;
      }
      StartedStep step = start_step(batches, sum_counts(batches));
      const bool is_last = position.micro_step == total_;
      const auto has_passed = [&](int64_t interval) {
        return interval > 0 && position.micro_step / interval > before / interval;
      };
      step.is_log_step = has_passed(*options_.log_interval) || is_last || before == 0;
      judge_.add(std::move(step));
      is_save_due_ = is_save_due_ || has_passed(options_.save_interval);
      if (is_save_due_ && !is_last && stop_signal_ == 0) {
        judge_.judge_all();
        if ((first_micro_step_ > 0 || reporter_->samples() > 0) && guard_.is_verified()) {
          is_save_due_ = false;
          save(/*waits=*/false);
        }
      }
    }
    judge_.judge_all();
    if (stop_signal_ != 0 || position.micro_step >= total_) {
      break;
    }
    validate();
    ++position.epoch;
    position.micro_batch = 0;
    position.micro_step = position.epoch * loader_->micro_steps_per_epoch();
  }
  const bool is_saved = save_at_end();
  if (stop_signal_ == 0 && position.micro_step > first_micro_step_) {
    validate();
  }
  group_.barrier();  // A rank that leaves early would not learn that the last file could not be written.
  reporter_->finish();
  return {.model = model_name(setup_.config()),
          .micro_steps = position.micro_step,
          .seconds = reporter_->seconds(),
          .loss = reporter_->last_loss(),
          .samples = reporter_->samples(),
          .skipped_steps = guard_.skipped(),
          .skipped_samples = std::ssize(loader_->skipped()),
          .signal = stop_signal_,
          .is_saved = is_saved};
}

std::vector<Batch> Trainer::next_batches() {
  std::vector<Batch> batches;
  while (std::ssize(batches) < options_.accumulation_steps && state_.position.micro_step < total_) {
    std::optional<Batch> batch = loader_->next();
    if (!batch) {
      break;
    }
    batches.push_back(std::move(*batch));
    ++state_.position.micro_step;
    state_.position.micro_batch += group_.world_size();
  }
  return batches;
}

/// The counts of all ranks. After this step a signal to any rank stops all, and the clock of rank 0 makes them save.
StepCounts Trainer::sum_counts(const std::vector<Batch>& batches) {
  StepCounts counts = count_batches(batches);
  int64_t interrupts = SignalCatcher::last() == SIGINT, terminations = SignalCatcher::last() == SIGTERM;
  int64_t bad_losses = judge_.bad_losses();
  std::vector<int64_t*> numbers = counts.numbers();
  int64_t saves = group_.is_main() && saver_.is_due();
  numbers.insert(numbers.end(), {&interrupts, &terminations, &saves, &bad_losses});
  group_.sum(numbers);
  judge_.judge_next(bad_losses);
  is_save_due_ = is_save_due_ || saves > 0;
  stop_signal_ = terminations > 0 ? SIGTERM : interrupts > 0 ? SIGINT : 0;
  return counts;
}

/// Starts the step of the micro-batches. `counts`: of all ranks.
StartedStep Trainer::start_step(const std::vector<Batch>& batches, const StepCounts& counts) {
  const int64_t micro_step = state_.position.micro_step;
  StartedStep step{micro_step, schedule_.at(micro_step - 1), false, counts, count_batches(batches).supervised_tokens};
  for (const Batch& batch : batches) {
    step.sample_ids.insert(step.sample_ids.end(), batch.sample_ids.begin(), batch.sample_ids.end());
  }
  if (counts.supervised_tokens > 0) {
    seed_dropout(setup_.config(), options_.seed, micro_step, group_.rank());
    const StepResult result =
        train_step(state_, context_, batches, counts, {step.learning_rate, projection_schedule_.at(micro_step - 1)});
    step.reading.emplace(result, state_.scaler);
  }
  return step;
}

void Trainer::finish_step(const StartedStep& step, StepVerdict verdict) {
  if (step.numbers) {
    add_update(step, verdict);
  }
  reporter_->show(step.micro_step, step.learning_rate, step.is_log_step);
}

void Trainer::add_update(const StartedStep& step, StepVerdict verdict) {
  const StepNumbers& numbers = *step.numbers;
  const double loss = step.loss();
  reporter_->add_step(step.counts, numbers.expert_load);
  if (verdict == StepVerdict::kBad) {
    reporter_->end_line();
    saver_.wait();  // The message names the newest checkpoint.
    guard_.skip(step.micro_step, loss, numbers.grad_norm, step.sample_ids, checkpoints_.newest_own_text());
  }
  if (verdict != StepVerdict::kGood) {
    return;
  }
  guard_.accept(numbers.grad_norm);
  reporter_->add_loss(numbers.loss_sum, step.supervised_tokens, numbers.expert_loss, numbers.grad_norm);
  const double uniform = std::log(static_cast<double>(setup_.config().vocab_size));
  const bool is_first = reporter_->samples() == step.counts.samples && first_micro_step_ == 0;
  if (is_first && group_.is_main() && loss >= uniform && options_.init_from != "none") {
    log_warning(concat("first loss ", loss, ": expected less than ln(", setup_.config().vocab_size, ") = ", uniform,
                       ", the loss of guessing; the language model is probably untrained: see --init_from"));
  }
}

void Trainer::validate() {
  if (validation_) {
    reporter_->add_validation(validation_->run(), state_.position.micro_step);
  }
}

/// Saves in the background, or `waits` for it.
void Trainer::save(bool waits) {
  if (!group_.is_main()) {
    return;
  }
  SavedTensors live{{}, vlm_state_dict(*setup_.model)};
  state_.save(live.checkpoint);
  const auto write = [this, info = setup_.describe(options_, stage_, group_, state_.position),
                      is_unverified = !guard_.is_verified()](const SavedTensors& tensors) {
    checkpoints_.save(info, tensors.checkpoint, is_unverified);
    write_weights(options_.out_dir, output_stem(setup_.config(), stage_), setup_.config(), tensors.weights);
  };
  if (waits) {
    saver_.write_now(live, write);
    return;
  }
  const double waited = saver_.waited_seconds();
  saver_.start(live, write);
  reporter_->add_save_wait(saver_.waited_seconds() - waited);
}

/// Saves unless the weights are worse than those of an earlier run or of the last checkpoint.
bool Trainer::save_at_end() {
  reporter_->end_line();
  saver_.wait();
  const bool is_stopped = stop_signal_ != 0;
  const int64_t micro_steps = state_.position.micro_step;
  require(is_stopped || first_micro_step_ > 0 || micro_steps == 0 || reporter_->samples() > 0, options_.data_path,
          ": expected usable samples, found that all samples of ", micro_steps,
          " micro-steps were skipped; no file was written. Find the reasons with --check_data");
  guard_.check_end(is_stopped, options_.out_dir, checkpoints_.newest_own_text(), group_.is_main());
  const bool saves = is_stopped ? !guard_.mostly_failed() : options_.save_last;
  if (saves) {
    save(/*waits=*/true);
  }
  return saves;
}

}  // namespace

RunSummary train(const TrainOptions& options, Stage stage, ProcessGroup& group,
                 const std::function<void(const MetricsRecord&)>& on_record) {
  require_equal_options(options, stage, group);
  ensure_writable_folder(options.out_dir);
  std::optional<RunLock> lock;
  if (group.is_main() && !options.plan) {
    // A launcher ends the script of a rank, not the program that the script runs: that one ends when its peers are
    // gone.
    lock.emplace(options.out_dir, std::chrono::seconds(group.is_restarted() ? 60 : 0));
  }
  if (const int64_t threads = threads_to_set(options.threads); threads > 0) {
    at::set_num_threads(static_cast<int>(threads));
  }
  at::manual_seed(static_cast<uint64_t>(options.seed + group.rank()));
  RunSummary summary;
  summary.micro_steps = completed_before_restart(options, stage, group);
  if (summary.micro_steps > 0) {
    return summary;
  }
  const std::optional<Checkpoint> found = find_checkpoint(options, stage, group);
  const Checkpoint* checkpoint = found ? &*found : nullptr;
  TrainingSetup setup = make_equal_setup(options, stage, group, checkpoint);
  if (options.plan) {
    const MemoryPlan plan = make_plan(options, stage, setup, group);
    std::cout << (group.is_main() ? plan_table(plan, options.batch_size) : "") << std::flush;
    return {};
  }
  if (group.is_main()) {
    check_nothing_is_replaced(options, stage, setup.config(), found ? found->path : "");
  }
  Trainer trainer(options, stage, group, std::move(setup), checkpoint, on_record);
  // The others learn of a failure before the trainer waits for a save that is still written.
  run_and_report_failure(group, [&] { summary = trainer.run(); });
  if (summary.signal == 0) {
    group.end_run();
  }
  return summary;
}

}  // namespace minimind
