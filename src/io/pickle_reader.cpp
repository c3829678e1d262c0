#include "io/pickle_reader.h"

#include <unordered_set>

#include "base/utf8.h"
#include "io/pickle_machine.h"
#include "minimind/base/error.h"

namespace minimind::detail {

PickledState read_pickled_state(std::string_view program, const std::string& where) {
  // A state dict's pickle is a few hundred bytes a tensor; the machine needs up to a hundred bytes for each of them.
  constexpr size_t kLargestProgram = size_t{8} << 20;
  require(program.size() <= kLargestProgram, where, ": expected a state dict's pickle of at most ", kLargestProgram,
          " bytes, found ", program.size(), "; save the weights alone: torch.save(model.state_dict(), path)");
  PickleMachine machine(program, where);
  const PickleNode& result = *machine.run();
  require(result.kind == PickleNode::Kind::kDict, where, ": expected a dict of tensors, found ", result.kind_name(),
          "; save the weights as torch.save(model.state_dict(), path)");
  PickledState state;
  std::unordered_set<std::string_view> seen;
  for (size_t i = 0; i < result.items.size(); i += 2) {
    const PickleNode& key = *result.items[i];
    const PickleNode& value = *result.items[i + 1];
    require(key.kind == PickleNode::Kind::kText, where, ": expected texts as keys of the state dict, found ",
            key.kind_name());
    require(value.kind == PickleNode::Kind::kTensor, where, ": key \"", printable(key.text),
            "\": expected a tensor, found ", value.kind_name(),
            value.kind == PickleNode::Kind::kDict ? "; a training checkpoint? Save its model part alone: "
                                                    "torch.save(checkpoint[\"" +
                                                        printable(key.text) + "\"], path)"
                                                  : "; save the weights alone: torch.save(model.state_dict(), path)");
    require(seen.insert(key.text).second, where, ": key \"", printable(key.text), "\" is there twice");
    state.emplace_back(key.text, machine.tensor(value));
  }
  return state;
}

}  // namespace minimind::detail
