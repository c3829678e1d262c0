#include "minimind/cli/run_main.h"
#include "minimind/train/options.h"
#include "minimind/train/trainer.h"

int main(int argc, char** argv) {
  using namespace minimind;
  TrainOptions options;
  CommandLine command_line;
  command_line.description = "Pretrains the vision projection and the language model on image captions.";
  command_line.footer =
      "Writes OUT_DIR/{dim}[_moe]_vlm_pretrain.pth. Several processes: --processes N, torchrun "
      "--no-python, srun or mpirun.";
  for (auto& [title, fields] : options.groups()) {
    command_line.sections.push_back({title, fields});
  }
  command_line.alone = {{"resume", "auto"}};
  command_line.resolve = [&] { options.resolve(Stage::kPretrain); };
  end_process(run_main(argc, argv, command_line, [&] { return run_training(options, Stage::kPretrain); }));
}
