# How tests are added; also for the parts of them that configure on their own.
include(GoogleTest)

# What all test programs are compiled with. Much of a test's build goes into optimising assertions,
# which run once: -O1 does. Position independence as the compiler has it: one set of flags for all.
function(lseg_test_options name)
  target_compile_options(${name} PRIVATE
    $<$<AND:$<CONFIG:Release>,$<COMPILE_LANGUAGE:CXX>>:-O1>)
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  target_link_libraries(${name} PRIVATE ${LSEG_TEST_LIBRARIES} GTest::gmock)
endfunction()

# lseg_test_headers(NAME LIBRARIES...): GoogleTest's headers, parsed once for the tests of this folder
# and those below. LIBRARIES are those that bring compiler flags: all these tests are linked with
# them, as a precompiled header fits one set of flags. Not under ccache: it could cache no test then.
function(lseg_test_headers name)
  set(LSEG_TEST_LIBRARIES ${ARGN})
  set(LSEG_TEST_LIBRARIES ${ARGN} PARENT_SCOPE)
  if(NOT CMAKE_CXX_COMPILER_LAUNCHER MATCHES "ccache")
    set(source "${CMAKE_CURRENT_BINARY_DIR}/${name}.cc")
    file(WRITE "${source}.in" "// For its precompiled headers.\n")
    configure_file("${source}.in" "${source}" COPYONLY)
    add_library(${name} OBJECT "${source}")
    lseg_test_options(${name})
    target_precompile_headers(${name} PRIVATE <gmock/gmock.h> <gtest/gtest.h>)
    set(LSEG_TEST_HEADERS ${name} PARENT_SCOPE)
  endif()
endfunction()

# lseg_test(NAME [CUDA|DEVICES] SOURCES... LIBRARIES... [SEEDS...]): one GoogleTest program, its cases listed
# by ctest. CUDA: needs CUDA in the build, and runs on softgpu, whose findings fail a case; SEEDS
# (default 1) are those of softgpu's orders of warps, each of which runs all cases. DEVICES: its cases
# take the device as a parameter (tests/device.h); on softgpu where CUDA is in the build. HOPPER: a
# filter of the cases for compute capability 9.0, which softgpu then says it has.
function(lseg_test name)
  cmake_parse_arguments(ARG "CUDA;DEVICES" "HOPPER" "SOURCES;LIBRARIES;SEEDS" ${ARGN})
  if(ARG_CUDA AND NOT LSEG_WITH_CUDA)
    add_test(NAME ${name} COMMAND "${CMAKE_COMMAND}" -E echo
      "skipped: ${name}: no nvcc (tools/cuda_toolkit.sh fetches it), or LSEG_CUDA=OFF")
    set_tests_properties(${name} PROPERTIES SKIP_REGULAR_EXPRESSION "^skipped")
    return()
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LIBRARIES} GTest::gtest_main)
  lseg_test_options(${name})
  if(LSEG_TEST_HEADERS)
    target_precompile_headers(${name} REUSE_FROM ${LSEG_TEST_HEADERS})
  endif()
  if(ARG_CUDA OR (ARG_DEVICES AND LSEG_WITH_CUDA))
    if(ARG_HOPPER)
      lseg_discover_on_softgpu(${name} 80 "-${ARG_HOPPER}" ${ARG_SEEDS})
      lseg_discover_on_softgpu(${name} 90 "${ARG_HOPPER}" ${ARG_SEEDS})
    else()
      lseg_discover_on_softgpu(${name} 80 "" ${ARG_SEEDS})
    endif()
  else()
    gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT 300)
  endif()
endfunction()

# The cases of a program that fit a filter once a seed, with softgpu's CUDA runtime first on the
# library path.
function(lseg_discover_on_softgpu name arch filter)
  set(seeds ${ARGN})
  if(NOT seeds)
    set(seeds 1)
  endif()
  foreach(seed IN LISTS seeds)
    set(tests ${name}_softgpu_${arch}_${seed})
    gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST TEST_FILTER "${filter}"
      TEST_SUFFIX ".softgpu_seed_${seed}" TEST_LIST ${tests} PROPERTIES TIMEOUT 300)
    # Afterwards, for of several variables gtest_discover_tests would set the first alone.
    file(WRITE "${CMAKE_CURRENT_BINARY_DIR}/${tests}.cmake"
      "set_tests_properties(\${${tests}} PROPERTIES ENVIRONMENT \"LD_LIBRARY_PATH="
      "${PROJECT_BINARY_DIR}/tests/softgpu/cudart;SOFTGPU_SEED=${seed};SOFTGPU_ARCH=${arch}\")\n")
    set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES
      "${CMAKE_CURRENT_BINARY_DIR}/${tests}.cmake")
  endforeach()
endfunction()
