# Fuzz.<target>: each fuzz target for ten seconds, built by clang beside the rest.
include(${CMAKE_CURRENT_LIST_DIR}/targets.cmake)

find_program(LSEG_CLANGXX NAMES clang++ DOC "clang with libFuzzer and ASan, for the fuzz targets")
find_program(LSEG_BASH bash)
set(fuzz_missing "no clang++ (Debian: clang, libclang-rt-dev)")
if(LSEG_CLANGXX)
  set(trial ${CMAKE_CURRENT_BINARY_DIR}/fuzz_trial)
  file(WRITE ${trial}.cc
    "#include <cstdint>\n#include <string>\n"
    "extern \"C\" int LLVMFuzzerTestOneInput(const uint8_t*, size_t) { return 0; }\n")
  execute_process(
    COMMAND ${LSEG_CLANGXX} -std=c++20 -fsanitize=fuzzer,address,undefined ${trial}.cc -o ${trial}
    RESULT_VARIABLE failed OUTPUT_QUIET ERROR_QUIET)
  set(fuzz_missing "")
  if(failed)
    set(fuzz_missing "${LSEG_CLANGXX} has no libFuzzer (Debian: libclang-rt-dev)")
  endif()
endif()

if(fuzz_missing)
  foreach(target IN LISTS LSEG_FUZZ_TARGETS)
    add_test(NAME Fuzz.${target} COMMAND ${CMAKE_COMMAND} -E echo "skipped: ${fuzz_missing}")
    set_tests_properties(Fuzz.${target} PROPERTIES SKIP_REGULAR_EXPRESSION "^skipped")
  endforeach()
  return()
endif()

include(ExternalProject)
set(programs ${CMAKE_CURRENT_BINARY_DIR}/fuzz)
ExternalProject_Add(lseg_fuzz
  SOURCE_DIR ${CMAKE_CURRENT_LIST_DIR}
  PREFIX ${CMAKE_CURRENT_BINARY_DIR}/fuzz_steps
  BINARY_DIR ${programs}
  CMAKE_ARGS
    -DCMAKE_CXX_COMPILER=${LSEG_CLANGXX}
    -DCMAKE_CXX_COMPILER_LAUNCHER=${CMAKE_CXX_COMPILER_LAUNCHER}
    -DLSEG_JPEG_TURBO=${LSEG_WITH_JPEG_TURBO}
    -DSTB_INCLUDE_DIR=${STB_INCLUDE_DIR}
  BUILD_COMMAND ${CMAKE_COMMAND} --build ${programs} --parallel 2
  BUILD_ALWAYS ON
  INSTALL_COMMAND "")
# The same mutations each time, and no corpus of earlier runs: what fails, fails again.
foreach(target IN LISTS LSEG_FUZZ_TARGETS)
  add_test(NAME Fuzz.${target} COMMAND ${LSEG_BASH} ${CMAKE_CURRENT_LIST_DIR}/run.sh
    ${programs} ${target} 10 - -seed=1)
  set_tests_properties(Fuzz.${target} PROPERTIES TIMEOUT 120)
endforeach()
