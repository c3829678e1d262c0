#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/progress.h"
#include "base/text.h"
#include "base/utf8.h"
#include "data/json_text.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/data/dataset.h"

namespace minimind {

namespace {

// The pages that were read go back to the system in steps of this size.
constexpr size_t kReleaseStep = 4U << 20U;

// What a value is, for messages.
constexpr std::string_view kText = "a string";
constexpr std::string_view kNumber = "a number";
constexpr std::string_view kNull = "null";

void set_image_list(std::string_view list, std::vector<std::string>& names) {
  while (true) {
    const size_t comma = list.find(',');
    if (const std::string_view name = strip(list.substr(0, comma)); !name.empty()) {
      names.emplace_back(name);
    }
    if (comma == std::string_view::npos) {
      return;
    }
    list.remove_prefix(comma + 1);
  }
}

// Handles the events of nlohmann's SAX parser. Values that no sample needs are skipped.
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
  bool number_float(double /*number*/, const std::string& digits) { return value(kNumber, digits); }
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
  size_t offset() const { return static_cast<size_t>(next_ - file_.bytes().data()); }
  bool is_id() const { return place_ == Place::kSample && field_ == "id"; }
  bool is_in(Place place) const { return place_ == place && skipped_depth_ == 0; }
  bool value(std::string_view found, std::string_view text = {});
  void read_field(std::string_view found, std::string_view text);
  void set_problem(std::string text);
  void wrong_kind(const std::string& field, std::string_view expected, std::string_view found);
  std::string message_name() const { return concat("conversations[", messages_, "]"); }
  void end_message();
  void end_sample();
  [[noreturn]] void fail_at(size_t offset, std::string_view expected, const std::string& hint = {}) const;

  const MappedFile& file_;
  std::string where_;
  bool first_turn_only_;
  std::function<void(const Sample&)> on_sample_;
  Progress progress_;
  const char* next_ = nullptr;
  size_t released_ = 0;

  Place place_ = Place::kFile;
  int64_t skipped_depth_ = 0;  // open objects and arrays inside a skipped value
  std::string field_;          // the last key of the innermost object
  Sample sample_;
  int64_t messages_ = 0;             // of this sample, so far
  std::optional<std::string> text_;  // of this message
  std::string question_;
  bool has_conversations_ = false;
  int64_t samples_ = 0;
  int64_t wrong_samples_ = 0;
  std::string first_problem_;  // of the file, with the sample's id
};

void SampleReader::set_problem(std::string text) {
  if (sample_.problem.empty()) {
    sample_.problem = std::move(text);
  }
}

void SampleReader::wrong_kind(const std::string& field, std::string_view expected, std::string_view found) {
  set_problem(concat(field, ": expected ", expected, ", found ", found));
}

// A scalar, or the beginning of an object or array that is skipped.
bool SampleReader::value(std::string_view found, std::string_view text) {
  if (is_in(Place::kFile)) {
    fail_at(offset() - 1, "an array of samples '['");
  } else if (is_in(Place::kSamples)) {
    has_conversations_ = true;  // One problem is enough.
    wrong_kind("element", "an object {id, image, conversations}", found);
    end_sample();
  } else if (is_in(Place::kSample)) {
    read_field(found, text);
  } else if (is_in(Place::kImages) && found == kText) {
    sample_.images.emplace_back(strip(text));
  } else if (is_in(Place::kImages)) {
    wrong_kind(concat("image[", sample_.images.size(), "]"), "a file name", found);
  } else if (is_in(Place::kMessages)) {
    wrong_kind(message_name(), "an object {from, value}", found);
  } else if (is_in(Place::kMessage) && field_ == "value") {
    text_ = text;
    if (found != kText) {
      wrong_kind(message_name() + ".value", "a string", found);
    }
  }
  return true;
}

void SampleReader::read_field(std::string_view found, std::string_view text) {
  if (field_ == "id") {
    if (found == kText || found == kNumber) {
      sample_.id = text;
    } else {
      wrong_kind("id", "a string or a number", found);
    }
  } else if (field_ == "image") {
    sample_.images.clear();
    if (found == kText) {
      set_image_list(text, sample_.images);
    } else if (found != kNull) {
      wrong_kind("image", "a string of file names or an array of them", found);
    }
  } else if (field_ == "conversations") {
    has_conversations_ = true;
    wrong_kind("conversations", "an array of {from, value}", found);
  }
}

bool SampleReader::key(std::string& name) {
  if (skipped_depth_ == 0) {
    field_.swap(name);
  }
  return true;
}

bool SampleReader::start_object(size_t /*size*/) {
  if (is_in(Place::kSamples)) {
    place_ = Place::kSample;
  } else if (is_in(Place::kMessages)) {
    text_.reset();
    place_ = Place::kMessage;
  } else {
    value("an object");
    ++skipped_depth_;
  }
  return true;
}

bool SampleReader::end_object() {
  if (skipped_depth_ > 0) {
    --skipped_depth_;
  } else if (place_ == Place::kMessage) {
    end_message();
    place_ = Place::kMessages;
  } else {
    end_sample();
    place_ = Place::kSamples;
  }
  return true;
}

bool SampleReader::start_array(size_t /*size*/) {
  if (is_in(Place::kFile)) {
    place_ = Place::kSamples;
  } else if (is_in(Place::kSample) && field_ == "image") {
    sample_.images.clear();
    place_ = Place::kImages;
  } else if (is_in(Place::kSample) && field_ == "conversations") {
    has_conversations_ = true;
    sample_.turns.clear();
    messages_ = 0;
    place_ = Place::kMessages;
  } else {
    value("an array");
    ++skipped_depth_;
  }
  return true;
}

bool SampleReader::end_array() {
  if (skipped_depth_ > 0) {
    --skipped_depth_;
  } else {
    place_ = place_ == Place::kSamples ? Place::kFile : Place::kSample;
  }
  return true;
}

// Pairs the messages by position. A pair with an empty side is dropped.
void SampleReader::end_message() {
  if (!text_) {
    set_problem(message_name() + ": expected a key \"value\", found no such key");
  } else if (messages_ % 2 == 0) {
    question_.swap(*text_);
  } else if (!question_.empty() && !text_->empty() && (messages_ == 1 || !first_turn_only_)) {
    sample_.turns.emplace_back(std::move(question_), std::move(*text_));
  }
  ++messages_;
}

void SampleReader::end_sample() {
  if (sample_.id.empty()) {
    sample_.id = concat("#", samples_);
  }
  if (!has_conversations_) {
    set_problem("expected a key \"conversations\", found no such key");
  }
  if (!sample_.problem.empty()) {
    sample_.images.clear();
    sample_.turns.clear();
    if (wrong_samples_++ == 0) {
      first_problem_ = concat("'", printable(sample_.id), "': ", sample_.problem);
    }
  }
  on_sample_(sample_);
  sample_ = {};
  has_conversations_ = false;
  ++samples_;
  if (offset() - released_ >= kReleaseStep) {
    file_.release(released_, offset() - released_);
    released_ = offset();
    progress_.update(megabytes(released_));
  }
}

void SampleReader::fail_at(size_t offset, std::string_view expected, const std::string& hint) const {
  fail(where_, ": ", line_and_column(file_.bytes(), offset), ": expected ", expected, ", found ",
       detail::character_at(file_.bytes(), offset), hint);
}

bool SampleReader::parse_error(size_t position, const std::string& /*token*/, const Json::exception& error) {
  fail_at(std::max<size_t>(position, 1) - 1, "valid JSON", concat(" (", detail::parser_hint(error.what()), ")"));
}

void SampleReader::read() {
  const std::string_view bytes = file_.bytes();
  next_ = bytes.data();
  const char* end = bytes.data() + bytes.size();
  Json::sax_parse(detail::CountingIterator(next_), detail::CountingIterator(end), this);
  if (next_ != end) {  // The parser takes a zero byte for the end of the file.
    fail_at(offset() - 1, "the end of the file");
  }
  progress_.finish();
  require(samples_ > 0, where_, ": expected at least one sample, found an empty array");
  if (wrong_samples_ == samples_) {
    const size_t first = bytes.find_first_not_of(" \t\r\n", bytes.find('[') + 1);
    fail(where_, ": ", line_and_column(bytes, first), ": expected samples {id, image, conversations}, found ", samples_,
         " samples of the wrong shape; the first, ", first_problem_);
  }
}

}  // namespace

// Reads from front to back, without a document tree. The pages of the file that were read go back to the system.
Dataset Dataset::load(const std::filesystem::path& json_path, DataKind kind) {
  const MappedFile file(json_path);
  Dataset dataset;
  // Decoded text is never longer than its JSON. Pages that stay untouched cost nothing.
  dataset.text_.reserve(file.bytes().size());
  SampleReader(file, kind, [&](const Sample& sample) { dataset.append(sample); }).read();
  return dataset;
}

}  // namespace minimind
