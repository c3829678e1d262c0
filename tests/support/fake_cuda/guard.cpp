// Current device, streams and events of the make-believe cards, and the hooks by which ATen finds CUDA.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <array>
#include <atomic>
#include <memory>
#include <vector>

#include "memory.h"
#include "streams.h"

namespace fake_cuda {
namespace {

void require_card(c10::DeviceIndex index) {
  if (index < 0 || index >= device_count()) {
    throw c10::AcceleratorError({__func__, __FILE__, __LINE__}, 101, "CUDA error: invalid device ordinal");
  }
}

/// What is made the current card for a moment was not the current card: real programs pay for it, and a synchronisation
/// that ends with the first card opens a context there.
void switch_to(c10::DeviceIndex index) {
  if (index != current_device()) {
    Counts::get().misplaced("guard of another device");
    current_device() = index;
  }
}

struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return c10::kCUDA; }
  c10::DeviceIndex deviceCount() const noexcept override { return device_count(); }
  c10::Device getDevice() const override { return {c10::kCUDA, current_device()}; }
  c10::Device exchangeDevice(c10::Device device) const override {
    const c10::Device before = getDevice();
    require_card(device.index());
    switch_to(device.index());
    return before;
  }
  void setDevice(c10::Device device) const override {
    require_card(device.index());
    current_device() = device.index();
  }
  void uncheckedSetDevice(c10::Device device) const noexcept override { current_device() = device.index(); }

  c10::Stream getStream(c10::Device device) const override { return current_stream(index_of(device)); }
  c10::Stream getDefaultStream(c10::Device device) const override {
    return c10::Stream(c10::Stream::DEFAULT, c10::Device(c10::kCUDA, index_of(device)));
  }
  c10::Stream getNewStream(c10::Device device, int) const override { return new_stream(index_of(device)); }
  c10::Stream getStreamFromGlobalPool(c10::Device device, bool) const override { return new_stream(index_of(device)); }
  c10::Stream exchangeStream(c10::Stream stream) const override { return exchange_stream(stream); }
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream& stream) const override { wait_for_stream(stream); }
  void synchronizeDevice(const c10::DeviceIndex device) const override { wait_for_device(device); }
  void recordDataPtrOnStream(const c10::DataPtr& data, const c10::Stream& stream) const override {
    memory_is_used_by(data.get(), stream);
  }

  void record(void** event, const c10::Stream& stream, const c10::DeviceIndex, const c10::EventFlag) const override {
    if (*event == nullptr) {
      *event = new Event;
    }
    record_event(*static_cast<Event*>(*event), stream);
  }
  void destroyEvent(void* event, const c10::DeviceIndex) const noexcept override { delete static_cast<Event*>(event); }
  void block(void* event, const c10::Stream& stream) const override {
    if (event != nullptr) {
      stream_sees(stream, static_cast<Event*>(event)->progress);
    }
  }
  bool queryEvent(void* event) const override {
    if (event != nullptr) {
      host_sees(static_cast<Event*>(event)->progress);
    }
    return true;
  }
  void synchronizeEvent(void* event) const override {
    if (event != nullptr) {
      wait_for_event(*static_cast<Event*>(event));
    }
  }
  double elapsedTime(void*, void*, const c10::DeviceIndex) const override { return 1; }

 private:
  static c10::DeviceIndex index_of(c10::Device device) {
    return device.has_index() ? device.index() : current_device();
  }
};

std::vector<at::Generator> make_generators() {
  std::vector<at::Generator> all;
  for (c10::DeviceIndex device = 0; device < device_count(); ++device) {
    all.push_back(at::detail::createCPUGenerator(1));
  }
  return all;
}

class Hooks : public at::CUDAHooksInterface {
 public:
  explicit Hooks(at::CUDAHooksArgs) {}
  void init() const override {}
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return device_count() > 0; }
  bool hasCUDA() const override { return device_count() > 0; }
  bool hasCUDART() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  int getNumGPUs() const override { return device_count(); }
  c10::DeviceIndex deviceCount() const override { return device_count(); }
  c10::DeviceIndex current_device() const override { return fake_cuda::current_device(); }
  c10::DeviceIndex getCurrentDevice() const override { return fake_cuda::current_device(); }
  void setCurrentDevice(c10::DeviceIndex device) const override {
    require_card(device);
    fake_cuda::current_device() = device;
  }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex device) const override {
    const c10::DeviceIndex before = fake_cuda::current_device();
    require_card(device);
    switch_to(device);
    return before;
  }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex device) const override { return exchangeDevice(device); }
  bool isPinnedPtr(const void* pointer) const override { return PinnedMemory::get().owns(pointer); }
  c10::Allocator* getPinnedMemoryAllocator() const override { return &PinnedMemory::get(); }
  c10::Allocator* getCUDADeviceAllocator() const override { return &DeviceMemory::get(); }
  void deviceSynchronize(c10::DeviceIndex device) const override { wait_for_device(device); }
  const at::Generator& getDefaultGenerator(c10::DeviceIndex index) const override {
    static auto* all = new std::vector<at::Generator>(make_generators());
    return all->at(static_cast<size_t>(index < 0 ? fake_cuda::current_device() : index));
  }
};

}  // namespace
}  // namespace fake_cuda

namespace at {
using CUDAHooks = fake_cuda::Hooks;  // the name under which ATen looks for it
REGISTER_CUDA_HOOKS(CUDAHooks);
}  // namespace at
namespace c10::impl {
C10_REGISTER_GUARD_IMPL(CUDA, fake_cuda::Guard);
}
