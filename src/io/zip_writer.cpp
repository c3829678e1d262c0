#include "io/zip_writer.h"

#include <algorithm>

#include "io/crc32.h"

namespace minimind::detail {

namespace {

constexpr uint64_t kAlignment = 64;
constexpr uint64_t kMax32 = 0xFFFFFFFF;
constexpr uint64_t kMax16 = 0xFFFF;

/// Little-endian numbers, one after the other.
class ZipBytes {
 public:
  ZipBytes& number(uint64_t value, int width) {
    for (int i = 0; i < width; ++i) {
      text_.push_back(static_cast<char>((value >> (8 * i)) & 0xFF));
    }
    return *this;
  }
  ZipBytes& text(std::string_view text) {
    text_ += text;
    return *this;
  }
  const std::string& str() const { return text_; }

 private:
  std::string text_;
};

/// Version, flags, method (stored) and date (1980-00-00, as torch.save writes) of a header.
void common_fields(ZipBytes& bytes, bool is_large) {
  bytes.number(is_large ? 45 : 20, 2).number(0, 2).number(0, 2).number(0, 4);
}

}  // namespace

void ZipWriter::add(const std::string& name, std::string_view bytes) {
  Entry entry{name, file_.size(), bytes.size(), crc32(bytes)};
  const bool is_large = entry.size >= kMax32;
  ZipBytes extra;
  if (is_large) {
    extra.number(1, 2).number(16, 2).number(entry.size, 8).number(entry.size, 8);
  }
  // A field "FB" of padding, torch.save's own way of aligning the bytes that follow.
  const uint64_t before = entry.offset + 30 + name.size() + extra.str().size() + 4;
  const uint64_t padding = (kAlignment - before % kAlignment) % kAlignment;
  extra.text("FB").number(padding, 2).text(std::string(padding, 'Z'));
  ZipBytes header;
  header.number(0x04034b50, 4);
  common_fields(header, is_large);
  const uint64_t size = is_large ? kMax32 : entry.size;
  header.number(entry.crc, 4).number(size, 4).number(size, 4);
  header.number(name.size(), 2).number(extra.str().size(), 2).text(name).text(extra.str());
  file_.write(header.str());
  file_.write(bytes);
  entries_.push_back(std::move(entry));
}

std::string ZipWriter::central_entry(const Entry& entry) const {
  const bool large_size = entry.size >= kMax32;
  const bool large_offset = entry.offset >= kMax32;
  ZipBytes fields;
  if (large_size) {
    fields.number(entry.size, 8).number(entry.size, 8);
  }
  if (large_offset) {
    fields.number(entry.offset, 8);
  }
  ZipBytes extra;
  if (!fields.str().empty()) {
    extra.number(1, 2).number(fields.str().size(), 2).text(fields.str());
  }
  const uint64_t size = large_size ? kMax32 : entry.size;
  ZipBytes bytes;
  bytes.number(0x02014b50, 4).number(45, 2);
  common_fields(bytes, large_size || large_offset);
  bytes.number(entry.crc, 4).number(size, 4).number(size, 4);
  bytes.number(entry.name.size(), 2).number(extra.str().size(), 2);
  // No comment, first disk, no attributes.
  bytes.number(0, 2).number(0, 2).number(0, 2).number(0, 4);
  bytes.number(large_offset ? kMax32 : entry.offset, 4).text(entry.name).text(extra.str());
  return bytes.str();
}

void ZipWriter::finish() {
  const uint64_t offset = file_.size();
  for (const Entry& entry : entries_) {
    file_.write(central_entry(entry));
  }
  const uint64_t end = file_.size();
  const uint64_t size = end - offset;
  ZipBytes bytes;
  if (offset >= kMax32 || size >= kMax32 || entries_.size() >= kMax16) {
    bytes.number(0x06064b50, 4).number(44, 8).number(45, 2).number(45, 2).number(0, 4).number(0, 4);
    bytes.number(entries_.size(), 8).number(entries_.size(), 8).number(size, 8).number(offset, 8);
    bytes.number(0x07064b50, 4).number(0, 4).number(end, 8).number(1, 4);
  }
  const uint64_t count = std::min<uint64_t>(entries_.size(), kMax16);
  bytes.number(0x06054b50, 4).number(0, 2).number(0, 2).number(count, 2).number(count, 2);
  bytes.number(std::min(size, kMax32), 4).number(std::min(offset, kMax32), 4).number(0, 2);
  file_.write(bytes.str());
}

}  // namespace minimind::detail
