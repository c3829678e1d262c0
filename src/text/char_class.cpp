#include "text/char_class.h"

#include <span>
#include <vector>

#include "base/utf8.h"
#include "text/unicode_tables.h"

namespace minimind::text_detail {

namespace {

constexpr CodepointRange kSpaces[] = {{0x09, 0x0D},     {0x20, 0x20},     {0x85, 0x85},     {0xA0, 0xA0},
                                      {0x1680, 0x1680}, {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F},
                                      {0x205F, 0x205F}, {0x3000, 0x3000}};

// One byte per code point up to the last one that is not kOther: about 200 KB, of which a text touches few pages.
std::vector<CharClass> build_class_table() {
  std::vector<CharClass> table;
  const auto classify = [&](std::span<const CodepointRange> ranges, CharClass kind) {
    for (const auto& [first, last] : ranges) {
      if (table.size() <= last) {
        table.resize(last + 1, CharClass::kOther);
      }
      for (char32_t codepoint = first; codepoint <= last; ++codepoint) {
        table[codepoint] = kind;
      }
    }
  };
  classify(letter_ranges(), CharClass::kLetter);
  classify(number_ranges(), CharClass::kNumber);
  classify(kSpaces, CharClass::kSpace);
  return table;
}

// The end of the English contraction that begins with the apostrophe at `begin`; `begin` if no contraction begins
// there.
size_t contraction_end(std::string_view text, size_t begin) {
  const std::string_view rest = text.substr(begin + 1, 2);
  if (rest.empty()) {
    return begin;
  }
  if (rest[0] == 's' || rest[0] == 't' || rest[0] == 'm' || rest[0] == 'd') {
    return begin + 2;
  }
  return rest == "re" || rest == "ve" || rest == "ll" ? begin + 3 : begin;
}

struct Run {
  size_t end;
  size_t last;  // begin of its last character
};

// The characters from `begin` that have the class of `head`, the first of them.
Run run_of(std::string_view text, size_t begin, const ClassifiedChar& head) {
  Run run{begin + head.length, begin};
  while (run.end < text.size()) {
    const ClassifiedChar next = char_at(text, run.end);
    if (next.kind != head.kind) {
      break;
    }
    run.last = run.end;
    run.end += next.length;
  }
  return run;
}

}  // namespace

CharClass class_of(char32_t codepoint) {
  static const std::vector<CharClass> table = build_class_table();
  return codepoint < table.size() ? table[codepoint] : CharClass::kOther;
}

ClassifiedChar char_at(std::string_view text, size_t at) {
  const auto lead = static_cast<uint8_t>(text[at]);
  if (lead < 0x80) {
    return {class_of(lead), 1};
  }
  const Utf8Step step = decode_utf8(text, at);
  return {step.is_valid ? class_of(step.codepoint) : CharClass::kOther, step.length};
}

size_t word_end(std::string_view text, size_t begin) {
  if (text[begin] == '\'') {
    const size_t end = contraction_end(text, begin);
    if (end > begin) {
      return end;
    }
  }
  const ClassifiedChar head = char_at(text, begin);
  if (head.kind != CharClass::kSpace) {
    return run_of(text, begin, head).end;
  }
  if (text[begin] == ' ' && begin + 1 < text.size()) {
    const ClassifiedChar next = char_at(text, begin + 1);
    if (next.kind != CharClass::kSpace) {
      return run_of(text, begin + 1, next).end;
    }
  }
  // Before other text the last of several white spaces belongs to the next word.
  const Run run = run_of(text, begin, head);
  return run.end == text.size() || run.last == begin ? run.end : run.last;
}

}  // namespace minimind::text_detail
