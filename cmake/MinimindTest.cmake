# minimind_test_binary(NAME LAYER layer SOURCES file…): a GoogleTest executable over one layer (and those below it).
function(minimind_test_binary name)
  cmake_parse_arguments(arg "" "LAYER" "SOURCES;LIBRARIES" ${ARGN})
  minimind_layer_objects(${arg_LAYER} objects)
  add_executable(${name} ${arg_SOURCES})
  target_include_directories(${name} PRIVATE "${CMAKE_SOURCE_DIR}/tests" "${CMAKE_SOURCE_DIR}/src")
  target_compile_definitions(${name} PRIVATE MINIMIND_SOURCE_DIR="${CMAKE_SOURCE_DIR}" MINIMIND_BINARY_DIR="${CMAKE_BINARY_DIR}")
  target_link_libraries(${name} PRIVATE ${objects} ${arg_LIBRARIES} GTest::gtest GTest::gtest_main)
  set_target_properties(${name} PROPERTIES UNITY_BUILD OFF RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
endfunction()

# minimind_test(NAME BINARY exe FILTER pattern LABELS label… [TIMEOUT s]): one CTest entry. A test that cannot run here exits 77 or
# prints GoogleTest's SKIPPED summary: CTest then shows it as skipped, not as passed.
function(minimind_test name)
  cmake_parse_arguments(arg "" "BINARY;FILTER;TIMEOUT" "LABELS;ENVIRONMENT" ${ARGN})
  if(NOT arg_FILTER)
    set(arg_FILTER "*")
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 600)
  endif()
  # A filter that selects nothing fails.
  add_test(NAME ${name} COMMAND ${CMAKE_SOURCE_DIR}/scripts/gtest_entry.sh $<TARGET_FILE:${arg_BINARY}> ${arg_FILTER}
           WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}")
  set_tests_properties(${name} PROPERTIES LABELS "${arg_LABELS}" TIMEOUT ${arg_TIMEOUT} SKIP_RETURN_CODE 77
                       ENVIRONMENT "${arg_ENVIRONMENT}")
endfunction()
