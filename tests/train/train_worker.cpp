// One process of a distributed test: train_worker FOLDER OUT BATCH_SIZE MAX_STEPS. Where it stands among the others is
// in the environment.
#include <cstdlib>
#include <iostream>

#include "minimind/base/error.h"
#include "minimind/train/trainer.h"
#include "train/tiny_run.h"

int main(int argc, char** argv) {
  if (argc != 5) {
    return 2;
  }
  try {
    minimind::TrainOptions options = minimind::testing::tiny_options(argv[1], argv[2]);
    options.batch_size = std::atoll(argv[3]);
    options.max_steps = std::atoll(argv[4]);
    options.epochs = 100;
    options.original_order = true;
    return minimind::run_training(options, minimind::Stage::kPretrain);
  } catch (const minimind::Error& error) {
    std::cerr << "error: " << error.what() << std::endl;
    return 1;
  }
}
