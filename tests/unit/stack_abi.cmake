# The split-stack ABI under every compiler, level and linker that is here:
# stack_abi_user.c (.cpp) is compiled once for each, stack_abi_harness.c runs
# it.  In a sanitizer's view a stack switch is an error: not there.
if(MPG_SANITIZE)
  return()
endif()
foreach(tool gcc g++ clang clang++ ld.lld ld.gold)
  find_program(MPG_ABI_${tool} ${tool})
endforeach()

add_library(stack_abi_harness OBJECT
  unit/stack_abi_harness.c support/unit_stack.c)
set_target_properties(stack_abi_harness PROPERTIES
  C_STANDARD 11 C_EXTENSIONS ON)
target_include_directories(stack_abi_harness PRIVATE ${CMOCKA_INCLUDE_DIR})
target_link_libraries(stack_abi_harness PRIVATE mpg_internal)

# mpg_abi_test(<name> <compiler> <source> <library> <flags>...)
function(mpg_abi_test name compiler source library)
  if(NOT MPG_ABI_${compiler})
    return()
  endif()
  set(source ${CMAKE_CURRENT_SOURCE_DIR}/unit/${source})
  set(object ${CMAKE_CURRENT_BINARY_DIR}/unit/stack_abi_${name}.o)
  add_custom_command(OUTPUT ${object}
    COMMAND ${MPG_ABI_${compiler}} -g -Wall -Wextra -Werror -Wno-psabi
      ${mpg_user_flags} ${ARGN} -c ${source} -o ${object}
    DEPENDS ${source} unit/stack_abi.h)
  # One target makes it: each of make's would, two at a time.
  add_custom_target(stack_abi_${name} DEPENDS ${object})
  foreach(linker lld gold)
    if(NOT MPG_ABI_ld.${linker})
      continue()
    endif()
    set(target unit_stack_abi_${name}_${linker})
    add_executable(${target}
      $<TARGET_OBJECTS:stack_abi_harness> ${object})
    set_target_properties(${target} PROPERTIES LINKER_LANGUAGE C
      RUNTIME_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/unit)
    target_link_libraries(${target} PRIVATE
      mpg_archive ${CMOCKA_LIBRARY} ${library})
    target_link_options(${target} PRIVATE -fuse-ld=${linker})
    add_dependencies(${target} mpg_static stack_abi_${name})
    add_test(NAME unit.stack_abi.${name}.${linker} COMMAND ${target})
    set_tests_properties(unit.stack_abi.${name}.${linker} PROPERTIES
      LABELS unit TIMEOUT 60)
  endforeach()
endfunction()

foreach(level 0 2 3 s)
  mpg_abi_test(gcc${level} gcc stack_abi_user.c "" -std=gnu11 -O${level}
    ${mpg_user_flags_gnu})
endforeach()
mpg_abi_test(clang2 clang stack_abi_user.c "" -std=gnu11 -O2
  ${mpg_user_flags_clang})
mpg_abi_test(gxx2 g++ stack_abi_user.cpp stdc++ -O2 ${mpg_user_flags_gnu})
mpg_abi_test(clangxx2 clang++ stack_abi_user.cpp stdc++ -O2
  ${mpg_user_flags_clang})
