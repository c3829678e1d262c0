#include "train/setup.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "io/checkpoint_keys.h"
#include "io/dtype_names.h"
#include "minimind/base/content_hash.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/base/log.h"
#include "minimind/model/weights.h"
#include "minimind/text/chat_prompt.h"
#include "minimind/text/load_tokenizer.h"
#include "model/clip_weights.h"
#include "model/device.h"
#include "train/features.h"
#include "train/precision.h"

namespace minimind {
namespace {

bool starts_fresh(const TrainOptions& options) {
  return options.init_from == "none";
}

std::filesystem::path init_path(const TrainOptions& options, Stage stage) {
  const std::filesystem::path path =
      options.init_from.empty() ? default_init_path(options, stage) : std::filesystem::path(options.init_from);
  require(std::filesystem::exists(path), path.string(),
          ": expected the weights to start from, found nothing; give --init_from PATH, ",
          "or --init_from none for fresh weights");
  return path;
}

/// The stage whose file this one starts from, as find_model() names it.
std::string start_stage(Stage stage) {
  return stage == Stage::kPretrain ? "llm" : stage == Stage::kInstruction ? "vlm_pretrain" : "vlm_sft";
}

LmConfig fresh_config(const Tokenizer& tokenizer) {
  LmConfig config;
  config.vocab_size = tokenizer.vocab_size();
  return config;
}

/// known_from: the file that tells the configuration; "" where it was assumed.
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
          config.vocab_size, " tokens (the model's vocabulary), found ", setup.tokenizer->vocab_size(),
          "; is it this model's tokenizer?");
  config.validate();
}

/// A checkpoint holds the trained parameters by the model's own names.
void load_from_checkpoint(VlmImpl& model, const Checkpoint& checkpoint) {
  const StateDict state = model_of_checkpoint(checkpoint.state);
  LoadOptions strict;
  strict.allow_missing_projection = false;
  log_info(load_vlm(model, state, checkpoint.path.string(), strict).summary());
}

void make_model(TrainingSetup& setup, const TrainOptions& options, Stage stage, const Checkpoint* checkpoint) {
  LmConfig config;
  std::optional<ModelFile> start;
  std::string known_from;
  if (checkpoint != nullptr) {
    known_from = checkpoint->path.string();
    config = lm_config_from_json(checkpoint->info.config, checkpoint->path.string());
  } else if (starts_fresh(options)) {
    config = fresh_config(*setup.tokenizer);
  } else {
    start = find_model(init_path(options, stage));
    config = start->config;
    known_from = start->config_is_given ? start->weights.string() : "";
    for (const std::string& notice : {start->notice, stage_warning(*start, start_stage(stage))}) {
      if (!notice.empty()) {
        log_warning(notice);
      }
    }
  }
  finish_config(config, options, known_from, setup);
  setup.model = Vlm(config);
  initialise(*setup.model, static_cast<uint64_t>(options.seed), options.model.initializer_range);
  if (checkpoint != nullptr) {
    load_from_checkpoint(*setup.model, *checkpoint);
  } else if (start) {
    // A language-only checkpoint is what pretraining starts from, and a mistake in every later stage.
    const LoadOptions load{stage == Stage::kPretrain, options.allow_missing};
    log_info(concat(start->weights.string(), ":\n",
                    load_vlm(*setup.model, start->state, start->weights.string(), load).summary()));
  } else {
    log_info("weights: fresh ones (--init_from none)");
  }
  setup.model->to(setup.device);
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

}  // namespace

c10::Device training_device(const std::string& device, int64_t local_rank) {
  return device_of(device, local_rank);
}

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
    // An image encoded again, in another batch or out of a cache, must have the same features: a resumed run equals one
    // without a break. Batches of four images took 14 % longer than batches of eight.
    encoding.encode_batch = 8;
    encoding.dtype = setup.dtype == at::kBFloat16 ? at::kBFloat16 : at::kFloat;
  }
  LoadReport encoder_report;
  setup.encoder = load_clip_vision(options.clip_dir, &encoder_report, /*map_weights=*/true, encoding);
  log_info(concat(options.clip_dir, ":\n", encoder_report.summary()));
  setup.encoder->to(device);
  setup.dataset = Dataset::load(options.data_path, data_kind(stage));
  require(setup.dataset->size() > 0, options.data_path, ": expected samples, found an empty list");
  setup.data_digest = to_hex(setup.dataset->digest());
  setup.images = open_image_source(options.images_dir);
  make_model(setup, options, stage, checkpoint);
  open_cache(setup, options);
  return setup;
}

std::string image_pattern_text(const std::string& configured, int64_t vision_tokens) {
  if (configured != LmConfig{}.image_special_token || static_cast<int64_t>(configured.size()) == vision_tokens) {
    return configured;
  }
  const size_t left = static_cast<size_t>(vision_tokens / 2);
  return std::string(left, '<') + std::string(static_cast<size_t>(vision_tokens) - left, '>');
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

std::unique_ptr<Loader> make_loader(const TrainingSetup& setup, const TrainOptions& options, Stage stage, int64_t rank,
                                    int64_t world_size) {
  const LoaderInput input{*setup.dataset, data_kind(stage), *setup.tokenizer,
                          setup.pattern,  *setup.images,    setup.cache.get()};
  LoaderOptions loader = loader_options(options, setup.encoder->config().image_size, rank, world_size);
  loader.block_size = setup.order_block;
  return std::make_unique<Loader>(input, loader);
}

std::vector<ParameterGroup> trained_parameters(VlmImpl& model, const std::string& freeze) {
  const std::string last_layer = concat("layers.", model.config().n_layers - 1, ".");
  std::vector<ParameterGroup> groups(2);
  for (auto& item : model.named_parameters()) {
    const std::string& name = item.key();
    const bool is_projection = name.starts_with("vision_proj.");
    const bool is_middle =
        name.starts_with("layers.") && !name.starts_with("layers.0.") && !name.starts_with(last_layer);
    const bool frozen = (freeze == "language_model" && !is_projection) || (freeze == "middle_layers" && is_middle);
    item.value().set_requires_grad(!frozen);
    if (!frozen) {
      groups[is_projection ? 1 : 0].parameters.emplace_back(name, item.value());
    }
  }
  return groups;
}

}  // namespace minimind
