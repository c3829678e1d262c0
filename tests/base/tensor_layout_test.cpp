#include "base/tensor_layout.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "base/bytes.h"

namespace minimind {
namespace {

TEST(TensorLayout, LaysTensorsOutWithoutGaps) {
  const std::string header = safetensors_header({{"a", "F32", {2, 3}, 24}, {"b", "U8", {}, 1}}, {{"format", "pt"}});
  EXPECT_EQ(header.size() % 64, 0U);
  EXPECT_EQ(read_little_endian<uint64_t>(header), header.size() - 8);
  const std::string json = header.substr(8, header.find_last_not_of(' ') + 1 - 8);
  EXPECT_EQ(json, R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
                  R"("b":{"dtype":"U8","shape":[],"data_offsets":[24,25]}})");
}

TEST(TensorLayout, RefusesANameThatOccursTwice) {
  EXPECT_THROW(safetensors_header({{"a", "U8", {1}, 1}, {"a", "U8", {1}, 1}}, {}), std::logic_error);
}

}  // namespace
}  // namespace minimind
