#include <cmath>
#include <nlohmann/json.hpp>
#include <system_error>

#include "base/json_limits.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/image/image.h"

namespace minimind {
namespace {

using Json = nlohmann::json;

int64_t positive_side(const std::string& where, const Json& value) {
  constexpr int64_t kLargest = 65'535;
  require(value.is_number_integer() && value.get<double>() >= 1 && value.get<double>() <= kLargest, where,
          ": expected a whole number of 1 to ", kLargest, ", found ", value.dump(), "; use CLIP's own file");
  return value.get<int64_t>();
}

/// A number, {"height": n, "width": n} or {"shortest_edge": n}: the forms of old and new files.
int64_t square_side(const std::string& where, const Json& value) {
  if (!value.is_object()) {
    return positive_side(where, value);
  }
  if (value.contains("shortest_edge")) {
    return positive_side(where, value["shortest_edge"]);
  }
  require(value.contains("height") && value.contains("width"), where,
          ": expected a number, height and width, or shortest_edge, found ", value.dump(), "; use CLIP's own file");
  const int64_t height = positive_side(where, value["height"]);
  require(height == positive_side(where, value["width"]), where, ": expected a square, found ", value.dump(),
          "; other shapes are not supported");
  return height;
}

void read_channels(const std::string& where, const Json& value, bool positive, std::array<float, 3>& out) {
  bool valid = value.is_array() && value.size() == out.size();
  for (size_t i = 0; valid && i < out.size(); ++i) {
    valid = value[i].is_number();
    if (valid) {
      out[i] = value[i].get<float>();
      valid = std::isfinite(out[i]) && (!positive || out[i] > 0.0F);
    }
  }
  require(valid, where, ": expected three ", positive ? "positive numbers" : "numbers", ", found ", value.dump(),
          "; use CLIP's own file");
}

}  // namespace

ClipPreprocessing load_clip_preprocessing(const std::filesystem::path& clip_dir) {
  ClipPreprocessing result;
  const std::filesystem::path path = clip_dir / "preprocessor_config.json";
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {
    return result;
  }
  const std::string text = read_file(path);
  check_json_limits(text, path.string());
  const Json json = Json::parse(text, nullptr, false);
  require(json.is_object(), path.string(), ": expected a JSON object, found something else; fetch the file again");
  const auto where = [&](const char* key) { return concat(path.string(), ": ", key); };
  // What the network sees is the crop where the file has one, else the resized image.
  const bool cropped =
      json.contains("crop_size") && (!json.contains("do_center_crop") || json["do_center_crop"] == true);
  const char* size_key = cropped ? "crop_size" : "size";
  if (json.contains(size_key)) {
    result.image_size = square_side(where(size_key), json[size_key]);
  }
  if (json.contains("image_mean")) {
    read_channels(where("image_mean"), json["image_mean"], false, result.mean);
  }
  if (json.contains("image_std")) {
    read_channels(where("image_std"), json["image_std"], true, result.std);
  }
  return result;
}

}  // namespace minimind
