# LibTorch from the pinned `torch` wheel, without its TorchConfig.cmake, which demands an installed CUDA toolkit.
# In:  LIBTORCH (CMake variable or environment): the folder with include/ and lib/ (…/site-packages/torch, or an
#      unpacked LibTorch); MINIMIND_CUDA: ON, OFF or AUTO.
# Out: target minimind_torch; MINIMIND_WITH_CUDA; MINIMIND_TORCH_LINK, the linker's arguments.
include_guard(GLOBAL)
set(MINIMIND_TORCH_WANTED 2.11.0)
set(LIBTORCH "$ENV{LIBTORCH}" CACHE PATH "Folder with LibTorch's include/ and lib/")
if(NOT EXISTS "${LIBTORCH}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "LIBTORCH: expected a folder with lib/libtorch_cpu.so, found '${LIBTORCH}'. Install the wheel "
                      "(pip install torch==${MINIMIND_TORCH_WANTED}) and pass -DLIBTORCH=/path/to/site-packages/torch, "
                      "or set the environment variable LIBTORCH. In MiniMind-V's own checkout, scripts/quickstart.sh "
                      "and scripts/test.sh fetch LibTorch.")
endif()
set(_version_header "${LIBTORCH}/include/torch/headeronly/version.h")
if(EXISTS "${_version_header}")
  foreach(part MAJOR MINOR PATCH)
    file(STRINGS "${_version_header}" _line REGEX "#define TORCH_VERSION_${part} ")
    string(REGEX REPLACE "[^0-9]" "" _${part} "${_line}")
  endforeach()
  set(MINIMIND_TORCH_VERSION "${_MAJOR}.${_MINOR}.${_PATCH}")
  if(NOT MINIMIND_TORCH_VERSION VERSION_EQUAL MINIMIND_TORCH_WANTED)
    message(WARNING "LIBTORCH: expected version ${MINIMIND_TORCH_WANTED}, found ${MINIMIND_TORCH_VERSION}; "
                    "other versions are untested")
  endif()
endif()

# The NVIDIA wheels lie beside torch/ in site-packages; an unpacked LibTorch may have none. Those of CUDA 13 share
# nvidia/cu13; those of CUDA 12 have a folder each (nvidia/cuda_runtime, nvidia/cublas …).
get_filename_component(_site "${LIBTORCH}" DIRECTORY)
set(_cuda_includes "")
set(_missing "")
foreach(_header cuda_runtime_api.h crt/host_config.h nv/target nccl.h cublas_v2.h cublasLt.h cusparse.h cusolverDn.h)
  file(GLOB _found "${_site}/nvidia/*/include/${_header}")
  if(NOT _found)
    list(APPEND _missing "${_header}")
  else()
    list(GET _found 0 _found)
    string(REGEX REPLACE "/${_header}$" "" _found "${_found}")
    list(APPEND _cuda_includes "${_found}")
  endif()
endforeach()
list(REMOVE_DUPLICATES _cuda_includes)
if(NOT EXISTS "${LIBTORCH}/lib/libtorch_cuda.so")
  list(APPEND _missing "libtorch_cuda.so")
endif()
if(_missing)
  set(_cuda_possible OFF)
else()
  set(_cuda_possible ON)
endif()
if(MINIMIND_CUDA STREQUAL "AUTO")
  set(MINIMIND_WITH_CUDA ${_cuda_possible})
elseif(MINIMIND_CUDA AND NOT _cuda_possible)
  list(JOIN _missing ", " _missing)
  message(FATAL_ERROR "MINIMIND_CUDA=ON: expected libtorch_cuda.so and the headers of the NVIDIA wheels in "
                      "${_site}/nvidia/*/include, found no ${_missing}. Install the torch wheel with its "
                      "dependencies, nvidia-cuda-crt (for CUDA 12: nvidia-cuda-nvcc-cu12) and nvidia-cuda-cccl "
                      "(nvidia-cuda-cccl-cu12), or use MINIMIND_CUDA=OFF "
                      "(a package: a MiniMind-V that was built with MINIMIND_CUDA=OFF)")
else()
  set(MINIMIND_WITH_CUDA ${MINIMIND_CUDA})
endif()
message(STATUS "LibTorch ${MINIMIND_TORCH_VERSION} at ${LIBTORCH}, CUDA and NCCL: ${MINIMIND_WITH_CUDA}")

add_library(minimind_torch INTERFACE IMPORTED GLOBAL)
target_include_directories(minimind_torch SYSTEM INTERFACE "${LIBTORCH}/include" "${LIBTORCH}/include/torch/csrc/api/include")
target_compile_definitions(minimind_torch INTERFACE USE_C10D_GLOO USE_DISTRIBUTED)
# at::parallel_for is a header template: without -fopenmp it runs serially in our files.
target_compile_options(minimind_torch INTERFACE -fopenmp)
if(MINIMIND_WITH_CUDA)
  target_include_directories(minimind_torch SYSTEM INTERFACE ${_cuda_includes})
  target_compile_definitions(minimind_torch INTERFACE MINIMIND_WITH_CUDA USE_C10D_NCCL USE_CUDA)
endif()

# --no-as-needed: libtorch_cuda registers its kernels when it is loaded; nothing refers to it. The wheel's libgomp is
# linked too and found first in the run path, before the system's: a program must have one OpenMP runtime.
# DT_RPATH (--disable-new-dtags) also serves the libraries that libtorch itself loads. Full paths would make CMake add
# a run path of its own and strip it at installation.
set(_library_folders "${LIBTORCH}/lib")
file(GLOB _wheel_folders "${_site}/nvidia/*/lib")
list(APPEND _library_folders ${_wheel_folders})
file(GLOB _libraries RELATIVE "${LIBTORCH}/lib" "${LIBTORCH}/lib/libgomp*.so*")
list(PREPEND _libraries libtorch_cpu.so libc10.so)
if(MINIMIND_WITH_CUDA)
  file(GLOB _cudart "${_site}/nvidia/*/lib/libcudart.so.*")
  list(TRANSFORM _cudart REPLACE ".*/" "")
  list(APPEND _libraries libtorch_cuda.so libc10_cuda.so ${_cudart})
endif()
list(TRANSFORM _library_folders PREPEND "-L" OUTPUT_VARIABLE _search)
list(TRANSFORM _libraries PREPEND "-l:")
# libsentencepiece and libc10 both define FLAGS_minloglevel, an object of 32 bytes and an int. The first library in this
# order gives both of them its own. It must be libsentencepiece: its constructor would write over what lies behind
# libc10's int. libc10 itself reads and writes that int in its flag parser alone, which nobody calls. CTest: symbols.
find_library(MINIMIND_SENTENCEPIECE sentencepiece)
if(MINIMIND_SENTENCEPIECE)
  list(PREPEND _libraries "${MINIMIND_SENTENCEPIECE}")
endif()
list(JOIN _library_folders ":" _run_path)
set(MINIMIND_TORCH_LINK ${_search} -Wl,--push-state,--no-as-needed ${_libraries} -Wl,--pop-state
    "-Wl,--disable-new-dtags,-rpath,${_run_path}")
target_link_options(minimind_torch INTERFACE ${MINIMIND_TORCH_LINK})
