#include "io/tensor_hash.h"

#include <ATen/Tensor.h>

#include <map>
#include <string>

#include "io/mapped_pages.h"
#include "minimind/base/error.h"

namespace minimind {

ContentHash hash_tensors(const std::vector<StateDict::Entry>& entries, const ContentHash& previous) {
  const std::map<std::string, at::Tensor> by_name(entries.begin(), entries.end());
  ContentHash hash = previous;
  for (const auto& [name, tensor] : by_name) {
    const at::Tensor numbers = tensor.detach().cpu().contiguous();
    hash = hash_content(concat(name, ' ', numbers.scalar_type(), numbers.sizes()), hash);
    hash = hash_content(tensor_bytes(numbers), hash);
    release_mapped_pages(tensor);
  }
  return hash;
}

}  // namespace minimind
