# cmake -DBUILD=... -DSOURCE=... -DSCRATCH=... -P install_test.cmake
# Installs the build, builds segment_one against it in a folder of its own, and compares its map with
# that of the installed lseg_infer, on a drawn photograph and a net trained for one step.
function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE code OUTPUT_VARIABLE out ERROR_VARIABLE out)
  if(NOT code EQUAL 0)
    message(FATAL_ERROR "${ARGV}\n${out}")
  endif()
endfunction()

file(REMOVE_RECURSE ${SCRATCH})
set(prefix ${SCRATCH}/prefix)
set(example ${SCRATCH}/example)
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${prefix})

run(${prefix}/bin/lseg_prep synth --out ${SCRATCH}/synth --images 3 --width 360 --height 240)
run(${prefix}/bin/lseg_prep build --from synth --root ${SCRATCH}/synth --out ${SCRATCH}/data
    --width 180 --height 120)
run(${prefix}/bin/lseg_train --data ${SCRATCH}/data/train.txt --net ${SOURCE}/lseg/demo_net.prototxt
    --iterations 1 --crop 64x64 --out ${SCRATCH}/run)
# With thresholds that change the map.
set(weights ${SCRATCH}/thresholds.safetensors)
file(WRITE ${SCRATCH}/thresholds.json "{\"lseg.thresholds\": \"0.7,0.5,0.6,0.9\"}")
run(${prefix}/bin/lseg_convert ${SCRATCH}/run/final.safetensors ${weights}
    --metadata ${SCRATCH}/thresholds.json)
file(GLOB_RECURSE photos ${SCRATCH}/synth/*.jpg)
list(GET photos 0 photo)
get_filename_component(name ${photo} NAME_WE)

file(COPY ${SOURCE}/tests/install/CMakeLists.txt ${SOURCE}/tests/install/segment_one.cc
     DESTINATION ${example})
run(${CMAKE_COMMAND} -S ${example} -B ${example}/build -DCMAKE_PREFIX_PATH=${prefix}
    -DCMAKE_BUILD_TYPE=Release)
run(${CMAKE_COMMAND} --build ${example}/build)
run(${example}/build/segment_one ${weights} ${photo} ${SCRATCH}/one.png)

run(${prefix}/bin/lseg_infer --weights ${weights} --input ${photo} --out ${SCRATCH}/maps)
run(${CMAKE_COMMAND} -E compare_files ${SCRATCH}/one.png ${SCRATCH}/maps/${name}.label.png)

run(${prefix}/bin/lseg_infer --weights ${weights} --input ${photo} --out ${SCRATCH}/plain_maps
    --threshold 0.5)
execute_process(COMMAND ${CMAKE_COMMAND} -E compare_files ${SCRATCH}/one.png
                ${SCRATCH}/plain_maps/${name}.label.png RESULT_VARIABLE code ERROR_QUIET)
if(code EQUAL 0)
  message(FATAL_ERROR "the weights' thresholds change nothing: the test sees nothing")
endif()

# Weights that lie in the installation are taken where none are given: others than those that came
# with it tell which.
if(NOT EXISTS ${prefix}/share/lseg/lseg_idrid.safetensors)
  message(FATAL_ERROR "no weights came with the installation")
endif()
file(COPY_FILE ${weights} ${prefix}/share/lseg/lseg_idrid.safetensors)
run(${prefix}/bin/lseg_infer --input ${photo} --out ${SCRATCH}/default_maps)
run(${CMAKE_COMMAND} -E compare_files ${SCRATCH}/one.png ${SCRATCH}/default_maps/${name}.label.png)
