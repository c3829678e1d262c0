#include "minimind/model/export_model.h"

#include <iostream>

#include "minimind/base/error.h"
#include "minimind/base/log.h"
#include "minimind/cli/run_main.h"
#include "minimind/text/load_tokenizer.h"

using namespace minimind;

/// The tokenizer to copy into a folder: `path` or, if it is empty, the tokenizer in the model's folder.
static std::string tokenizer_for(const ModelFile& model, const std::string& path) {
  const std::filesystem::path folder = model.weights.parent_path();
  if (!path.empty() || std::filesystem::exists(folder / "tokenizer.json")) {
    return path.empty() ? folder.string() : path;
  }
  log_info("note: no tokenizer is copied; --tokenizer names one");
  return "";
}

int main(int argc, char** argv) {
  std::string checkpoint, out, tokenizer;
  ExportOptions options;
  CommandLine command_line;
  command_line.description = "Converts a model between .pth, .safetensors and a Hugging Face folder.";
  const Fields fields = {
      {"checkpoint", &checkpoint, "model: .pth, .safetensors, a training checkpoint or a Hugging Face folder"},
      {"out", &out, "output: NAME.pth, NAME.safetensors, or a Hugging Face folder"},
      {"tokenizer", &tokenizer,
       "tokenizer file or folder to copy into the Hugging Face folder; empty: the model's own"},
      {"weights",
       &options.weights,
       "weight file of a Hugging Face folder: model.safetensors or pytorch_model.bin",
       {"safetensors", "bin"}},
      {"allow_missing", &options.allow_missing, "state-dict key prefixes that may be missing"},
      {"dtype", &options.dtype, "dtype of the exported weights", {"float32", "float16", "bfloat16"}}};
  command_line.sections = {{"Export", fields}};
  command_line.footer = "Example: export_model --checkpoint out/512_vlm_sft.pth --out exported --tokenizer t.json";
  return run_main(argc, argv, command_line, [&] {
    if (checkpoint.empty() || out.empty()) {
      throw UsageError("--checkpoint and --out: expected both flags, found one or none");
    }
    const ModelFile source = find_model(checkpoint);
    if (!source.notice.empty()) {
      log_info("note: " + source.notice);
    }
    options.target = out;
    options.tokenizer = exports_folder(out) ? tokenizer_for(source, tokenizer) : tokenizer;
    if (!options.tokenizer.empty()) {
      load_tokenizer_for(source.weights.string(), source.config.vocab_size, options.tokenizer);
    }
    for (const std::filesystem::path& path : export_model(source, options)) {
      std::cout << path.string() << "\n";
    }
    return 0;
  });
}
