#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/utf8.h"
#include "minimind/base/error.h"

namespace minimind {

/// A value of the pickle machine. Nodes live in its arena and may point at each other in cycles and to any depth.
struct PickleNode {
  enum class Kind { kNone, kBool, kInt, kFloat, kText, kTuple, kList, kDict, kGlobal, kStorage, kTensor, kMark };
  Kind kind = Kind::kNone;
  int64_t number = 0;              ///< kBool, kInt: the value; kStorage, kTensor: index into the machine's tensors
  std::string text;                ///< kText: the value; kGlobal: "module name"
  std::vector<PickleNode*> items;  ///< kTuple, kList: the items; kDict: key, value, key, value, …

  const char* kind_name() const {
    constexpr std::array kNames = {"None",   "a bool", "an integer", "a float",   "a string", "a tuple",
                                   "a list", "a dict", "a name",     "a storage", "a tensor", "a mark"};
    return kNames[static_cast<size_t>(kind)];
  }
};

/// The bytes of a pickle program, read from front to back. Throws Error, with `where` in front, if the program is cut.
class PickleProgram {
 public:
  PickleProgram(std::string_view bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  std::string_view bytes(uint64_t size) {
    require(size <= bytes_.size() - at_, where_, ": damaged pickle: expected ", size, " more bytes at byte ", at_,
            ", found ", bytes_.size() - at_, "; copy or download the file again");
    at_ += size;
    return bytes_.substr(at_ - size, size);
  }
  /// A little-endian number of `width` bytes.
  uint64_t number(size_t width) {
    uint64_t value = 0;
    std::memcpy(&value, bytes(width).data(), width);
    return value;
  }
  /// The same in two's complement; at most 8 bytes.
  int64_t signed_number(uint64_t width) {
    if (width > 8) {
      refuse("an integer of more than 8 bytes");
    }
    return width == 0 ? 0 : static_cast<int64_t>(number(width) << (64 - 8 * width)) >> (64 - 8 * width);
  }
  /// A string behind its length of `width` bytes.
  std::string text(size_t width) { return std::string(bytes(number(width))); }
  std::string_view line() {
    const size_t end = bytes_.find('\n', at_);
    require(end != std::string_view::npos, where_, ": damaged pickle: expected a line's end after byte ", at_,
            ", found the end of the program; copy or download the file again");
    const std::string_view line = bytes(end + 1 - at_);
    return line.substr(0, line.size() - 1);
  }

  void check_protocol() {
    if (const uint64_t protocol = number(1); protocol > 5) {
      refuse(concat("pickle protocol ", protocol));
    }
  }
  [[noreturn]] void refuse(const std::string& found) const {
    fail(where_, ": expected a plain state dict of tensors, found ", printable(found), " (byte ", at_,
         " of its pickle); nothing was executed. Save the weights alone: torch.save(model.state_dict(), path)");
  }

 private:
  std::string_view bytes_;
  const std::string& where_;
  size_t at_ = 0;
};

}  // namespace minimind
