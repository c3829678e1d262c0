#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>

#include "infer/layer_decoder.h"
#include "model/gpu_graph.h"

namespace minimind {

/// For a GPU: a token is a few hundred small kernels, and starting them takes longer than running them. They are
/// recorded once for each window of the cache and then started together. So no size may depend on the position: a step
/// attends to a whole window, with a mask.
class GraphDecoder : public LayerDecoder {
 public:
  /// `recorder`: graph_recorder() of the device of the model.
  GraphDecoder(std::shared_ptr<LanguageModelImpl> model, int64_t capacity, Recorder recorder);
  std::span<const float> step(std::span<const SequenceId> sequences, std::span<const TokenId> tokens) override;

 private:
  void compute(int64_t window);
  at::Tensor attend(AttentionImpl& attention, LayerCache& cache, const at::Tensor& input, const at::Tensor& rotations,
                    const at::Tensor& hidden_positions) const;

  RepeatedWork steps_;
  at::Tensor rotations_;    ///< complex64 [capacity, d/2]
  at::Tensor token_;        ///< int64 [1]
  at::Tensor position_;     ///< int64 [1]
  at::Tensor step_logits_;  ///< float32 [1, V] on the device
  at::Tensor host_logits_;  ///< float32 [1, V]
};

}  // namespace minimind
