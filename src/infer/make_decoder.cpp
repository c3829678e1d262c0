#include "infer/make_decoder.h"

#if __has_include(<malloc.h>)
#include <malloc.h>
#endif

#include "infer/fused_decoder.h"
#include "infer/graph_decoder.h"
#include "infer/layer_decoder.h"
#include "kernels/gemv.h"
#include "minimind/base/error.h"

namespace minimind {

namespace {

/// The activations of a prompt are freed layer by layer. Without this glibc returns them to the system each time, and
/// clearing fresh pages costs a tenth of a prompt's time. Larger blocks, such as decoded images, go back as before.
void keep_freed_activations() {
#if defined(__GLIBC__)
  constexpr int kLargestBlock = 8 << 20, kKeptBytes = 32 << 20;
  ::mallopt(M_MMAP_THRESHOLD, kLargestBlock);
  ::mallopt(M_TRIM_THRESHOLD, kKeptBytes);
#endif
}

}  // namespace

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
    keep_freed_activations();
    return make_fused_decoder(model, capacity, format);
  }
  const bool has_format = format == WeightFormat::kFloat32 ||
                          (format == WeightFormat::kBFloat16 && model->head_weight().scalar_type() == at::kBFloat16);
  require(has_format,
          "weights: expected float32, found bfloat16 or int8, which need a model without experts on a CPU; use "
          "--weights float32");
  const c10::Device device = model->head_weight().device();
  if (!device.is_cpu()) {
    return std::make_unique<GraphDecoder>(model.ptr(), capacity, graph_recorder(device));
  }
  return std::make_unique<LayerDecoder>(model.ptr(), capacity);
}

}  // namespace minimind
