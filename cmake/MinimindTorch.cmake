# LibTorch out of the pinned `torch` wheel, without its TorchConfig.cmake (that one demands an installed CUDA toolkit).
# In:  LIBTORCH (cache variable or environment): the folder that holds include/ and lib/ (…/site-packages/torch, or an unpacked LibTorch).
# Out: target minimind_torch; MINIMIND_WITH_CUDA.
set(LIBTORCH "$ENV{LIBTORCH}" CACHE PATH "Folder with LibTorch's include/ and lib/")
if(NOT EXISTS "${LIBTORCH}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "LIBTORCH: expected a folder with lib/libtorch_cpu.so, found '${LIBTORCH}'. "
                      "Run scripts/quickstart.sh or scripts/test.sh, which fetch it, or pass -DLIBTORCH=/path.")
endif()
set(_version_header "${LIBTORCH}/include/torch/headeronly/version.h")
if(EXISTS "${_version_header}")
  foreach(part MAJOR MINOR PATCH)
    file(STRINGS "${_version_header}" _line REGEX "#define TORCH_VERSION_${part} ")
    string(REGEX REPLACE "[^0-9]" "" _${part} "${_line}")
  endforeach()
  set(MINIMIND_TORCH_VERSION "${_MAJOR}.${_MINOR}.${_PATCH}")
  if(NOT MINIMIND_TORCH_VERSION VERSION_EQUAL "2.11.0")
    message(WARNING "LIBTORCH: expected version 2.11.0, found ${MINIMIND_TORCH_VERSION}; other versions are untested")
  endif()
endif()

# The NVIDIA wheels lie beside torch/ in site-packages; an unpacked LibTorch may have none.
get_filename_component(_site "${LIBTORCH}" DIRECTORY)
set(_cuda_include "${_site}/nvidia/cu13/include")
set(_nccl_include "${_site}/nvidia/nccl/include")
if(EXISTS "${LIBTORCH}/lib/libtorch_cuda.so" AND EXISTS "${_cuda_include}/cuda_runtime_api.h"
   AND EXISTS "${_cuda_include}/crt/host_config.h" AND EXISTS "${_cuda_include}/nv/target" AND EXISTS "${_nccl_include}/nccl.h")
  set(_cuda_possible ON)
else()
  set(_cuda_possible OFF)
endif()
if(MINIMIND_CUDA STREQUAL "AUTO")
  set(MINIMIND_WITH_CUDA ${_cuda_possible})
elseif(MINIMIND_CUDA AND NOT _cuda_possible)
  message(FATAL_ERROR "MINIMIND_CUDA=ON: expected libtorch_cuda.so and the headers of the NVIDIA wheels "
                      "(${_cuda_include}, ${_nccl_include}); install the torch wheel with its dependencies, nvidia-cuda-crt and nvidia-cuda-cccl, or use MINIMIND_CUDA=OFF")
else()
  set(MINIMIND_WITH_CUDA ${MINIMIND_CUDA})
endif()
message(STATUS "LibTorch ${MINIMIND_TORCH_VERSION} at ${LIBTORCH}, CUDA and NCCL: ${MINIMIND_WITH_CUDA}")

add_library(minimind_torch INTERFACE)
target_include_directories(minimind_torch SYSTEM INTERFACE "${LIBTORCH}/include" "${LIBTORCH}/include/torch/csrc/api/include")
target_compile_definitions(minimind_torch INTERFACE USE_C10D_GLOO USE_DISTRIBUTED)
# at::parallel_for is a header template: without -fopenmp it runs serially in our files.
target_compile_options(minimind_torch INTERFACE -fopenmp)
find_path(GLOO_INCLUDE gloo/config.h)
if(NOT GLOO_INCLUDE)
  message(FATAL_ERROR "Gloo headers not found: apt-get install libgloo-dev")
endif()
set(_torch_libraries "${LIBTORCH}/lib/libtorch_cpu.so" "${LIBTORCH}/lib/libc10.so")
if(MINIMIND_WITH_CUDA)
  target_include_directories(minimind_torch SYSTEM INTERFACE "${_cuda_include}" "${_nccl_include}")
  target_compile_definitions(minimind_torch INTERFACE MINIMIND_WITH_CUDA USE_C10D_NCCL USE_CUDA)
  list(APPEND _torch_libraries "${LIBTORCH}/lib/libtorch_cuda.so" "${LIBTORCH}/lib/libc10_cuda.so")
  file(GLOB _cudart "${_site}/nvidia/cu13/lib/libcudart.so.*")
  list(APPEND _torch_libraries ${_cudart})
endif()
# --no-as-needed: libtorch_cuda registers its kernels when loaded, nothing refers to it. One OpenMP runtime: the wheel's own libgomp
# comes first in the run path, before the system's.
file(GLOB _gomp "${LIBTORCH}/lib/libgomp*.so*")
target_link_libraries(minimind_torch INTERFACE -Wl,--no-as-needed ${_torch_libraries} -Wl,--as-needed ${_gomp})
set(CMAKE_BUILD_RPATH "${LIBTORCH}/lib;${_site}/nvidia/cu13/lib;${_site}/nvidia/nccl/lib;${_site}/nvidia/cudnn/lib;${_site}/nvidia/cusparselt/lib;${_site}/nvidia/nvshmem/lib")
# DT_RPATH (not RUNPATH) also serves the libraries that libtorch itself loads.
add_link_options(-Wl,--disable-new-dtags)
