# cmake --install: the programs in bin/, the libraries in lib/, their headers in include/lseg/, and
# what find_package(lseg) reads. A program links lseg::lseg.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(headers ${CMAKE_INSTALL_INCLUDEDIR}/lseg)
set(package ${CMAKE_INSTALL_LIBDIR}/cmake/lseg)
set(libraries lseg_dataset lseg_file lseg_framework lseg_image lseg_kernels lseg_maps lseg_metrics
  lseg_model lseg_segment lseg_trainer)

add_library(lseg INTERFACE)
target_link_libraries(lseg INTERFACE lseg_segment lseg_trainer)
foreach(name kernels file)  # all others link one of these
  target_include_directories(lseg_${name} INTERFACE $<INSTALL_INTERFACE:${headers}>)
  target_compile_features(lseg_${name} PUBLIC cxx_std_20)
endforeach()

install(TARGETS lseg ${libraries} EXPORT lseg)
install(TARGETS lseg_convert lseg_eval lseg_infer lseg_prep lseg_train)
if(TARGET lseg_cudnn)
  install(TARGETS lseg_cudnn)
endif()
set_target_properties(lseg_convert lseg_eval lseg_infer lseg_prep lseg_train PROPERTIES
  INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
foreach(folder kernels kernels/runtime framework framework/passes lseg)
  file(GLOB found RELATIVE ${PROJECT_SOURCE_DIR} CONFIGURE_DEPENDS
       ${PROJECT_SOURCE_DIR}/${folder}/*.h)
  list(REMOVE_ITEM found framework/onnx_writer.h)  # needs onnx.pb.h, and serves the library alone
  install(FILES ${found} DESTINATION ${headers}/${folder})
endforeach()
install(FILES ${PROJECT_BINARY_DIR}/framework/proto/caffe.pb.h
        DESTINATION ${headers}/framework/proto)

install(FILES ${PROJECT_SOURCE_DIR}/lseg/weights/lseg_idrid.safetensors
        DESTINATION ${CMAKE_INSTALL_DATADIR}/lseg)

install(EXPORT lseg NAMESPACE lseg:: FILE lsegTargets.cmake DESTINATION ${package})
write_basic_package_version_file(lsegConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_SOURCE_DIR}/lseg/lsegConfig.cmake
        ${PROJECT_BINARY_DIR}/lsegConfigVersion.cmake DESTINATION ${package})
