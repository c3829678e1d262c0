#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace minimind {

/// What a pickled state dict says about one tensor: a strided view into a storage, which is a record of the archive.
struct PickledTensor {
  std::string storage;  ///< the record's name under `data/`
  c10::ScalarType dtype = c10::ScalarType::Float;
  int64_t storage_numel = 0;
  int64_t offset = 0;  ///< in elements, like the strides
  std::vector<int64_t> sizes;
  std::vector<int64_t> strides;
};

using PickledState = std::vector<std::pair<std::string, PickledTensor>>;

/// Runs the pickle program of a state dict (dict or OrderedDict of tensors) on a PickleMachine. `where` names the file.
/// Throws Error if the program holds anything else.
PickledState read_pickled_state(std::string_view program, const std::string& where);

/// A value of the pickle machine. Nodes live in the machine's arena and may point at each other in cycles and to any
/// depth.
struct PickleNode {
  enum class Kind { kNone, kBool, kInt, kFloat, kText, kTuple, kList, kDict, kGlobal, kStorage, kTensor, kMark };
  Kind kind = Kind::kNone;
  int64_t number = 0;              ///< kBool, kInt: the value; kStorage, kTensor: index into the machine's tensors
  std::string text;                ///< kText: the value; kGlobal: "module name"
  std::vector<PickleNode*> items;  ///< kTuple, kList: the items; kDict: key, value, key, value, …
  const char* kind_name() const;
};

/// Knows containers, numbers, strings and the names that torch.save uses for tensors. It reaches no other name and
/// calls nothing. Its memory is bounded by a multiple of the program's size.
class PickleMachine {
 public:
  PickleMachine(std::string_view program, const std::string& where) : program_(program), where_(where) {}
  /// Runs to STOP and returns the result. Throws Error on an unknown instruction or name and on a damaged program.
  const PickleNode& run();
  const PickledTensor& tensor(const PickleNode& node) const { return tensors_[static_cast<size_t>(node.number)]; }

 private:
  using Kind = PickleNode::Kind;
  using Nodes = std::vector<PickleNode*>;
  using Instruction = void (*)(PickleMachine&);
  static const std::unordered_map<uint8_t, Instruction>& instructions();

  // Operands in the program.
  std::string_view bytes(uint64_t size);
  uint64_t number(size_t width);
  int64_t signed_number(uint64_t width);
  std::string text(size_t width) { return std::string(bytes(number(width))); }
  std::string_view line();
  void check_protocol();

  // The stack.
  void push(Kind kind, int64_t number = 0, std::string text = {}, Nodes items = {});
  void push_tuple(Nodes items) { push(Kind::kTuple, 0, {}, std::move(items)); }
  void push_memo(uint64_t key);
  PickleNode* top();
  PickleNode* pop() { return pop(1)[0]; }
  Nodes pop(size_t count);
  Nodes pop_to_mark();
  void extend(Kind kind, const Nodes& items);

  // Names, storages and tensors (pickle_tensors.cpp).
  void push_global(std::string_view module, std::string_view name);
  void push_global_of_stack();
  void push_storage();
  void push_tensor(const Nodes& arguments);
  void reduce();
  void skip_attributes();
  std::vector<int64_t> integers(const PickleNode& tuple) const;

  void expect(bool condition, const char* expected, const PickleNode& found) const;
  [[noreturn]] void refuse(const std::string& found) const;

  std::string_view program_;
  const std::string& where_;
  size_t at_ = 0;
  std::deque<PickleNode> arena_;
  std::vector<PickledTensor> tensors_;
  Nodes stack_;
  std::unordered_map<uint64_t, PickleNode*> memo_;
};

}  // namespace minimind
