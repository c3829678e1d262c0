#include "model/bfloat16_weights.h"

#include <c10/core/GradMode.h>

#include "minimind/model/layers.h"

namespace minimind {

void keep_matmul_weights_in_bfloat16(Vlm& model) {
  const c10::NoGradGuard without_gradients;
  const auto narrow = [](at::Tensor& weight) {
    if (weight.defined()) {
      weight.set_data(weight.to(at::kBFloat16));
    }
  };
  for (const auto& module : model->modules()) {
    if (auto* linear = dynamic_cast<LinearImpl*>(module.get())) {
      narrow(linear->weight);
      narrow(linear->bias);
    } else if (auto* embedding = dynamic_cast<EmbeddingImpl*>(module.get())) {
      narrow(embedding->weight);
    }
  }
}

}  // namespace minimind
