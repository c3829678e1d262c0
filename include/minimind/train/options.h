#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "minimind/base/fields.h"
#include "minimind/base/stage.h"
#include "minimind/data/dataset.h"
#include "minimind/model/config.h"

namespace minimind {

/// The kind of data that the stage trains on.
DataKind data_kind(Stage stage);

/// Shape of the language model as flags. A value that is not given comes from the initial weights, else from LmConfig.
/// A given value must agree with the initial weights.
struct ModelOptions {
  std::optional<int64_t> dim;
  std::optional<int64_t> n_layers;
  std::optional<int64_t> n_heads;
  std::optional<int64_t> n_kv_heads;
  std::optional<int64_t> vocab_size;
  std::optional<int64_t> hidden_dim;
  std::optional<int64_t> multiple_of;
  std::optional<double> norm_eps;
  double initializer_range = 0.02;
  std::optional<double> dropout;
  std::optional<bool> use_moe;
  std::optional<int64_t> n_routed_experts;
  std::optional<int64_t> num_experts_per_tok;
  std::optional<double> aux_loss_alpha;
  std::optional<bool> n_shared_experts;
  std::optional<bool> norm_topk_prob;
  std::optional<bool> seq_aux;

  Fields fields();
  /// Sets the given values.
  void apply(LmConfig& config) const;
  /// Likewise, for the configuration of a trained model in the file `where`. Throws Error for another number of heads:
  /// the weights would fit in shape, but would mean nothing.
  void apply_to_known(LmConfig& config, const std::string& where) const;
};

/// The options of a training run. resolve() replaces empty paths and missing numbers by the defaults of the stage.
struct TrainOptions {
  // Files.
  std::string data_path;
  std::string images_dir;
  std::string tokenizer = "model/minimind_tokenizer";
  std::string clip_dir = "model/clip_model/clip-vit-base-patch32";
  std::string init_from;
  std::vector<std::string> allow_missing;
  std::string out_dir = "out";
  std::string resume = "none";
  bool overwrite = false;
  std::string val_data;
  std::string image_prefix = "COCO_train2014_";

  // Optimisation.
  int64_t epochs = 19;
  int64_t batch_size = 32;
  std::optional<double> learning_rate;
  std::optional<double> projection_learning_rate;
  int64_t accumulation_steps = 1;
  double grad_clip = 1.0;
  double adam_beta2 = 0.999;
  int64_t warmup_iters = 0;
  int64_t max_steps = 0;
  double moe_aux_loss = 1.0;
  std::string freeze = "none";
  int64_t seed = 1337;
  int64_t max_bad_steps = 10;

  // Data.
  int64_t max_seq_len = 512;
  int64_t num_workers = 8;
  bool original_order = false;
  std::string supervise = "last";
  bool check_data = false;
  bool plan = false;
  std::string feature_cache;
  std::string feature_cache_dtype = "auto";
  int64_t feature_memory_mb = 1024;

  // Machine.
  std::string device = "auto";
  int64_t processes = 1;
  std::string dtype = "auto";
  bool tf32 = false;
  int64_t threads = 0;
  int64_t bucket_mb = 25;

  // Progress and saving.
  std::optional<int64_t> log_interval;
  double save_minutes = 5;
  int64_t save_interval = 0;
  bool save_last = true;
  int64_t keep_last = 2;
  bool use_wandb = false;
  std::string wandb_project = "MiniMind-V";
  std::string wandb_run_name;

  ModelOptions model;

  Fields file_fields();
  Fields optimisation_fields();
  Fields data_fields();
  Fields machine_fields();
  Fields progress_fields();
  /// Titles and lists in the order of --help. They serve flags, --config, --print_config and the copy in a checkpoint.
  std::vector<std::pair<std::string, Fields>> groups();
  Fields fields();

  /// Sets the defaults of the stage, see SPEC.md section 6.
  void resolve(Stage stage);
  /// Throws UsageError for values that are out of range.
  void validate() const;
};

/// `{dim}[_moe]`: the name of a model in files and curves.
std::string model_name(const LmConfig& config);
/// `{dim}[_moe]_vlm_{stage}`, see SPEC.md section 1: the stem of the files of a run.
std::string output_stem(const LmConfig& config, Stage stage);

inline constexpr std::string_view kCheckpointFolderEnd = "_checkpoints";
/// OUT_DIR/<output_stem>_checkpoints.
std::filesystem::path checkpoint_folder(const TrainOptions& options, const LmConfig& config, Stage stage);
/// The initial weights of a stage if --init_from is empty, for example `{out_dir}/{dim}[_moe]_llm.pth`.
std::filesystem::path default_init_path(const TrainOptions& options, Stage stage);

}  // namespace minimind
