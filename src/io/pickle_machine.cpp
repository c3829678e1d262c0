#include "io/pickle_machine.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/utf8.h"
#include "minimind/base/error.h"

namespace minimind::detail {

namespace {

constexpr const char* kOrderedDict = "collections OrderedDict";
constexpr const char* kRebuildTensor = "torch._utils _rebuild_tensor_v2";
constexpr const char* kRebuildParameter = "torch._utils _rebuild_parameter";

std::optional<c10::ScalarType> storage_dtype(std::string_view global) {
  static const std::unordered_map<std::string_view, c10::ScalarType> dtypes = {
      {"torch FloatStorage", c10::ScalarType::Float},
      {"torch HalfStorage", c10::ScalarType::Half},
      {"torch BFloat16Storage", c10::ScalarType::BFloat16},
      {"torch DoubleStorage", c10::ScalarType::Double},
      {"torch LongStorage", c10::ScalarType::Long},
      {"torch IntStorage", c10::ScalarType::Int},
      {"torch ShortStorage", c10::ScalarType::Short},
      {"torch CharStorage", c10::ScalarType::Char},
      {"torch ByteStorage", c10::ScalarType::Byte},
      {"torch BoolStorage", c10::ScalarType::Bool},
      {"torch ComplexFloatStorage", c10::ScalarType::ComplexFloat},
      {"torch ComplexDoubleStorage", c10::ScalarType::ComplexDouble},
  };
  const auto found = dtypes.find(global);
  return found == dtypes.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace

const char* PickleNode::kind_name() const {
  switch (kind) {
    case Kind::kNone:
      return "None";
    case Kind::kBool:
      return "a bool";
    case Kind::kInt:
      return "a whole number";
    case Kind::kFloat:
      return "a float";
    case Kind::kText:
      return "a text";
    case Kind::kTuple:
      return "a tuple";
    case Kind::kList:
      return "a list";
    case Kind::kDict:
      return "a dict";
    case Kind::kGlobal:
      return "a name";
    case Kind::kStorage:
      return "a storage";
    case Kind::kTensor:
      return "a tensor";
    case Kind::kMark:
      return "a mark";
  }
  return "nothing";
}

PickleNode* PickleMachine::run() {
  constexpr uint8_t kStop = '.';
  while (true) {
    const uint8_t op = static_cast<uint8_t>(bytes(1)[0]);
    if (op == kStop) {
      PickleNode* result = pop();
      if (!stack_.empty()) {
        refuse("values left over at its end");
      }
      return result;
    }
    if (!step_value(op) && !step_container(op) && !step_memo(op) && !step_object(op)) {
      refuse(concat("the pickle instruction ", static_cast<int>(op)));
    }
  }
}

bool PickleMachine::step_value(uint8_t op) {
  switch (op) {
    case 'N':
      push(make(Kind::kNone));
      return true;
    case 0x88:
    case 0x89:
      push(make(Kind::kBool, op == 0x88));
      return true;
    case 'J':
      push(make(Kind::kInt, static_cast<int32_t>(number(4))));
      return true;
    case 'K':
      push(make(Kind::kInt, static_cast<int64_t>(number(1))));
      return true;
    case 'M':
      push(make(Kind::kInt, static_cast<int64_t>(number(2))));
      return true;
    case 0x8a: {  // LONG1: two's complement
      const uint64_t width = number(1);
      if (width > 8) {
        refuse("a whole number of more than 8 bytes");
      }
      const int shift = static_cast<int>(64 - 8 * width);
      const uint64_t value = number(width);
      push(make(Kind::kInt, width == 0 ? 0 : static_cast<int64_t>(value << shift) >> shift));
      return true;
    }
    case 'G':
      bytes(8);
      push(make(Kind::kFloat));
      return true;
    case 'X':
    case 'T':
      push(make(Kind::kText, 0, std::string(bytes(number(4)))));
      return true;
    case 0x8c:
    case 'U':
      push(make(Kind::kText, 0, std::string(bytes(number(1)))));
      return true;
    case 0x8d:
      push(make(Kind::kText, 0, std::string(bytes(number(8)))));
      return true;
    default:
      return false;
  }
}

bool PickleMachine::step_container(uint8_t op) {
  switch (op) {
    case '(':
      push(make(Kind::kMark));
      return true;
    case ')':
      push(make(Kind::kTuple));
      return true;
    case ']':
      push(make(Kind::kList));
      return true;
    case '}':
      push(make(Kind::kDict));
      return true;
    case 't': {
      PickleNode* tuple = make(Kind::kTuple);
      tuple->items = pop_to_mark();
      push(tuple);
      return true;
    }
    case 0x85:
    case 0x86:
    case 0x87:
      push_tuple(op - 0x84);
      return true;
    case 'a':
    case 's': {
      std::vector<PickleNode*> items(op == 's' ? 2 : 1);
      std::ranges::generate(items.rbegin(), items.rend(), [this] { return pop(); });
      extend(top(), items, op == 's' ? Kind::kDict : Kind::kList);
      return true;
    }
    case 'e':
    case 'u': {
      const std::vector<PickleNode*> items = pop_to_mark();
      extend(top(), items, op == 'u' ? Kind::kDict : Kind::kList);
      return true;
    }
    default:
      return false;
  }
}

bool PickleMachine::step_memo(uint8_t op) {
  switch (op) {
    case 'q':
      memoise(number(1));
      return true;
    case 'r':
      memoise(number(4));
      return true;
    case 0x94:
      memoise(memo_.size());
      return true;
    case 'h':
    case 'j': {
      const uint64_t slot = number(op == 'h' ? 1 : 4);
      const auto found = memo_.find(slot);
      if (found == memo_.end()) {
        refuse("a reference to nothing");
      }
      push(found->second);
      return true;
    }
    case 0x80: {
      const uint64_t protocol = number(1);
      if (protocol > 5) {
        refuse(concat("pickle protocol ", protocol));
      }
      return true;
    }
    case 0x95:  // FRAME: a hint for readers of streams
      number(8);
      return true;
    default:
      return false;
  }
}

bool PickleMachine::step_object(uint8_t op) {
  switch (op) {
    case 'c': {
      const std::string_view module = line();
      push_global(module, line());
      return true;
    }
    case 0x93: {
      const PickleNode* name = pop();
      const PickleNode* module = pop();
      expect(name->kind == Kind::kText, "a name", *name);
      expect(module->kind == Kind::kText, "a module", *module);
      push_global(module->text, name->text);
      return true;
    }
    case 'Q': {
      const PickleNode* id = pop();
      push(storage(*id));
      return true;
    }
    case 'R': {
      const PickleNode* arguments = pop();
      const PickleNode* callee = pop();
      push(reduce(*callee, *arguments));
      return true;
    }
    case 'b': {
      // An OrderedDict's attributes: `_metadata`, the module versions, which shape nothing here.
      const PickleNode* state = pop();
      expect(top()->kind == Kind::kDict, "a dict that takes attributes", *top());
      expect(state->kind == Kind::kDict, "a dict of attributes", *state);
      return true;
    }
    default:
      return false;
  }
}

PickleNode* PickleMachine::make(Kind kind, int64_t number, std::string text) {
  return &arena_.emplace_back(PickleNode{kind, number, std::move(text), {}});
}

void PickleMachine::push_global(std::string_view module, std::string_view name) {
  // Python 2's pickles say __builtin__; no name of either is known here.
  const std::string global = concat(module, " ", name);
  if (global != kOrderedDict && global != kRebuildTensor && global != kRebuildParameter && !storage_dtype(global)) {
    refuse(concat("the Python object ", module, ".", name));
  }
  push(make(Kind::kGlobal, 0, global));
}

PickleNode* PickleMachine::pop() {
  PickleNode* node = top();
  stack_.pop_back();
  return node;
}

PickleNode* PickleMachine::top() {
  if (stack_.empty() || stack_.back()->kind == Kind::kMark) {
    refuse("an instruction without its operand");
  }
  return stack_.back();
}

std::vector<PickleNode*> PickleMachine::pop_to_mark() {
  const auto is_mark = [](const PickleNode* node) { return node->kind == Kind::kMark; };
  const auto mark = std::find_if(stack_.rbegin(), stack_.rend(), is_mark);
  if (mark == stack_.rend()) {
    refuse("an instruction without its mark");
  }
  std::vector<PickleNode*> items(mark.base(), stack_.end());
  stack_.erase(mark.base() - 1, stack_.end());
  return items;
}

void PickleMachine::push_tuple(size_t size) {
  PickleNode* tuple = make(Kind::kTuple);
  tuple->items.resize(size);
  std::ranges::generate(tuple->items.rbegin(), tuple->items.rend(), [this] { return pop(); });
  push(tuple);
}

void PickleMachine::extend(PickleNode* container, const std::vector<PickleNode*>& items, Kind kind) {
  expect(container->kind == kind, kind == Kind::kDict ? "a dict" : "a list", *container);
  if (kind == Kind::kDict && items.size() % 2 != 0) {
    refuse("a key without its value");
  }
  container->items.insert(container->items.end(), items.begin(), items.end());
}

void PickleMachine::memoise(uint64_t slot) {
  memo_[slot] = top();
}

PickleNode* PickleMachine::storage(const PickleNode& id) {
  // ("storage", class, record, device, number of elements)
  const auto kind = [&id](size_t i) { return id.items[i]->kind; };
  const bool fits = id.kind == Kind::kTuple && id.items.size() == 5 && kind(0) == Kind::kText &&
                    id.items[0]->text == "storage" && kind(1) == Kind::kGlobal && kind(2) == Kind::kText &&
                    kind(3) == Kind::kText && kind(4) == Kind::kInt && id.items[4]->number >= 0;
  if (!fits) {
    refuse("a storage of an unknown form");
  }
  const std::optional<c10::ScalarType> dtype = storage_dtype(id.items[1]->text);
  expect(dtype.has_value(), "a storage class", *id.items[1]);
  tensors_.push_back({id.items[2]->text, *dtype, id.items[4]->number, 0, {}, {}});
  return make(Kind::kStorage, static_cast<int64_t>(tensors_.size()) - 1);
}

PickleNode* PickleMachine::reduce(const PickleNode& callee, const PickleNode& arguments) {
  expect(callee.kind == Kind::kGlobal, "the name of a tensor's builder", callee);
  expect(arguments.kind == Kind::kTuple, "a tuple of arguments", arguments);
  if (callee.text == kOrderedDict && arguments.items.empty()) {
    return make(Kind::kDict);
  }
  if (callee.text == kRebuildTensor) {
    return rebuild_tensor(arguments);
  }
  if (callee.text == kRebuildParameter && !arguments.items.empty() && arguments.items[0]->kind == Kind::kTensor) {
    return arguments.items[0];
  }
  refuse(concat("a call of ", callee.text, " with ", arguments.items.size(), " arguments"));
}

PickleNode* PickleMachine::rebuild_tensor(const PickleNode& arguments) {
  // (storage, offset, sizes, strides, requires_grad, hooks[, metadata])
  const std::vector<PickleNode*>& items = arguments.items;
  if (items.size() < 6 || items.size() > 7) {
    refuse(concat("a tensor of ", items.size(), " arguments"));
  }
  expect(items[0]->kind == Kind::kStorage, "a tensor's storage", *items[0]);
  expect(items[1]->kind == Kind::kInt, "a tensor's offset", *items[1]);
  PickledTensor tensor = tensors_[items[0]->number];
  tensor.offset = items[1]->number;
  tensor.sizes = integers(*items[2]);
  tensor.strides = integers(*items[3]);
  if (tensor.offset < 0 || tensor.sizes.size() != tensor.strides.size()) {
    refuse("a tensor whose offset, sizes and strides do not fit each other");
  }
  tensors_.push_back(std::move(tensor));
  return make(Kind::kTensor, static_cast<int64_t>(tensors_.size()) - 1);
}

std::vector<int64_t> PickleMachine::integers(const PickleNode& tuple) {
  constexpr size_t kMostDimensions = 64;
  expect(tuple.kind == Kind::kTuple && tuple.items.size() <= kMostDimensions, "a short tuple of sizes", tuple);
  std::vector<int64_t> values;
  for (const PickleNode* item : tuple.items) {
    expect(item->kind == Kind::kInt && item->number >= 0, "a size", *item);
    values.push_back(item->number);
  }
  return values;
}

std::string_view PickleMachine::bytes(uint64_t size) {
  require(size <= program_.size() - at_, where_, ": damaged pickle: expected ", size, " more bytes at byte ", at_,
          ", found ", program_.size() - at_, "; copy or download the file again");
  const std::string_view found = program_.substr(at_, size);
  at_ += size;
  return found;
}

uint64_t PickleMachine::number(size_t width) {
  uint64_t value = 0;
  std::memcpy(&value, bytes(width).data(), width);
  return value;
}

std::string_view PickleMachine::line() {
  const size_t end = program_.find('\n', at_);
  require(end != std::string_view::npos, where_, ": damaged pickle: expected a line's end after byte ", at_,
          "; copy or download the file again");
  const std::string_view found = bytes(end - at_);
  bytes(1);
  return found;
}

void PickleMachine::expect(bool condition, const char* expected, const PickleNode& found) {
  if (!condition) {
    refuse(concat(found.kind_name(), found.text.empty() ? "" : " \"" + found.text.substr(0, 80) + "\"", " where ",
                  expected, " was expected"));
  }
}

void PickleMachine::refuse(const std::string& found) const {
  fail(where_, ": expected a plain state dict of tensors, found ", printable(found), " (byte ", at_,
       " of its pickle); nothing was executed. Save the weights alone: torch.save(model.state_dict(), path)");
}

}  // namespace minimind::detail
