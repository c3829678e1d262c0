#include "tensors.h"

#include <ATen/Context.h>
#include <ATen/EmptyTensor.h>
#include <ATen/NativeFunctions.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

#include <cstring>
#include <functional>
#include <string_view>

#include "memory.h"
#include "races.h"
#include "streams.h"

namespace fake_cuda {
namespace {

constexpr c10::DispatchKeySet kCard(c10::DispatchKey::CUDA);

c10::Device card_of(std::optional<at::Device> device) {
  return device && device->has_index() ? *device : c10::Device(c10::kCUDA, current_device());
}

at::Tensor empty(at::IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
                 std::optional<at::Device> device, std::optional<bool> pinned, std::optional<at::MemoryFormat> format) {
  TORCH_CHECK(!pinned.value_or(false), "Only dense CPU tensors can be pinned");
  const c10::DeviceGuard guard(card_of(device));
  return at::detail::empty_generic(size, &DeviceMemory::get(), kCard, c10::dtype_or_default(dtype), format);
}

at::Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride, std::optional<at::ScalarType> dtype,
                         std::optional<at::Layout>, std::optional<at::Device> device, std::optional<bool>) {
  const c10::DeviceGuard guard(card_of(device));
  return at::detail::empty_strided_generic(size, stride, &DeviceMemory::get(), kCard, c10::dtype_or_default(dtype));
}

void count_upload(const at::Tensor& self, const at::Tensor& source, bool non_blocking) {
  Counts::get().operation("copy_ (host to device)", self.device().index());
  Counts::get().copied(true, source.nbytes());
  if (on_side_stream(self.device().index())) {
    Counts::get().note("copy on a side stream");
  } else if (!non_blocking) {
    Counts::get().wait("host to device, blocking");
  } else if (!source.is_pinned()) {
    Counts::get().wait("host to device, non_blocking from pageable memory");
  }
}

void count_download(const at::Tensor& self, const at::Tensor& source, bool non_blocking) {
  Counts::get().operation("copy_ (device to host)", source.device().index());
  Counts::get().copied(false, source.nbytes());
  if (on_side_stream(source.device().index())) {
    Counts::get().note("copy on a side stream");
  } else if (!non_blocking || !self.is_pinned()) {
    Counts::get().wait("device to host");
  }
}

std::string_view bytes_of(const at::Tensor& tensor) {
  return {static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()};
}

/// The card may read page-locked memory until the host has seen the copy's end.
void watch_upload(const at::Tensor& self, const at::Tensor& source) {
  if (!source.is_contiguous()) {
    return;
  }
  const size_t before = std::hash<std::string_view>()(bytes_of(source));
  when_host_sees(current_stream(self.device().index()), [source = source.detach(), before] {
    if (std::hash<std::string_view>()(bytes_of(source)) != before) {
      Counts::get().race("page-locked memory was changed before it was copied");
    }
  });
}

/// Until the host waits, the target holds NaN: who reads it too early gets wrong numbers.
void download_later(const at::Tensor& self, const at::Tensor& source) {
  const at::Tensor numbers = cpu_alias(source).clone();
  if (self.is_contiguous()) {
    std::memset(self.mutable_data_ptr(), 0xFF, self.nbytes());
  }
  when_host_sees(current_stream(source.device().index()), [self, numbers] {
    const at::AutoDispatchBelowADInplaceOrView below;
    self.copy_(numbers);
  });
}

at::Tensor& copy(at::Tensor& self, const at::Tensor& source, bool non_blocking) {
  if (self.numel() == 0) {
    return self;
  }
  const bool to = self.is_cuda(), from = source.is_cuda();
  if (to && from) {
    Counts::get().operation(
        self.scalar_type() == source.scalar_type() ? "copy_ (device to device)" : "copy_ (conversion)",
        self.device().index());
    if (self.device() != source.device()) {
      Counts::get().wait("copy between devices");
    }
  } else if (to) {
    count_upload(self, source, non_blocking);
  } else {
    count_download(self, source, non_blocking);
  }
  touch(source, false);
  touch(self, true);
  if (to && !from && non_blocking && source.is_pinned()) {
    watch_upload(self, source);
  }
  const at::AutoDispatchBelowADInplaceOrView below;
  if (!to && non_blocking && self.is_pinned()) {
    download_later(self, source);
    return self;
  }
  (to ? cpu_alias(self) : self).copy_(from ? cpu_alias(source) : source);
  if (!to) {
    host_sees(progress_of(current_stream(source.device().index())));
  }
  return self;
}

void record_stream(at::Tensor& self, c10::Stream stream) {
  memory_is_used_by(self.storage().data(), stream);
}

}  // namespace

at::Tensor cpu_alias(const at::Tensor& tensor) {
  if (!tensor.defined()) {
    return tensor;
  }
  const c10::Storage& storage = tensor.storage();
  void* place = storage.unsafeGetStorageImpl()->_mutable_data_ptr_no_checks().get();
  void* host = place == nullptr ? nullptr : DeviceMemory::get().host(place);
  c10::Storage mapped(c10::Storage::use_byte_size_t(), storage.nbytes(), c10::DataPtr(host, c10::kCPU), nullptr, false);
  at::Tensor out = at::detail::make_tensor<c10::TensorImpl>(std::move(mapped),
                                                            c10::DispatchKeySet(c10::DispatchKey::CPU), tensor.dtype());
  out.unsafeGetTensorImpl()->set_storage_offset(tensor.storage_offset());
  out.unsafeGetTensorImpl()->set_sizes_and_strides(tensor.sizes(), tensor.strides());
  out._set_conj(tensor.is_conj());
  out._set_neg(tensor.is_neg());
  return out;
}

at::Tensor to_card(const at::Tensor& cpu, c10::Device device) {
  at::Tensor out = empty_strided(cpu.sizes(), cpu.strides(), cpu.scalar_type(), {}, device, {});
  cpu_alias(out).copy_(cpu);
  touch(out, true);
  return out;
}

const at::Tensor& resize(const at::Tensor& self, at::IntArrayRef size, std::optional<at::MemoryFormat>) {
  const size_t wanted =
      static_cast<size_t>(c10::multiply_integers(size) + self.storage_offset()) * self.dtype().itemsize();
  c10::StorageImpl* storage = self.storage().unsafeGetStorageImpl();
  if (wanted > storage->nbytes()) {
    const c10::DeviceGuard guard(self.device());
    c10::DataPtr fresh = DeviceMemory::get().allocate(wanted);
    if (storage->nbytes() > 0) {
      DeviceMemory::get().copy_data(fresh.get(), storage->mutable_data(), storage->nbytes());
    }
    storage->set_data_ptr_noswap(std::move(fresh));
    storage->set_nbytes(wanted);
  }
  self.unsafeGetTensorImpl()->set_sizes_contiguous(size);
  return self;
}

}  // namespace fake_cuda

TORCH_LIBRARY_IMPL(aten, CUDA, m) {
  m.impl("empty.memory_format", TORCH_FN(fake_cuda::empty));
  m.impl("empty_strided", TORCH_FN(fake_cuda::empty_strided));
  m.impl("copy_", TORCH_FN(fake_cuda::copy));
  m.impl("resize_", TORCH_FN(fake_cuda::resize));
  m.impl("record_stream", TORCH_FN(fake_cuda::record_stream));
  m.impl("view", TORCH_FN(at::native::view));
  m.impl("as_strided", TORCH_FN(at::native::as_strided_tensorimpl));
  m.impl("_reshape_alias", TORCH_FN(at::native::_reshape_alias));
  m.impl("view_as_real", TORCH_FN(at::native::view_as_real));
  m.impl("view_as_complex", TORCH_FN(at::native::view_as_complex));
}
