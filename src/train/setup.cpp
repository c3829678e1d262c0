#include "train/setup.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <utility>

#include "base/hub_folder.h"
#include "base/primitive_cache.h"
#include "data/audit.h"
#include "io/dtype_names.h"
#include "io/mapped_pages.h"
#include "minimind/base/content_hash.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/base/log.h"
#include "minimind/model/clip_vision.h"
#include "minimind/model/weights.h"
#include "minimind/text/chat_prompt.h"
#include "minimind/text/load_tokenizer.h"
#include "model/weight_match.h"
#include "train/agreement.h"
#include "train/cpu_dtype.h"
#include "train/train_step.h"

namespace minimind {
namespace {

std::filesystem::path init_path(const TrainOptions& options, Stage stage) {
  const std::filesystem::path path =
      options.init_from.empty() ? default_init_path(options, stage) : std::filesystem::path(options.init_from);
  require(std::filesystem::exists(path), path.string(),
          ": expected initial weights, found no such file; give --init_from PATH, or --init_from none for random "
          "weights");
  return path;
}

/// The image placeholder for an encoder with this number of tokens, if the model has the default placeholder; else the
/// configured placeholder.
std::string image_pattern_text(const std::string& configured, int64_t vision_tokens) {
  if (configured != LmConfig{}.image_special_token || static_cast<int64_t>(configured.size()) == vision_tokens) {
    return configured;
  }
  const size_t left = static_cast<size_t>(vision_tokens / 2);
  return std::string(left, '<') + std::string(static_cast<size_t>(vision_tokens) - left, '>');
}

/// Completes the configuration by flags, encoder and tokenizer. `known_from`: the file that it was read from; empty if
/// it was assumed.
void finish_config(LmConfig& config, const TrainOptions& options, const std::string& known_from, TrainingSetup& setup) {
  if (known_from.empty()) {
    options.model.apply(config);
  } else {
    options.model.apply_to_known(config, known_from);
  }
  config.max_seq_len = std::max(config.max_seq_len, options.max_seq_len);
  config.vision_dim = setup.encoder->config().hidden_size;
  const int64_t vision_tokens = setup.encoder->config().tokens();
  config.image_special_token = image_pattern_text(config.image_special_token, vision_tokens);
  setup.pattern = make_image_pattern(*setup.tokenizer, config.image_special_token, vision_tokens);
  config.image_ids.assign(setup.pattern.ids.begin(), setup.pattern.ids.end());
  require(setup.tokenizer->vocab_size() <= config.vocab_size, options.tokenizer, ": expected at most ",
          config.vocab_size, " tokens (the vocabulary of the model), found ", setup.tokenizer->vocab_size(),
          "; give the tokenizer of this model (--tokenizer)");
  config.validate();
}

void make_model(TrainingSetup& setup, const TrainOptions& options, Stage stage, const Checkpoint* checkpoint) {
  LmConfig config;
  std::optional<ModelFile> start;
  std::string known_from;
  if (checkpoint != nullptr) {
    known_from = checkpoint->path.string();
    config = lm_config_from_json(checkpoint->info.config, checkpoint->path.string());
  } else if (options.init_from == "none") {
    config.vocab_size = setup.tokenizer->vocab_size();
  } else {
    start = find_model(init_path(options, stage));
    config = start->config;
    known_from = start->config_is_given ? start->weights.string() : "";
    for (const std::string& notice :
         {start->notice, stage_warning(*start, stage_info(stage_info(stage).starts_from).file_end)}) {
      if (!notice.empty()) {
        log_warning(notice);
      }
    }
  }
  finish_config(config, options, known_from, setup);
  setup.model = Vlm(config);
  initialise(*setup.model, static_cast<uint64_t>(options.seed), options.model.initializer_range);
  if (start) {
    // Pretraining starts from a language model without vision; in later stages such a file is a mistake.
    const LoadOptions load{stage == Stage::kPretrain, options.allow_missing};
    log_info(concat(start->weights.string(), ":\n",
                    load_vlm(*setup.model, start->state, start->weights.string(), load).summary()));
  } else if (checkpoint == nullptr) {
    log_info("weights: random initialisation (--init_from none)");
  }
  setup.model->to(setup.device);
}

/// A digest of all that the features depend on beside the image: weights, configuration and normalisation.
std::string encoder_key(const ClipVisionImpl& encoder) {
  std::vector<StateDict::Entry> entries = named_weights(encoder);
  for (const auto& item : encoder.named_buffers()) {
    entries.emplace_back(item.key(), item.value());
  }
  ClipVisionConfig config = encoder.config();
  return to_hex(hash_content(fields_to_json(config.fields()), hash_tensors(entries)));
}

void open_cache(TrainingSetup& setup, const TrainOptions& options) {
  if (options.feature_cache.empty()) {
    return;
  }
  at::ScalarType dtype = setup.dtype;
  if (options.feature_cache_dtype != "auto") {
    dtype = dtype_of_flag(options.feature_cache_dtype, "--feature_cache_dtype");
  }
  const ClipVisionConfig& config = setup.encoder->config();
  setup.cache =
      FeatureCache::open(options.feature_cache, concat(encoder_key(*setup.encoder), "-", static_cast<int>(setup.dtype)),
                         config.tokens(), config.hidden_size, dtype);
  int64_t images = 0;
  for (int64_t index = 0; index < setup.dataset->size(); ++index) {
    images += setup.dataset->sample_size(index).images;
  }
  log_info(setup.cache->disk_need(images));
}

/// Throws Error if the run cannot continue from the checkpoint. Logs where the run continues.
void check_resumable(const Checkpoint& checkpoint, const TrainOptions& options, Stage stage,
                     const TrainingSetup& setup) {
  const CheckpointInfo& info = checkpoint.info;
  const std::string where = checkpoint.path.string();
  constexpr const char* kCure =
      "; continue with the files of the run (they may have moved), or start a new run from its weights (--init_from, "
      "another --out_dir)";
  require(info.stage == stage_name(stage), where, ": expected a checkpoint of ", stage_name(stage),
          ", found a checkpoint of ", info.stage);
  require(info.samples == setup.dataset->size() && info.data_digest == setup.data_digest, where,
          ": expected the data set of this checkpoint (", info.samples, " samples, digest ", info.data_digest,
          "), found other samples or another order in ", options.data_path, " (", setup.dataset->size(),
          " samples, digest ", setup.data_digest, ")", kCure);
  require(info.tokenizer_digest == setup.tokenizer_digest, where,
          ": expected the tokenizer of this checkpoint (digest ", info.tokenizer_digest, "), found digest ",
          setup.tokenizer_digest, " in ", options.tokenizer, kCure);
  TrainOptions before;
  fields_from_json(before.fields(), info.options, where);
  require(before.batch_size == options.batch_size && before.seed == options.seed &&
              before.original_order == options.original_order,
          where, ": expected --batch_size ", before.batch_size, ", --seed ", before.seed, " and --original_order ",
          before.original_order, " of this checkpoint (they decide the order of the data), found ", options.batch_size,
          ", ", options.seed, " and ", options.original_order);
  if (info.threads != at::get_num_threads()) {
    log_warning(concat("resuming with ", at::get_num_threads(), " threads after ", info.threads,
                       ": numbers may differ in their last digits from an uninterrupted run (--threads)"));
  }
  log_info(concat("resuming from ", where, ": epoch ", info.position.epoch, ", micro-step ", info.position.micro_step));
}

}  // namespace

TrainingSetup make_setup(const TrainOptions& options, Stage stage, const c10::Device& device,
                         const Checkpoint* checkpoint) {
  TrainingSetup setup;
  setup.device = device;
  setup.dtype = training_dtype(options.dtype, device);
  setup.tokenizer = load_tokenizer(options.tokenizer);
  setup.tokenizer_digest = to_hex(hash_content(read_file(tokenizer_file(options.tokenizer))));
  ClipVisionOptions encoding;
  encoding.release_pages = true;
  if (device.is_cpu()) {
    // The features of an image must not depend on its batch: a resumed run equals an uninterrupted one. Batches of
    // four took 14 % longer than batches of eight.
    encoding.encode_batch = 8;
    encoding.dtype = setup.dtype == at::kBFloat16 ? at::kBFloat16 : at::kFloat;
    if (setup.dtype == at::kBFloat16) {
      limit_primitive_cache();
    }
  }
  LoadReport encoder_report;
  setup.encoder = load_clip_vision(options.clip_dir, &encoder_report, /*map_weights=*/true, encoding);
  log_info(concat(options.clip_dir, ":\n", encoder_report.summary()));
  setup.encoder->to(device);
  if (!device.is_cpu()) {
    setup.encoder->keep_matmul_weights_in(setup.dtype);
  }
  setup.dataset = Dataset::load(options.data_path, data_kind(stage));
  require(setup.dataset->size() > 0, options.data_path, ": expected at least one sample, found an empty list");
  setup.data_digest = to_hex(setup.dataset->digest());
  setup.images = open_image_source(options.images_dir);
  make_model(setup, options, stage, checkpoint);
  open_cache(setup, options);
  return setup;
}

LoaderOptions loader_options(const TrainOptions& options, int64_t image_size, int64_t rank, int64_t world_size) {
  LoaderOptions loader;
  loader.batch_size = options.batch_size;
  loader.num_workers = options.num_workers;
  loader.max_seq_len = options.max_seq_len;
  loader.image_size = image_size;
  loader.prefetch = std::max<int64_t>(4, 2 * options.accumulation_steps);
  loader.seed = static_cast<uint64_t>(options.seed);
  loader.original_order = options.original_order;
  loader.bucket_by_length = !options.original_order;
  loader.supervision = options.supervise == "all" ? Supervision::kAllAnswers : Supervision::kLastAnswer;
  loader.rank = rank;
  loader.world_size = world_size;
  loader.instruction_prefix = options.image_prefix;
  return loader;
}

void suit_device(LoaderOptions& loader, const c10::Device& device) {
  loader.pinned = !device.is_cpu();
  loader.length_multiple = device.is_cpu() ? 1 : 16;
}

std::unique_ptr<Loader> make_loader(const TrainingSetup& setup, const TrainOptions& options, Stage stage, int64_t rank,
                                    int64_t world_size) {
  const LoaderInput input{*setup.dataset, data_kind(stage), *setup.tokenizer,
                          setup.pattern,  *setup.images,    setup.cache.get()};
  LoaderOptions loader = loader_options(options, setup.encoder->config().image_size, rank, world_size);
  loader.block_size = setup.order_block;
  suit_device(loader, setup.device);
  return std::make_unique<Loader>(input, loader);
}

TrainingSetup make_equal_setup(const TrainOptions& options, Stage stage, ProcessGroup& group,
                               const Checkpoint* checkpoint) {
  TrainOptions own = options;
  own.dtype = dtype_on_this_cpu(options, group, checkpoint);
  TrainingSetup setup = make_setup(own, stage, group.device(), checkpoint);
  if (group.world_size() > 1) {
    require_equal_contents(setup.contents(), group);
  }
  setup.order_block = options.batch_size * group.world_size();
  if (checkpoint != nullptr) {
    setup.order_block = checkpoint->info.order_block;
    check_resumable(*checkpoint, options, stage, setup);
  }
  return setup;
}

int check_data(const TrainOptions& options, Stage stage) {
  ensure_writable_folder(options.out_dir);
  const std::filesystem::path config_path = hub_snapshot(options.clip_dir) / "config.json";
  const ClipVisionConfig vision = clip_config_from_json(read_file(config_path), config_path.string());
  const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(options.tokenizer);
  const ImagePattern pattern = make_image_pattern(
      *tokenizer, image_pattern_text(LmConfig{}.image_special_token, vision.tokens()), vision.tokens());
  const Dataset dataset = Dataset::load(options.data_path, data_kind(stage));
  const std::unique_ptr<ImageSource> images = open_image_source(options.images_dir);
  const AuditReport report = audit_data({dataset, data_kind(stage), *tokenizer, pattern, *images},
                                        loader_options(options, vision.image_size, 0, 1), options.data_path);
  std::cout << report.summary() << std::flush;
  const std::filesystem::path path =
      std::filesystem::path(options.out_dir) / ("check_data_" + stage_name(stage) + ".json");
  write_file_atomically(path, report.json());
  log_info("report: " + path.string());
  return report.usable > 0 ? 0 : 1;
}

std::string TrainingSetup::contents() const {
  return content_line("device", device.is_cpu() ? "CPU" : "GPU", c10::toString(dtype)) +
         content_line("data_path", *dataset) +
         content_line("tokenizer", concat(tokenizer->vocab_size(), " tokens"), tokenizer_digest) +
         content_line("clip_dir", "encoder", encoder_key(*encoder)) +
         content_line("init_from", "weights", to_hex(hash_tensors(named_weights(*model))));
}

CheckpointInfo TrainingSetup::describe(TrainOptions options, Stage stage, const ProcessGroup& group,
                                       const TrainingPosition& position) const {
  CheckpointInfo info;
  info.position = position;
  info.run_id = group.run_id();
  info.world_size = group.world_size();
  info.stage = stage_name(stage);
  info.threads = at::get_num_threads();
  info.matmul_dtype = names_of(dtype).flag;
  info.samples = dataset->size();
  info.data_digest = data_digest;
  info.tokenizer_digest = tokenizer_digest;
  info.order_block = order_block;
  info.config = lm_config_to_json(config());
  info.options = fields_to_json(options.fields());
  return info;
}

}  // namespace minimind
