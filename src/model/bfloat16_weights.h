#pragma once

#include "minimind/model/vlm.h"

namespace minimind {

/// Keeps the weights of all matmuls and the embeddings in bfloat16, for a model that is only used. Norms and the gates
/// of experts stay float32. `Linear` then multiplies in bfloat16.
void keep_matmul_weights_in_bfloat16(Vlm& model);

}  // namespace minimind
