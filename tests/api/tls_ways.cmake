# tls_ways.cmake - support/tls_user.c for sched_tls_test, compiled in every way:
# -O0 and -O2, static and position-independent, by this compiler and by the
# other one when there is one.  Clang and GCC spell some of mpg's flags
# differently, so each way is a command of its own.
set(tls_source ${CMAKE_CURRENT_SOURCE_DIR}/support/tls_user.c)
find_program(MPG_TLS_GCC NAMES gcc)
find_program(MPG_TLS_CLANG NAMES clang clang-14)
set(tls_objects)
set(tls_list)
foreach(compiler gcc clang)
  string(TOUPPER ${compiler} upper)
  if(NOT MPG_TLS_${upper})
    continue()
  endif()
  if(compiler STREQUAL "gcc")
    set(flags ${mpg_user_flags} ${mpg_user_flags_gnu})
  else()
    set(flags ${mpg_user_flags} ${mpg_user_flags_clang})
  endif()
  foreach(level O0 O2)
    foreach(code static pic)
      set(way ${compiler}_${level}_${code})
      set(object ${CMAKE_CURRENT_BINARY_DIR}/tls_user_${way}.o)
      set(position $<IF:$<STREQUAL:${code},pic>,-fPIC,-fPIE>)
      add_custom_command(OUTPUT ${object}
        COMMAND ${MPG_TLS_${upper}} -std=gnu11 -${level} ${position} ${flags}
          -DTLS_WAY=${way} -I${PROJECT_SOURCE_DIR}/include -c ${tls_source} -o ${object}
        DEPENDS ${tls_source} VERBATIM)
      list(APPEND tls_objects ${object})
      string(APPEND tls_list " X(${way})")
    endforeach()
  endforeach()
endforeach()
set(tls_header ${CMAKE_CURRENT_BINARY_DIR}/tls_ways.h)
file(CONFIGURE OUTPUT ${tls_header} CONTENT
  "#define TLS_WAYS(X)${tls_list}\n" @ONLY)
add_custom_target(tls_objects DEPENDS ${tls_objects})
foreach(flavour IN LISTS flavours)
  set(name api_sched_tls_test_${flavour})
  if(flavour STREQUAL "fixed")
    continue() # its code is on fixed stacks, compiled without the flags
  endif()
  target_sources(${name} PRIVATE ${tls_objects})
  add_dependencies(${name} tls_objects)
  target_compile_definitions(${name} PRIVATE TLS_WAYS_HEADER="${tls_header}")
endforeach()
