#pragma once

#include "image/resize_kernels.h"
#include "minimind/image/image.h"

namespace minimind::detail {

/// resize_bicubic and resize_to_planar by the given kernels.
Image resize_interleaved(const Image& image, int64_t width, int64_t height, const ResizeKernels& kernels);
void resize_planar(const Image& image, int64_t size, uint8_t* out, const ResizeKernels& kernels);

}  // namespace minimind::detail
