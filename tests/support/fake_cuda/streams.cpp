#include "streams.h"

#include <array>
#include <atomic>

namespace fake_cuda {
namespace {

std::array<c10::StreamId, kMostDevices>& own_streams() {
  thread_local std::array<c10::StreamId, kMostDevices> streams = {};
  return streams;
}

c10::Stream stream_of(c10::DeviceIndex device, c10::StreamId id) {
  return c10::Stream(c10::Stream::UNSAFE, c10::Device(c10::kCUDA, device), id);
}

}  // namespace

c10::Stream current_stream(c10::DeviceIndex device) {
  return stream_of(device, own_streams()[static_cast<size_t>(device)]);
}

c10::Stream exchange_stream(c10::Stream stream) {
  c10::StreamId& own = own_streams()[static_cast<size_t>(stream.device_index())];
  const c10::Stream before = stream_of(stream.device_index(), own);
  own = stream.id();
  return before;
}

c10::Stream new_stream(c10::DeviceIndex device) {
  static std::atomic<c10::StreamId> last = 0;
  return stream_of(device, ++last);
}

bool on_side_stream(c10::DeviceIndex device) {
  return own_streams()[static_cast<size_t>(device)] != 0;
}

void record_event(Event& event, const c10::Stream& stream) {
  event = {stream.device_index(), stream.id(), Counts::get().started(stream.device_index()), progress_of(stream)};
}

void wait_for_event(const Event& event) {
  if (event.stream == 0 && Counts::get().started(event.device) == event.started) {
    Counts::get().wait("synchronizeEvent, nothing else to do for the card");
  } else {
    Counts::get().note("synchronizeEvent, the card has more to do");
  }
  host_sees(event.progress);
}

void wait_for_stream(const c10::Stream& stream) {
  if (stream.id() == 0) {
    Counts::get().wait("synchronizeStream");
  } else {
    Counts::get().note("synchronizeStream of a side stream");
  }
  host_sees(progress_of(stream));
}

void wait_for_device(c10::DeviceIndex device) {
  Counts::get().wait("synchronizeDevice");
  host_sees_all(device);
}

}  // namespace fake_cuda
