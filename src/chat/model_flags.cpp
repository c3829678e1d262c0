#include "chat/model_flags.h"

#include "base/machine_limits.h"

namespace minimind {

Fields model_flags(ChatModelFiles& files, std::string& weights) {
  return {{"checkpoint", &files.checkpoint, "weights: .pth, .safetensors or a Hugging Face folder"},
          {"clip_dir", &files.clip_dir, "Hugging Face folder of the CLIP vision encoder"},
          {"tokenizer", &files.tokenizer,
           "tokenizer.json, a sentencepiece .model file, or a folder that holds either file"},
          {"allow_missing", &files.allow_missing,
           "state-dict key prefixes that may be missing (vision_proj: a language model without vision)"},
          {"device", &files.device, "compute device: auto, cpu, cuda or cuda:N"},
          {"weights", &weights, "weight format for decoding on a CPU", {"float32", "bfloat16", "int8"}},
          {"threads", &files.threads, "CPU threads of tensor operations; 0: all cores"}};
}

void resolve_model_flags(ChatModelFiles& files, const std::string& weights) {
  files.weights = weight_format_of(weights);
  require_flag_between("threads", files.threads, 0, most_threads());
}

}  // namespace minimind
