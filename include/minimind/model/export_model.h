#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "minimind/model/weights.h"

namespace minimind {

struct ExportOptions {
  std::filesystem::path target;         ///< `*.pth`, `*.bin`, `*.safetensors`, or a Hugging Face folder
  std::filesystem::path tokenizer;      ///< folder or file whose tokenizer is copied into a target folder; may be ""
  std::string weights = "safetensors";  ///< in a folder: `safetensors` (model.safetensors) or `bin` (pytorch_model.bin)
  std::string dtype = "float32";        ///< float32, float16 or bfloat16
  std::vector<std::string> allow_missing;  ///< as in LoadOptions
};

/// Whether export_model() writes a folder: `target` is not `*.pth`, `*.bin` or `*.safetensors`.
bool exports_folder(const std::filesystem::path& target);

/// Loads a model as load_vlm() does and writes it in the format of the target's name. The configuration goes into a
/// folder as config.json, into a safetensors file as metadata `config`, and beside a `.pth` as NAME.json. A
/// language-only checkpoint stays one. Replaces a file of the target's name and returns the files written. Throws Error
/// before it writes if a folder holds another kind of model or another format of weights, if the JSON beside a `.pth`
/// is not a MiniMind model's, and if a weight exceeds the range of `dtype`.
std::vector<std::filesystem::path> export_model(const ModelFile& source, const ExportOptions& options);

}  // namespace minimind
