#include "minimind/cli/run_main.h"
#include "minimind/train/options.h"
#include "minimind/train/trainer.h"

int main(int argc, char** argv) {
  using namespace minimind;
  TrainOptions options;
  bool multi = false;
  CommandLine command_line;
  command_line.description =
      "Fine-tunes a pretrained model on questions about one image, or about several images (--multi).";
  command_line.footer =
      "Writes OUT_DIR/{dim}[_moe]_vlm_sft.pth, with --multi …_vlm_sft_multi.pth. Several processes: --processes N, "
      "torchrun --no-python, srun or mpirun.";
  command_line.sections.push_back({"Stage", {{"multi", &multi, "train on samples with several images"}}});
  for (auto& [title, fields] : options.groups()) {
    command_line.sections.push_back({title, fields});
  }
  const auto stage = [&] { return multi ? Stage::kMultiImage : Stage::kInstruction; };
  command_line.alone = {{"resume", "auto"}};
  command_line.resolve = [&] { options.resolve(stage()); };
  end_process(run_main(argc, argv, command_line, [&] { return run_training(options, stage()); }));
}
