// One process of a distributed test: train_worker FOLDER OUT STAGE JSON, where JSON holds options that differ from the
// tiny run's. Where it stands among the others is in the environment.
#include <iostream>
#include <string>

#include "dist/process_group.h"
#include "minimind/base/error.h"
#include "minimind/train/trainer.h"
#include "train/tiny_run.h"

int main(int argc, char** argv) {
  if (argc != 5) {
    return 2;
  }
  try {
    const std::string stage_text = argv[3];
    const minimind::Stage stage = stage_text == "pretrain" ? minimind::Stage::kPretrain
                                  : stage_text == "sft"    ? minimind::Stage::kInstruction
                                                           : minimind::Stage::kMultiImage;
    minimind::TrainOptions options = minimind::testing::tiny_options(argv[1], argv[2]);
    options.epochs = 100;
    options.log_interval = 1;
    options.learning_rate = 1e-3;
    options.image_prefix.clear();
    minimind::fields_from_json(options.fields(), argv[4], "the worker's options");
    return minimind::run_training(options, stage);
  } catch (const minimind::Error& error) {
    std::cerr << "error: " << error.what() << std::endl;
    return 1;
  }
}
