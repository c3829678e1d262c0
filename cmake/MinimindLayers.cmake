# The warnings of our own sources; headers of libraries are SYSTEM includes. MINIMIND_WERROR makes each an error.
set(MINIMIND_WARNINGS
    -Wall -Wextra -Wcast-align -Wconversion -Wdouble-promotion -Wformat=2 -Winit-self -Wpointer-arith -Wsign-conversion -Wswitch
    -Wunused -Wnon-virtual-dtor -Woverloaded-virtual -Werror=return-type
    $<$<CXX_COMPILER_ID:GNU>:-Wlogical-op> $<$<CXX_COMPILER_ID:GNU>:-Wuseless-cast> $<$<CXX_COMPILER_ID:GNU>:-Wshadow=compatible-local>
    $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict> $<$<BOOL:${MINIMIND_WERROR}>:-Werror>)

# Nobody reads floating-point exception flags. Without this option GCC does not vectorise a loop that chooses a value.
set(MINIMIND_OPTIONS -fno-trapping-math)

# A layer is one folder of src/: an object library whose objects go into the static library `minimind`.
# minimind_layer(NAME DEPENDS layer… LIBRARIES target…): DEPENDS are the layers that it may include;
# scripts/check_layers.py reads them from src/CMakeLists.txt.
function(minimind_layer name)
  cmake_parse_arguments(arg "" "" "DEPENDS;LIBRARIES" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/${name}/*.cpp")
  set(closure ${arg_DEPENDS})
  foreach(dependency ${arg_DEPENDS})
    list(APPEND closure ${MINIMIND_CLOSURE_${dependency}})
  endforeach()
  list(REMOVE_DUPLICATES closure)
  set(MINIMIND_CLOSURE_${name} ${closure} PARENT_SCOPE)
  if(NOT sources)
    return()
  endif()
  add_library(minimind_${name} OBJECT ${sources})
  target_include_directories(minimind_${name} PUBLIC "${PROJECT_SOURCE_DIR}/include" PRIVATE "${PROJECT_SOURCE_DIR}/src")
  target_compile_options(minimind_${name} PRIVATE ${MINIMIND_WARNINGS} ${MINIMIND_OPTIONS})
  target_link_libraries(minimind_${name} PUBLIC ${arg_LIBRARIES} Threads::Threads)
endfunction()

# The object libraries of a layer and of everything below it, for linking one test.
function(minimind_layer_objects name out)
  set(objects "")
  foreach(layer ${name} ${MINIMIND_CLOSURE_${name}})
    if(TARGET minimind_${layer})
      list(APPEND objects minimind_${layer})
    endif()
  endforeach()
  set(${out} ${objects} PARENT_SCOPE)
endfunction()
