#include "data/sample_reader.h"

#include <algorithm>
#include <vector>

#include "base/file_format.h"
#include "base/text.h"
#include "base/utf8.h"
#include "minimind/base/error.h"

namespace minimind::detail {

namespace {

// The pages that were read go back to the system in steps of this size.
constexpr size_t kReleaseStep = 4U << 20U;

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

}  // namespace

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
  } else if (is_in(Place::kMessage) && field_ == "from") {
    role_ = text;
  }
  return true;
}

void SampleReader::read_field(std::string_view found, std::string_view text) {
  if (field_ == "id") {
    // A table's empty cell becomes null or NaN.
    if (found == kText || found == kNumber || found == kNull || found == kNotFinite) {
      sample_.id = text;
    } else {
      wrong_kind("id", "a string or a number", found);
    }
  } else if (field_ == "image") {
    has_image_ = true;
    sample_.images.clear();
    if (found == kText) {
      set_image_list(text, sample_.images);
    } else if (found != kNull && found != kNotFinite) {
      wrong_kind("image", "a string of file names or an array of them", found);
    }
  } else if (field_ == "conversations") {
    has_conversations_ = true;
    wrong_kind("conversations", "an array of {from, value}", found);
  }
}

bool SampleReader::key(std::string& name) {
  if (skipped_depth_ == 0 && !has_alias(name)) {
    field_.swap(name);
  }
  return true;
}

// The keys of OpenAI's form and of other trainers, unless the sample has the usual key too.
bool SampleReader::has_alias(const std::string& name) {
  if (place_ == Place::kSample && name == "images" && !has_image_) {
    field_ = "image";
  } else if (place_ == Place::kSample && (name == "messages" || name == "conversations") && !has_conversations_) {
    field_ = "conversations";
    list_key_ = name;
  } else if (place_ == Place::kMessage && name == "content" && !text_) {
    field_ = "value";
  } else if (place_ == Place::kMessage && name == "role" && role_.empty()) {
    field_ = "from";
  } else {
    constexpr size_t kShown = 80;
    if (place_ == Place::kSample && keys_.size() < kShown) {
      keys_ += concat(keys_.empty() ? "\"" : ", \"", name.substr(0, kShown), "\"");
    }
    return false;
  }
  return true;
}

bool SampleReader::start_object(size_t /*size*/) {
  if (is_in(Place::kSamples)) {
    place_ = Place::kSample;
  } else if (is_in(Place::kMessages)) {
    text_.reset();
    role_.clear();
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
    has_image_ = true;
    sample_.images.clear();
    place_ = Place::kImages;
  } else if (is_in(Place::kSample) && field_ == "conversations") {
    has_conversations_ = true;
    conversation_.clear();
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

void SampleReader::end_message() {
  if (!text_) {
    set_problem(message_name() + ": expected a key \"value\", found no such key");
  } else {
    conversation_.push_back({std::move(role_), std::move(*text_)});
  }
  ++messages_;
}

void SampleReader::pair_turns() {
  PairedTurns paired = pair_messages(std::move(conversation_));
  sample_.note = std::move(paired.left_out);
  for (auto& turn : paired.turns) {
    if (!turn.first.empty() && !turn.second.empty()) {
      sample_.turns.push_back(std::move(turn));
    }
    if (first_turn_only_) {
      break;
    }
  }
}

void SampleReader::end_sample() {
  if (sample_.id.empty()) {
    sample_.id = concat("#", samples_);
  }
  if (!has_conversations_) {
    set_problem(concat("expected a key \"conversations\" or \"messages\", found ",
                       keys_.empty() ? "no such key" : "the keys " + printable(keys_)));
  }
  pair_turns();
  if (!sample_.problem.empty()) {
    sample_.images.clear();
    sample_.turns.clear();
    sample_.note.clear();
    if (wrong_samples_++ == 0) {
      first_problem_ = concat("'", printable(sample_.id), "': ", sample_.problem);
    }
  }
  on_sample_(sample_);
  sample_ = {};
  conversation_.clear();
  keys_.clear();
  has_conversations_ = false;
  has_image_ = false;
  ++samples_;
  if (offset() - released_ >= kReleaseStep) {
    file_.release(released_, offset() - released_);
    released_ = offset();
    progress_.update(megabytes(released_));
  }
}

void SampleReader::fail_at(size_t offset, std::string_view expected, const std::string& hint) const {
  fail(where_, ": ", line_and_column(file_.bytes(), offset), ": expected ", expected, ", found ",
       character_at(file_.bytes(), offset), hint);
}

bool SampleReader::parse_error(size_t position, const std::string& /*token*/, const Json::exception& error) {
  const std::string hint = parser_hint(error.what());
  const bool is_encoding = hint.find("UTF-8") != std::string::npos;
  fail_at(parsed_ + std::max<size_t>(position, 1) - 1, "valid JSON",
          concat(" (", hint, ")",
                 is_encoding ? "; is the file in GBK or another encoding? Convert it: iconv -f GBK -t UTF-8 FILE > NEW"
                             : ""));
}

void SampleReader::require_text() const {
  const std::optional<FileFormat> format = recognise_format(file_.bytes().substr(0, 512));
  if (format) {
    fail(where_, ": expected JSON in UTF-8, found ", format->name, "; ", format->cure);
  }
}

// An array of samples, or JSON Lines: one sample after the other.
void SampleReader::read() {
  constexpr std::string_view kBlanks = " \t\r\n";
  const std::string_view bytes = file_.bytes();
  require_text();
  cursor_ = JsonCursor(bytes);
  const size_t first = bytes.find_first_not_of(kBlanks, bytes.starts_with("\xEF\xBB\xBF") ? 3 : 0);
  const bool is_lines = first != std::string_view::npos && bytes[first] == '{';
  place_ = is_lines ? Place::kSamples : Place::kFile;
  do {
    parsed_ = offset();
    Json::sax_parse(JsonIterator(cursor_), JsonIterator::end(), this, Json::input_format_t::json, !is_lines);
    if (is_lines) {
      cursor_.skip(kBlanks);
    }
  } while (is_lines && !cursor_.is_at_end());
  if (!cursor_.is_at_end()) {  // The parser takes a zero byte for the end of the file.
    fail_at(offset() - 1, "the end of the file");
  }
  progress_.finish();
  require(samples_ > 0, where_, ": expected at least one sample, found an empty array");
  if (wrong_samples_ == samples_) {
    const size_t sample = is_lines ? first : bytes.find_first_not_of(kBlanks, bytes.find('[') + 1);
    fail(where_, ": ", line_and_column(bytes, sample), ": expected ", is_lines ? "an array of samples '[' or " : "",
         "samples {id, image, conversations}, found ", samples_, " samples of the wrong shape; the first, ",
         first_problem_);
  }
}

}  // namespace minimind::detail
