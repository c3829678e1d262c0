// Runs when the library is loaded, after the registrations of the other sources (CMakeLists.txt names it last).
#include <c10/core/Allocator.h>

#include <cstdlib>

#include "fallback.h"
#include "fused.h"
#include "memory.h"

namespace {

const bool is_set_up = [] {
  c10::SetAllocator(c10::kCUDA, &fake_cuda::DeviceMemory::get(), 1);
  fake_cuda::register_fused();
  fake_cuda::register_own_kernels();
  const auto report = [] { fake_cuda::Counts::get().write_report(); };
  std::at_quick_exit(report);
  std::atexit(report);
  return true;
}();

}  // namespace
