#include "web/data_url.h"

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "web/api_error.h"

namespace minimind {
namespace {

/// Bytes whose base64 has all forms of padding and both special characters, by their number.
std::string some_bytes(size_t count) {
  std::string bytes;
  for (size_t i = 0; i < count; ++i) {
    bytes += static_cast<char>(251 + 37 * i);
  }
  return bytes;
}

std::string code_of(const std::string& url) {
  try {
    image_of_data_url(url, "here");
  } catch (const ApiError& error) {
    EXPECT_EQ(error.param(), "here");
    return error.code();
  }
  return "";
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != text.npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

TEST(DataUrl, TakesEveryFormOfBase64ThatClientsSend) {
  const std::string head = "data:image/png;base64,";
  for (const size_t count : {58U, 59U, 60U, 200U}) {
    const std::string bytes = some_bytes(count);
    const std::string text = encode_base64(bytes);
    std::string lines;
    for (size_t at = 0; at < text.size(); at += 76) {
      lines += text.substr(at, 76) + "\r\n";
    }
    const std::string plain = text.substr(0, text.find('='));
    const std::string safe = replaced(replaced(text, "+", "-"), "/", "_");
    const std::string escaped = replaced(replaced(replaced(text, "+", "%2B"), "/", "%2f"), "=", "%3D");
    ASSERT_NE(safe, text);
    for (const std::string& form : {text, lines, " " + text, text + "\n", plain, safe, safe.substr(0, safe.find('=')),
                                    escaped, text.substr(0, 9) + "\t " + text.substr(9)}) {
      EXPECT_EQ(image_of_data_url(head + form, "here"), bytes) << form;
    }
  }
}

TEST(DataUrl, TakesEveryFormOfItsHead) {
  for (const char* head :
       {"data:image/png;base64,", "DATA:image/png;base64,", "Data:IMAGE/JPEG;BASE64,",
        "data:image/jpeg;charset=utf-8;base64,", "data:image/jpeg; base64, ", " data:image/*;base64,", "data:;base64,",
        "data:application/octet-stream;base64,", "data:image/svg+xml;base64,"}) {
    EXPECT_EQ(image_of_data_url(std::string(head) + "aGVsbG8=", "here"), "hello") << head;
  }
}

TEST(DataUrl, RefusesWhatIsNoBase64Image) {
  for (const char* text : {"a", "a===", "aGVsbG8==", "aG=sbG8=", "aGVsbG8=aGVs", "aGVs!G8=", "aGVsbG8%", "aGVsbG8é"}) {
    EXPECT_EQ(code_of(std::string("data:image/png;base64,") + text), "invalid_base64") << text;
  }
  for (const char* url : {"data:image/png,hello", "data:text/plain;base64,QQ==", "data:image/png;base64",
                          "data:", "data:text/html;base64,QQ=="}) {
    EXPECT_EQ(code_of(url), "invalid_image_url") << url;
  }
  for (const char* url : {"", "dat", "http://a/b.png", "/9j/4AAQ", "file:///etc/passwd"}) {
    EXPECT_EQ(code_of(url), "unsupported_image_url") << url;
  }
  EXPECT_EQ(code_of("data:image/png;base64, \n"), "invalid_image");
}

}  // namespace
}  // namespace minimind
