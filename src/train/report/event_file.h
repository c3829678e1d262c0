#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace minimind {

/// CRC-32C (Castagnoli) of the bytes.
uint32_t crc32c(std::string_view bytes);
/// One record of a TFRecord file: length, masked CRC of the length, payload, masked CRC of the payload.
std::string tfrecord(std::string_view payload);

/// A scalar with its tag.
using NamedScalar = std::pair<std::string, double>;

/// Curves for TensorBoard: `FOLDER/events.out.tfevents.*`, TFRecords of Event messages.
class EventFile {
 public:
  /// A new run (first_micro_step 0) removes the event files of an earlier run. A resumed run starts another file, which
  /// lets readers drop all points after first_micro_step. Throws Error.
  EventFile(const std::filesystem::path& folder, int64_t first_micro_step);
  /// Writes one point of each curve at once. Skips values that are not finite. Throws Error.
  void add(int64_t micro_step, const std::vector<NamedScalar>& scalars);
  const std::filesystem::path& path() const { return path_; }

 private:
  void write(const std::string& event);
  std::filesystem::path path_;
  std::ofstream output_;
};

}  // namespace minimind
