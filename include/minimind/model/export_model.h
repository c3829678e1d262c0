#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "minimind/model/weights.h"

namespace minimind {

struct ExportOptions {
  std::filesystem::path target;            ///< `*.pth`, `*.safetensors`, or a Hugging Face folder to be made
  std::filesystem::path tokenizer;         ///< a folder, or one file, whose tokenizer goes into the folder; empty: none
  std::string weights = "safetensors";     ///< of a folder: `safetensors` (model.safetensors) or `bin`
                                           ///< (pytorch_model.bin)
  std::string dtype = "float32";           ///< float32, float16 or bfloat16
  std::vector<std::string> allow_missing;  ///< as in LoadOptions
};

/// Whether export_model() takes `target` for a folder: it is none of `*.pth`, `*.bin`, `*.safetensors`.
bool exports_folder(const std::filesystem::path& target);

/// Converts a model: loads it under the strict contract of load_vlm() and writes it in the form that the target's name
/// asks for. A folder gets config.json, the weights and the tokenizer's files; a safetensors file carries its
/// configuration as metadata `config`; a `.pth` has it beside, as NAME.json. A language-only checkpoint stays one.
/// Returns the files written; a file of the target's name is replaced. Throws Error, and has written nothing then,
/// where a folder holds another kind of model or another form of weights, where the JSON beside a `.pth` is none of a
/// MiniMind model, and where a weight is beyond the range of `dtype`.
std::vector<std::filesystem::path> export_model(const ModelFile& source, const ExportOptions& options);

}  // namespace minimind
