// Which stream may touch which memory: finds work on two streams that nothing puts in order.
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/Stream.h>

#include <functional>
#include <map>
#include <utility>

namespace fake_cuda {

using StreamKey = std::pair<c10::DeviceIndex, c10::StreamId>;
/// How far each stream has come, as seen from one place.
using Progress = std::map<StreamKey, int64_t>;

/// The thread's stream of the tensor's card reads or writes its memory. Counts a race if another stream may still do
/// so.
void touch(const at::Tensor& tensor, bool writes);

/// Notes where memory begins to live, and with which stream; counts a race if a stream other than that one may still
/// use the memory when it is given back.
void memory_begins(const void* place, c10::DeviceIndex device);
void memory_ends(const void* place);
/// The allocator waits for this stream before it uses the memory again.
void memory_is_used_by(const void* place, const c10::Stream& stream);

/// What a stream has done and seen so far: the content of an event.
Progress progress_of(const c10::Stream& stream);
/// A stream, or the host, waits until all this is done.
void stream_sees(const c10::Stream& stream, const Progress& progress);
void host_sees(const Progress& progress);
void host_sees_all(c10::DeviceIndex device);

/// What happens when the host has seen the end of the stream's last operation, for instance a copy that is not waited
/// for.
void when_host_sees(const c10::Stream& stream, std::function<void()> action);

}  // namespace fake_cuda
