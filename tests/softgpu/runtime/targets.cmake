# The drop-in CUDA runtime and the program that runs others on it: included where CUDA's headers are.
add_library(softgpu_cudart SHARED
  runtime/call_site.cc
  runtime/capture.cc
  runtime/copy.cc
  runtime/copy_api.cc
  runtime/cost.cc
  runtime/device_api.cc
  runtime/error_api.cc
  runtime/event_api.cc
  runtime/fatbin.cc
  runtime/function_api.cc
  runtime/graph.cc
  runtime/graph_api.cc
  runtime/graph_node_api.cc
  runtime/graph_nodes.cc
  runtime/graph_params_api.cc
  runtime/launch.cc
  runtime/launch_api.cc
  runtime/memory_api.cc
  runtime/modules.cc
  runtime/not_covered.cc
  runtime/per_thread.cc
  runtime/pinned.cc
  runtime/pool_api.cc
  runtime/register_api.cc
  runtime/runtime.cc
  runtime/stream_api.cc
  runtime/streams.cc
  runtime/symbol_api.cc)
target_include_directories(softgpu_cudart SYSTEM PRIVATE "${SOFTGPU_CUDA_INCLUDE}")
target_compile_options(softgpu_cudart PRIVATE -O2)
# Programs look for CUDA's names under this version node; nothing else is to be seen.
set(SOFTGPU_EXPORTS "${CMAKE_CURRENT_SOURCE_DIR}/runtime/libcudart.map")
target_link_options(softgpu_cudart PRIVATE
  "-Wl,--version-script=${SOFTGPU_EXPORTS}" -Wl,-Bsymbolic-functions)
target_link_libraries(softgpu_cudart PRIVATE softgpu_machine ${CMAKE_DL_LIBS})
# A folder of its own: it goes first on LD_LIBRARY_PATH.
set(SOFTGPU_CUDART_DIR "${CMAKE_CURRENT_BINARY_DIR}/cudart")
set_target_properties(softgpu_cudart PROPERTIES
  OUTPUT_NAME cudart VERSION 13 SOVERSION 13
  LINK_DEPENDS "${SOFTGPU_EXPORTS}"
  LIBRARY_OUTPUT_DIRECTORY "${SOFTGPU_CUDART_DIR}")

# The program that users start, beside the library's folder.
configure_file(cli/softgpu_run.sh "${CMAKE_CURRENT_BINARY_DIR}/softgpu-run" COPYONLY)
set(SOFTGPU_RUN "${CMAKE_CURRENT_BINARY_DIR}/softgpu-run")
