#include "infer/make_decoder.h"

#include "infer/fused_decoder.h"
#include "infer/layer_decoder.h"
#include "kernels/gemv.h"
#include "minimind/base/error.h"

namespace minimind {

bool can_fuse(const Vlm& model) {
  const at::Tensor& weight = model->head_weight();
  return weight.is_cpu() && weight.scalar_type() == at::kFloat && !model->config().use_moe;
}

std::unique_ptr<Decoder> make_decoder(const Vlm& model, int64_t capacity, DecoderKind kind, WeightFormat format) {
  require(capacity >= 2, "context: expected room for 2 tokens at least, found ", capacity);
  if (kind == DecoderKind::kAuto) {
    // LibTorch's GEMMs are faster than scalar kernels, but read float32 weights only.
    const bool is_faster = has_vector_kernels() || format != WeightFormat::kFloat32;
    kind = can_fuse(model) && is_faster ? DecoderKind::kFused : DecoderKind::kLayers;
  }
  if (kind == DecoderKind::kFused) {
    require(can_fuse(model), "fused decoding: expected a float32 model without experts on a CPU, found another model");
    return make_fused_decoder(model, capacity, format);
  }
  require(format == WeightFormat::kFloat32,
          "weights: expected float32, found bfloat16 or int8, which need a model without experts on a CPU; use "
          "--weights float32");
  return std::make_unique<LayerDecoder>(std::shared_ptr<LanguageModelImpl>(model.ptr()), capacity);
}

}  // namespace minimind
