// Streams and events of the make-believe cards. Work is done at once; only who waits for whom is recorded.
#pragma once
#include <c10/core/Stream.h>

#include "counts.h"
#include "races.h"

namespace fake_cuda {

/// The thread's stream of a card.
c10::Stream current_stream(c10::DeviceIndex device);

/// Makes a stream the thread's stream of its card; returns the one before.
c10::Stream exchange_stream(c10::Stream stream);

/// A side stream of a card, with an id that no other stream of the process has.
c10::Stream new_stream(c10::DeviceIndex device);

/// If the thread's stream of the card is not the default one.
bool on_side_stream(c10::DeviceIndex device);

struct Event {
  c10::DeviceIndex device = 0;
  c10::StreamId stream = 0;
  int64_t started = 0;  // operations of the card before the event
  Progress progress = {};
};
void record_event(Event& event, const c10::Stream& stream);

/// Counts a blocking wait if the card was given nothing to do since the event: it has run dry when the host goes on.
void wait_for_event(const Event& event);
void wait_for_stream(const c10::Stream& stream);
void wait_for_device(c10::DeviceIndex device);

}  // namespace fake_cuda
