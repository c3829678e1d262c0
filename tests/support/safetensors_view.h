#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace minimind::testing {

/// A tensor of a safetensors file as plain bytes.
struct TensorView {
  std::string dtype;  ///< as in the file: "U8", "F32", …
  std::vector<int64_t> shape;
  std::string_view bytes;
};

/// A whole safetensors file, for tests of layers that know no tensor library. Throws std::runtime_error, naming the
/// file, for one that is malformed.
class SafetensorsView {
 public:
  explicit SafetensorsView(const std::filesystem::path& path) : path_(path) {
    std::ifstream file(path, std::ios::binary);
    check(static_cast<bool>(file), "cannot be opened");
    content_.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    check(content_.size() >= sizeof(uint64_t), "has no header");
    uint64_t length = 0;
    std::memcpy(&length, content_.data(), sizeof length);
    check(length <= content_.size() - sizeof length, "has a header longer than itself");
    const std::string_view whole = content_;
    const auto header = nlohmann::json::parse(whole.substr(sizeof length, length), nullptr, false);
    check(header.is_object(), "has a header that is no JSON object");
    const std::string_view data = whole.substr(sizeof length + length);
    for (const auto& [name, entry] : header.items()) {
      if (name != "__metadata__") {
        tensors_[name] = tensor_of(entry, data);
      }
    }
  }
  SafetensorsView(const SafetensorsView&) = delete;
  SafetensorsView& operator=(const SafetensorsView&) = delete;

  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  bool contains(const std::string& name) const { return tensors_.count(name) != 0; }
  const TensorView& at(const std::string& name) const {
    const auto found = tensors_.find(name);
    check(found != tensors_.end(), "has no tensor " + name);
    return found->second;
  }

 private:
  void check(bool condition, const std::string& complaint) const {
    if (!condition) {
      throw std::runtime_error(path_.string() + ": " + complaint);
    }
  }
  TensorView tensor_of(const nlohmann::json& entry, std::string_view data) const {
    const auto offsets = entry.at("data_offsets").get<std::vector<size_t>>();
    check(offsets.size() == 2 && offsets[0] <= offsets[1] && offsets[1] <= data.size(), "has offsets outside itself");
    return {entry.at("dtype").get<std::string>(), entry.at("shape").get<std::vector<int64_t>>(),
            data.substr(offsets[0], offsets[1] - offsets[0])};
  }

  std::filesystem::path path_;
  std::string content_;
  std::map<std::string, TensorView> tensors_;
};

}  // namespace minimind::testing
