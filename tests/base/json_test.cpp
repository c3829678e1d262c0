#include "base/json.h"

#include <gtest/gtest.h>

#include "minimind/base/error.h"

namespace minimind {
namespace {

std::string error_of(const std::string& text, const JsonLimits& limits = {}) {
  try {
    parse_json(text, "f.json", limits);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(ParseJson, NamesLineAndColumnOfAMistake) {
  EXPECT_EQ(error_of(R"({"ä": [1, 2]})"), "");
  EXPECT_EQ(error_of("{\n \"ä\": ,}"), "f.json: malformed JSON at line 2, column 7");
  EXPECT_EQ(error_of(""), "f.json: malformed JSON at line 1, column 1");
  EXPECT_NE(error_of("\x1F\x8B\x08").find("expected JSON in UTF-8, found a gzip file"), std::string::npos);
  EXPECT_NE(error_of("<html>").find("found a web page"), std::string::npos);
}

TEST(ParseJson, KeepsToTheLimits) {
  EXPECT_EQ(error_of("[[1]]", {100, 2}), "");
  EXPECT_NE(error_of("[[[1]]]", {100, 2}).find("f.json: expected JSON nested at most 2 deep"), std::string::npos);
}

TEST(ParseJson, KeepsTheOrderOfKeysIfAsked) {
  EXPECT_EQ(parse_ordered_json(R"({"b":1,"a":2})", "f.json").dump(), R"({"b":1,"a":2})");
  EXPECT_EQ(parse_json(R"({"b":1,"a":2})", "f.json").dump(), R"({"a":2,"b":1})");
}

}  // namespace
}  // namespace minimind
