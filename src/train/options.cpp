#include "minimind/train/options.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "base/machine_limits.h"
#include "minimind/base/error.h"
#include "model/device.h"

namespace minimind {

std::string stage_name(Stage stage) {
  switch (stage) {
    case Stage::kPretrain:
      return "pretrain";
    case Stage::kInstruction:
      return "sft";
    case Stage::kMultiImage:
      return "sft_multi";
  }
  throw std::logic_error("unknown stage");
}

DataKind data_kind(Stage stage) {
  switch (stage) {
    case Stage::kPretrain:
      return DataKind::kPretrain;
    case Stage::kInstruction:
      return DataKind::kInstruction;
    case Stage::kMultiImage:
      return DataKind::kMultiImage;
  }
  throw std::logic_error("unknown stage");
}

Fields ModelOptions::fields() {
  return {
      {"dim", &dim, "model width; here and below the starting weights decide where nothing is given (else 512)", {}},
      {"n_layers", &n_layers, "decoder layers (else 8)", {}},
      {"n_heads", &n_heads, "query heads (else 16)", {}},
      {"n_kv_heads", &n_kv_heads, "key/value heads (else 8)", {}},
      {"vocab_size", &vocab_size, "vocabulary (else the tokenizer's)", {}},
      {"hidden_dim", &hidden_dim, "inner width of the feed-forward (else 8/3 of dim, rounded up to multiple_of)", {}},
      {"multiple_of", &multiple_of, "rounding of that inner width (else 64)", {}},
      {"norm_eps", &norm_eps, "epsilon of the norms (else 1e-5)", {}},
      {"initializer_range", &initializer_range, "spread of fresh weights; 1/sqrt(dim) suits narrow models", {}},
      {"dropout", &dropout, "dropout in training (else 0)", {}},
      {"use_moe", &use_moe, "mixture of experts (else false)", {}},
      {"n_routed_experts", &n_routed_experts, "experts (else 4)", {}},
      {"num_experts_per_tok", &num_experts_per_tok, "experts of each token (else 2)", {}},
      {"aux_loss_alpha", &aux_loss_alpha, "weight of the balance of experts (else 0.01)", {}},
      {"n_shared_experts", &n_shared_experts, "one more expert for every token (else true)", {}},
      {"norm_topk_prob", &norm_topk_prob, "weights of a token's experts add up to 1 (else true)", {}},
      {"seq_aux", &seq_aux, "balance of experts within each sequence (else true)", {}},
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
  set(multiple_of, config.multiple_of);
  set(norm_eps, config.norm_eps);
  set(dropout, config.dropout);
  set(n_routed_experts, config.n_routed_experts);
  set(num_experts_per_tok, config.num_experts_per_tok);
  set(aux_loss_alpha, config.aux_loss_alpha);
  if (hidden_dim) {
    config.hidden_dim = hidden_dim;
  }
  set(use_moe, config.use_moe);
  set(n_shared_experts, config.has_shared_experts);
  set(norm_topk_prob, config.norm_topk_prob);
  set(seq_aux, config.seq_aux);
}

void ModelOptions::apply_to_known(LmConfig& config, const std::string& where) const {
  const auto same = [&where](const char* name, const std::optional<int64_t>& given, int64_t known) {
    require(!given || *given == known, "--", name, ": expected ", known, ", as ", where, " was trained, found ",
            given.value_or(0), "; leave the flag out");
  };
  same("n_heads", n_heads, config.n_heads);
  same("n_kv_heads", n_kv_heads, config.n_kv_heads);
  apply(config);
}

Fields TrainOptions::file_fields() {
  return {
      {"data_path", &data_path, "JSON file of conversations", {}},
      {"images_dir", &images_dir, "folder or zip of the images, or a folder within a zip: x.zip/folder", {}},
      {"tokenizer", &tokenizer, "tokenizer.json, sentencepiece .model, or a folder with one", {}},
      {"clip_dir", &clip_dir, "Hugging Face folder of the vision encoder", {}},
      {"init_from", &init_from, "weights to start from; none: fresh ones; empty: the stage before in out_dir", {}},
      {"allow_missing",
       &allow_missing,
       "keys, or beginnings of keys, that the weights may lack and that then stay freshly initialised",
       {}},
      {"out_dir", &out_dir, "folder of everything that is written", {}},
      {"resume",
       &resume,
       "none; auto (or the flag alone): the newest checkpoint in out_dir if there is one; or a checkpoint's path",
       {}},
      {"overwrite", &overwrite, "replace weights and checkpoints of an earlier run in out_dir (without: refused)", {}},
      {"val_data",
       &val_data,
       "held-out JSON: loss with the right image, another one, and none, after each epoch; images from images_dir",
       {}},
      {"image_prefix", &image_prefix, "in sft, what image files have before the name in the JSON", {}},
  };
}

Fields TrainOptions::optimisation_fields() {
  return {
      {"epochs", &epochs, "passes over the data", {}},
      {"batch_size", &batch_size, "samples a micro-batch and process", {}},
      {"learning_rate", &learning_rate, "highest learning rate; ends at a tenth of it", {}},
      {"projection_learning_rate", &projection_learning_rate, "the projection's own (none: the same)", {}},
      {"accumulation_steps", &accumulation_steps, "micro-batches a step, averaged by supervised tokens", {}},
      {"grad_clip", &grad_clip, "highest gradient norm; 0: no limit", {}},
      {"adam_beta2", &adam_beta2, "how long Adam remembers squared gradients; short runs want less", {}},
      {"warmup_iters", &warmup_iters, "micro-batches of linear warm-up", {}},
      {"max_steps", &max_steps, "stop after so many micro-batches (the schedule is shortened too); 0: no limit", {}},
      {"moe_aux_loss", &moe_aux_loss, "factor of the experts' balance loss; 0 turns it off", {}},
      {"freeze", &freeze, "what is not trained", {"none", "language_model", "middle_layers"}},
      {"seed", &seed, "seed of the weights, the order and dropout", {}},
      {"max_bad_steps", &max_bad_steps, "stop after so many steps with a loss or gradient that is not finite", {}},
  };
}

Fields TrainOptions::data_fields() {
  return {
      {"max_seq_len", &max_seq_len, "tokens a sample; longer ones are cut", {}},
      {"num_workers", &num_workers, "threads that decode images; 0: none", {}},
      {"original_order", &original_order, "the file's order in every epoch, not shuffled", {}},
      {"supervise", &supervise, "which answers of a conversation are learnt", {"last", "all"}},
      {"check_data", &check_data, "look at the data, report, and end without training", {}},
      {"plan", &plan, "print how much memory the run will need by batch size, and end without training", {}},
      {"feature_cache", &feature_cache, "folder that keeps the encoder's output per image", {}},
      {"feature_cache_dtype",
       &feature_cache_dtype,
       "its number format; auto: that of --dtype",
       {"auto", "float32", "bfloat16", "float16"}},
      {"feature_memory_mb", &feature_memory_mb, "the same in memory where --feature_cache is empty; 0: none", {}},
  };
}

Fields TrainOptions::machine_fields() {
  return {
      {"device", &device, "auto, cpu, cuda or cuda:N", {}},
      {"dtype",
       &dtype,
       "number format of the products; auto: bfloat16 on CUDA, float32 on a CPU",
       {"auto", "float32", "bfloat16", "float16"}},
      {"threads", &threads, "CPU threads of the model; 0: as the system says", {}},
      {"bucket_mb", &bucket_mb, "size of a gradient bucket between processes", {}},
  };
}

Fields TrainOptions::progress_fields() {
  return {
      {"log_interval", &log_interval, "micro-batches between two lines", {}},
      {"save_interval", &save_interval, "micro-batches between two checkpoints; 0: only at the end", {}},
      {"save_last", &save_last, "save at the end of the run", {}},
      {"keep_last", &keep_last, "checkpoints kept for --resume", {}},
      {"use_wandb", &use_wandb, "print the command that uploads the run's curves to Weights & Biases", {}},
      {"wandb_project", &wandb_project, "project name for that", {}},
      {"wandb_run_name", &wandb_run_name, "run name for that", {}},
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
  const auto set = [](std::string& target, const char* value) {
    if (target.empty()) {
      target = value;
    }
  };
  switch (stage) {
    case Stage::kPretrain:
      set(data_path, "dataset/LLaVA-Pretrain/chat-translated.json");
      set(images_dir, "dataset/pretrain_images");
      learning_rate = learning_rate.value_or(4e-4);
      log_interval = log_interval.value_or(10);
      break;
    case Stage::kInstruction:
      set(data_path, "dataset/LLaVA-Instruct/llava_instruct_230k.json");
      set(images_dir, "dataset/sft_images");
      learning_rate = learning_rate.value_or(1e-6);
      log_interval = log_interval.value_or(100);
      break;
    case Stage::kMultiImage:
      set(data_path, "dataset/sft_multi_images/output.json");
      set(images_dir, "dataset/sft_multi_images");
      learning_rate = learning_rate.value_or(1e-6);
      log_interval = log_interval.value_or(100);
      break;
  }
  if (wandb_run_name.empty()) {
    wandb_run_name =
        concat("MiniMind-V-", stage_name(stage), "-epochs", epochs, "-batch", batch_size, "-lr", *learning_rate);
  }
}

void TrainOptions::validate() const {
  const auto at_least = [](const char* flag, auto value, auto minimum) {
    if (!(value >= minimum)) {
      throw UsageError(concat("--", flag, ": expected at least ", minimum, ", found ", value));
    }
  };
  at_least("epochs", epochs, int64_t{1});
  at_least("batch_size", batch_size, int64_t{1});
  at_least("accumulation_steps", accumulation_steps, int64_t{1});
  at_least("grad_clip", grad_clip, 0.0);
  if (!(adam_beta2 >= 0 && adam_beta2 < 1)) {
    throw UsageError(concat("--adam_beta2: expected at least 0 and below 1, found ", adam_beta2));
  }
  at_least("warmup_iters", warmup_iters, int64_t{0});
  at_least("initializer_range", model.initializer_range, 0.0);
  at_least("max_steps", max_steps, int64_t{0});
  at_least("max_bad_steps", max_bad_steps, int64_t{1});
  at_least("moe_aux_loss", moe_aux_loss, 0.0);
  at_least("feature_memory_mb", feature_memory_mb, int64_t{0});
  require_flag_between("max_seq_len", max_seq_len, 2, kLongestContext);
  require_flag_between("num_workers", num_workers, 0, most_threads());
  require_flag_between("threads", threads, 0, most_threads());
  at_least("bucket_mb", bucket_mb, int64_t{1});
  at_least("log_interval", log_interval.value_or(1), int64_t{1});
  at_least("save_interval", save_interval, int64_t{0});
  at_least("keep_last", keep_last, int64_t{1});
  at_least("seed", seed, int64_t{0});
  at_least("learning_rate", learning_rate.value_or(0), 0.0);
  at_least("projection_learning_rate", projection_learning_rate.value_or(0), 0.0);
  if (!is_device_name(device)) {
    throw UsageError(concat("--device: expected auto, cpu, cuda or cuda:N, found '", device, "'"));
  }
}

std::string model_name(const LmConfig& config) {
  return concat(config.dim, config.use_moe ? "_moe" : "");
}

std::string output_stem(const LmConfig& config, Stage stage) {
  return concat(model_name(config), "_vlm_", stage_name(stage));
}

std::filesystem::path checkpoint_folder(const TrainOptions& options, const LmConfig& config, Stage stage) {
  return std::filesystem::path(options.out_dir) / concat(output_stem(config, stage), kCheckpointFolderEnd);
}

std::filesystem::path default_init_path(const TrainOptions& options, Stage stage) {
  const std::string width =
      concat(options.model.dim.value_or(LmConfig{}.dim), options.model.use_moe.value_or(false) ? "_moe" : "");
  const char* end = stage == Stage::kPretrain      ? "_llm.pth"
                    : stage == Stage::kInstruction ? "_vlm_pretrain.pth"
                                                   : "_vlm_sft.pth";
  return std::filesystem::path(options.out_dir) / (width + end);
}

}  // namespace minimind
