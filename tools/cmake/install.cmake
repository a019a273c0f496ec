# install.cmake - cmake --install: headers, libraries, mpgConfig.cmake, and
# two pkg-config files: mpg (static, the default) and mpg-shared.
include(CMakePackageConfigHelpers)

set(mpg_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/mpg)
install(TARGETS ${mpg_installed} EXPORT mpgTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES ${mpg_libc_stubs} ${mpg_libc_others}
  DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT mpgTargets NAMESPACE mpg:: DESTINATION ${mpg_cmake_dir})
install(DIRECTORY include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN "*.h")

configure_package_config_file(
  tools/cmake/mpgConfig.cmake.in ${PROJECT_BINARY_DIR}/mpgConfig.cmake
  INSTALL_DESTINATION ${mpg_cmake_dir})
write_basic_package_version_file(
  ${PROJECT_BINARY_DIR}/mpgConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES
  ${PROJECT_BINARY_DIR}/mpgConfig.cmake
  ${PROJECT_BINARY_DIR}/mpgConfigVersion.cmake
  tools/cmake/linker.cmake
  DESTINATION ${mpg_cmake_dir})

# For "source", and where gdb looks by itself when it loads libmpg.so.
install(FILES tools/mpg-gdb.py tools/valgrind.supp
  DESTINATION ${CMAKE_INSTALL_DATADIR}/mpg)
if(MPG_BUILD_SHARED)
  install(FILES tools/mpg-gdb.py
    DESTINATION
      ${CMAKE_INSTALL_DATADIR}/gdb/auto-load${CMAKE_INSTALL_FULL_LIBDIR}
    RENAME libmpg.so.${PROJECT_VERSION}-gdb.py)
endif()

# Relative to the .pc file, so that an installed tree can be moved.
file(RELATIVE_PATH pc_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" pc_prefix "${pc_prefix}")
list(JOIN mpg_user_flags " " pc_cflags)
# GCC's own flags in a specs file: Clang would refuse them, but only warns that
# it has no use for -specs.
install(FILES tools/gcc.specs DESTINATION ${CMAKE_INSTALL_LIBDIR}/mpg)
string(APPEND pc_cflags " -specs=\${libdir}/mpg/gcc.specs")
string(APPEND pc_cflags " -D${mpg_user_definitions}")

# The archive by its file name: with both libraries in one folder, -lmpg would
# mean the shared one.
set(pc_libs "-l:libmpg.a \${libc_stubs} -ljemalloc -lpthread -ldl -lm")
configure_file(tools/cmake/mpg.pc.in ${PROJECT_BINARY_DIR}/mpg.pc @ONLY)
set(pc_suffix "-shared")
set(pc_comment " (shared library)")
set(pc_libs "-l:libmpg_nonshared.a -lmpg \${libc_stubs}")
configure_file(tools/cmake/mpg.pc.in ${PROJECT_BINARY_DIR}/mpg-shared.pc @ONLY)

install(FILES ${PROJECT_BINARY_DIR}/mpg.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
if(MPG_BUILD_SHARED)
  install(FILES ${PROJECT_BINARY_DIR}/mpg-shared.pc
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endif()
