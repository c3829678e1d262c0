#include <array>

#include "web/api_error.h"
#include "web/chat_request.h"

namespace minimind {

namespace {

constexpr uint8_t kNoDigit = 64;

constexpr std::array<uint8_t, 256> make_base64_digits() {
  std::array<uint8_t, 256> digits{};
  digits.fill(kNoDigit);
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < kAlphabet.size(); ++i) {
    digits[static_cast<uint8_t>(kAlphabet[i])] = static_cast<uint8_t>(i);
  }
  return digits;
}

constexpr std::array<uint8_t, 256> kBase64Digits = make_base64_digits();

}  // namespace

std::optional<std::string> decode_base64(std::string_view text) {
  if (text.size() % 4 != 0) {
    return std::nullopt;
  }
  const size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  const std::string_view digits = text.substr(0, text.size() - padding);
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3);
  uint32_t bits = 0;
  int count = 0;
  for (const char c : digits) {
    const uint8_t digit = kBase64Digits[static_cast<uint8_t>(c)];
    if (digit == kNoDigit) {
      return std::nullopt;
    }
    bits = bits << 6 | digit;
    count += 6;
    if (count >= 8) {
      count -= 8;
      bytes += static_cast<char>(bits >> count & 0xFF);
    }
  }
  // Digits that end inside a byte must end in zeros: one text for one content.
  if ((bits & ((1U << count) - 1)) != 0) {
    return std::nullopt;
  }
  return bytes;
}

std::string image_of_data_url(std::string_view url, const std::string& where) {
  if (!url.starts_with("data:")) {
    throw ApiError(400,
                   concat(where,
                          ": expected an image inside the request, as data:image/…;base64,…, found another URL; "
                          "this server fetches nothing"),
                   where, "unsupported_image_url");
  }
  const size_t comma = url.find(',');
  const std::string_view kind = url.substr(0, comma);
  if (comma == std::string_view::npos || !kind.starts_with("data:image/") || !kind.ends_with(";base64")) {
    throw ApiError(400, concat(where, ": expected data:image/…;base64,…, found a data URL of another form"), where,
                   "invalid_image_url");
  }
  std::optional<std::string> bytes = decode_base64(url.substr(comma + 1));
  if (!bytes) {
    throw ApiError(400,
                   concat(where, ": expected base64 (A-Z a-z 0-9 + / with = padding and no blanks), found other text"),
                   where, "invalid_base64");
  }
  if (bytes->empty()) {
    throw ApiError(400, concat(where, ": expected an image, found no bytes"), where, "invalid_image");
  }
  return *std::move(bytes);
}

}  // namespace minimind
