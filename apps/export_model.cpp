#include "minimind/model/export_model.h"

#include <iostream>

#include "minimind/base/error.h"
#include "minimind/cli/run_main.h"

namespace {

struct Flags {
  std::string checkpoint, out, tokenizer;
  minimind::ExportOptions options;

  minimind::Fields fields() {
    return {
        {"checkpoint", &checkpoint, "model: .pth, .safetensors, a training checkpoint or a Hugging Face folder", {}},
        {"out", &out, "what to write: NAME.pth, NAME.safetensors, or else a Hugging Face folder", {}},
        {"tokenizer", &tokenizer, "tokenizer file or folder to be copied into the folder; empty: the model's own", {}},
        {"weights",
         &options.weights,
         "a folder's weights: model.safetensors or pytorch_model.bin",
         {"safetensors", "bin"}},
        {"dtype", &options.dtype, "numbers of the weights", {"float32", "float16", "bfloat16"}},
    };
  }
};

/// The folder of the model itself if a tokenizer lies in it.
std::string own_tokenizer(const std::filesystem::path& folder) {
  return std::filesystem::exists(folder / "tokenizer.json") ? folder.string() : "";
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  minimind::CommandLine command_line;
  command_line.description = "Converts a model between .pth, .safetensors and a Hugging Face folder.";
  command_line.sections = {{"Export", flags.fields()}};
  command_line.footer =
      "Example: export_model --checkpoint out/512_vlm_sft.pth --out exported --tokenizer tokenizer.json";
  return minimind::run_main(argc, argv, command_line, [&flags] {
    if (flags.checkpoint.empty() || flags.out.empty()) {
      throw minimind::UsageError("--checkpoint and --out: expected a model and a target, found one missing");
    }
    const minimind::ModelFile source = minimind::find_model(flags.checkpoint);
    if (!source.notice.empty()) {
      std::cerr << "note: " << source.notice << "\n";
    }
    flags.options.target = flags.out;
    flags.options.tokenizer = flags.tokenizer.empty() ? own_tokenizer(source.weights.parent_path()) : flags.tokenizer;
    for (const std::filesystem::path& path : minimind::export_model(source, flags.options)) {
      std::cout << path.string() << "\n";
    }
    return 0;
  });
}
