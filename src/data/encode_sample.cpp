#include "minimind/data/encode_sample.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "minimind/base/error.h"

namespace minimind {

namespace {

std::vector<Message> conversation_of(const Sample& sample) {
  std::vector<Message> messages;
  messages.reserve(2 * sample.turns.size());
  for (const auto& [question, answer] : sample.turns) {
    messages.push_back({"user", question});
    messages.push_back({"assistant", answer});
  }
  return messages;
}

void truncate_chat(EncodedChat& chat, int64_t length) {
  if (std::ssize(chat.ids) <= length) {
    return;
  }
  chat.ids.resize(static_cast<size_t>(length));
  for (auto& [begin, end] : chat.answers) {
    begin = std::min(begin, length);
    end = std::min(end, length);
  }
}

void set_problem(EncodedSample& encoded, SampleProblem problem, std::string reason) {
  if (encoded.problem == SampleProblem::kNone) {
    encoded.problem = problem;
    encoded.reason = std::move(reason);
  }
}

void find_problems(const Sample& sample, const SampleEncoding& encoding, const EncodedChat& chat,
                   EncodedSample& encoded) {
  const auto spans = std::ssize(chat.spans);
  if (spans != std::ssize(sample.images)) {
    set_problem(encoded, SampleProblem::kPlaceholdersAgainstImages,
                concat("expected one image per ", encoding.pattern.placeholder, ", found ", spans,
                       " placeholder(s) and ", sample.images.size(), " image(s)"));
  }
  const auto span_tokens = std::ssize(encoding.pattern.ids);
  // The last id is only a target, so a span must end before it to be complete in the inputs.
  const auto inputs = std::ssize(chat.ids) - 1;
  const auto cut =
      std::count_if(chat.spans.begin(), chat.spans.end(), [&](int64_t start) { return start + span_tokens > inputs; });
  if (cut > 0) {
    set_problem(encoded, SampleProblem::kSpanCut,
                concat("truncation to ", encoding.max_seq_len, " of ", encoded.full_length, " tokens cuts ", cut,
                       " of ", spans, " image span(s)"));
  }
  if (encoding.supervision == Supervision::kLastAnswer && !has_answer_marker(encoding.tokenizer, chat.ids)) {
    set_problem(encoded, SampleProblem::kNoMarker,
                concat("truncation to ", encoding.max_seq_len, " of ", encoded.full_length,
                       " tokens leaves no start of an answer"));
  }
  if (encoded.supervised == 0) {
    set_problem(encoded, SampleProblem::kNothingSupervised,
                concat("truncation to ", encoding.max_seq_len, " of ", encoded.full_length,
                       " tokens leaves no token of the answer"));
  }
}

}  // namespace

EncodedSample encode_sample(const Sample& sample, const SampleEncoding& encoding) {
  EncodedSample encoded;
  if (!sample.problem.empty()) {
    set_problem(encoded, SampleProblem::kWrongShape, sample.problem);
    return encoded;
  }
  if (sample.turns.empty()) {
    set_problem(encoded, SampleProblem::kNoTurn, "expected a question with an answer, found no such turn");
    return encoded;
  }
  EncodedChat chat = encode_chat(encoding.tokenizer, encoding.pattern, conversation_of(sample));
  encoded.full_length = std::ssize(chat.ids);
  truncate_chat(chat, encoding.max_seq_len);
  encoded.mask = loss_mask(encoding.tokenizer, chat, encoding.supervision);
  if (!encoded.mask.empty()) {
    encoded.supervised = std::accumulate(encoded.mask.begin() + 1, encoded.mask.end(), int64_t{0});
  }
  find_problems(sample, encoding, chat, encoded);
  encoded.ids = std::move(chat.ids);
  encoded.spans = std::move(chat.spans);
  return encoded;
}

}  // namespace minimind
