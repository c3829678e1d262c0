#include "minimind/data/dataset.h"

#include <algorithm>
#include <optional>
#include <stdexcept>

#include "base/progress.h"
#include "base/utf8.h"
#include "data/json_scanner.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"

namespace minimind {

namespace {

using detail::JsonScanner;

// How much of the mapped file stays in memory behind the scanner.
constexpr size_t kReleaseStep = 4U << 20U;

void append_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7U) {
    out.push_back(static_cast<char>(value | 0x80U));
  }
  out.push_back(static_cast<char>(value));
}

uint64_t read_varint(const char*& next) {
  uint64_t value = 0;
  for (unsigned shift = 0;; shift += 7) {
    const auto byte = static_cast<unsigned char>(*next++);
    value |= static_cast<uint64_t>(byte & 0x7FU) << shift;
    if (byte < 0x80) {
      return value;
    }
  }
}

void append_counted(std::string& out, std::string_view text) {
  append_varint(out, text.size());
  out.append(text);
}

std::string_view read_counted(const char*& next) {
  const uint64_t size = read_varint(next);
  const std::string_view text(next, size);
  next += size;
  return text;
}

std::string_view strip(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\v\f";
  const size_t begin = text.find_first_not_of(kSpace);
  return begin == std::string_view::npos ? std::string_view{}
                                         : text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

std::vector<std::string_view> split_image_list(std::string_view list) {
  std::vector<std::string_view> names;
  while (true) {
    const size_t comma = list.find(',');
    const std::string_view name = strip(list.substr(0, comma));
    if (!name.empty()) {
      names.push_back(name);
    }
    if (comma == std::string_view::npos) {
      return names;
    }
    list.remove_prefix(comma + 1);
  }
}

// Reads one element of the array after the other; its buffers are used again and again.
class SampleParser {
 public:
  SampleParser(JsonScanner& scanner, DataKind kind)
      : scanner_(scanner), first_pair_only_(kind != DataKind::kPretrain) {}

  /// Appends the record of element `number` to `out`; without images and turns where its shape is wrong.
  void parse(int64_t number, std::string& out);

  /// The first wrong shape of the element that was parsed last.
  struct Problem {
    size_t offset;
    std::string text;
  };
  const std::optional<Problem>& problem() const { return problem_; }

 private:
  void parse_field();
  void parse_id();
  void parse_image();
  void parse_image_list();
  template <class Name>
  void read_text(const Name& field_name, std::string& out);
  void parse_conversations();
  void parse_message();
  void parse_value();
  void wrong_shape(const std::string& field, const std::string& expected);
  void note_problem(size_t offset, std::string text);
  void write_record(int64_t number, std::string& out) const;

  JsonScanner& scanner_;
  bool first_pair_only_;
  std::string key_;
  std::string id_;
  std::string image_;
  std::vector<std::string> images_;
  std::vector<std::string> values_;
  size_t value_count_ = 0;
  bool has_conversations_ = false;
  std::optional<Problem> problem_;
};

void SampleParser::note_problem(size_t offset, std::string text) {
  if (!problem_) {
    problem_ = Problem{offset, std::move(text)};
  }
}

void SampleParser::wrong_shape(const std::string& field, const std::string& expected) {
  const std::string found = scanner_.kind_of_next();
  const size_t offset = scanner_.offset();
  scanner_.skip_value();
  note_problem(offset, concat(field, ": expected ", expected, ", found ", found));
}

// The field's name is wanted only where something is wrong with it: most fields never ask.
template <class Name>
void SampleParser::read_text(const Name& field_name, std::string& out) {
  const size_t offset = scanner_.offset();
  scanner_.read_string(out);
  if (scanner_.met_lone_surrogate()) {
    note_problem(offset, concat(field_name(),
                                ": expected whole pairs of surrogate escapes (\\ud800 to \\udfff), found half of one"));
  }
}

void SampleParser::parse_id() {
  const char next = scanner_.peek();
  if (next == '"') {
    read_text([] { return "id"; }, id_);
  } else if (next == '-' || (next >= '0' && next <= '9')) {
    id_ = scanner_.read_number();
  } else {
    wrong_shape("id", "a string or a number");
  }
}

void SampleParser::parse_image() {
  const char next = scanner_.peek();
  images_.clear();
  if (next == '"') {
    read_text([] { return "image"; }, image_);
    const auto names = split_image_list(image_);
    images_.assign(names.begin(), names.end());
  } else if (next == '[') {
    parse_image_list();
  } else if (next == 'n') {
    scanner_.skip_value();
  } else {
    wrong_shape("image", "a string of file names or an array of them");
  }
}

void SampleParser::parse_image_list() {
  scanner_.consume('[');
  if (scanner_.consume(']')) {
    return;
  }
  do {
    const auto field = [this] { return concat("image[", images_.size(), "]"); };
    if (scanner_.peek() == '"') {
      read_text(field, image_);
      images_.emplace_back(strip(image_));
    } else {
      wrong_shape(field(), "a file name");
    }
  } while (scanner_.consume(','));
  scanner_.expect(']', "',' or ']'");
}

void SampleParser::parse_value() {
  const auto field = [this] { return concat("conversations[", value_count_, "].value"); };
  if (scanner_.peek() == '"') {
    read_text(field, values_[value_count_]);
  } else {
    wrong_shape(field(), "a string");
  }
}

void SampleParser::parse_message() {
  if (scanner_.peek() != '{') {
    wrong_shape(concat("conversations[", value_count_, "]"), "an object {from, value}");
    return;
  }
  if (values_.size() == value_count_) {
    values_.emplace_back();
  }
  const size_t start = scanner_.offset();
  bool has_value = false;
  scanner_.consume('{');
  if (!scanner_.consume('}')) {
    do {
      scanner_.read_key(key_);
      if (key_ == "value") {
        has_value = true;
        parse_value();
      } else {
        scanner_.skip_value();
      }
    } while (scanner_.consume(','));
    scanner_.expect('}', "',' or '}'");
  }
  if (!has_value) {
    note_problem(start, concat("conversations[", value_count_, "]: expected a key \"value\", found none"));
  }
  ++value_count_;
}

void SampleParser::parse_conversations() {
  has_conversations_ = true;
  value_count_ = 0;
  if (scanner_.peek() != '[') {
    wrong_shape("conversations", "an array of {from, value}");
    return;
  }
  scanner_.consume('[');
  if (scanner_.consume(']')) {
    return;
  }
  do {
    parse_message();
  } while (scanner_.consume(','));
  scanner_.expect(']', "',' or ']'");
}

void SampleParser::parse_field() {
  scanner_.read_key(key_);
  if (key_ == "id") {
    parse_id();
  } else if (key_ == "image") {
    parse_image();
  } else if (key_ == "conversations") {
    parse_conversations();
  } else {
    scanner_.skip_value();
  }
}

void SampleParser::parse(int64_t number, std::string& out) {
  id_.clear();
  images_.clear();
  value_count_ = 0;
  has_conversations_ = false;
  problem_.reset();
  scanner_.peek();
  const size_t start = scanner_.offset();
  if (scanner_.peek() != '{') {
    wrong_shape("element", "an object {id, image, conversations}");
  } else {
    scanner_.consume('{');
    if (!scanner_.consume('}')) {
      do {
        parse_field();
      } while (scanner_.consume(','));
      scanner_.expect('}', "',' or '}'");
    }
    if (!has_conversations_) {
      note_problem(start, "expected a key \"conversations\", found none");
    }
  }
  if (problem_) {
    images_.clear();
    value_count_ = 0;
  }
  write_record(number, out);
}

void SampleParser::write_record(int64_t number, std::string& out) const {
  append_counted(out, id_.empty() ? concat("#", number) : id_);
  append_varint(out, images_.size());
  for (const auto& name : images_) {
    append_counted(out, name);
  }
  const size_t pairs = first_pair_only_ ? std::min<size_t>(value_count_ / 2, 1) : value_count_ / 2;
  const auto kept = [&](size_t pair) { return !values_[2 * pair].empty() && !values_[2 * pair + 1].empty(); };
  uint64_t count = 0;
  for (size_t pair = 0; pair < pairs; ++pair) {
    count += kept(pair) ? 1 : 0;
  }
  append_varint(out, count);
  for (size_t pair = 0; pair < pairs; ++pair) {
    if (kept(pair)) {
      append_counted(out, values_[2 * pair]);
      append_counted(out, values_[2 * pair + 1]);
    }
  }
}

}  // namespace

Dataset Dataset::load(const std::filesystem::path& json_path, DataKind kind) {
  const MappedFile file(json_path);
  const std::string_view json = file.bytes();
  JsonScanner scanner(json, json_path.string());
  SampleParser parser(scanner, kind);
  Dataset dataset;
  // Decoded text is never longer than its JSON; pages that stay untouched cost nothing.
  dataset.text_.reserve(json.size());
  dataset.starts_.push_back(0);
  Progress progress(concat("reading ", json_path.string()), "MB", static_cast<int64_t>(json.size() / 1000000));
  size_t released = 0;
  size_t first_problem = 0;
  scanner.expect('[', "an array of samples '['");
  if (!scanner.consume(']')) {
    do {
      parser.parse(dataset.size(), dataset.text_);
      if (const auto& problem = parser.problem()) {
        first_problem = dataset.problems_.empty() ? problem->offset : first_problem;
        dataset.problems_.emplace(dataset.size(), problem->text);
      }
      dataset.starts_.push_back(dataset.text_.size());
      if (scanner.offset() - released >= kReleaseStep) {
        file.release(released, scanner.offset() - released);
        released = scanner.offset();
        progress.update(static_cast<int64_t>(released / 1000000));
      }
    } while (scanner.consume(','));
    scanner.expect(']', "',' or ']'");
  }
  scanner.expect_end();
  progress.finish();
  require(dataset.size() > 0, json_path.string(), ": expected at least one sample, found an empty array");
  if (std::ssize(dataset.problems_) == dataset.size()) {
    fail(json_path.string(), ": ", scanner.place(first_problem),
         ": expected samples {id, image, conversations}, found ", dataset.size(), " of another shape; the first, '",
         printable(dataset.id(0)), "': ", dataset.problems_.at(0));
  }
  return dataset;
}

int64_t Dataset::size() const {
  return static_cast<int64_t>(starts_.size()) - 1;
}

const char* Dataset::record(int64_t index) const {
  if (index < 0 || index >= size()) {
    throw std::logic_error(concat("Dataset: sample ", index, " of ", size()));
  }
  return text_.data() + starts_[static_cast<size_t>(index)];
}

Sample Dataset::sample(int64_t index) const {
  const char* next = record(index);
  Sample sample;
  sample.id = read_counted(next);
  sample.images.resize(read_varint(next));
  for (auto& name : sample.images) {
    name = read_counted(next);
  }
  sample.turns.resize(read_varint(next));
  for (auto& [question, answer] : sample.turns) {
    question = read_counted(next);
    answer = read_counted(next);
  }
  if (const auto problem = problems_.find(index); problem != problems_.end()) {
    sample.problem = problem->second;
  }
  return sample;
}

std::string_view Dataset::id(int64_t index) const {
  const char* next = record(index);
  return read_counted(next);
}

SampleSize Dataset::sample_size(int64_t index) const {
  const char* next = record(index);
  SampleSize size;
  read_counted(next);
  size.images = static_cast<int64_t>(read_varint(next));
  for (int64_t i = 0; i < size.images; ++i) {
    read_counted(next);
  }
  const char* end = text_.data() + starts_[static_cast<size_t>(index) + 1];
  size.text_bytes = end - next;
  return size;
}

}  // namespace minimind
