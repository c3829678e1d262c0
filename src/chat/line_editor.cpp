#include <histedit.h>
#include <langinfo.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstring>
#include <stdexcept>

#include "chat/interrupts.h"
#include "chat/terminal.h"

namespace minimind {

namespace {

/// libedit converts by the locale: one that knows UTF-8 is needed, whatever the environment says.
void use_utf8() {
  std::setlocale(LC_CTYPE, "");
  if (std::strcmp(nl_langinfo(CODESET), "UTF-8") != 0) {
    std::setlocale(LC_CTYPE, "C.UTF-8");
  }
}

/// Bytes of the character that `first` begins; 1 for bytes that begin none.
int character_length(unsigned char first) {
  return first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC0 ? 2 : 1;
}

/// One byte of standard input. -1: Ctrl-C; 0: end.
int read_byte(unsigned char* byte) {
  while (true) {
    const ssize_t count = ::read(STDIN_FILENO, byte, 1);
    if (count >= 0) {
      return static_cast<int>(count);
    }
    if (errno != EINTR) {
      return 0;
    }
    if (detail::interrupt_pending()) {
      return -1;
    }
  }
}

/// libedit's reader. Its own one swallows the first interrupt; this one ends the line, which is then thrown away.
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
      throw std::runtime_error("the terminal cannot be opened for line editing");
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
    detail::take_interrupt();
    int length = 0;
    const char* line = el_gets(editor_, &length);
    while (detail::take_interrupt()) {
      // Not an empty line, which would ask the default question about waiting images.
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
  std::string line;
  if (!std::getline(input_, line)) {
    return std::nullopt;
  }
  if (!line.empty() && line.back() == '\r') {
    line.pop_back();
  }
  return line;
}

std::unique_ptr<LineSource> edited_lines() {
  return std::make_unique<EditedLines>();
}

}  // namespace minimind
