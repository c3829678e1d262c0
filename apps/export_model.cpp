#include "minimind/model/export_model.h"

#include <iostream>

#include "minimind/base/error.h"
#include "minimind/cli/run_main.h"
#include "minimind/text/tokenizer.h"

using namespace minimind;

namespace {
struct Flags {
  std::string checkpoint, out, tokenizer;
  ExportOptions options;
  Fields fields() {
    return {
        {"checkpoint", &checkpoint, "model: .pth, .safetensors, a training checkpoint or a Hugging Face folder", {}},
        {"out", &out, "what to write: NAME.pth, NAME.safetensors, or else a Hugging Face folder", {}},
        {"tokenizer", &tokenizer, "tokenizer file or folder to be copied into the folder; empty: the model's own", {}},
        {"weights", &options.weights, "a folder's: model.safetensors or pytorch_model.bin", {"safetensors", "bin"}},
        {"allow_missing", &options.allow_missing, "keys or key prefixes that may be absent", {}},
        {"dtype", &options.dtype, "numbers of the weights", {"float32", "float16", "bfloat16"}},
    };
  }
};

/// Without a name: what lies in the model's own folder, or none.
std::string tokenizer_for(const ModelFile& model, std::string path) {
  if (path.empty() && std::filesystem::exists(model.weights.parent_path() / "tokenizer.json")) {
    path = model.weights.parent_path().string();
  }
  std::cerr << (path.empty() ? "note: no tokenizer is copied; --tokenizer names one\n" : "");
  return path;
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  CommandLine command_line;
  command_line.description = "Converts a model between .pth, .safetensors and a Hugging Face folder.";
  command_line.sections = {{"Export", flags.fields()}};
  command_line.footer = "Example: export_model --checkpoint out/512_vlm_sft.pth --out exported --tokenizer t.json";
  return run_main(argc, argv, command_line, [&flags] {
    if (flags.checkpoint.empty() || flags.out.empty()) {
      throw UsageError("--checkpoint and --out: expected a model and a target, found one missing");
    }
    const ModelFile source = find_model(flags.checkpoint);
    std::cerr << (source.notice.empty() ? "" : "note: " + source.notice + "\n");
    flags.options.target = flags.out;
    flags.options.tokenizer = exports_folder(flags.out) ? tokenizer_for(source, flags.tokenizer) : flags.tokenizer;
    if (!flags.options.tokenizer.empty()) {
      load_tokenizer_for(source.weights.string(), source.config.vocab_size, flags.options.tokenizer);
    }
    for (const std::filesystem::path& path : export_model(source, flags.options)) {
      std::cout << path.string() << "\n";
    }
    return 0;
  });
}
