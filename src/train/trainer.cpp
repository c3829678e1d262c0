#include "minimind/train/trainer.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/base/log.h"
#include "minimind/base/progress.h"
#include "minimind/model/weights.h"
#include "minimind/train/adam.h"
#include "minimind/train/check_data.h"
#include "minimind/train/checkpoint.h"
#include "minimind/train/metrics.h"
#include "minimind/train/precision.h"
#include "minimind/train/schedule.h"
#include "minimind/train/setup.h"
#include "minimind/train/speed.h"
#include "minimind/train/step.h"
#include "minimind/train/stop_signals.h"

namespace minimind {
namespace {

using Clock = std::chrono::steady_clock;

class Trainer {
 public:
  Trainer(const TrainOptions& options, Stage stage, ProcessGroup& group, TrainingSetup setup,
          const Checkpoint* checkpoint, std::function<void(const StepReport&)> on_step);
  TrainResult run();

 private:
  bool run_epoch();
  std::vector<Batch> next_batches();
  void learn(std::vector<Batch> batches);
  void note(const StepOutcome& outcome, const std::vector<Batch>& batches);
  void refuse_step(const StepOutcome& outcome, const std::vector<Batch>& batches, double loss);
  void show(bool lasting);
  void record(const MetricsRecord& record);
  void save_checkpoint();
  void save_weights() const;
  std::vector<double> rates() const;
  double elapsed() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }
  std::filesystem::path out(const std::string& name) const { return std::filesystem::path(options_.out_dir) / name; }

  TrainOptions options_;
  Stage stage_;
  ProcessGroup& group_;
  TrainingSetup setup_;
  std::string stem_;
  std::unique_ptr<Loader> loader_;
  FeatureProvider features_;
  Adam adam_;
  LossScaler scaler_;
  StepRunner runner_;
  CheckpointFolder checkpoints_;
  std::optional<MetricsLog> metrics_;
  Schedule schedule_;
  Schedule projection_schedule_;
  TrainingPosition position_;
  StopSignals signals_;
  ProgressLine line_;
  Window window_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point page_written_{};
  double earlier_seconds_ = 0;
  int64_t first_step_ = 0;
  int64_t bad_steps_ = 0;
  int64_t samples_seen_ = 0;
  double last_loss_ = 0;
  double last_norm_ = 0;
  std::deque<double> norms_;
  bool stop_ = false;
  std::function<void(const StepReport&)> on_step_;
};

StepSettings step_settings(const TrainOptions& options) {
  return {options.grad_clip, options.moe_aux_loss, options.bucket_mb * 1'000'000};
}

Trainer::Trainer(const TrainOptions& options, Stage stage, ProcessGroup& group, TrainingSetup setup,
                 const Checkpoint* checkpoint, std::function<void(const StepReport&)> on_step)
    : options_(options),
      stage_(stage),
      group_(group),
      setup_(std::move(setup)),
      stem_(output_stem(setup_.config(), stage)),
      loader_(make_loader(setup_, options, stage, group.rank(), group.world_size())),
      features_(setup_.encoder, setup_.device, setup_.dtype, setup_.cache.get(), options.feature_memory_mb * 1'000'000),
      adam_(trained_parameters(*setup_.model, options.freeze)),
      scaler_(setup_.dtype == at::kHalf, setup_.device),
      runner_(setup_.model, features_, adam_, scaler_, group, setup_.dtype, step_settings(options)),
      checkpoints_(out(stem_ + "_checkpoints"), options.keep_last),
      on_step_(std::move(on_step)) {
  int64_t total = options.epochs * loader_->steps_per_epoch();
  if (options.max_steps > 0) {
    total = std::min(total, options.max_steps);
  }
  schedule_ = {*options.learning_rate, options.warmup_iters, total};
  projection_schedule_ = {options.projection_learning_rate.value_or(*options.learning_rate), options.warmup_iters,
                          total};
  if (checkpoint != nullptr) {
    position_ = checkpoint->info.position;
    // With another number of processes the same groups are as many steps as they are now.
    position_.group -= position_.group % group.world_size();
    position_.step = position_.epoch * loader_->steps_per_epoch() + position_.group / group.world_size();
    adam_.load(checkpoint->state, checkpoint->path.string());
    scaler_.load(checkpoint->state);
    first_step_ = position_.step;
  }
  if (group.is_main()) {
    metrics_.emplace(options.out_dir, stage_name(stage), first_step_);
    for (const MetricsRecord& earlier : metrics_->records()) {
      if (earlier.stage == stage_name(stage)) {
        earlier_seconds_ = earlier.seconds;
      }
    }
  }
}

std::vector<double> Trainer::rates() const {
  return {schedule_.at(position_.step - 1), projection_schedule_.at(position_.step - 1)};
}

std::vector<Batch> Trainer::next_batches() {
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

void Trainer::refuse_step(const StepOutcome& outcome, const std::vector<Batch>& batches, double loss) {
  ++bad_steps_;
  std::string samples;
  for (const Batch& batch : batches) {
    for (const std::string& id : batch.sample_ids) {
      samples += (samples.empty() ? "" : ", ") + id;
    }
  }
  std::string history;
  for (const double norm : norms_) {
    history += concat(history.empty() ? "" : ", ", norm);
  }
  line_.finish();
  const double norm = outcome.grad_norm.defined() ? outcome.grad_norm.item<double>() : 0;
  log_warning(concat("step ", position_.step, ": loss ", loss, ", gradient norm ", norm,
                     ": not finite, step left out (", bad_steps_, " in a row of at most ", options_.max_bad_steps,
                     "); samples: ", samples, "; gradient norms before: ", history.empty() ? "none" : history));
  require(bad_steps_ < options_.max_bad_steps, "step ", position_.step, ": expected a finite loss, found ", bad_steps_,
          " steps in a row without one (--max_bad_steps); weights are as in the last checkpoint; a lower "
          "--learning_rate, a warm-up or better data may help");
}

void Trainer::note(const StepOutcome& outcome, const std::vector<Batch>& batches) {
  constexpr size_t kHistory = 8;
  const double sum = outcome.loss_sum.defined() ? outcome.loss_sum.item<double>() : 0;
  int64_t own_tokens = 0;
  for (const Batch& batch : batches) {
    own_tokens += batch.supervised_tokens;
  }
  const double loss = own_tokens > 0 ? sum / static_cast<double>(own_tokens) : 0;
  const double norm = outcome.grad_norm.defined() ? outcome.grad_norm.item<double>() : 0;
  if (!std::isfinite(norm) || !std::isfinite(loss)) {
    if (scaler_.enabled() && std::isfinite(loss)) {
      return;  // The loss scale was too high: it has been halved.
    }
    refuse_step(outcome, batches, loss);
    return;
  }
  bad_steps_ = 0;
  last_norm_ = norm;
  norms_.push_back(norm);
  if (norms_.size() > kHistory) {
    norms_.pop_front();
  }
  window_.loss_sum += sum;
  window_.loss_tokens += own_tokens;
  window_.expert_loss += outcome.auxiliary.defined() ? outcome.auxiliary.item<double>() : 0;
  const bool is_first = samples_seen_ == outcome.rows && first_step_ == 0;
  const double uniform = std::log(static_cast<double>(setup_.config().vocab_size));
  if (is_first && group_.is_main() && loss >= uniform && options_.init_from != "none") {
    log_warning(concat("first loss ", loss, ": expected less than ln(", setup_.config().vocab_size, ") = ", uniform,
                       ", which is guessing; the language model is probably untrained: see --init_from"));
  }
  if (on_step_) {
    on_step_({position_.epoch, position_.step, rates()[0], loss, norm, outcome.rows});
  }
}

void Trainer::learn(std::vector<Batch> batches) {
  const StepOutcome outcome = runner_.run(batches, rates(), signals_.received() != 0);
  stop_ = stop_ || outcome.stop;
  if (outcome.tokens == 0) {
    return;
  }
  samples_seen_ += outcome.rows;
  ++window_.steps;
  window_.samples += outcome.rows;
  window_.words += outcome.words;
  note(outcome, batches);
}

void Trainer::record(const MetricsRecord& record) {
  if (!metrics_) {
    return;
  }
  metrics_->add(record);
  if (Clock::now() - page_written_ > std::chrono::seconds(10)) {
    page_written_ = Clock::now();
    metrics_->write_page("MiniMind-V training: " + options_.out_dir);
  }
}

void Trainer::show(bool lasting) {
  std::vector<double> sums = {window_.loss_sum, static_cast<double>(window_.loss_tokens), window_.expert_loss};
  if (lasting) {
    sums = group_.sum(sums);
  }
  if (!group_.is_main() || sums[1] == 0) {
    return;
  }
  const double seconds = std::max(1e-9, window_.seconds());
  MetricsRecord record;
  record.stage = stage_name(stage_);
  record.step = position_.step;
  record.epoch = static_cast<double>(position_.step) / static_cast<double>(loader_->steps_per_epoch());
  record.loss = sums[0] / sums[1];
  record.learning_rate = rates()[0];
  record.grad_norm = last_norm_;
  record.samples_per_second = static_cast<double>(window_.samples) / seconds;
  record.tokens_per_second = static_cast<double>(window_.words) / seconds;
  record.data_wait = (loader_->waited_seconds() - window_.data_wait) / seconds;
  record.reduce_wait = (group_.waited_seconds() - window_.reduce_wait) / seconds;
  record.memory_mb = peak_memory_mb();
  record.seconds = earlier_seconds_ + elapsed();
  if (setup_.config().use_moe) {
    record.expert_loss = sums[2] / static_cast<double>(std::max<int64_t>(1, window_.steps));
  }
  last_loss_ = record.loss;
  const double done = static_cast<double>(position_.step - first_step_);
  const double left = elapsed() / std::max(1.0, done) * static_cast<double>(schedule_.total - position_.step);
  char text[256];
  std::snprintf(
      text, sizeof(text),
      "%s %lld/%lld  epoch %.2f  loss %.4f  lr %.3g  %.1f samples/s  %.0f tokens/s  norm %.2f  wait %.0f%%  left %s",
      record.stage.c_str(), static_cast<long long>(position_.step), static_cast<long long>(schedule_.total),
      record.epoch, record.loss, record.learning_rate, record.samples_per_second, record.tokens_per_second,
      record.grad_norm, 100 * record.data_wait, format_duration(left).c_str());
  line_.show(text, lasting);
  if (lasting) {
    this->record(record);
  }
}

void Trainer::save_checkpoint() {
  if (!group_.is_main()) {
    return;
  }
  CheckpointInfo info;
  info.stage = stage_name(stage_);
  info.config = lm_config_to_json(setup_.config());
  TrainOptions copy = options_;
  info.options = fields_to_json(copy.fields());
  info.position = position_;
  info.world_size = group_.world_size();
  info.threads = at::get_num_threads();
  info.samples = setup_.dataset->size();
  StateDict state;
  for (const auto& item : setup_.model->named_parameters()) {
    state.add("model." + item.key(), item.value().detach().cpu());
  }
  adam_.save(state);
  scaler_.save(state);
  checkpoints_.save(info, state);
}

void Trainer::save_weights() const {
  if (!group_.is_main()) {
    return;
  }
  StateDict state;
  const StateDict on_device = vlm_state_dict(*setup_.model);
  const at::Tensor* head = on_device.find("output.weight");
  const at::Tensor* embedding = on_device.find("tok_embeddings.weight");
  const at::Tensor shared = embedding != nullptr ? embedding->detach().cpu() : at::Tensor();
  for (const auto& [name, tensor] : on_device.entries()) {
    const bool is_tied = head != nullptr && (name == "output.weight" || name == "tok_embeddings.weight");
    state.add(name, is_tied ? shared : tensor.detach().cpu());
  }
  // The head counts cannot be told from the tensors' shapes: the file beside says them.
  write_file_atomically(out(stem_ + ".json"), lm_config_to_json(setup_.config()) + "\n");
  write_pth(out(stem_ + ".pth"), state);
}

bool Trainer::run_epoch() {
  loader_->start_epoch(position_.epoch, position_.group);
  while (!stop_) {
    const int64_t before = position_.step;
    std::vector<Batch> batches = next_batches();
    if (batches.empty()) {
      return position_.step < schedule_.total;
    }
    learn(std::move(batches));
    const auto passed = [&](int64_t interval) { return interval > 0 && position_.step / interval > before / interval; };
    const bool lasting = passed(*options_.log_interval) || position_.step == schedule_.total || before == 0;
    show(lasting);
    if (lasting) {
      window_ = Window{};
      window_.data_wait = loader_->waited_seconds();
      window_.reduce_wait = group_.waited_seconds();
    }
    if (passed(options_.save_interval) && !stop_ && position_.step < schedule_.total) {
      save_checkpoint();
      save_weights();
    }
  }
  return false;
}

TrainResult Trainer::run() {
  setup_.model->train();
  setup_.encoder->eval();
  start_ = Clock::now();
  window_ = Window{};
  while (position_.epoch < options_.epochs && position_.step < schedule_.total) {
    if (!run_epoch()) {
      break;
    }
    ++position_.epoch;
    position_.group = 0;
  }
  line_.finish();
  if (stop_ || options_.save_last) {
    save_checkpoint();
    save_weights();
  }
  if (metrics_) {
    metrics_->write_page("MiniMind-V training: " + options_.out_dir);
  }
  TrainResult result;
  result.steps = position_.step;
  result.seconds = elapsed();
  result.loss = last_loss_;
  result.samples = samples_seen_;
  result.skipped = static_cast<int64_t>(loader_->skipped().size());
  result.signal = stop_ ? std::max(1, signals_.received()) : 0;
  return result;
}

std::optional<Checkpoint> find_checkpoint(const TrainOptions& options, Stage stage) {
  if (options.resume == "none") {
    return std::nullopt;
  }
  if (options.resume != "auto") {
    const std::filesystem::path path = options.resume;
    require(std::filesystem::exists(path), path.string(),
            ": expected a checkpoint to resume from (--resume), found nothing");
    if (!std::filesystem::is_directory(path)) {
      return read_checkpoint(path);
    }
    std::optional<Checkpoint> found = newest_checkpoint(CheckpointFolder(path, options.keep_last));
    require(found.has_value(), path.string(), ": expected step_*.safetensors (--resume), found none that can be read");
    return found;
  }
  const std::string end = concat("_vlm_", stage_name(stage), "_checkpoints");
  std::optional<Checkpoint> newest;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(options.out_dir, ignored)) {
    const std::string name = entry.path().filename().string();
    const bool matches_width = !options.model.dim || name.starts_with(concat(*options.model.dim, "_"));
    if (entry.is_directory() && name.ends_with(end) && matches_width) {
      std::optional<Checkpoint> found = newest_checkpoint(CheckpointFolder(entry.path(), options.keep_last));
      require(!found || !newest, options.out_dir, ": expected checkpoints of one width, found several; give --dim");
      newest = std::move(found);
    }
  }
  return newest;
}

void check_resumable(const Checkpoint& checkpoint, const TrainOptions& options, Stage stage,
                     const TrainingSetup& setup) {
  const std::string where = checkpoint.path.string();
  require(checkpoint.info.stage == stage_name(stage), where, ": expected a checkpoint of ", stage_name(stage),
          ", found one of ", checkpoint.info.stage);
  require(checkpoint.info.samples == setup.dataset->size(), where, ": expected the data set of ",
          checkpoint.info.samples, " samples that it was trained on, found ", setup.dataset->size(), " in ",
          options.data_path);
  TrainOptions before;
  fields_from_json(before.fields(), checkpoint.info.options, where);
  require(before.batch_size == options.batch_size && before.seed == options.seed &&
              before.original_order == options.original_order,
          where, ": expected --batch_size ", before.batch_size, ", --seed ", before.seed, " and --original_order ",
          before.original_order, " as before (they decide the order of the data), found ", options.batch_size, ", ",
          options.seed, " and ", options.original_order);
}

}  // namespace

TrainResult train(const TrainOptions& options, Stage stage, ProcessGroup& group,
                  const std::function<void(const StepReport&)>& on_step) {
  ensure_writable_folder(options.out_dir);
  if (options.threads > 0) {
    at::set_num_threads(static_cast<int>(options.threads));
  }
  at::manual_seed(static_cast<uint64_t>(options.seed + group.rank()));
  const std::optional<Checkpoint> checkpoint = find_checkpoint(options, stage);
  const c10::Device device = training_device(options.device, group.info().local_rank);
  TrainingSetup setup = make_setup(options, stage, device, checkpoint ? &*checkpoint : nullptr);
  if (checkpoint) {
    check_resumable(*checkpoint, options, stage, setup);
    log_info(concat("resuming from ", checkpoint->path.string(), ": epoch ", checkpoint->info.position.epoch, ", step ",
                    checkpoint->info.position.step));
  }
  Trainer trainer(options, stage, group, std::move(setup), checkpoint ? &*checkpoint : nullptr, on_step);
  return trainer.run();
}

int run_training(TrainOptions options, Stage stage) {
  options.validate();
  const RankInfo info = rank_from_environment();
  if (options.check_data) {
    return info.rank == 0 ? check_data(options, stage) : 0;
  }
  const c10::Device device = training_device(options.device, info.local_rank);
  if (info.restart > 0 && options.resume == "none") {
    options.resume = "auto";
  }
  ProcessGroup group(info, device);
  const TrainResult result = train(options, stage, group);
  if (group.is_main()) {
    log_info(concat(result.signal != 0 ? "stopped and saved" : "finished", ": ", result.steps, " steps, ",
                    result.samples, " samples in ", format_duration(result.seconds), ", last loss ", result.loss,
                    result.skipped > 0 ? concat(", ", result.skipped, " samples skipped") : "",
                    "; weights and curves in ", options.out_dir));
  }
  return result.signal != 0 ? 128 + result.signal : 0;
}

}  // namespace minimind
