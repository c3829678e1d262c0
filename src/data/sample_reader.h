#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/progress.h"
#include "data/json_text.h"
#include "data/turn_pairing.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/data/dataset.h"

namespace minimind::detail {

// What a value is, for messages.
inline constexpr std::string_view kText = "a string";
inline constexpr std::string_view kNumber = "a number";
inline constexpr std::string_view kNull = "null";
inline constexpr std::string_view kNotFinite = "NaN or Infinity";

/// Handles the events of nlohmann's SAX parser. Values that no sample needs are skipped.
class SampleReader {
 public:
  SampleReader(const MappedFile& file, DataKind kind, std::function<void(const Sample&)> on_sample)
      : file_(file),
        where_(file.path().string()),
        first_turn_only_(kind != DataKind::kPretrain),
        on_sample_(std::move(on_sample)),
        progress_("reading " + where_, "MB", megabytes(file.bytes().size())) {}
  void read();

  bool null() { return value(kNull); }
  bool boolean(bool /*truth*/) { return value("a boolean"); }
  bool number_integer(int64_t number) { return value(kNumber, is_id() ? std::to_string(number) : ""); }
  bool number_unsigned(uint64_t number) { return value(kNumber, is_id() ? std::to_string(number) : ""); }
  bool number_float(double /*number*/, const std::string& digits) {
    return cursor_.is_literal(digits) ? value(kNotFinite) : value(kNumber, digits);
  }
  bool string(std::string& text) { return value(kText, text); }
  bool binary(Json::binary_t& /*bytes*/) { return false; }
  bool start_object(size_t /*size*/);
  bool key(std::string& name);
  bool end_object();
  bool start_array(size_t /*size*/);
  bool end_array();
  bool parse_error(size_t position, const std::string& token, const Json::exception& error);

 private:
  // The innermost object or array that is not skipped.
  enum class Place { kFile, kSamples, kSample, kImages, kMessages, kMessage };

  static int64_t megabytes(size_t bytes) { return static_cast<int64_t>(bytes / 1000000); }
  size_t offset() const { return static_cast<size_t>(cursor_.next() - file_.bytes().data()); }
  bool is_id() const { return place_ == Place::kSample && field_ == "id"; }
  bool is_in(Place place) const { return place_ == place && skipped_depth_ == 0; }
  bool value(std::string_view found, std::string_view text = {});
  void read_field(std::string_view found, std::string_view text);
  void set_problem(std::string text);
  void wrong_kind(const std::string& field, std::string_view expected, std::string_view found);
  std::string message_name() const { return concat(list_key_, "[", messages_, "]"); }
  void require_text() const;
  bool has_alias(const std::string& name);
  void end_message();
  void pair_turns();
  void end_sample();
  [[noreturn]] void fail_at(size_t offset, std::string_view expected, const std::string& hint = {}) const;

  const MappedFile& file_;
  std::string where_;
  bool first_turn_only_;
  std::function<void(const Sample&)> on_sample_;
  Progress progress_;
  JsonCursor cursor_;
  size_t parsed_ = 0;  // where the document that the parser reads begins: the file, or a line of JSON Lines
  size_t released_ = 0;

  Place place_ = Place::kFile;
  int64_t skipped_depth_ = 0;  // open objects and arrays inside a skipped value
  std::string field_;          // the last key of the innermost object, aliases replaced
  std::string list_key_;       // of this sample's messages: conversations or messages
  std::string keys_;           // of this sample that nobody reads, for messages
  Sample sample_;
  int64_t messages_ = 0;             // of this sample, so far
  std::optional<std::string> text_;  // of this message
  std::string role_;                 // of this message
  std::vector<RawMessage> conversation_;
  bool has_conversations_ = false;
  bool has_image_ = false;
  int64_t samples_ = 0;
  int64_t wrong_samples_ = 0;
  std::string first_problem_;  // of the file, with the sample's id
};

}  // namespace minimind::detail
