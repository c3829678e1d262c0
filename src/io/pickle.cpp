#include "io/pickle.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/utf8.h"
#include "minimind/base/error.h"

namespace minimind {

const char* PickleNode::kind_name() const {
  constexpr std::array kNames = {"None",   "a bool", "an integer", "a float",   "a string", "a tuple",
                                 "a list", "a dict", "a name",     "a storage", "a tensor", "a mark"};
  return kNames[static_cast<size_t>(kind)];
}

const std::unordered_map<uint8_t, PickleMachine::Instruction>& PickleMachine::instructions() {
  using M = PickleMachine;
  static const std::unordered_map<uint8_t, Instruction> table = {
      {'N', [](M& m) { m.push(Kind::kNone); }},
      {0x88, [](M& m) { m.push(Kind::kBool, 1); }},
      {0x89, [](M& m) { m.push(Kind::kBool, 0); }},
      {'J', [](M& m) { m.push(Kind::kInt, m.signed_number(4)); }},
      {'K', [](M& m) { m.push(Kind::kInt, static_cast<int64_t>(m.number(1))); }},
      {'M', [](M& m) { m.push(Kind::kInt, static_cast<int64_t>(m.number(2))); }},
      {0x8a, [](M& m) { m.push(Kind::kInt, m.signed_number(m.number(1))); }},
      {'G', [](M& m) { m.push(Kind::kFloat, m.signed_number(8)); }},
      {'X', [](M& m) { m.push(Kind::kText, 0, m.text(4)); }},
      {'T', [](M& m) { m.push(Kind::kText, 0, m.text(4)); }},
      {0x8c, [](M& m) { m.push(Kind::kText, 0, m.text(1)); }},
      {'U', [](M& m) { m.push(Kind::kText, 0, m.text(1)); }},
      {0x8d, [](M& m) { m.push(Kind::kText, 0, m.text(8)); }},
      // Containers.
      {'(', [](M& m) { m.push(Kind::kMark); }},
      {')', [](M& m) { m.push(Kind::kTuple); }},
      {']', [](M& m) { m.push(Kind::kList); }},
      {'}', [](M& m) { m.push(Kind::kDict); }},
      {'t', [](M& m) { m.push_tuple(m.pop_to_mark()); }},
      {0x85, [](M& m) { m.push_tuple(m.pop(1)); }},
      {0x86, [](M& m) { m.push_tuple(m.pop(2)); }},
      {0x87, [](M& m) { m.push_tuple(m.pop(3)); }},
      {'a', [](M& m) { m.extend(Kind::kList, m.pop(1)); }},
      {'s', [](M& m) { m.extend(Kind::kDict, m.pop(2)); }},
      {'e', [](M& m) { m.extend(Kind::kList, m.pop_to_mark()); }},
      {'u', [](M& m) { m.extend(Kind::kDict, m.pop_to_mark()); }},
      // The memo, and what frames the program.
      {'q', [](M& m) { m.memo_[m.number(1)] = m.top(); }},
      {'r', [](M& m) { m.memo_[m.number(4)] = m.top(); }},
      {0x94, [](M& m) { m.memo_[m.memo_.size()] = m.top(); }},
      {'h', [](M& m) { m.push_memo(m.number(1)); }},
      {'j', [](M& m) { m.push_memo(m.number(4)); }},
      {0x80, [](M& m) { m.check_protocol(); }},
      {0x95, [](M& m) { m.number(8); }},
      // Names, storages and tensors.
      {'c',
       [](M& m) {
         const std::string_view module = m.line();
         m.push_global(module, m.line());
       }},
      {0x93, [](M& m) { m.push_global_of_stack(); }},
      {'Q', [](M& m) { m.push_storage(); }},
      {'R', [](M& m) { m.reduce(); }},
      {'b', [](M& m) { m.skip_attributes(); }},
  };
  return table;
}

const PickleNode& PickleMachine::run() {
  constexpr uint8_t kStop = '.';
  for (auto op = static_cast<uint8_t>(number(1)); op != kStop; op = static_cast<uint8_t>(number(1))) {
    const auto instruction = instructions().find(op);
    if (instruction == instructions().end()) {
      refuse(concat("the pickle instruction ", static_cast<int>(op)));
    }
    instruction->second(*this);
  }
  const PickleNode& result = *pop();
  if (!stack_.empty()) {
    refuse("values left over at its end");
  }
  return result;
}

std::string_view PickleMachine::bytes(uint64_t size) {
  require(size <= program_.size() - at_, where_, ": damaged pickle: expected ", size, " more bytes at byte ", at_,
          ", found ", program_.size() - at_, "; copy or download the file again");
  at_ += size;
  return program_.substr(at_ - size, size);
}

uint64_t PickleMachine::number(size_t width) {
  uint64_t value = 0;
  std::memcpy(&value, bytes(width).data(), width);
  return value;
}

int64_t PickleMachine::signed_number(uint64_t width) {
  if (width > 8) {
    refuse("an integer of more than 8 bytes");
  }
  const auto shift = 64 - 8 * width;
  return width == 0 ? 0 : static_cast<int64_t>(number(width) << shift) >> shift;
}

std::string_view PickleMachine::line() {
  const size_t end = program_.find('\n', at_);
  require(end != std::string_view::npos, where_, ": damaged pickle: expected a line's end after byte ", at_,
          ", found the end of the program; copy or download the file again");
  const std::string_view found = bytes(end - at_);
  bytes(1);
  return found;
}

void PickleMachine::check_protocol() {
  if (const uint64_t protocol = number(1); protocol > 5) {
    refuse(concat("pickle protocol ", protocol));
  }
}

void PickleMachine::push(Kind kind, int64_t number, std::string text, Nodes items) {
  stack_.push_back(&arena_.emplace_back(PickleNode{kind, number, std::move(text), std::move(items)}));
}

void PickleMachine::push_memo(uint64_t key) {
  const auto found = memo_.find(key);
  if (found == memo_.end()) {
    refuse("a reference to nothing");
  }
  stack_.push_back(found->second);
}

PickleNode* PickleMachine::top() {
  if (stack_.empty() || stack_.back()->kind == Kind::kMark) {
    refuse("an instruction without its operand");
  }
  return stack_.back();
}

PickleMachine::Nodes PickleMachine::pop(size_t count) {
  Nodes nodes(count);
  std::ranges::generate(nodes.rbegin(), nodes.rend(), [this] {
    PickleNode* const node = top();
    stack_.pop_back();
    return node;
  });
  return nodes;
}

PickleMachine::Nodes PickleMachine::pop_to_mark() {
  const auto mark =
      std::find_if(stack_.rbegin(), stack_.rend(), [](const PickleNode* node) { return node->kind == Kind::kMark; });
  if (mark == stack_.rend()) {
    refuse("an instruction without its mark");
  }
  Nodes items(mark.base(), stack_.end());
  stack_.erase(mark.base() - 1, stack_.end());
  return items;
}

void PickleMachine::extend(Kind kind, const Nodes& items) {
  PickleNode& container = *top();
  expect(container.kind == kind, kind == Kind::kDict ? "a dict" : "a list", container);
  if (kind == Kind::kDict && items.size() % 2 != 0) {
    refuse("a key without its value");
  }
  container.items.insert(container.items.end(), items.begin(), items.end());
}

void PickleMachine::expect(bool condition, const char* expected, const PickleNode& found) const {
  if (!condition) {
    refuse(concat(found.kind_name(), found.text.empty() ? "" : " \"" + found.text.substr(0, 80) + "\"", " where ",
                  expected, " was expected"));
  }
}

void PickleMachine::refuse(const std::string& found) const {
  fail(where_, ": expected a plain state dict of tensors, found ", printable(found), " (byte ", at_,
       " of its pickle); nothing was executed. Save the weights alone: torch.save(model.state_dict(), path)");
}

}  // namespace minimind
