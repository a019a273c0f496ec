# nonshared.cmake - the entry stubs of libmpg_nonshared.a, one source for each
# function that the public headers declare MPG_API (arch/x86_64/shared/public.h
# says why they exist; tests/lint/symbols that none is missing).

# mpg_public_stubs(<variable>): write the sources and list them.
function(mpg_public_stubs result)
  file(GLOB headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/include/mpg/*.h)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${headers})
  foreach(header IN LISTS headers)
    file(READ ${header} text)
    string(REPLACE ";" "" text "${text}")
    # The first name with a parenthesis behind MPG_API at a line's start.
    string(REGEX MATCHALL "\nMPG_API[^({]*mpg_[a-z0-9_]+\\(" found "${text}")
    foreach(declaration IN LISTS found)
      string(REGEX REPLACE ".*[^a-z0-9_](mpg_[a-z0-9_]+)\\($" "\\1" name
             "${declaration}")
      set(source ${PROJECT_BINARY_DIR}/nonshared/${name}.S)
      set(more "")
      if(name MATCHES "_segmented$") # shared/split.S
        # Clang's assembler forgets a symbol that only .reloc names.
        string(CONCAT more ".hidden mpgi_split_probe\n"
          ".reloc ., R_X86_64_NONE, mpgi_split_probe")
      endif()
      file(CONFIGURE OUTPUT ${source} @ONLY CONTENT
        "#include <arch/x86_64/shared/public.h>\n@more@\nPUBLIC_STUB(@name@)\n")
      list(APPEND sources ${source})
    endforeach()
  endforeach()
  set(${result} ${sources} PARENT_SCOPE)
endfunction()
