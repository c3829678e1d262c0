#include "minimind/data/dataset.h"

#include <stdexcept>

#include "base/bytes.h"
#include "minimind/base/error.h"

namespace minimind {

namespace {

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

}  // namespace

void Dataset::append(const Sample& sample) {
  append_counted(text_, sample.id);
  append_varint(text_, sample.images.size());
  for (const auto& name : sample.images) {
    append_counted(text_, name);
  }
  append_varint(text_, sample.turns.size());
  for (const auto& [question, answer] : sample.turns) {
    append_counted(text_, question);
    append_counted(text_, answer);
  }
  if (!sample.problem.empty()) {
    problems_.emplace(size(), sample.problem);
  }
  if (!sample.note.empty()) {
    notes_.emplace(size(), sample.note);
  }
  starts_.push_back(text_.size());
}

int64_t Dataset::size() const {
  return std::ssize(starts_) - 1;
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
  if (const auto note = notes_.find(index); note != notes_.end()) {
    sample.note = note->second;
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
  size.text_bytes = text_.data() + starts_[static_cast<size_t>(index) + 1] - next;
  return size;
}

}  // namespace minimind
