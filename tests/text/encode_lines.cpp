// The C++ side of differential.py: reads JSON strings, one a line, and answers each with one line of JSON.
#include <algorithm>
#include <ctime>
#include <exception>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "minimind/text/chat_prompt.h"
#include "minimind/text/load_tokenizer.h"
#include "text/char_class.h"

namespace {

using minimind::TokenId;
using nlohmann::json;

std::vector<std::string> read_lines() {
  std::vector<std::string> texts;
  for (std::string line; std::getline(std::cin, line);) {
    texts.push_back(json::parse(line).get<std::string>());
  }
  return texts;
}

// The fastest of some passes over all texts, in seconds of processor time.
double encoding_seconds(const minimind::Tokenizer& tokenizer, const std::vector<std::string>& texts) {
  double best = 0;
  for (int pass = 0; pass < 3; ++pass) {
    const std::clock_t start = std::clock();
    for (const std::string& text : texts) {
      tokenizer.encode(text);
    }
    const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    best = pass == 0 ? seconds : std::min(best, seconds);
  }
  return best;
}

// Ids and decoded text of each line.
void answer_ids(const minimind::Tokenizer& tokenizer) {
  for (const std::string& text : read_lines()) {
    const auto ids = tokenizer.encode(text);
    std::cout << json{ids, tokenizer.decode(ids)} << '\n';
  }
}

// The words that pre-tokenisation cuts.
void answer_words() {
  for (const std::string& text : read_lines()) {
    json words = json::array();
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = minimind::text_detail::word_end(text, begin);
      words.push_back(text.substr(begin, end - begin));
      begin = end;
    }
    std::cout << words << '\n';
  }
}

// Ids and spans of a conversation with the line as its question.
void answer_chat(const minimind::Tokenizer& tokenizer, const std::string& placeholder) {
  const auto pattern =
      minimind::make_image_pattern(tokenizer, placeholder, static_cast<int64_t>(tokenizer.encode(placeholder).size()));
  for (const std::string& text : read_lines()) {
    const std::vector<minimind::Message> messages{{"user", text}};
    const auto chat = encode_chat(tokenizer, pattern, messages);
    std::cout << json{chat.ids, chat.spans, count_image_placeholders(pattern, messages)} << '\n';
  }
}

int run(const std::vector<std::string>& arguments) {
  const std::string mode = arguments.empty() ? "" : arguments[0];
  if (mode == "words") {
    answer_words();
    return 0;
  }
  if (arguments.size() < 2) {
    std::cerr << "usage: text_encode_lines words | ids TOKENIZER | time TOKENIZER | chat TOKENIZER PLACEHOLDER\n";
    return 2;
  }
  const auto tokenizer = minimind::load_tokenizer(arguments[1]);
  if (mode == "time") {
    std::cout << encoding_seconds(*tokenizer, read_lines()) << '\n';
  } else if (mode == "chat" && arguments.size() == 3) {
    answer_chat(*tokenizer, arguments[2]);
  } else {
    answer_ids(*tokenizer);
  }
  return 0;
}

}  // namespace

int main(int count, char** values) {
  try {
    return run({values + 1, values + count});
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << '\n';
    return 1;
  }
}
