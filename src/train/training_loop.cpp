#include "train/training_loop.h"

#include <ATen/Context.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "minimind/base/error.h"
#include "minimind/base/log.h"
#include "minimind/base/random.h"

namespace minimind {
namespace {

StepSettings step_settings(const TrainOptions& options) {
  return {options.grad_clip, options.moe_aux_loss, options.bucket_mb * 1'000'000};
}

}  // namespace

TrainingLoop::TrainingLoop(const TrainOptions& options, Stage stage, ProcessGroup& group, TrainingSetup setup,
                           const Checkpoint* checkpoint, std::function<void(const StepReport&)> on_step)
    : options_(options),
      stage_(stage),
      group_(group),
      setup_(std::move(setup)),
      loader_(make_loader(setup_, options, stage, group.rank(), group.world_size())),
      features_(setup_.encoder, setup_.device, setup_.dtype, setup_.cache.get(), options.feature_memory_mb * 1'000'000),
      adam_(trained_parameters(*setup_.model, options.freeze), options.adam_beta2),
      scaler_(setup_.dtype == at::kHalf, setup_.device),
      runner_(setup_.model, features_, adam_, scaler_, group, setup_.dtype, step_settings(options)),
      checkpoints_(checkpoint_folder(options, setup_.config(), stage), stage_name(stage), options.keep_last),
      bad_steps_(options.max_bad_steps),
      on_step_(std::move(on_step)) {
  int64_t total = options.epochs * loader_->micro_steps_per_epoch();
  if (options.max_steps > 0) {
    total = std::min(total, options.max_steps);
  }
  schedule_ = {*options.learning_rate, options.warmup_iters, total};
  projection_schedule_ = {options.projection_learning_rate.value_or(*options.learning_rate), options.warmup_iters,
                          total};
  if (checkpoint != nullptr) {
    continue_from(*checkpoint);
  }
  if (checkpoint == nullptr || !checkpoints_.holds(checkpoint->path)) {
    checkpoints_.begin_anew();
  }
  if (!options.val_data.empty()) {
    validation_ = std::make_unique<Validation>(options_, stage, setup_, features_, group);
  }
  reporter_ = std::make_unique<Reporter>(reported_run(), group);
}

void TrainingLoop::continue_from(const Checkpoint& checkpoint) {
  position_ = checkpoint.info.position;
  // With another number of processes the same groups are another number of steps. Where they do not divide, the epoch
  // has a step less than it counts.
  const bool is_through = position_.group >= loader_->micro_batches_per_epoch();
  position_.group = std::min(position_.group, loader_->micro_batches_per_epoch());
  position_.step = position_.epoch * loader_->micro_steps_per_epoch() +
                   (is_through ? loader_->micro_steps_per_epoch() : position_.group / group_.world_size());
  adam_.load(checkpoint.state, checkpoint.path.string());
  scaler_.load(checkpoint.state);
  first_step_ = position_.step;
}

ReportedRun TrainingLoop::reported_run() {
  ReportedRun run;
  run.model = model_name(setup_.config());
  run.stage = stage_name(stage_);
  run.out_dir = options_.out_dir;
  run.layers = setup_.config().n_layers;
  run.experts = setup_.config().use_moe ? setup_.config().n_routed_experts : 0;
  run.first_step = first_step_;
  run.total_steps = schedule_.total;
  run.steps_per_epoch = loader_->micro_steps_per_epoch();
  run.device = setup_.device;
  run.operations = OperationCount(setup_.config(), setup_.encoder->config(), options_.freeze);
  run.operation_rate = group_.sum(std::vector<double>{matrix_product_rate(setup_.device, setup_.dtype)})[0];
  return run;
}

RunState TrainingLoop::state() const {
  return {options_, stage_, setup_, adam_, scaler_, group_.world_size()};
}

/// Not while steps fail: the checkpoints from before are what the run can go on from.
void TrainingLoop::save_where_due() {
  const bool has_learned = first_step_ > 0 || reporter_->samples() > 0;
  if (save_is_due_ && bad_steps_.in_a_row() == 0 && stop_signal_ == 0 && has_learned &&
      position_.step < schedule_.total) {
    save();
  }
}

void TrainingLoop::save() {
  save_is_due_ = false;
  if (group_.is_main()) {
    save_run_checkpoint(state(), position_, checkpoints_, /*is_doubtful=*/bad_steps_.in_a_row() > 0);
    save_run_weights(state());
  }
}

std::string TrainingLoop::kept_in_words() const {
  const std::vector<std::filesystem::path> kept = checkpoints_.own();
  if (kept.empty()) {
    return "no checkpoint was written before them";
  }
  return concat("the last checkpoint is from before them: ", kept.back().string(),
                kept.size() > 1 ? " (--resume FILE goes on from an older one)" : "");
}

/// Else the weights of an earlier run, or of the last checkpoint, would be replaced by worse ones.
void TrainingLoop::require_learning() const {
  require(stop_signal_ != 0 || first_step_ > 0 || position_.step == 0 || reporter_->samples() > 0, options_.data_path,
          ": expected samples to learn from, found that all of ", position_.step,
          " steps were skipped; nothing was written. --check_data tells why");
  if (stop_signal_ != 0 && bad_steps_.prevail()) {
    if (group_.is_main()) {
      log_warning(concat(bad_steps_.left_out(), " of ", bad_steps_.tried(),
                         " steps were left out as not finite: this step's weights were not written, ",
                         kept_in_words()));
    }
    return;
  }
  require(!bad_steps_.prevail(), options_.out_dir, ": expected steps with a finite loss, found that ",
          bad_steps_.left_out(), " of ", bad_steps_.tried(), " were left out; weights were not written, ",
          kept_in_words(), "; a lower --learning_rate, a warm-up or better data may help");
  if (bad_steps_.in_a_row() > 0 && group_.is_main()) {
    log_warning(concat("the last ", bad_steps_.in_a_row(),
                       " steps were left out as not finite: look at the curves before the weights are used; ",
                       kept_in_words()));
  }
}

ReportedMoment TrainingLoop::moment() const {
  return {position_.step, rates()[0], loader_->waited_seconds(), features_.encoded()};
}

void TrainingLoop::validate() {
  if (validation_) {
    const ValidationRecord record = validation_->run();
    reporter_->validated(record, moment());
  }
}

std::vector<double> TrainingLoop::rates() const {
  return {schedule_.at(position_.step - 1), projection_schedule_.at(position_.step - 1)};
}

std::vector<Batch> TrainingLoop::next_batches() {
  std::vector<Batch> batches;
  while (static_cast<int64_t>(batches.size()) < options_.accumulation_steps && position_.step < schedule_.total) {
    std::optional<Batch> batch = loader_->next();
    if (!batch) {
      break;
    }
    batches.push_back(std::move(*batch));
    ++position_.step;
    position_.group += group_.world_size();
  }
  return batches;
}

void TrainingLoop::warn_of_guessing(double loss) const {
  const double uniform = std::log(static_cast<double>(setup_.config().vocab_size));
  if (group_.is_main() && loss >= uniform && options_.init_from != "none") {
    log_warning(concat("first loss ", loss, ": expected less than ln(", setup_.config().vocab_size, ") = ", uniform,
                       ", which is guessing; the language model is probably untrained: see --init_from"));
  }
}

/// Of all ranks: they must count alike.
bool TrainingLoop::is_finite_everywhere(double loss) {
  return group_.sum(std::vector<int64_t>{std::isfinite(loss) ? 0 : 1})[0] == 0;
}

void TrainingLoop::note(const StepOutcome& outcome, const std::vector<Batch>& batches) {
  const double sum = outcome.loss_sum.defined() ? outcome.loss_sum.item<double>() : 0;
  int64_t own_tokens = 0;
  for (const Batch& batch : batches) {
    own_tokens += batch.supervised_tokens;
  }
  const double loss = own_tokens > 0 ? sum / static_cast<double>(own_tokens) : 0;
  const double norm = outcome.grad_norm.defined() ? outcome.grad_norm.item<double>() : 0;
  if (!std::isfinite(norm) || !std::isfinite(loss)) {
    if (scaler_.enabled() && is_finite_everywhere(loss)) {
      return;  // The loss scale was too high: it has been halved.
    }
    reporter_->break_line();
    bad_steps_.bad({position_.step, loss, norm, kept_in_words()}, batches);
    return;
  }
  bad_steps_.good(norm);
  reporter_->note(sum, own_tokens, outcome.auxiliary.defined() ? outcome.auxiliary.item<double>() : 0, norm);
  if (reporter_->samples() == outcome.rows && first_step_ == 0) {
    warn_of_guessing(loss);
  }
  if (on_step_) {
    on_step_({position_.epoch, position_.step, rates()[0], loss, norm, outcome.rows});
  }
}

/// Dropout's random numbers follow from the step, so that a resumed run draws the same ones.
void TrainingLoop::seed_step() const {
  if (setup_.config().dropout > 0) {
    Random random(static_cast<uint64_t>(options_.seed), static_cast<uint64_t>(position_.step));
    uint64_t seed = random.next();
    for (int64_t rank = 0; rank < group_.rank(); ++rank) {
      seed = random.next();
    }
    at::manual_seed(seed);
  }
}

void TrainingLoop::learn(std::vector<Batch> batches) {
  seed_step();
  const StepOutcome outcome = runner_.run(batches, rates(), signals_.received());
  stop_signal_ = stop_signal_ != 0 ? stop_signal_ : outcome.stop_signal;
  if (outcome.tokens > 0) {
    reporter_->count(outcome);
    note(outcome, batches);
  }
}

bool TrainingLoop::run_epoch() {
  loader_->start_epoch(position_.epoch, position_.group);
  while (stop_signal_ == 0) {
    const int64_t before = position_.step;
    std::vector<Batch> batches = next_batches();
    if (batches.empty()) {
      return position_.step < schedule_.total;
    }
    learn(std::move(batches));
    const auto passed = [&](int64_t interval) { return interval > 0 && position_.step / interval > before / interval; };
    const bool lasting = passed(*options_.log_interval) || position_.step == schedule_.total || before == 0;
    reporter_->show(moment(), lasting);
    save_is_due_ = save_is_due_ || passed(options_.save_interval);
    save_where_due();
  }
  return false;
}

TrainResult TrainingLoop::run() {
  setup_.model->train();
  setup_.encoder->eval();
  reporter_->start();
  while (position_.epoch < options_.epochs && position_.step < schedule_.total) {
    if (!run_epoch()) {
      break;
    }
    validate();
    ++position_.epoch;
    position_.group = 0;
    position_.step = position_.epoch * loader_->micro_steps_per_epoch();
  }
  reporter_->break_line();
  require_learning();
  const bool saves = stop_signal_ != 0 ? !bad_steps_.prevail() : options_.save_last;
  if (saves) {
    save();
  }
  if (stop_signal_ == 0 && position_.step > first_step_) {
    validate();
  }
  // Nobody leaves before the last file is written: a failure there is everybody's.
  group_.barrier();
  reporter_->finish();
  TrainResult result;
  result.steps = position_.step;
  result.seconds = reporter_->elapsed();
  result.loss = reporter_->last_loss();
  result.samples = reporter_->samples();
  result.model = model_name(setup_.config());
  result.left_out = bad_steps_.left_out();
  result.skipped = static_cast<int64_t>(loader_->skipped().size());
  result.signal = stop_signal_;
  result.is_saved = saves;
  return result;
}

}  // namespace minimind
