#include "io/pickle.h"

#include <algorithm>
#include <array>
#include <deque>
#include <unordered_map>
#include <unordered_set>

#include "io/dtype_names.h"
#include "io/model_part.h"
#include "io/pickle_program.h"

namespace minimind {

namespace {

constexpr std::string_view kOrderedDict = "collections OrderedDict";
constexpr std::string_view kRebuildTensor = "torch._utils _rebuild_tensor_v2";
constexpr std::string_view kRebuildParameter = "torch._utils _rebuild_parameter";

/// The dtype of "torch FloatStorage" and the like; Undefined for other names.
c10::ScalarType storage_dtype(std::string_view global) {
  constexpr std::string_view kModule = "torch ";
  return global.starts_with(kModule) ? dtype_by(&DtypeNames::storage, global.substr(kModule.size()))
                                     : c10::ScalarType::Undefined;
}

using Kind = PickleNode::Kind;
using Nodes = std::vector<PickleNode*>;

class PickleMachine {
 public:
  PickleMachine(std::string_view program, const std::string& where) : program_(program, where) {}

  /// Runs to STOP and returns the result.
  const PickleNode& run() {
    constexpr uint8_t kStop = '.';
    for (uint64_t op = program_.number(1); op != kStop; op = program_.number(1)) {
      const auto instruction = instructions().find(static_cast<uint8_t>(op));
      if (instruction == instructions().end()) {
        program_.refuse(concat("the pickle instruction ", op));
      }
      instruction->second(*this, program_);
    }
    const PickleNode& result = *pop();
    if (!stack_.empty()) {
      program_.refuse("values left over at its end");
    }
    return result;
  }
  const PickledTensor& tensor(const PickleNode& node) const { return tensors_[static_cast<size_t>(node.number)]; }

 private:
  using Instruction = void (*)(PickleMachine&, PickleProgram&);
  static const std::unordered_map<uint8_t, Instruction>& instructions();

  void push(Kind kind, int64_t number = 0, std::string text = {}, Nodes items = {}) {
    stack_.push_back(&arena_.emplace_back(PickleNode{kind, number, std::move(text), std::move(items)}));
  }
  void push_integer(uint64_t number) { push(Kind::kInt, static_cast<int64_t>(number)); }
  void push_text(std::string text) { push(Kind::kText, 0, std::move(text)); }
  void push_tuple(Nodes items) { push(Kind::kTuple, 0, {}, std::move(items)); }
  void push_memo(uint64_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end()) {
      program_.refuse("a reference to nothing");
    }
    stack_.push_back(found->second);
  }
  PickleNode* top() {
    if (stack_.empty() || stack_.back()->kind == Kind::kMark) {
      program_.refuse("an instruction without its operand");
    }
    return stack_.back();
  }
  PickleNode* pop() {
    PickleNode* const node = top();
    stack_.pop_back();
    return node;
  }
  Nodes pop(size_t count) {
    Nodes nodes(count);
    std::ranges::generate(nodes.rbegin(), nodes.rend(), [this] { return pop(); });
    return nodes;
  }
  Nodes pop_to_mark() {
    const auto mark = std::ranges::find(stack_.rbegin(), stack_.rend(), Kind::kMark, &PickleNode::kind);
    if (mark == stack_.rend()) {
      program_.refuse("an instruction without its mark");
    }
    Nodes items(mark.base(), stack_.end());
    stack_.erase(mark.base() - 1, stack_.end());
    return items;
  }
  void extend(Kind kind, const Nodes& items) {
    expect(top()->kind == kind, kind == Kind::kDict ? "a dict" : "a list", *top());
    if (kind == Kind::kDict && items.size() % 2 != 0) {
      program_.refuse("a key without its value");
    }
    top()->items.insert(top()->items.end(), items.begin(), items.end());
  }
  /// Drops an OrderedDict's attributes: `_metadata`, the versions of the modules.
  void skip_attributes() {
    const PickleNode& attributes = *pop();
    expect(top()->kind == Kind::kDict, "a dict that takes attributes", *top());
    expect(attributes.kind == Kind::kDict, "a dict of attributes", attributes);
  }

  /// Braces around the two names keep the order in which they are read.
  void push_global(const std::array<std::string_view, 2>& module_and_name);
  void push_named(const Nodes& module_and_name);
  void push_storage();
  void push_tensor(const Nodes& arguments);
  void reduce();
  std::vector<int64_t> integers(const PickleNode& tuple) const;
  void expect(bool condition, const char* expected, const PickleNode& found) const {
    if (!condition) {
      program_.refuse(concat(found.kind_name(), found.text.empty() ? "" : " \"" + found.text.substr(0, 80) + "\"",
                             " where ", expected, " was expected"));
    }
  }

  PickleProgram program_;
  std::deque<PickleNode> arena_;
  std::vector<PickledTensor> tensors_;
  Nodes stack_;
  std::unordered_map<uint64_t, PickleNode*> memo_;
};

const std::unordered_map<uint8_t, PickleMachine::Instruction>& PickleMachine::instructions() {
  using M = PickleMachine;
  using P = PickleProgram;
  static const std::unordered_map<uint8_t, Instruction> table = {
      {'N', [](M& m, P&) { m.push(Kind::kNone); }},
      {0x88, [](M& m, P&) { m.push(Kind::kBool, 1); }},
      {0x89, [](M& m, P&) { m.push(Kind::kBool, 0); }},
      {'J', [](M& m, P& p) { m.push(Kind::kInt, p.signed_number(4)); }},
      {'K', [](M& m, P& p) { m.push_integer(p.number(1)); }},
      {'M', [](M& m, P& p) { m.push_integer(p.number(2)); }},
      {0x8a, [](M& m, P& p) { m.push(Kind::kInt, p.signed_number(p.number(1))); }},
      {'G', [](M& m, P& p) { m.push(Kind::kFloat, p.signed_number(8)); }},
      {'X', [](M& m, P& p) { m.push_text(p.text(4)); }},
      {'T', [](M& m, P& p) { m.push_text(p.text(4)); }},
      {0x8c, [](M& m, P& p) { m.push_text(p.text(1)); }},
      {'U', [](M& m, P& p) { m.push_text(p.text(1)); }},
      {0x8d, [](M& m, P& p) { m.push_text(p.text(8)); }},
      {'(', [](M& m, P&) { m.push(Kind::kMark); }},
      {')', [](M& m, P&) { m.push(Kind::kTuple); }},
      {']', [](M& m, P&) { m.push(Kind::kList); }},
      {'}', [](M& m, P&) { m.push(Kind::kDict); }},
      {'t', [](M& m, P&) { m.push_tuple(m.pop_to_mark()); }},
      {0x85, [](M& m, P&) { m.push_tuple(m.pop(1)); }},
      {0x86, [](M& m, P&) { m.push_tuple(m.pop(2)); }},
      {0x87, [](M& m, P&) { m.push_tuple(m.pop(3)); }},
      {'a', [](M& m, P&) { m.extend(Kind::kList, m.pop(1)); }},
      {'s', [](M& m, P&) { m.extend(Kind::kDict, m.pop(2)); }},
      {'e', [](M& m, P&) { m.extend(Kind::kList, m.pop_to_mark()); }},
      {'u', [](M& m, P&) { m.extend(Kind::kDict, m.pop_to_mark()); }},
      {'q', [](M& m, P& p) { m.memo_[p.number(1)] = m.top(); }},
      {'r', [](M& m, P& p) { m.memo_[p.number(4)] = m.top(); }},
      {0x94, [](M& m, P&) { m.memo_[m.memo_.size()] = m.top(); }},
      {'h', [](M& m, P& p) { m.push_memo(p.number(1)); }},
      {'j', [](M& m, P& p) { m.push_memo(p.number(4)); }},
      {0x80, [](M&, P& p) { p.check_protocol(); }},
      {0x95, [](M&, P& p) { p.bytes(8); }},  // the length of a frame
      {'c',
       [](M& m, P& p) {
         m.push_global({p.line(), p.line()});
       }},
      {0x93, [](M& m, P&) { m.push_named(m.pop(2)); }},
      {'Q', [](M& m, P&) { m.push_storage(); }},
      {'R', [](M& m, P&) { m.reduce(); }},
      {'b', [](M& m, P&) { m.skip_attributes(); }},
  };
  return table;
}

void PickleMachine::push_global(const std::array<std::string_view, 2>& module_and_name) {
  std::string global = concat(module_and_name[0], " ", module_and_name[1]);
  if (global != kOrderedDict && global != kRebuildTensor && global != kRebuildParameter &&
      storage_dtype(global) == c10::ScalarType::Undefined) {
    program_.refuse(concat("the Python object ", module_and_name[0], ".", module_and_name[1]));
  }
  push(Kind::kGlobal, 0, std::move(global));
}

void PickleMachine::push_named(const Nodes& module_and_name) {
  for (const PickleNode* node : module_and_name) {
    expect(node->kind == Kind::kText, "a module or a name", *node);
  }
  push_global({module_and_name[0]->text, module_and_name[1]->text});
}

void PickleMachine::push_storage() {
  // ("storage", class, record, device, number of elements)
  constexpr std::array kKinds = {Kind::kText, Kind::kGlobal, Kind::kText, Kind::kText, Kind::kInt};
  const PickleNode& id = *pop();
  const auto has_kind = [](const PickleNode* node, Kind kind) { return node->kind == kind; };
  const bool fits = id.kind == Kind::kTuple && std::ranges::equal(id.items, kKinds, has_kind) &&
                    id.items[0]->text == "storage" && id.items[4]->number >= 0;
  if (!fits) {
    program_.refuse("a storage of an unknown form");
  }
  const c10::ScalarType dtype = storage_dtype(id.items[1]->text);
  expect(dtype != c10::ScalarType::Undefined, "a storage class", *id.items[1]);
  push(Kind::kStorage, std::ssize(tensors_));
  tensors_.push_back({id.items[2]->text, dtype, id.items[4]->number, 0, {}, {}});
}

void PickleMachine::push_tensor(const Nodes& arguments) {
  // (storage, offset, sizes, strides, requires_grad, hooks[, metadata])
  if (arguments.size() < 6 || arguments.size() > 7) {
    program_.refuse(concat("a tensor of ", arguments.size(), " arguments"));
  }
  expect(arguments[0]->kind == Kind::kStorage, "a tensor's storage", *arguments[0]);
  expect(arguments[1]->kind == Kind::kInt, "a tensor's offset", *arguments[1]);
  PickledTensor tensor = this->tensor(*arguments[0]);
  tensor.offset = arguments[1]->number;
  tensor.sizes = integers(*arguments[2]);
  tensor.strides = integers(*arguments[3]);
  if (tensor.offset < 0 || tensor.sizes.size() != tensor.strides.size()) {
    program_.refuse("a tensor whose offset, sizes and strides do not fit each other");
  }
  push(Kind::kTensor, std::ssize(tensors_));
  tensors_.push_back(std::move(tensor));
}

void PickleMachine::reduce() {
  const Nodes call = pop(2);
  const PickleNode &callee = *call[0], &arguments = *call[1];
  expect(callee.kind == Kind::kGlobal, "the name of a tensor's builder", callee);
  expect(arguments.kind == Kind::kTuple, "a tuple of arguments", arguments);
  if (callee.text == kOrderedDict && arguments.items.empty()) {
    push(Kind::kDict);
  } else if (callee.text == kRebuildTensor) {
    push_tensor(arguments.items);
  } else if (callee.text == kRebuildParameter && !arguments.items.empty() &&
             arguments.items[0]->kind == Kind::kTensor) {
    stack_.push_back(arguments.items[0]);
  } else {
    program_.refuse(concat("a call of ", callee.text, " with ", arguments.items.size(), " arguments"));
  }
}

std::vector<int64_t> PickleMachine::integers(const PickleNode& tuple) const {
  constexpr size_t kMostDimensions = 64;
  expect(tuple.kind == Kind::kTuple && tuple.items.size() <= kMostDimensions, "a short tuple of sizes", tuple);
  std::vector<int64_t> values;
  for (const PickleNode* item : tuple.items) {
    expect(item->kind == Kind::kInt && item->number >= 0, "a size", *item);
    values.push_back(item->number);
  }
  return values;
}

/// Throws Error unless the node is a tensor.
void require_tensor(const std::string& key, const PickleNode& value, const std::string& where) {
  if (value.kind == Kind::kDict) {
    fail(where, ": key \"", printable(key), "\": expected a tensor, found ", value.kind_name(),
         "; a training checkpoint? Save its model part alone: torch.save(checkpoint[\"", printable(key), "\"], path)");
  }
  require(value.kind == Kind::kTensor, where, ": key \"", printable(key), "\": expected a tensor, found ",
          value.kind_name(), "; save the weights alone: torch.save(model.state_dict(), path)");
}

}  // namespace

PickledState read_pickled_state(std::string_view program, const std::string& where) {
  // The pickle of a state dict has a few hundred bytes a tensor; the machine may need a hundred bytes for each byte.
  constexpr size_t kLargestProgram = size_t{8} << 20;
  require(program.size() <= kLargestProgram, where, ": expected a state dict's pickle of at most ", kLargestProgram,
          " bytes, found ", program.size(), "; save the weights alone: torch.save(model.state_dict(), path)");
  PickleMachine machine(program, where);
  const PickleNode& whole = machine.run();
  require(whole.kind == Kind::kDict, where, ": expected a dict of tensors, found ", whole.kind_name(),
          "; save the weights as torch.save(model.state_dict(), path)");
  const PickleNode& result = model_part(whole);
  PickledState state;
  std::unordered_set<std::string_view> seen;
  for (size_t i = 0; i < result.items.size(); i += 2) {
    const PickleNode &key = *result.items[i], &value = *result.items[i + 1];
    require(key.kind == Kind::kText, where, ": expected strings as keys of the state dict, found ", key.kind_name());
    require_tensor(key.text, value, where);
    require(seen.insert(key.text).second, where, ": key \"", printable(key.text), "\" is there twice");
    state.emplace_back(key.text, machine.tensor(value));
  }
  return state;
}

}  // namespace minimind
