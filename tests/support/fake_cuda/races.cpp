#include "races.h"

#include <algorithm>
#include <mutex>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "counts.h"
#include "streams.h"

namespace fake_cuda {
namespace {

struct Memory {
  StreamKey home;
  Progress reads, writes;  // the last ones of each stream
  std::set<StreamKey> users;
};

struct Pending {
  StreamKey stream;
  int64_t time = 0;
  std::function<void()> action;
};

/// All streams of the process. Every operation of a stream has a time of its own, from 1.
struct World {
  std::mutex mutex;
  Progress now;
  std::map<StreamKey, Progress> seen;  // by a stream
  Progress by_host;
  std::map<const void*, Memory> memory;
  std::vector<Pending> pending;
};

World& world() {
  static World* world = new World;  // never destroyed: memory is given back while the process ends
  return *world;
}

StreamKey key_of(const c10::Stream& stream) {
  return {stream.device_index(), stream.id()};
}

void raise(Progress& progress, const Progress& by) {
  for (const auto& [stream, time] : by) {
    progress[stream] = std::max(progress[stream], time);
  }
}

bool knows(const Progress& seen, const StreamKey& stream, int64_t time) {
  const auto found = seen.find(stream);
  return found != seen.end() && found->second >= time;
}

/// If all of the accesses are the stream's own, or it has seen their end.
bool in_order(const Progress& accesses, const StreamKey& stream) {
  const Progress& seen = world().seen[stream];
  return std::all_of(accesses.begin(), accesses.end(), [&](const auto& access) {
    return access.first == stream || knows(seen, access.first, access.second);
  });
}

}  // namespace

void touch(const at::Tensor& tensor, bool writes) {
  if (!tensor.defined() || !tensor.is_cuda() || tensor.numel() == 0) {
    return;
  }
  World& all = world();
  const StreamKey stream = key_of(current_stream(tensor.device().index()));
  const std::lock_guard guard(all.mutex);
  const auto found = all.memory.find(tensor.storage().data());
  if (found == all.memory.end()) {
    return;
  }
  Memory& memory = found->second;
  raise(all.seen[stream], all.by_host);
  if (!in_order(memory.writes, stream) || (writes && !in_order(memory.reads, stream))) {
    Counts::get().race("two streams use the same memory");
    TORCH_CHECK(setting("FAKE_CUDA_STRICT", 0) == 0,
                "make-believe CUDA: two streams use the same memory of cuda:", static_cast<int>(stream.first),
                ", and no event puts them in order");
  }
  (writes ? memory.writes : memory.reads)[stream] = ++all.now[stream];
}

void memory_begins(const void* place, c10::DeviceIndex device) {
  const StreamKey home = key_of(current_stream(device));
  const std::lock_guard guard(world().mutex);
  world().memory[place] = {home, {}, {}, {}};
}

void memory_ends(const void* place) {
  World& all = world();
  const std::lock_guard guard(all.mutex);
  const auto found = all.memory.find(place);
  if (found == all.memory.end()) {
    return;
  }
  Memory& memory = found->second;
  raise(all.seen[memory.home], all.by_host);
  for (Progress* accesses : {&memory.reads, &memory.writes}) {
    std::erase_if(*accesses, [&](const auto& access) { return memory.users.contains(access.first); });
    if (!in_order(*accesses, memory.home)) {
      Counts::get().race("memory is given back while another stream may use it");
    }
  }
  all.memory.erase(found);
}

void memory_is_used_by(const void* place, const c10::Stream& stream) {
  const std::lock_guard guard(world().mutex);
  const auto found = world().memory.find(place);
  if (found != world().memory.end()) {
    found->second.users.insert(key_of(stream));
  }
}

Progress progress_of(const c10::Stream& stream) {
  World& all = world();
  const std::lock_guard guard(all.mutex);
  Progress progress = all.seen[key_of(stream)];
  raise(progress, {{key_of(stream), all.now[key_of(stream)]}});
  return progress;
}

void stream_sees(const c10::Stream& stream, const Progress& progress) {
  const std::lock_guard guard(world().mutex);
  raise(world().seen[key_of(stream)], progress);
}

void host_sees(const Progress& progress) {
  World& all = world();
  std::vector<Pending> due;
  {
    const std::lock_guard guard(all.mutex);
    raise(all.by_host, progress);
    const auto is_due = [&](const Pending& next) { return knows(all.by_host, next.stream, next.time); };
    std::copy_if(all.pending.begin(), all.pending.end(), std::back_inserter(due), is_due);
    std::erase_if(all.pending, is_due);
  }
  for (const Pending& next : due) {
    next.action();
  }
}

void host_sees_all(c10::DeviceIndex device) {
  Progress progress;
  {
    const std::lock_guard guard(world().mutex);
    for (const auto& [stream, time] : world().now) {
      if (stream.first == device) {
        progress[stream] = time;
      }
    }
  }
  host_sees(progress);
}

void when_host_sees(const c10::Stream& stream, std::function<void()> action) {
  World& all = world();
  const std::lock_guard guard(all.mutex);
  all.pending.push_back({key_of(stream), all.now[key_of(stream)], std::move(action)});
}

}  // namespace fake_cuda
