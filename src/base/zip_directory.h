#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace minimind {

/// An entry of a zip archive's central directory.
struct ZipEntry {
  std::string name;  ///< a path; ends in `/` if the entry is a folder
  uint64_t compressed_size = 0;
  uint64_t size = 0;           ///< unpacked
  uint64_t header_offset = 0;  ///< of the local header, which stands in front of the data
  uint32_t crc = 0;            ///< CRC-32 of the unpacked bytes
  uint16_t method = 0;         ///< 0: stored, 8: deflated
  uint16_t flags = 0;          ///< bit 0: encrypted; kZipNameIsUtf8
};

/// The flag of a name that is certainly in UTF-8; other names may be.
inline constexpr uint16_t kZipNameIsUtf8 = 1U << 11U;

/// Reads exactly `bytes` bytes of the archive at `offset` into `out`, or throws Error.
using ReadAt = std::function<void(uint64_t offset, char* out, size_t bytes)>;

/// Reads the central directory (APPNOTE 6.3, ZIP64 included) of an archive of `file_bytes` bytes and calls `on_entry`
/// for each entry, in the directory's order, with the name of its Unicode Path field if it has one. An archive may
/// stand behind other bytes, as in a program that unpacks itself. Sizes and offsets of the entries are not checked
/// against the file. Throws Error that begins with `where` if there is no directory, or if it is damaged.
void read_zip_directory(const ReadAt& read, uint64_t file_bytes, const std::string& where,
                        const std::function<void(ZipEntry&&)>& on_entry);

/// The offset of the entry's data, behind its local header. Throws Error that begins with `where` if there is no local
/// header; `where` names the archive and the entry.
uint64_t zip_data_offset(const ReadAt& read, const ZipEntry& entry, const std::string& where);

}  // namespace minimind
