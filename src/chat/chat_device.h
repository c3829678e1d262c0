#pragma once

#include <string>

#include "minimind/model/config.h"

namespace minimind {

/// The name of the device for `--device name --weights weights` of a chat. `auto` is the CPU, whose decoder is the
/// faster one for a single answer and serves all formats. Throws Error for int8 on a GPU.
std::string chat_device_name(const std::string& name, WeightFormat weights);

}  // namespace minimind
