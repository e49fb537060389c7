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
  runtime/guard_pages.cc
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
  "-Wl,--version-script=${SOFTGPU_EXPORTS}" -Wl,-Bsymbolic-functions -Wl,-z,defs)
target_link_libraries(softgpu_cudart PRIVATE softgpu_report ${CMAKE_DL_LIBS})
# A folder of its own: it goes first on LD_LIBRARY_PATH.
set(SOFTGPU_CUDART_DIR "${CMAKE_CURRENT_BINARY_DIR}/cudart")
set_target_properties(softgpu_cudart PROPERTIES
  OUTPUT_NAME cudart VERSION 13 SOVERSION 13
  LINK_DEPENDS "${SOFTGPU_EXPORTS}"
  LIBRARY_OUTPUT_DIRECTORY "${SOFTGPU_CUDART_DIR}")

# The program that users start, beside the library's folder.
configure_file(cli/softgpu_run.sh "${CMAKE_CURRENT_BINARY_DIR}/softgpu-run" COPYONLY)
set(SOFTGPU_RUN "${CMAKE_CURRENT_BINARY_DIR}/softgpu-run")

# Programs of the tests, compiled as users compile theirs.
set(SOFTGPU_PROGRAMS_DIR "${CMAKE_CURRENT_BINARY_DIR}/programs")
file(MAKE_DIRECTORY "${SOFTGPU_PROGRAMS_DIR}")
set(SOFTGPU_NVCC_FLAGS -cudart shared -gencode arch=compute_80,code=compute_80
  -Xfatbin -compress=false)
set(softgpu_programs "")
# softgpu_program(NAME SOURCE FLAG...)
function(softgpu_program name source)
  set(output "${SOFTGPU_PROGRAMS_DIR}/${name}")
  set(source "${CMAKE_CURRENT_SOURCE_DIR}/tests/programs/${source}")
  add_custom_command(OUTPUT "${output}"
    COMMAND "${SOFTGPU_NVCC}" -std=c++17 -g -lineinfo ${ARGN} -o "${output}" "${source}"
    DEPENDS "${source}" "${CMAKE_CURRENT_SOURCE_DIR}/tests/programs/program.h"
    COMMENT "nvcc ${name}" VERBATIM)
  set(softgpu_programs ${softgpu_programs} "${output}" PARENT_SCOPE)
endfunction()
softgpu_program(runtime_cub cub.cu ${SOFTGPU_NVCC_FLAGS})
softgpu_program(runtime_graphs graphs.cu ${SOFTGPU_NVCC_FLAGS})
softgpu_program(runtime_host_faults host_faults.cu ${SOFTGPU_NVCC_FLAGS})
softgpu_program(runtime_launches launches.cu ${SOFTGPU_NVCC_FLAGS})
softgpu_program(runtime_memory memory.cu ${SOFTGPU_NVCC_FLAGS})
softgpu_program(runtime_samples samples.cu ${SOFTGPU_NVCC_FLAGS})
softgpu_program(runtime_streams streams.cu ${SOFTGPU_NVCC_FLAGS})
softgpu_program(runtime_symbols symbols.cu ${SOFTGPU_NVCC_FLAGS} --default-stream per-thread)
# As softgpu can't run them.
softgpu_program(runtime_compressed unusable.cu
  -cudart shared -gencode arch=compute_80,code=compute_80)
softgpu_program(runtime_machine_code unusable.cu
  -cudart shared -gencode arch=compute_80,code=sm_80)
softgpu_program(runtime_static unusable.cu)
# CUTLASS's headers come with PyPI's nvidia-cutlass; found where python3 finds its packages.
set(cutlass_hint "")
find_program(SOFTGPU_PYTHON python3)
if(SOFTGPU_PYTHON AND NOT LSEG_CUTLASS_INCLUDE)
  execute_process(
    COMMAND "${SOFTGPU_PYTHON}" -c "import importlib.util as u; \
s = u.find_spec('cutlass_library'); print(s.submodule_search_locations[0] if s else '', end='')"
    OUTPUT_VARIABLE cutlass_hint ERROR_QUIET)
endif()
find_path(LSEG_CUTLASS_INCLUDE cutlass/gemm/device/gemm.h
  HINTS "${cutlass_hint}/source/include" NO_DEFAULT_PATH
  DOC "Directory with CUTLASS's headers, for a test of softgpu")
if(LSEG_CUTLASS_INCLUDE)
  softgpu_program(runtime_cutlass cutlass.cu ${SOFTGPU_NVCC_FLAGS}
    --expt-relaxed-constexpr -isystem "${LSEG_CUTLASS_INCLUDE}")
endif()
add_custom_target(softgpu_programs ALL DEPENDS ${softgpu_programs})

lseg_test(softgpu_runtime_test
  SOURCES tests/runtime_faults_test.cc tests/runtime_programs_test.cc)
add_dependencies(softgpu_runtime_test softgpu_programs softgpu_cudart)
find_file(SOFTGPU_TOOLKIT_CUDART libcudart.so.13
  PATHS "${SOFTGPU_CUDA_BIN}/../lib64" "${SOFTGPU_CUDA_BIN}/../lib" NO_DEFAULT_PATH)
if(NOT SOFTGPU_TOOLKIT_CUDART)
  set(SOFTGPU_TOOLKIT_CUDART "")
endif()
target_compile_definitions(softgpu_runtime_test PRIVATE
  SOFTGPU_RUN="${SOFTGPU_RUN}"
  SOFTGPU_PROGRAMS_DIR="${SOFTGPU_PROGRAMS_DIR}"
  SOFTGPU_CUDART_DIR="${SOFTGPU_CUDART_DIR}"
  SOFTGPU_TOOLKIT_CUDART="${SOFTGPU_TOOLKIT_CUDART}"
  SOFTGPU_HAS_CUTLASS=$<BOOL:${LSEG_CUTLASS_INCLUDE}>
  SOFTGPU_HOST_FAULTS="${CMAKE_CURRENT_SOURCE_DIR}/tests/programs/host_faults.cu")
