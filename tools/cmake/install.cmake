# install.cmake - cmake --install: headers, libraries, mpgConfig.cmake, and
# pkg-config files: mpg (static, the default) and mpg-shared, each for GCC and
# for Clang.
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
list(JOIN mpg_user_flags " " pc_flags)
string(APPEND pc_flags " -D${mpg_user_definitions}")
# GCC's own flags in a specs file, because Clang would refuse them (it only warns
# that it has no use for -specs); Clang's would be refused by GCC.
set(pc_flags_gnu "")
if(mpg_user_flags_gnu)
  install(FILES tools/gcc.specs DESTINATION ${CMAKE_INSTALL_LIBDIR}/mpg)
  set(pc_flags_gnu "-specs=\${libdir}/mpg/gcc.specs")
endif()
list(JOIN mpg_user_flags_clang " " pc_flags_clang)

# Sanitizers stand in for the C library themselves.
set(pc_libc_stubs "-lmpg_libc")
set(pc_link "")
if(MPG_SANITIZE_SWITCHES)
  set(pc_libc_stubs "")
  set(pc_link " ${mpg_sanitize}")
endif()
# Clang with -flto makes code at the link, which doesn't know its flags; of the
# linkers lld takes them.
set(pc_link_gnu "")
set(pc_link_clang "")
if(MPG_LINKER_CHOSEN STREQUAL "lld")
  list(JOIN mpg_user_flags_clang "," pc_link_clang)
  string(PREPEND pc_link_clang " -Wl,")
endif()

# mpg_pkg_config(<suffix> <comment> <libraries>): mpg<suffix>.pc, and
# mpg<suffix>-clang.pc.
function(mpg_pkg_config suffix comment pc_libs)
  foreach(compiler gnu clang)
    set(pc_suffix "${suffix}")
    set(pc_comment "${comment}")
    if(compiler STREQUAL clang)
      string(APPEND pc_suffix "-clang")
      string(APPEND pc_comment ", for Clang")
    endif()
    set(pc_cflags "${pc_flags} ${pc_flags_${compiler}}")
    set(pc_link_own "${pc_link_${compiler}}")
    set(file ${PROJECT_BINARY_DIR}/mpg${pc_suffix}.pc)
    configure_file(tools/cmake/mpg.pc.in ${file} @ONLY)
    install(FILES ${file} DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
  endforeach()
endfunction()

# The archive by its file name: with both libraries in one folder, -lmpg would
# mean the shared one.
mpg_pkg_config("" ""
  "-l:libmpg.a \${libc_stubs} -ljemalloc -lpthread -ldl -lm")
if(MPG_BUILD_SHARED)
  mpg_pkg_config("-shared" " (shared library)"
    "-l:libmpg_nonshared.a -lmpg \${libc_stubs} -Wl,--export-dynamic-symbol=__longjmp_chk")
endif()
