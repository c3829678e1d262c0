#include "model/ops/gpu_compiler.h"

#include <dlfcn.h>

#include <array>
#include <optional>

#ifdef MINIMIND_WITH_CUDA
#include <cuda_runtime_api.h>
#endif

#include "minimind/base/error.h"
#include "model/ops/gpu_sources.h"

namespace minimind {

namespace {

/// The C interface of NVRTC. A build without CUDA has no header for it.
struct Nvrtc {
  using Program = void*;
  int (*create)(Program*, const char* source, const char* name, int headers, const char* const*, const char* const*);
  int (*compile)(Program, int options, const char* const*);
  int (*log_size)(Program, size_t*);
  int (*log)(Program, char*);
  int (*binary_size)(Program, size_t*);
  int (*binary)(Program, char*);
  int (*destroy)(Program*);
  const char* (*error_text)(int);
};

#ifdef MINIMIND_WITH_CUDA
constexpr std::array kMajorVersions = {CUDART_VERSION / 1000};
#else
constexpr std::array kMajorVersions = {13, 12};
#endif

std::optional<Nvrtc> load_nvrtc() {
  void* library = nullptr;
  for (const int version : kMajorVersions) {
    library = library != nullptr ? library : dlopen(concat("libnvrtc.so.", version).c_str(), RTLD_NOW | RTLD_LOCAL);
  }
  if (library == nullptr) {
    return std::nullopt;
  }
  Nvrtc nvrtc{};
  bool is_complete = true;
  const auto find = [&](const char* name, auto& function) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
    is_complete = is_complete && function != nullptr;
  };
  find("nvrtcCreateProgram", nvrtc.create);
  find("nvrtcCompileProgram", nvrtc.compile);
  find("nvrtcGetProgramLogSize", nvrtc.log_size);
  find("nvrtcGetProgramLog", nvrtc.log);
  find("nvrtcGetCUBINSize", nvrtc.binary_size);
  find("nvrtcGetCUBIN", nvrtc.binary);
  find("nvrtcDestroyProgram", nvrtc.destroy);
  find("nvrtcGetErrorString", nvrtc.error_text);
  return is_complete ? std::optional(nvrtc) : std::nullopt;
}

/// Null if it cannot be loaded. It stays loaded.
const Nvrtc* nvrtc() {
  static const std::optional<Nvrtc> library = load_nvrtc();
  return library ? &*library : nullptr;
}

std::string_view source_of(std::string_view name) {
  for (const GpuSource& source : gpu_sources()) {
    if (source.name == name) {
      return source.bytes;
    }
  }
  throw std::logic_error(concat("GPU kernels: no file ", name));
}

const char* type_option(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
      return "-DMINIMIND_FLOAT32";
    case at::kBFloat16:
      return "-DMINIMIND_BFLOAT16";
    case at::kHalf:
      return "-DMINIMIND_FLOAT16";
    default:
      throw std::logic_error("GPU kernels: expected float32, bfloat16 or float16");
  }
}

/// The text that one of the two functions of NVRTC's pairs (size, content) gives.
std::string text_of(Nvrtc::Program program, int (*size_of)(Nvrtc::Program, size_t*),
                    int (*read)(Nvrtc::Program, char*)) {
  size_t size = 0;
  if (size_of(program, &size) != 0) {
    return "";
  }
  std::string text(size, '\0');
  return read(program, text.data()) == 0 ? text : "";
}

}  // namespace

bool has_gpu_compiler() {
  return nvrtc() != nullptr;
}

GpuProgram compile_gpu_program(std::string_view file, at::ScalarType dtype, int major, int minor) {
  GpuProgram result;
  const Nvrtc* const compiler = nvrtc();
  if (compiler == nullptr) {
    result.error = concat("expected NVRTC (libnvrtc.so.", kMajorVersions[0], ") beside LibTorch, found none");
    return result;
  }
  const std::string source = concat(source_of("numbers.cuh"), source_of(file)), name(file);
  const std::string architecture = concat("--gpu-architecture=sm_", major, minor);
  const std::array<const char*, 3> options = {architecture.c_str(), "--std=c++17", type_option(dtype)};
  Nvrtc::Program program = nullptr;
  int code = compiler->create(&program, source.c_str(), name.c_str(), 0, nullptr, nullptr);
  if (code == 0) {
    code = compiler->compile(program, static_cast<int>(options.size()), options.data());
    result.log = text_of(program, compiler->log_size, compiler->log);
    result.log.resize(result.log.find_last_not_of(std::string_view("\n\0", 2)) + 1);
    result.binary = code == 0 ? text_of(program, compiler->binary_size, compiler->binary) : "";
    compiler->destroy(&program);
  }
  if (result.binary.empty()) {
    result.error = concat("NVRTC could not compile ", file, " for compute capability ", major, ".", minor, " (",
                          compiler->error_text(code), "): ", result.log);
  }
  return result;
}

}  // namespace minimind
