#include "minimind/train/options.h"

#include <initializer_list>
#include <stdexcept>
#include <tuple>

#include "base/machine_limits.h"
#include "minimind/base/error.h"
#include "model/device.h"

namespace minimind {
namespace {

/// What differs between the stages.
struct StageDefaults {
  DataKind data_kind;
  const char* data_path;
  const char* images_dir;
  double learning_rate;
  int64_t log_interval;
};

StageDefaults defaults_of(Stage stage) {
  switch (stage) {
    case Stage::kPretrain:
      return {DataKind::kPretrain, "dataset/LLaVA-Pretrain/chat-translated.json", "dataset/pretrain_images", 4e-4, 10};
    case Stage::kInstruction:
      return {DataKind::kInstruction, "dataset/LLaVA-Instruct/llava_instruct_230k.json", "dataset/sft_images", 1e-6,
              100};
    case Stage::kMultiImage:
      return {DataKind::kMultiImage, "dataset/sft_multi_images/output.json", "dataset/sft_multi_images", 1e-6, 100};
    case Stage::kLanguageModel:
      break;
  }
  throw std::logic_error("the language model is trained elsewhere");
}

/// A setting that --help leaves out; --help_all lists it.
Field rare(Field field) {
  field.in_help = false;
  return field;
}

/// A setting that may differ between the hosts of a run.
Field of_host(Field field) {
  field.host_specific = true;
  return field;
}

std::vector<std::string> dtype_choices() {
  return {"auto", "float32", "bfloat16", "float16"};
}

}  // namespace

DataKind data_kind(Stage stage) {
  return defaults_of(stage).data_kind;
}

Fields ModelOptions::fields() {
  return {
      {"dim", &dim, "width of the language model; default: from the initial weights, else 512"},
      {"n_layers", &n_layers, "number of decoder layers; default: from the initial weights, else 8"},
      {"n_heads", &n_heads, "number of query heads; default: from the initial weights, else 16"},
      {"n_kv_heads", &n_kv_heads, "number of key/value heads; default: from the initial weights, else 8"},
      rare({"vocab_size", &vocab_size, "vocabulary size; default: from the initial weights, else the tokenizer's"}),
      rare({"hidden_dim", &hidden_dim,
            "inner width of the feed-forward; default: 8/3 of dim, rounded up to multiple_of"}),
      rare({"multiple_of", &multiple_of, "the inner width is rounded up to a multiple of this number (64)"}),
      rare({"norm_eps", &norm_eps, "epsilon of RMSNorm (1e-5)"}),
      rare({"initializer_range", &initializer_range,
            "standard deviation of the weight initialisation; 1/sqrt(dim) for small models"}),
      rare({"dropout", &dropout, "dropout probability in training (0)"}),
      {"use_moe", &use_moe, "use mixture-of-experts feed-forward layers (false)"},
      rare({"n_routed_experts", &n_routed_experts, "number of routed experts (4)"}),
      rare({"num_experts_per_tok", &num_experts_per_tok, "experts per token (2)"}),
      rare({"aux_loss_alpha", &aux_loss_alpha, "coefficient of the load-balancing loss (0.01)"}),
      rare({"n_shared_experts", &n_shared_experts, "add one shared expert for all tokens (true)"}),
      rare({"norm_topk_prob", &norm_topk_prob, "scale the chosen experts' weights to a sum of 1 (true)"}),
      rare({"seq_aux", &seq_aux, "compute the load-balancing loss per sequence, not per batch (true)"}),
  };
}

void ModelOptions::apply(LmConfig& config) const {
  const auto set = [](const auto& given, auto& target) {
    if (given) {
      target = *given;
    }
  };
  set(dim, config.dim);
  set(n_layers, config.n_layers);
  set(n_heads, config.n_heads);
  set(n_kv_heads, config.n_kv_heads);
  set(vocab_size, config.vocab_size);
  set(hidden_dim, config.hidden_dim);
  set(multiple_of, config.multiple_of);
  set(norm_eps, config.norm_eps);
  set(dropout, config.dropout);
  set(use_moe, config.use_moe);
  set(n_routed_experts, config.n_routed_experts);
  set(num_experts_per_tok, config.num_experts_per_tok);
  set(aux_loss_alpha, config.aux_loss_alpha);
  set(n_shared_experts, config.has_shared_experts);
  set(norm_topk_prob, config.norm_topk_prob);
  set(seq_aux, config.seq_aux);
}

void ModelOptions::apply_to_known(LmConfig& config, const std::string& where) const {
  const auto require_same = [&where](const char* name, const std::optional<int64_t>& given, int64_t known) {
    require(!given || *given == known, "--", name, ": expected ", known, ", the value of ", where, ", found ",
            given.value_or(0), "; leave the flag out");
  };
  require_same("n_heads", n_heads, config.n_heads);
  require_same("n_kv_heads", n_kv_heads, config.n_kv_heads);
  apply(config);
}

Fields TrainOptions::file_fields() {
  return {
      of_host({"data_path", &data_path, "JSON file of conversations"}),
      of_host({"images_dir", &images_dir,
               "folder or zip archive of the images, or a folder inside an archive (x.zip/folder)"}),
      of_host(
          {"tokenizer", &tokenizer, "tokenizer.json, a sentencepiece .model file, or a folder that holds either file"}),
      of_host({"clip_dir", &clip_dir, "Hugging Face folder of the CLIP vision encoder"}),
      of_host({"init_from", &init_from,
               "initial weights: a file; none: random initialisation; empty: output of the previous stage in out_dir"}),
      {"allow_missing", &allow_missing,
       "state-dict key prefixes that may be missing; their parameters keep the initialisation"},
      of_host({"out_dir", &out_dir, "output folder: weights, checkpoints, metrics, curves"}),
      of_host({"resume", &resume,
               "none; auto (or the bare flag): newest checkpoint in out_dir, if any; or the path of a checkpoint"}),
      {"overwrite", &overwrite,
       "replace weights and checkpoints of an earlier run in out_dir; without it such a run is refused"},
      of_host({"val_data", &val_data,
               "validation JSON, used after each epoch with the right, swapped and no images (from images_dir)"}),
      rare({"image_prefix", &image_prefix, "file-name prefix of SFT images, for example COCO_train2014_"}),
  };
}

Fields TrainOptions::optimisation_fields() {
  return {
      {"epochs", &epochs, "passes over the data"},
      {"batch_size", &batch_size, "samples per micro-batch and process"},
      {"learning_rate", &learning_rate, "peak learning rate; the cosine schedule ends at a tenth of it"},
      {"projection_learning_rate", &projection_learning_rate,
       "peak learning rate of the vision projection; none: learning_rate"},
      {"accumulation_steps", &accumulation_steps,
       "micro-batches per optimiser step; the gradient is averaged over supervised tokens"},
      {"grad_clip", &grad_clip, "maximum gradient norm; 0 disables clipping"},
      rare({"adam_beta2", &adam_beta2, "Adam beta2, the decay rate of the squared gradients; lower it for short runs"}),
      {"warmup_iters", &warmup_iters, "length of the linear warm-up in micro-batches"},
      {"max_steps", &max_steps, "maximum number of micro-batches; shortens the schedule too; 0: no maximum"},
      {"moe_aux_loss", &moe_aux_loss, "weight of the experts' load-balancing loss; 0 disables it"},
      {"freeze", &freeze, "parameters that are not trained", {"none", "language_model", "middle_layers"}},
      {"seed", &seed, "random seed of initialisation, sample order and dropout"},
      rare({"max_bad_steps", &max_bad_steps,
            "consecutive steps with a non-finite loss or gradient after which the run stops"}),
  };
}

Fields TrainOptions::data_fields() {
  return {
      {"max_seq_len", &max_seq_len, "maximum tokens per sample; longer samples are truncated"},
      of_host({"num_workers", &num_workers, "data-loader threads; 0: load in the training thread"}),
      {"original_order", &original_order, "keep the file order in every epoch (no shuffling)"},
      {"supervise", &supervise, "answers that count in the loss: the last one, or all", {"last", "all"}},
      {"check_data", &check_data, "check the data set, write a report and exit without training"},
      {"plan", &plan, "print the memory needed for each batch size and exit without training"},
      of_host({"feature_cache", &feature_cache, "folder of the image-feature cache; empty: no cache on disk"}),
      rare({"feature_cache_dtype", &feature_cache_dtype, "dtype of cached features; auto: the dtype of --dtype",
            dtype_choices()}),
      rare(
          of_host({"feature_memory_mb", &feature_memory_mb,
                   "image features kept in memory, in MB, if --feature_cache is empty; on a GPU those of all images or "
                   "none; 0 disables it"})),
  };
}

Fields TrainOptions::machine_fields() {
  return {
      of_host({"device", &device, "compute device: auto, cpu, cuda or cuda:N"}),
      rare(of_host({"processes", &processes,
                    "processes of this run on this host, for example one for each GPU; without another launcher"})),
      {"dtype", &dtype,
       "dtype of matrix multiplications; auto: bfloat16 on CUDA (before Ampere float16), float32 on a CPU",
       dtype_choices()},
      rare({"tf32", &tf32,
            "float32 matmuls on a GPU from Ampere on use TF32: faster, with 10 of 23 bits of the factors"}),
      of_host(
          {"threads", &threads, "CPU threads of tensor operations; 0: one for each usable CPU, within the CPU quota"}),
      rare({"bucket_mb", &bucket_mb, "size of an all-reduce gradient bucket in MB"}),
  };
}

Fields TrainOptions::progress_fields() {
  return {
      {"log_interval", &log_interval, "micro-batches between two log lines"},
      {"save_minutes", &save_minutes,
       "minutes between two checkpoints, which a thread writes from a copy of weights and optimiser (memory: see "
       "--plan); 0: none by time"},
      rare({"save_interval", &save_interval, "micro-batches between two checkpoints, beside those by time; 0: none"}),
      rare({"save_last", &save_last, "save weights and a checkpoint at the end of the run"}),
      {"keep_last", &keep_last, "number of checkpoints to keep"},
      {"use_wandb", &use_wandb, "print the command that uploads the metrics to Weights & Biases"},
      rare({"wandb_project", &wandb_project, "Weights & Biases project"}),
      rare(of_host({"wandb_run_name", &wandb_run_name, "Weights & Biases run name"})),
  };
}

std::vector<std::pair<std::string, Fields>> TrainOptions::groups() {
  return {{"Files", file_fields()},      {"Optimisation", optimisation_fields()}, {"Data", data_fields()},
          {"Machine", machine_fields()}, {"Progress", progress_fields()},         {"Model", model.fields()}};
}

Fields TrainOptions::fields() {
  Fields all;
  for (auto& [title, group] : groups()) {
    all.insert(all.end(), group.begin(), group.end());
  }
  return all;
}

void TrainOptions::resolve(Stage stage) {
  const StageDefaults defaults = defaults_of(stage);
  data_path = data_path.empty() ? defaults.data_path : data_path;
  images_dir = images_dir.empty() ? defaults.images_dir : images_dir;
  learning_rate = learning_rate.value_or(defaults.learning_rate);
  log_interval = log_interval.value_or(defaults.log_interval);
  if (wandb_run_name.empty()) {
    wandb_run_name =
        concat("MiniMind-V-", stage_name(stage), "-epochs", epochs, "-batch", batch_size, "-lr", *learning_rate);
  }
}

void TrainOptions::validate() const {
  using Bound = std::tuple<const char*, double, double>;  // flag, value, minimum
  for (const auto& [flag, value, minimum] : std::initializer_list<Bound>{
           {"epochs", epochs, 1},
           {"batch_size", batch_size, 1},
           {"accumulation_steps", accumulation_steps, 1},
           {"grad_clip", grad_clip, 0},
           {"warmup_iters", warmup_iters, 0},
           {"initializer_range", model.initializer_range, 0},
           {"max_steps", max_steps, 0},
           {"max_bad_steps", max_bad_steps, 1},
           {"moe_aux_loss", moe_aux_loss, 0},
           {"feature_memory_mb", feature_memory_mb, 0},
           {"bucket_mb", bucket_mb, 1},
           {"log_interval", log_interval.value_or(1), 1},
           {"save_minutes", save_minutes, 0},
           {"save_interval", save_interval, 0},
           {"keep_last", keep_last, 1},
           {"seed", seed, 0},
           {"learning_rate", learning_rate.value_or(0), 0},
           {"projection_learning_rate", projection_learning_rate.value_or(0), 0},
       }) {
    if (!(value >= minimum)) {
      throw UsageError(concat("--", flag, ": expected at least ", minimum, ", found ", value));
    }
  }
  if (!(adam_beta2 >= 0 && adam_beta2 < 1)) {
    throw UsageError(concat("--adam_beta2: expected at least 0 and below 1, found ", adam_beta2));
  }
  require_flag_between("max_seq_len", max_seq_len, 2, kLongestContext);
  require_flag_between("num_workers", num_workers, 0, most_threads());
  require_flag_between("processes", processes, 1, most_threads());
  require_flag_between("threads", threads, 0, most_threads());
  if (!is_device_name(device)) {
    throw UsageError(concat("--device: expected auto, cpu, cuda or cuda:N, found '", device, "'"));
  }
}

std::string model_name(const LmConfig& config) {
  return concat(config.dim, config.use_moe ? "_moe" : "");
}

std::string output_stem(const LmConfig& config, Stage stage) {
  return concat(model_name(config), "_", stage_info(stage).file_end);
}

std::filesystem::path checkpoint_folder(const TrainOptions& options, const LmConfig& config, Stage stage) {
  return std::filesystem::path(options.out_dir) / concat(output_stem(config, stage), kCheckpointFolderEnd);
}

std::filesystem::path default_init_path(const TrainOptions& options, Stage stage) {
  LmConfig config;
  config.dim = options.model.dim.value_or(config.dim);
  config.use_moe = options.model.use_moe.value_or(false);
  return std::filesystem::path(options.out_dir) / (output_stem(config, stage_info(stage).starts_from) + ".pth");
}

}  // namespace minimind
