#include "chat/line_editor.h"

#include <histedit.h>
#include <langinfo.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <stdexcept>

#include "base/signals.h"
#include "minimind/base/error.h"

namespace minimind {

namespace {

/// libedit converts bytes by the locale. Without a UTF-8 locale in the environment, C.UTF-8 serves.
void use_utf8() {
  std::setlocale(LC_CTYPE, "");
  if (std::strcmp(nl_langinfo(CODESET), "UTF-8") != 0) {
    std::setlocale(LC_CTYPE, "C.UTF-8");
  }
}

/// Bytes of the UTF-8 character that begins with `first`; 1 for a byte that begins no character.
int character_length(unsigned char first) {
  return first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC0 ? 2 : 1;
}

/// Reads one byte of standard input. Returns 1, 0 at the end of the input, -1 after Ctrl-C.
int read_byte(unsigned char* byte) {
  while (true) {
    const ssize_t count = ::read(STDIN_FILENO, byte, 1);
    if (count >= 0) {
      return static_cast<int>(count);
    }
    if (errno != EINTR) {
      return 0;
    }
    if (SignalCatcher::count() > 0) {
      return -1;
    }
  }
}

/// Reads a character for libedit. libedit's own reader ignores the first interrupt; this reader ends the line, which
/// next() then discards.
int read_character(EditLine* /*editor*/, wchar_t* character) {
  unsigned char byte = 0;
  int count = read_byte(&byte);
  if (count <= 0) {
    *character = L'\n';
    return count == 0 ? 0 : 1;
  }
  const int length = character_length(byte);
  auto code = static_cast<wchar_t>(length == 1 ? byte : byte & (0xFF >> (length + 1)));
  for (int i = 1; i < length; ++i) {
    count = read_byte(&byte);
    if (count <= 0) {
      break;
    }
    code = (code << 6) | static_cast<wchar_t>(byte & 0x3F);
  }
  *character = code;
  return 1;
}

class EditedLines : public LineSource {
 public:
  EditedLines() {
    use_utf8();
    editor_ = el_init("eval_chat", stdin, stdout, stderr);
    history_ = ::history_init();
    if (editor_ == nullptr || history_ == nullptr) {
      throw std::runtime_error("standard input: expected a terminal for line editing, libedit cannot open it");
    }
    HistEvent event;
    history(history_, &event, H_SETSIZE, kHistory);
    history(history_, &event, H_SETUNIQUE, 1);
    el_set(editor_, EL_CLIENTDATA, this);
    el_set(editor_, EL_PROMPT, &EditedLines::show_prompt);
    el_set(editor_, EL_EDITOR, "emacs");
    el_set(editor_, EL_HIST, history, history_);
    el_set(editor_, EL_GETCFN, &read_character);
  }
  ~EditedLines() override {
    history_end(history_);
    el_end(editor_);
  }
  EditedLines(const EditedLines&) = delete;
  EditedLines& operator=(const EditedLines&) = delete;

  std::optional<std::string> next(const std::string& prompt) override {
    prompt_ = prompt;
    take_interrupt();
    int length = 0;
    const char* line = el_gets(editor_, &length);
    while (take_interrupt()) {
      // An empty line would ask the default question about the pending images.
      std::fputs("^C\n", stdout);
      line = el_gets(editor_, &length);
    }
    if (line == nullptr || length <= 0) {
      std::fputc('\n', stdout);
      return std::nullopt;
    }
    std::string text(line, static_cast<size_t>(length));
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) {
      text.pop_back();
    }
    if (!text.empty()) {
      HistEvent event;
      history(history_, &event, H_ENTER, text.c_str());
    }
    return text;
  }
  bool is_terminal() const override { return true; }

 private:
  static constexpr int kHistory = 1000;

  static char* show_prompt(EditLine* editor) {
    EditedLines* lines = nullptr;
    el_get(editor, EL_CLIENTDATA, &lines);
    return lines->prompt_.data();
  }

  EditLine* editor_ = nullptr;
  History* history_ = nullptr;
  std::string prompt_;
};

}  // namespace

std::optional<std::string> StreamLines::next(const std::string& /*prompt*/) {
  constexpr size_t kLongestLine = size_t{1} << 20U;
  constexpr const char* kCure = "; is it the right file?";
  std::string line;
  char next = 0;
  while (input_.get(next) && next != '\n') {
    require(next != 0, "standard input: expected lines of text, found a zero byte", kCure);
    require(line.size() < kLongestLine, "standard input: expected lines of at most ", kLongestLine,
            " bytes, found a longer line", kCure);
    line += next;
  }
  // The stream itself takes an error for the end.
  require(&input_ != &std::cin || std::ferror(stdin) == 0, "standard input: cannot be read: ", std::strerror(errno));
  if (!input_ && line.empty()) {
    return std::nullopt;
  }
  if (!line.empty() && line.back() == '\r') {
    line.pop_back();
  }
  return line;
}

bool take_interrupt() {
  const bool came = SignalCatcher::count() > 0;
  SignalCatcher::clear();
  return came;
}

std::unique_ptr<LineSource> edited_lines() {
  return std::make_unique<EditedLines>();
}

}  // namespace minimind
