# linker.cmake - choose the linker: lld, else gold; never bfd.
#
# Split-stack code needs a linker that rewrites the prologue of a function
# that calls code without split stacks (__morestack_non_split).  lld and gold
# do; bfd silently doesn't, and such a call would run off a 2 KiB segment.
#
# mpg_choose_linker(<out>): sets <out> to lld or gold, or stops with a
# sentence that says what to install.  Also installed beside
# mpgConfig.cmake, so that a user's build chooses by what it finds there.
#
# mpg_lto(<out> [<compiler id>]): the generator expression that is 1 in a target
# with INTERPROCEDURAL_OPTIMIZATION (that this compiler links).
#
# mpg_linker_option(<out> <linker>): the option that chooses it.  lld can't read
# the objects of GCC's link-time optimisation ("undefined symbol: main"); gold
# does.

function(mpg_linker_works name out)
  set(compiler "${CMAKE_C_COMPILER}")
  if(NOT compiler)
    set(compiler "${CMAKE_CXX_COMPILER}")
  endif()
  execute_process(
    COMMAND "${compiler}" -fuse-ld=${name} -Wl,--version
    RESULT_VARIABLE result
    OUTPUT_QUIET ERROR_QUIET)
  if(result EQUAL 0)
    set(${out} TRUE PARENT_SCOPE)
  else()
    set(${out} FALSE PARENT_SCOPE)
  endif()
endfunction()

function(mpg_choose_linker out)
  set(choice "${MPG_LINKER}")
  if(NOT choice)
    set(choice auto)
  endif()
  # An explicit choice made through the flags counts too.
  if("${CMAKE_EXE_LINKER_FLAGS} ${CMAKE_C_FLAGS}" MATCHES
     "-fuse-ld=([a-z0-9_.-]+)")
    set(choice "${CMAKE_MATCH_1}")
  endif()
  if(choice STREQUAL "bfd")
    message(FATAL_ERROR
      "mpg: the bfd linker doesn't adapt split-stack functions that call "
      "ordinary code; use lld or gold (Debian: apt install lld).")
  endif()
  if(NOT choice MATCHES "^(auto|lld|gold)$")
    message(FATAL_ERROR
      "mpg: unknown linker '${choice}'; MPG_LINKER is auto, lld or gold.")
  endif()
  if(choice STREQUAL "auto" AND CMAKE_C_COMPILER_ID STREQUAL "GNU" AND
     "${CMAKE_C_FLAGS} " MATCHES "-flto[ =]")
    set(candidates gold)
  elseif(choice STREQUAL "auto")
    set(candidates lld gold)
  else()
    set(candidates ${choice})
  endif()
  foreach(name IN LISTS candidates)
    mpg_linker_works(${name} works)
    if(works)
      set(${out} ${name} PARENT_SCOPE)
      return()
    endif()
  endforeach()
  string(REPLACE ";" " or " wanted "${candidates}")
  message(FATAL_ERROR
    "mpg: no ${wanted} linker found.  Install one (Debian: apt install lld, "
    "or apt install binutils for gold); the bfd linker can't link "
    "split-stack code.")
endfunction()

function(mpg_lto out)
  set(lto "$<BOOL:$<TARGET_PROPERTY:INTERPROCEDURAL_OPTIMIZATION>>")
  if(ARGC GREATER 1)
    string(CONCAT lto "$<AND:${lto},$<OR:$<LINK_LANG_AND_ID:C,${ARGV1}>,"
                      "$<LINK_LANG_AND_ID:CXX,${ARGV1}>>>")
  endif()
  set(${out} "${lto}" PARENT_SCOPE)
endfunction()

function(mpg_linker_option out linker)
  mpg_lto(by_gnu GNU)
  set(${out} "-fuse-ld=$<IF:${by_gnu},gold,${linker}>" PARENT_SCOPE)
endfunction()
