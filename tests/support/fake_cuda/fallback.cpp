// Every operation without a kernel of its own: runs the CPU kernel on aliases of the card's tensors and counts as one.
#include "fallback.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/as_strided.h>
#include <ATen/ops/empty.h>
#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

#include <set>
#include <utility>
#include <vector>

#include "counts.h"
#include "races.h"
#include "streams.h"
#include "tensors.h"

namespace fake_cuda {
namespace {

/// Operations whose result decides what the host does next, so that a real card has to finish first.
const std::set<std::string>& waiting_operations() {
  static const std::set<std::string> names = {
      "aten::_local_scalar_dense", "aten::nonzero", "aten::equal",    "aten::bincount",           "aten::masked_select",
      "aten::unique_dim",          "aten::_unique", "aten::_unique2", "aten::unique_consecutive", "aten::is_nonzero"};
  return names;
}

/// The arguments of one call, turned to the CPU, and its results, turned back.
class Call {
 public:
  explicit Call(const c10::OperatorHandle& op) : schema_(op.schema()), name_(schema_.name()) {}

  void run(const c10::OperatorHandle& op, torch::jit::Stack& stack) {
    const size_t first = stack.size() - schema_.arguments().size();
    for (size_t i = first; i < stack.size(); ++i) {
      const c10::AliasInfo* alias = schema_.arguments()[i - first].alias_info();
      writes_ = alias != nullptr && alias->isWrite();
      replace_argument(stack[i]);
    }
    count();
    {
      const at::AutoDispatchBelowADInplaceOrView below;
      op.callBoxed(&stack);
    }
    take_over_sizes();
    for (size_t i = stack.size() - schema_.returns().size(); i < stack.size(); ++i) {
      replace_result(stack[i]);
    }
  }

 private:
  void count() {
    const c10::DeviceIndex card = device_ ? device_->index() : current_device();
    const std::string& overload = schema_.overload_name();
    Counts::get().operation(overload.empty() ? name_ : name_ + "." + overload, card);
    if (picks_by_mask_ || waiting_operations().contains(name_)) {
      Counts::get().wait(name_);
      host_sees(progress_of(current_stream(card)));
    }
  }

  at::Tensor to_cpu(const at::Tensor& tensor) {
    if (!tensor.defined()) {
      return tensor;
    }
    if (!tensor.is_cuda()) {
      TORCH_CHECK(tensor.dim() == 0, name_, ".", schema_.overload_name(),
                  ": Expected all tensors to be on the same device, found a CPU tensor of sizes ", tensor.sizes());
      if (!tensor.unsafeGetTensorImpl()->is_wrapped_number()) {
        Counts::get().note("CPU scalar given to " + name_);
      }
      return tensor;
    }
    TORCH_CHECK(!device_ || *device_ == tensor.device(), name_,
                ": Expected all tensors to be on the same device, found ", *device_, " and ", tensor.device());
    device_ = tensor.device();
    touch(tensor, writes_);
    picks_by_mask_ = picks_by_mask_ || (name_ == "aten::_index_put_impl_" && tensor.scalar_type() == at::kBool);
    for (const auto& [original, alias] : aliases_) {
      if (original.is_same(tensor)) {
        return alias;
      }
    }
    const bool is_void = tensor.numel() == 0 && tensor.dim() == 1;  // an output that the kernel resizes
    aliases_.emplace_back(tensor, is_void ? at::empty({0}, tensor.options().device(c10::kCPU)) : cpu_alias(tensor));
    return aliases_.back().second;
  }

  void replace_argument(c10::IValue& value) {
    if (value.isTensor()) {
      value = to_cpu(value.toTensor());
    } else if (value.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor& tensor : value.toTensorVector()) {
        list.push_back(to_cpu(tensor));
      }
      value = list;
    } else if (value.isOptionalTensorList()) {
      c10::List<std::optional<at::Tensor>> list;
      for (const std::optional<at::Tensor> tensor : value.toOptionalTensorList()) {
        list.push_back(tensor ? std::optional(to_cpu(*tensor)) : std::nullopt);
      }
      value = list;
    } else if (value.isDevice() && value.toDevice().is_cuda()) {
      const c10::Device device = value.toDevice();
      device_ = device_.value_or(device.has_index() ? device : c10::Device(c10::kCUDA, current_device()));
      value = c10::Device(c10::kCPU);
    } else if (value.isGenerator()) {
      value = c10::IValue();  // the CPU's generator: a run on a card draws the numbers of a run on the CPU
    }
  }

  /// Outputs that the kernel resized.
  void take_over_sizes() {
    for (auto& [original, alias] : aliases_) {
      if (alias.sizes() != original.sizes()) {
        resize(original, alias.sizes(), {});
        cpu_alias(original).copy_(alias);
      }
    }
  }

  at::Tensor to_card_again(const at::Tensor& tensor) {
    if (!tensor.defined()) {
      return tensor;
    }
    const auto* place = tensor.storage().unsafeGetStorageImpl();
    for (const auto& [original, alias] : aliases_) {
      if (alias.is_same(tensor)) {
        return original;
      }
      if (alias.storage().unsafeGetStorageImpl() == place && alias.numel() > 0) {  // a view
        return at::as_strided(original, tensor.sizes(), tensor.strides(), tensor.storage_offset());
      }
    }
    return to_card(tensor, device_.value_or(c10::Device(c10::kCUDA, current_device())));
  }

  void replace_result(c10::IValue& value) {
    if (value.isTensor()) {
      value = to_card_again(value.toTensor());
    } else if (value.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor& tensor : value.toTensorVector()) {
        list.push_back(to_card_again(tensor));
      }
      value = list;
    }
  }

  const c10::FunctionSchema& schema_;
  const std::string name_;
  std::optional<c10::Device> device_;
  std::vector<std::pair<at::Tensor, at::Tensor>> aliases_;  // a card's tensor and its CPU alias
  bool writes_ = false;                                     // the argument that is replaced
  bool picks_by_mask_ = false;
};

/// PyTorch takes an operation apart if a backend has no kernel for it. A real card has one for every operation of
/// ATen for which the CPU has one, and for the foreach operations.
bool has_own_kernel(const c10::OperatorHandle& op) {
  const std::string& name = op.schema().name();
  if (name.rfind("aten::_foreach_", 0) == 0) {
    return true;
  }
  return op.hasKernelForDispatchKey(c10::DispatchKey::CPU) && !op.hasKernelForDispatchKey(c10::DispatchKey::CUDA) &&
         (op.hasKernelForDispatchKey(c10::DispatchKey::CompositeExplicitAutograd) ||
          op.hasKernelForDispatchKey(c10::DispatchKey::CompositeImplicitAutograd));
}

}  // namespace

void run_on_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  Call(op).run(op, *stack);
}

void register_own_kernels() {
  static auto* library = new torch::Library(torch::Library::IMPL, "aten", c10::DispatchKey::CUDA, __FILE__, __LINE__);
  for (const c10::OperatorName& name : c10::Dispatcher::singleton().getAllOpNames()) {
    const auto op = c10::Dispatcher::singleton().findSchema(name);
    if (op && name.name.rfind("aten::", 0) == 0 && has_own_kernel(*op)) {
      const std::string short_name = name.name.substr(6) + (name.overload_name.empty() ? "" : "." + name.overload_name);
      library->impl(short_name.c_str(), torch::CppFunction::makeFromBoxedFunction<&run_on_cpu>());
    }
  }
}

}  // namespace fake_cuda

TORCH_LIBRARY_IMPL(_, CUDA, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&fake_cuda::run_on_cpu>());
}
