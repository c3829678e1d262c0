#pragma once

#include <zlib.h>

#include <cstdint>
#include <string>
#include <vector>

namespace minimind::testing {

/// Ways to spoil an entry.
struct ZipTricks {
  uint16_t flags = 0;
  int method = -1;           ///< instead of the true one
  int64_t size = -1;         ///< claimed by the directory instead of the true one
  int64_t stored_size = -1;  ///< likewise
};

/// Writes zips of every form that the reader must take, and wrong ones on purpose.
class ZipWriter {
 public:
  enum class Form { kPlain, kZip64 };
  explicit ZipWriter(Form form = Form::kPlain) : form_(form) {}

  void add(const std::string& name, const std::string& bytes, bool deflated = false, const ZipTricks& tricks = {}) {
    const std::string stored = deflated ? deflate(bytes) : bytes;
    const auto method = static_cast<uint16_t>(tricks.method >= 0 ? tricks.method : (deflated ? 8 : 0));
    const auto crc = static_cast<uint32_t>(::crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
    const uint64_t offset = out_.size();
    const std::string local_extra = {'U', 'T', 1, 0, 0};  // another length than the directory's
    put(out_, 0x04034B50U);
    put_common(out_, tricks.flags, method, crc, static_cast<uint32_t>(stored.size()),
               static_cast<uint32_t>(bytes.size()), name, local_extra.size());
    out_ += name + local_extra + stored;

    const auto size_claimed = static_cast<uint64_t>(tricks.size >= 0 ? tricks.size : std::ssize(bytes));
    const auto stored_claimed =
        static_cast<uint64_t>(tricks.stored_size >= 0 ? tricks.stored_size : std::ssize(stored));
    std::string extra;
    const bool wide = form_ == Form::kZip64;
    if (wide) {
      put<uint16_t>(extra, 0x5455);
      put<uint16_t>(extra, 1);
      extra.push_back('\0');
      put<uint16_t>(extra, 1);
      put<uint16_t>(extra, 24);
      put<uint64_t>(extra, size_claimed);
      put<uint64_t>(extra, stored_claimed);
      put<uint64_t>(extra, offset);
    }
    put(directory_, 0x02014B50U);
    put<uint16_t>(directory_, 45);
    put_common(directory_, tricks.flags, method, crc, wide ? UINT32_MAX : static_cast<uint32_t>(stored_claimed),
               wide ? UINT32_MAX : static_cast<uint32_t>(size_claimed), name, extra.size());
    put<uint16_t>(directory_, 0);
    put<uint16_t>(directory_, 0);
    put<uint16_t>(directory_, 0);
    put<uint32_t>(directory_, 0);
    put<uint32_t>(directory_, wide ? UINT32_MAX : static_cast<uint32_t>(offset));
    directory_ += name + extra;
    ++count_;
  }

  std::string finish(const std::string& comment = "") {
    const uint64_t offset = out_.size();
    out_ += directory_;
    const bool wide = form_ == Form::kZip64;
    if (wide) {
      const uint64_t end = out_.size();
      put(out_, 0x06064B50U);
      put<uint64_t>(out_, 44);
      put<uint16_t>(out_, 45);
      put<uint16_t>(out_, 45);
      put<uint32_t>(out_, 0);
      put<uint32_t>(out_, 0);
      put<uint64_t>(out_, count_);
      put<uint64_t>(out_, count_);
      put<uint64_t>(out_, directory_.size());
      put<uint64_t>(out_, offset);
      put(out_, 0x07064B50U);
      put<uint32_t>(out_, 0);
      put<uint64_t>(out_, end);
      put<uint32_t>(out_, 1);
    }
    put(out_, 0x06054B50U);
    put<uint32_t>(out_, 0);
    put<uint16_t>(out_, wide ? UINT16_MAX : static_cast<uint16_t>(count_));
    put<uint16_t>(out_, wide ? UINT16_MAX : static_cast<uint16_t>(count_));
    put<uint32_t>(out_, wide ? UINT32_MAX : static_cast<uint32_t>(directory_.size()));
    put<uint32_t>(out_, wide ? UINT32_MAX : static_cast<uint32_t>(offset));
    put<uint16_t>(out_, static_cast<uint16_t>(comment.size()));
    return out_ + comment;
  }

 private:
  template <class T>
  static void put(std::string& out, T value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }

  static void put_common(std::string& out, uint16_t flags, uint16_t method, uint32_t crc, uint32_t stored,
                         uint32_t size, const std::string& name, size_t extra) {
    put<uint16_t>(out, 45);
    put(out, flags);
    put(out, method);
    put<uint32_t>(out, 0);
    put(out, crc);
    put(out, stored);
    put(out, size);
    put(out, static_cast<uint16_t>(name.size()));
    put(out, static_cast<uint16_t>(extra));
  }

  static std::string deflate(const std::string& bytes) {
    std::string packed(::compressBound(bytes.size()) + 64, '\0');
    z_stream stream{};
    ::deflateInit2(&stream, 6, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream.avail_in = static_cast<uInt>(bytes.size());
    stream.next_out = reinterpret_cast<Bytef*>(packed.data());
    stream.avail_out = static_cast<uInt>(packed.size());
    ::deflate(&stream, Z_FINISH);
    packed.resize(stream.total_out);
    ::deflateEnd(&stream);
    return packed;
  }

  Form form_;
  std::string out_;
  std::string directory_;
  uint64_t count_ = 0;
};

}  // namespace minimind::testing
