// Attention and RMS norm as a real card has them.
#pragma once

namespace fake_cuda {

/// Makes scaled_dot_product_attention choose the kernel that a card would choose.
void register_fused();

}  // namespace fake_cuda
