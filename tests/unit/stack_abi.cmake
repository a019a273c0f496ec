# The split-stack ABI under every compiler, level and linker that is here:
# stack_abi_user.c is compiled once for each, stack_abi_harness.c runs it.
# In a sanitizer's view a stack switch is an error: not there.
if(MPG_SANITIZE)
  return()
endif()
set(abi_user ${CMAKE_CURRENT_SOURCE_DIR}/unit/stack_abi_user.c)
find_program(MPG_ABI_GCC gcc)
find_program(MPG_ABI_CLANG clang)
find_program(MPG_ABI_LLD ld.lld)
find_program(MPG_ABI_GOLD ld.gold)

add_library(stack_abi_harness OBJECT
  unit/stack_abi_harness.c support/unit_stack.c)
set_target_properties(stack_abi_harness PROPERTIES
  C_STANDARD 11 C_EXTENSIONS ON)
target_include_directories(stack_abi_harness PRIVATE ${CMOCKA_INCLUDE_DIR})
target_link_libraries(stack_abi_harness PRIVATE mpg_internal)

# mpg_abi_test(<name> <compiler> <its flags> <optimisation>)
function(mpg_abi_test name compiler flags level)
  set(object ${CMAKE_CURRENT_BINARY_DIR}/unit/stack_abi_${name}.o)
  add_custom_command(OUTPUT ${object}
    COMMAND ${compiler} -std=gnu11 ${level} -g -Wall -Wextra -Wno-psabi
      ${mpg_user_flags} ${flags} -c ${abi_user} -o ${object}
    DEPENDS ${abi_user} unit/stack_abi.h)
  foreach(linker lld gold)
    string(TOUPPER ${linker} upper)
    if(NOT MPG_ABI_${upper})
      continue()
    endif()
    set(target unit_stack_abi_${name}_${linker})
    add_executable(${target}
      $<TARGET_OBJECTS:stack_abi_harness> ${object})
    set_target_properties(${target} PROPERTIES LINKER_LANGUAGE C
      RUNTIME_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/unit)
    target_link_libraries(${target} PRIVATE mpg_archive ${CMOCKA_LIBRARY})
    target_link_options(${target} PRIVATE -fuse-ld=${linker})
    add_dependencies(${target} mpg_static)
    add_test(NAME unit.stack_abi.${name}.${linker} COMMAND ${target})
    set_tests_properties(unit.stack_abi.${name}.${linker} PROPERTIES
      LABELS unit TIMEOUT 60)
  endforeach()
endfunction()

if(MPG_ABI_GCC)
  foreach(level 0 2 3)
    mpg_abi_test(gcc${level} ${MPG_ABI_GCC} "${mpg_user_flags_gnu}" -O${level})
  endforeach()
endif()
if(MPG_ABI_CLANG)
  mpg_abi_test(clang2 ${MPG_ABI_CLANG} "${mpg_user_flags_clang}" -O2)
endif()
