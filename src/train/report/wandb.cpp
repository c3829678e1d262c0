#include "train/report/wandb.h"

#include <filesystem>

#include "minimind/base/error.h"

namespace minimind {
namespace {

/// Quotes the text as one word of a shell.
std::string shell_word(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  }
  return out + "'";
}

constexpr const char* kProgram =
    "import json,sys,wandb;"
    "path,model,stage,project,name=sys.argv[1:];"
    "run=wandb.init(project=project,name=name);"
    "[run.log({k:v for k,v in r.items() if k not in (\"model\",\"stage\",\"step\") and v is not None},step=r[\"step\"])"
    " for r in map(json.loads,open(path)) if (r.get(\"model\"),r[\"stage\"])==(model,stage)];"
    "run.finish()";

}  // namespace

std::string wandb_command(const TrainOptions& options, const std::string& model, Stage stage) {
  const std::string metrics = (std::filesystem::path(options.out_dir) / "metrics.jsonl").string();
  return concat("python3 -c ", shell_word(kProgram), " ", shell_word(metrics), " ", model, " ", stage_name(stage), " ",
                shell_word(options.wandb_project), " ", shell_word(options.wandb_run_name));
}

}  // namespace minimind
