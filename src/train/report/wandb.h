#pragma once

#include <string>

#include "minimind/train/options.h"

namespace minimind {

/// The shell command that uploads the lines of a model (see model_name()) and stage in `metrics.jsonl` to Weights &
/// Biases. It needs Python with the package `wandb`, whose version 0.31 has removed the upload of TensorBoard files.
std::string wandb_command(const TrainOptions& options, const std::string& model, Stage stage);

}  // namespace minimind
