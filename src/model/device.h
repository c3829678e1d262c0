#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace minimind {

/// Whether `name` is a value of --device: auto, cpu, cuda or cuda:N.
bool is_device_name(std::string_view name);

/// The device of a value of --device. `auto` is a GPU if the machine and LibTorch have one, else the CPU;
/// `default_index` is the GPU of `auto` and `cuda`. Throws Error on another name and on a GPU that is not there.
c10::Device device_of(const std::string& name, int64_t default_index = 0);

}  // namespace minimind
