#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "minimind/base/fields.h"
#include "minimind/data/dataset.h"
#include "minimind/model/config.h"

namespace minimind {

/// Which of the three trainings: it decides the defaults of SPEC.md section 6 and the file names of section 1.
enum class Stage { kPretrain, kInstruction, kMultiImage };

/// `pretrain`, `sft` or `sft_multi`: the end of the written file's name.
std::string stage_name(Stage stage);
DataKind data_kind(Stage stage);

/// Shape of the language model as flags. What is not given comes from the weights that training starts from, else from
/// LmConfig's defaults; what is given must agree with those weights.
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
  /// Overwrites the settings that were given.
  void apply(LmConfig& config) const;
  /// The same for a model whose configuration is known, `where` names its file: throws Error for another number of
  /// heads. Its weights would fit in shape and mean nothing.
  void apply_to_known(LmConfig& config, const std::string& where) const;
};

/// Everything that a training run is told. Empty paths and absent numbers get their stage's default in resolve().
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
  std::string dtype = "auto";
  int64_t threads = 0;
  int64_t bucket_mb = 25;

  // Progress and saving.
  std::optional<int64_t> log_interval;
  int64_t save_interval = 100;
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
  /// Titles and lists in the order of --help; they serve flags, --config, --print_config and the copy kept in a
  /// checkpoint.
  std::vector<std::pair<std::string, Fields>> groups();
  Fields fields();

  /// Fills in the defaults of the stage.
  void resolve(Stage stage);
  /// Throws UsageError on values that cannot be or do not go together.
  void validate() const;
};

/// `{dim}[_moe]`: how files and curves of a model are named.
std::string model_name(const LmConfig& config);
/// `{dim}[_moe]_vlm_{stage}` of SPEC.md section 1; the files of a run begin with it.
std::string output_stem(const LmConfig& config, Stage stage);

inline constexpr std::string_view kCheckpointFolderEnd = "_checkpoints";
/// Where the run keeps its checkpoints: OUT_DIR/<output_stem>_checkpoints.
std::filesystem::path checkpoint_folder(const TrainOptions& options, const LmConfig& config, Stage stage);
/// The weights that a stage starts from where --init_from is empty: `{out_dir}/{dim}[_moe]_llm.pth` and so on.
std::filesystem::path default_init_path(const TrainOptions& options, Stage stage);

}  // namespace minimind
