#include "train/report/event_file.h"

#include <unistd.h>

#include <bit>
#include <chrono>
#include <cmath>
#include <ctime>

#include "base/bytes.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"

namespace minimind {
namespace {

constexpr const char* kEventPrefix = "events.out.tfevents.";

/// The mask of TFRecord: a CRC over bytes that hold CRCs would be weak.
uint32_t masked(uint32_t crc) {
  return std::rotr(crc, 15) + 0xA282EAD8U;
}

// Protocol buffers: a field is its number and wire type, then the value.
enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void append_key(std::string& out, uint32_t field, WireType type) {
  append_varint(out, (field << 3U) | type);
}

void append_bytes(std::string& out, uint32_t field, std::string_view bytes) {
  append_key(out, field, kBytes);
  append_varint(out, bytes.size());
  out += bytes;
}

/// Event: wall_time = 1 (double), step = 2 (int64).
std::string event_head(int64_t step) {
  const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
  std::string event;
  append_key(event, 1, kFixed64);
  append_little_endian(event, std::bit_cast<uint64_t>(now.count()));
  append_key(event, 2, kVarint);
  append_varint(event, static_cast<uint64_t>(step));
  return event;
}

/// Summary.Value: tag = 1, simple_value = 2 (float).
std::string summary_value(const NamedScalar& scalar) {
  std::string value;
  append_bytes(value, 1, scalar.first);
  append_key(value, 2, kFixed32);
  append_little_endian(value, std::bit_cast<uint32_t>(static_cast<float>(scalar.second)));
  return value;
}

std::string event_file_name() {
  char host[256] = "localhost";
  gethostname(host, sizeof(host) - 1);
  return concat(kEventPrefix, std::time(nullptr), ".", host, ".", getpid());
}

void remove_event_files(const std::filesystem::path& folder) {
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().filename().string().starts_with(kEventPrefix)) {
      std::filesystem::remove(entry.path());
    }
  }
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  constexpr uint32_t kReversedPolynomial = 0x82F63B78;
  uint32_t crc = 0xFFFFFFFFU;
  for (const char c : bytes) {
    crc ^= static_cast<uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? kReversedPolynomial : 0U);
    }
  }
  return ~crc;
}

std::string tfrecord(std::string_view payload) {
  std::string record;
  append_little_endian(record, payload.size());
  append_little_endian(record, masked(crc32c(record)));
  record += payload;
  append_little_endian(record, masked(crc32c(payload)));
  return record;
}

EventFile::EventFile(const std::filesystem::path& folder, int64_t first_micro_step) {
  ensure_writable_folder(folder);
  if (first_micro_step == 0) {
    remove_event_files(folder);
  }
  const std::string name = event_file_name();
  path_ = folder / name;
  // Two runs may begin in the same second.
  for (int again = 1; std::filesystem::exists(path_); ++again) {
    path_ = folder / concat(name, ".", again);
  }
  output_.open(path_, std::ios::binary);
  std::string version = event_head(0);
  append_bytes(version, 3, "brain.Event:2");  // Event.file_version
  write(version);
  if (first_micro_step > 0) {
    std::string restart = event_head(first_micro_step + 1);
    append_bytes(restart, 7, std::string("\x08\x01", 2));  // Event.session_log, its status = 1: START
    write(restart);
  }
}

void EventFile::add(int64_t micro_step, const std::vector<NamedScalar>& scalars) {
  std::string summary;
  for (const NamedScalar& scalar : scalars) {
    if (std::isfinite(scalar.second)) {
      append_bytes(summary, 1, summary_value(scalar));
    }
  }
  if (!summary.empty()) {
    std::string event = event_head(micro_step);
    append_bytes(event, 5, summary);  // Event.summary
    write(event);
  }
}

void EventFile::write(const std::string& event) {
  output_ << tfrecord(event);
  output_.flush();
  require(output_.good(), path_.string(),
          ": expected to append a record, found that the file cannot be written (full disk?); free some space, then "
          "continue with --resume");
}

}  // namespace minimind
