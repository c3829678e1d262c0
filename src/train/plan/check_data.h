#pragma once

#include "minimind/train/options.h"

namespace minimind {

/// `--check_data`: one pass over the data without training. Prints a summary to stdout and writes
/// `OUT_DIR/check_data_{stage}.json`. Needs data, tokenizer and the encoder's configuration, but no weights. Returns
/// the exit code: 1 if no sample is usable.
int check_data(const TrainOptions& options, Stage stage);

}  // namespace minimind
