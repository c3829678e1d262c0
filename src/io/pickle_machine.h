#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/pickle_reader.h"

namespace minimind::detail {

/// A value of the pickle machine. Nodes live in the machine's arena and point at each other freely: cycles and depth
/// cost nothing when the machine dies.
struct PickleNode {
  enum class Kind { kNone, kBool, kInt, kFloat, kText, kTuple, kList, kDict, kGlobal, kStorage, kTensor, kMark };
  Kind kind = Kind::kNone;
  int64_t number = 0;              ///< value of kBool and kInt; index into `tensors` of kStorage and kTensor
  std::string text;                ///< value of kText; "module name" of kGlobal
  std::vector<PickleNode*> items;  ///< of kTuple and kList; of kDict key, value, key, value, …
  const char* kind_name() const;
};

class PickleMachine {
 public:
  PickleMachine(std::string_view program, const std::string& where) : program_(program), where_(where) {}
  /// Runs to STOP and returns the result.
  PickleNode* run();
  const PickledTensor& tensor(const PickleNode& node) const { return tensors_[node.number]; }

 private:
  using Kind = PickleNode::Kind;
  bool step_value(uint8_t op);
  bool step_container(uint8_t op);
  bool step_memo(uint8_t op);
  bool step_object(uint8_t op);

  PickleNode* make(Kind kind, int64_t number = 0, std::string text = {});
  void push(PickleNode* node) { stack_.push_back(node); }
  void push_global(std::string_view module, std::string_view name);
  PickleNode* pop();
  PickleNode* top();
  /// Pops everything above the last mark, and the mark.
  std::vector<PickleNode*> pop_to_mark();
  void push_tuple(size_t size);
  void extend(PickleNode* container, const std::vector<PickleNode*>& items, Kind kind);
  void memoise(uint64_t slot);

  PickleNode* storage(const PickleNode& id);
  PickleNode* reduce(const PickleNode& callee, const PickleNode& arguments);
  PickleNode* rebuild_tensor(const PickleNode& arguments);
  std::vector<int64_t> integers(const PickleNode& tuple);

  std::string_view bytes(uint64_t size);
  uint64_t number(size_t width);
  std::string_view line();
  void expect(bool condition, const char* expected, const PickleNode& found);
  [[noreturn]] void refuse(const std::string& found) const;

  std::string_view program_;
  const std::string& where_;
  size_t at_ = 0;
  std::deque<PickleNode> arena_;
  std::vector<PickledTensor> tensors_;
  std::vector<PickleNode*> stack_;
  std::unordered_map<uint64_t, PickleNode*> memo_;
};

}  // namespace minimind::detail
