# install.cmake - what `cmake --install` puts where: the command and its manual page, the public
# headers, both libraries, what pkg-config and find_package(loci) need, and the models.
#
# Two sets of targets: loci::loci, the shared library, asks for nothing; loci::loci_static asks for
# the libraries that loci is built on, and is there only where their development files are.
include(CMakePackageConfigHelpers)
set(package ${CMAKE_INSTALL_LIBDIR}/cmake/loci)

set_target_properties(loci_shared PROPERTIES EXPORT_NAME loci)
target_link_libraries(loci_static INTERFACE $<INSTALL_INTERFACE:PkgConfig::LOCI_DEPENDS>
  $<INSTALL_INTERFACE:Threads::Threads> $<INSTALL_INTERFACE:m>)
set(LOCI_STATIC_LIBS "-lm -lpthread")
if(DNNL_INCLUDE AND DNNL_LIBRARY)
  target_link_libraries(loci_static INTERFACE $<INSTALL_INTERFACE:dnnl> $<INSTALL_INTERFACE:gomp>)
  string(PREPEND LOCI_STATIC_LIBS "-ldnnl -lgomp ")
endif()
install(TARGETS loci_shared EXPORT loci LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS loci_static EXPORT loci-static ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT loci NAMESPACE loci:: FILE loci-shared.cmake DESTINATION ${package})
install(EXPORT loci-static NAMESPACE loci:: FILE loci-static.cmake DESTINATION ${package})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/loci-config.cmake.in
  ${CMAKE_BINARY_DIR}/loci-config.cmake INSTALL_DESTINATION ${package})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/loci-config-version.cmake
  COMPATIBILITY SameMinorVersion) # before 1.0 a minor version may change the interface
# From where loci.pc lies to the prefix, so that an installed tree may be moved.
file(RELATIVE_PATH LOCI_PC_UP ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
configure_file(${CMAKE_CURRENT_LIST_DIR}/loci.pc.in ${CMAKE_BINARY_DIR}/loci.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/loci-config.cmake ${CMAKE_BINARY_DIR}/loci-config-version.cmake
  DESTINATION ${package})
install(FILES ${CMAKE_BINARY_DIR}/loci.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

install(DIRECTORY include/loci DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(DIRECTORY models/ DESTINATION ${CMAKE_INSTALL_DATADIR}/loci/models
  PATTERN "train_state.safetensors" EXCLUDE)
install(FILES README.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/docs)

# The manual page is made from what the command says with --help.
if(TARGET loci AND NOT CMAKE_CROSSCOMPILING)
  add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/loci.1
    COMMAND ${PROJECT_SOURCE_DIR}/tools/make-man.sh $<TARGET_FILE:loci> ${CMAKE_BINARY_DIR}/loci.1
    DEPENDS loci ${PROJECT_SOURCE_DIR}/tools/make-man.sh VERBATIM)
  add_custom_target(man ALL DEPENDS ${CMAKE_BINARY_DIR}/loci.1)
  install(FILES ${CMAKE_BINARY_DIR}/loci.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
endif()
