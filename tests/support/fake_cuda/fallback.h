// The CPU's kernels in place of a card's.
#pragma once
#include <ATen/core/dispatch/Dispatcher.h>

namespace fake_cuda {

/// A boxed kernel: runs the CPU's kernel of the operation on aliases of the card's tensors. Counts one operation, and a
/// wait if the host needs the result. Tensors of different devices are refused.
void run_on_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack);

/// Registers run_on_cpu for the operations that PyTorch would otherwise take apart, although a real card has a kernel.
/// Call it after all other registrations.
void register_own_kernels();

}  // namespace fake_cuda
