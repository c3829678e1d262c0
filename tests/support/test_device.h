#pragma once

#include <c10/core/Device.h>

#include <cstdlib>
#include <string>

#include "model/device.h"

namespace minimind::testing {

/// The device of the tests that can run on any: MINIMIND_TEST_DEVICE, else the CPU.
inline c10::Device test_device() {
  static const c10::Device device = [] {
    const char* name = std::getenv("MINIMIND_TEST_DEVICE");
    const c10::Device chosen = device_of(name != nullptr && *name != '\0' ? name : "cpu");
    use_device(chosen);
    return chosen;
  }();
  return device;
}

}  // namespace minimind::testing
