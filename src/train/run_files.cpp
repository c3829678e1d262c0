#include "train/run_files.h"

#include <ATen/Parallel.h>

#include <string>

#include "io/checkpoint_keys.h"
#include "io/pth.h"
#include "minimind/base/fields.h"
#include "minimind/base/file.h"
#include "minimind/model/weights.h"

namespace minimind {

void save_run_checkpoint(const RunState& run, const TrainingPosition& position, CheckpointFolder& folder,
                         bool is_doubtful) {
  CheckpointInfo info;
  info.stage = stage_name(run.stage);
  info.config = lm_config_to_json(run.setup.config());
  TrainOptions copy = run.options;
  info.options = fields_to_json(copy.fields());
  info.position = position;
  info.world_size = run.world_size;
  info.threads = at::get_num_threads();
  info.samples = run.setup.dataset->size();
  info.data_digest = run.setup.data_digest;
  info.tokenizer_digest = run.setup.tokenizer_digest;
  info.order_block = run.setup.order_block;
  StateDict state;
  for (const auto& item : run.setup.model->named_parameters()) {
    state.add(kCheckpointModelPrefix + item.key(), item.value().detach().cpu());
  }
  run.adam.save(state);
  run.scaler.save(state);
  folder.save(info, state, is_doubtful);
}

void save_run_weights(const RunState& run) {
  StateDict state;
  const StateDict on_device = vlm_state_dict(*run.setup.model);
  const at::Tensor* head = on_device.find("output.weight");
  const at::Tensor* embedding = on_device.find("tok_embeddings.weight");
  const at::Tensor shared = embedding != nullptr ? embedding->detach().cpu() : at::Tensor();
  for (const auto& [name, tensor] : on_device.entries()) {
    const bool is_tied = head != nullptr && (name == "output.weight" || name == "tok_embeddings.weight");
    state.add(name, is_tied ? shared : tensor.detach().cpu());
  }
  const std::filesystem::path folder = run.options.out_dir;
  const std::string stem = output_stem(run.setup.config(), run.stage);
  // The head counts cannot be told from the tensors' shapes: the file beside says them.
  write_file_atomically(folder / (stem + ".json"), lm_config_to_json(run.setup.config()) + "\n");
  write_pth(folder / (stem + ".pth"), state);
}

}  // namespace minimind
