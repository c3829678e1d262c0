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

/// A scalar and its name.
using NamedScalar = std::pair<std::string, double>;

/// Curves as TensorBoard reads them: `FOLDER/events.out.tfevents.*`, TFRecords of Event messages.
class EventFile {
 public:
  /// A fresh run (first_step 0) removes the event files of an earlier one. A resumed run begins a further file and
  /// tells readers to forget what stands after first_step. Throws Error.
  EventFile(const std::filesystem::path& folder, int64_t first_step);
  /// One point of each curve; written out at once. Values that are not finite are left out. Throws Error.
  void add(int64_t step, const std::vector<NamedScalar>& scalars);
  const std::filesystem::path& path() const { return path_; }

 private:
  void write(const std::string& event);
  std::filesystem::path path_;
  std::ofstream output_;
};

}  // namespace minimind
