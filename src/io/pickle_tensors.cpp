#include <algorithm>
#include <array>
#include <unordered_set>

#include "base/utf8.h"
#include "io/dtype_names.h"
#include "io/pickle.h"
#include "minimind/base/error.h"

namespace minimind {

namespace {

using Kind = PickleNode::Kind;

constexpr std::string_view kOrderedDict = "collections OrderedDict";
constexpr std::string_view kRebuildTensor = "torch._utils _rebuild_tensor_v2";
constexpr std::string_view kRebuildParameter = "torch._utils _rebuild_parameter";

/// The dtype of "torch FloatStorage" and the like; Undefined for other names.
c10::ScalarType storage_dtype(std::string_view global) {
  constexpr std::string_view kModule = "torch ";
  return global.starts_with(kModule) ? dtype_by(&DtypeNames::storage, global.substr(kModule.size()))
                                     : c10::ScalarType::Undefined;
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

void PickleMachine::push_global(std::string_view module, std::string_view name) {
  std::string global = concat(module, " ", name);
  if (global != kOrderedDict && global != kRebuildTensor && global != kRebuildParameter &&
      storage_dtype(global) == c10::ScalarType::Undefined) {
    refuse(concat("the Python object ", module, ".", name));
  }
  push(Kind::kGlobal, 0, std::move(global));
}

void PickleMachine::push_global_of_stack() {
  const Nodes nodes = pop(2);
  for (const PickleNode* node : nodes) {
    expect(node->kind == Kind::kText, "a module or a name", *node);
  }
  push_global(nodes[0]->text, nodes[1]->text);
}

void PickleMachine::push_storage() {
  // ("storage", class, record, device, number of elements)
  constexpr std::array kKinds = {Kind::kText, Kind::kGlobal, Kind::kText, Kind::kText, Kind::kInt};
  const PickleNode& id = *pop();
  const auto has_kind = [](const PickleNode* node, Kind kind) { return node->kind == kind; };
  const bool fits = id.kind == Kind::kTuple && std::ranges::equal(id.items, kKinds, has_kind) &&
                    id.items[0]->text == "storage" && id.items[4]->number >= 0;
  if (!fits) {
    refuse("a storage of an unknown form");
  }
  const c10::ScalarType dtype = storage_dtype(id.items[1]->text);
  expect(dtype != c10::ScalarType::Undefined, "a storage class", *id.items[1]);
  push(Kind::kStorage, std::ssize(tensors_));
  tensors_.push_back({id.items[2]->text, dtype, id.items[4]->number, 0, {}, {}});
}

void PickleMachine::push_tensor(const Nodes& arguments) {
  // (storage, offset, sizes, strides, requires_grad, hooks[, metadata])
  if (arguments.size() < 6 || arguments.size() > 7) {
    refuse(concat("a tensor of ", arguments.size(), " arguments"));
  }
  expect(arguments[0]->kind == Kind::kStorage, "a tensor's storage", *arguments[0]);
  expect(arguments[1]->kind == Kind::kInt, "a tensor's offset", *arguments[1]);
  PickledTensor tensor = this->tensor(*arguments[0]);
  tensor.offset = arguments[1]->number;
  tensor.sizes = integers(*arguments[2]);
  tensor.strides = integers(*arguments[3]);
  if (tensor.offset < 0 || tensor.sizes.size() != tensor.strides.size()) {
    refuse("a tensor whose offset, sizes and strides do not fit each other");
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
    refuse(concat("a call of ", callee.text, " with ", arguments.items.size(), " arguments"));
  }
}

/// Drops an OrderedDict's attributes: `_metadata`, the versions of the modules.
void PickleMachine::skip_attributes() {
  const PickleNode& attributes = *pop();
  expect(top()->kind == Kind::kDict, "a dict that takes attributes", *top());
  expect(attributes.kind == Kind::kDict, "a dict of attributes", attributes);
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

PickledState read_pickled_state(std::string_view program, const std::string& where) {
  // The pickle of a state dict has a few hundred bytes a tensor; the machine may need a hundred bytes for each byte.
  constexpr size_t kLargestProgram = size_t{8} << 20;
  require(program.size() <= kLargestProgram, where, ": expected a state dict's pickle of at most ", kLargestProgram,
          " bytes, found ", program.size(), "; save the weights alone: torch.save(model.state_dict(), path)");
  PickleMachine machine(program, where);
  const PickleNode& result = machine.run();
  require(result.kind == Kind::kDict, where, ": expected a dict of tensors, found ", result.kind_name(),
          "; save the weights as torch.save(model.state_dict(), path)");
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
