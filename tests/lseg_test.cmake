# How tests are added; also for the parts of them that configure on their own.
include(GoogleTest)

# lseg_test(NAME LIBRARIES... SOURCES...): one GoogleTest program, its cases listed by ctest.
function(lseg_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBRARIES" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LIBRARIES} GTest::gtest_main GTest::gmock)
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT 300)
endfunction()
