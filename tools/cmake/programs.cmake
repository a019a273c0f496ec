# programs.cmake - programs in this tree that are built as user code.
#
# mpg_add_program(<name> <sources> <flavour>): flavours are
#   split    mpg's flags, static library: the way users build
#   shared   mpg's flags, libmpg.so
#   fixed    no flags, static library: every goroutine has a fixed stack

set(mpg_program_warnings -Wall -Wextra -Wundef -Wshadow -Werror)

function(mpg_add_program name sources flavour)
  add_executable(${name} ${sources})
  set_target_properties(${name} PROPERTIES C_STANDARD 11 C_EXTENSIONS ON)
  target_compile_definitions(${name} PRIVATE _GNU_SOURCE)
  # assert() in tests and benches must stay alive in every build type.
  target_compile_options(${name} PRIVATE
    -O2 -g -UNDEBUG ${mpg_program_warnings})
  if(MPG_SANITIZE_SWITCHES) # fixed stacks, whatever the flavour
    target_link_libraries(${name} PRIVATE mpg_static)
  elseif(flavour STREQUAL "split")
    target_link_libraries(${name} PRIVATE mpg_static)
  elseif(flavour STREQUAL "shared")
    target_link_libraries(${name} PRIVATE mpg_shared)
  elseif(flavour STREQUAL "fixed")
    target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/include)
    target_link_directories(${name} PRIVATE ${mpg_libc_dir})
    target_link_libraries(${name} PRIVATE
      $<TARGET_FILE:mpg_static> -lmpg_libc mpg_archive)
    add_dependencies(${name} mpg_static)
  else()
    message(FATAL_ERROR "unknown flavour ${flavour}")
  endif()
  set_target_properties(${name} PROPERTIES LINK_DEPENDS ${mpg_libc_stubs})
endfunction()

# Split programs into <build>/<folder>: one for each source of the folder that
# matches one of the patterns, and one for each subfolder, of all its sources
# that do.
function(mpg_add_folder folder)
  list(TRANSFORM ARGN PREPEND ${PROJECT_SOURCE_DIR}/${folder}/)
  file(GLOB entries CONFIGURE_DEPENDS ${ARGN})
  foreach(entry IN LISTS entries)
    get_filename_component(name ${entry} NAME_WE)
    get_filename_component(dir ${entry} DIRECTORY)
    if(NOT dir STREQUAL "${PROJECT_SOURCE_DIR}/${folder}")
      get_filename_component(name ${dir} NAME)
    endif()
    list(APPEND names ${name})
    list(APPEND sources_of_${name} ${entry})
  endforeach()
  list(REMOVE_DUPLICATES names)
  foreach(name IN LISTS names)
    mpg_add_program(${name} "${sources_of_${name}}" split)
    target_link_libraries(${name} PRIVATE Threads::Threads m)
    set_target_properties(${name} PROPERTIES
      RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/${folder})
  endforeach()
endfunction()
