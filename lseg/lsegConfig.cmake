# What find_package(lseg) reads; installed by lseg/install.cmake.
include(CMakeFindDependencyMacro)
foreach(package OpenMP PNG Protobuf TIFF Threads)
  find_dependency(${package})
endforeach()
find_package(JPEG QUIET)  # where the library was built with it, it is there
include(${CMAKE_CURRENT_LIST_DIR}/lsegTargets.cmake)
