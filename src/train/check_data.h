#pragma once

#include "minimind/train/options.h"

namespace minimind {

/// `--check_data`: one pass over the data without training. Prints a summary and writes
/// `OUT_DIR/check_data_{stage}.json`. Needs the data, the tokenizer and the encoder's configuration, no weights.
/// Returns the exit code: 0 also where samples are unusable; 1 where all are.
int check_data(const TrainOptions& options, Stage stage);

}  // namespace minimind
