# What the build needs (docs/ARCHITECTURE.md says why).
include(MinimindLibraries)
find_package(Threads REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(Boost 1.74 REQUIRED)  # headers alone
foreach(header stb/stb_image.h=libstb-dev gloo/config.h=libgloo-dev xxhash.h=libxxhash-dev)
  string(REGEX MATCH "(.*)=(.*)" _ ${header})
  set(package ${CMAKE_MATCH_2})
  find_path(MINIMIND_INCLUDE_${package} ${CMAKE_MATCH_1})
  if(NOT MINIMIND_INCLUDE_${package})
    message(FATAL_ERROR "${CMAKE_MATCH_1}: header not found; apt-get install ${package}")
  endif()
endforeach()
