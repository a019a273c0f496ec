#!/usr/bin/env bash
# install_test.sh <build dir> <cmake> <C compiler>
#
# Installs the build into a scratch folder, then compiles and runs a program
# outside the tree: through find_package and through pkg-config, in two steps
# and in one, static and shared, and without mpg's flags (fixed stacks).
set -euo pipefail
build=$1
cmake=$2
cc=$3
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
prefix=$scratch/prefix
program=$here/install_outside.c

fail() {
  echo "install_test: $*" >&2
  exit 1
}

# run_it <program>: right status and right words.
run_it() {
  local said
  said=$(timeout 30 "$1") || fail "$1: exit status $?"
  [[ $said == "mpg "*": ok" ]] || fail "$1 said: $said"
}

needs_libmpg() {
  readelf -d "$1" > "$scratch/dynamic"
  grep -q 'NEEDED.*libmpg' "$scratch/dynamic"
}

"$cmake" --install "$build" --prefix "$prefix" > "$scratch/install.log" ||
  fail "cmake --install failed"
pc_dir=$(dirname "$(find "$prefix" -name mpg.pc)")
lib_dir=$(dirname "$pc_dir")
[ -f "$prefix/include/mpg.h" ] || fail "no mpg.h"

# Every installed header compiles alone, in C and in C++.
for header in "$prefix"/include/mpg.h "$prefix"/include/mpg/*.h; do
  echo "#include <${header#"$prefix"/include/}>" > "$scratch/alone.c"
  "$cc" -std=c11 -Wall -Wextra -Werror -I"$prefix/include" -fsyntax-only \
    "$scratch/alone.c" || fail "$header doesn't compile alone"
  if "$cc" -x c++ -fsyntax-only /dev/null 2> /dev/null; then
    "$cc" -x c++ -std=c++11 -Wall -Wextra -Werror -I"$prefix/include" \
      -fsyntax-only "$scratch/alone.c" || fail "$header isn't C++"
  fi
done

# ---- find_package ------------------------------------------------------------
mkdir "$scratch/project"
cat > "$scratch/project/CMakeLists.txt" << TEXT
cmake_minimum_required(VERSION 3.25)
project(outside C)
find_package(mpg 0.1 REQUIRED)
add_executable(cmake_static $program)
target_link_libraries(cmake_static PRIVATE mpg::mpg)
foreach(stubs ON OFF)
  add_executable(stubs_\${stubs} $here/stubs_outside.c)
  target_compile_definitions(stubs_\${stubs} PRIVATE _GNU_SOURCE)
  set_target_properties(stubs_\${stubs} PROPERTIES MPG_LIBC_STUBS \${stubs})
  target_link_libraries(stubs_\${stubs} PRIVATE mpg::mpg m)
endforeach()
add_executable(cmake_lto $program)
target_link_libraries(cmake_lto PRIVATE mpg::mpg)
set_target_properties(cmake_lto PROPERTIES INTERPROCEDURAL_OPTIMIZATION ON)
if(TARGET mpg::mpg_shared)
  add_executable(cmake_shared $program)
  target_link_libraries(cmake_shared PRIVATE mpg::mpg_shared)
endif()
TEXT
"$cmake" -S "$scratch/project" -B "$scratch/b" -DCMAKE_C_COMPILER="$cc" \
  -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$prefix" \
  > "$scratch/cmake.log" 2>&1 || {
  cat "$scratch/cmake.log"
  fail "find_package(mpg) failed"
}
"$cmake" --build "$scratch/b" > "$scratch/cmake.log" 2>&1 || {
  cat "$scratch/cmake.log"
  fail "building through find_package failed"
}
run_it "$scratch/b/cmake_static"
run_it "$scratch/b/cmake_lto"
shared=no
if [ -f "$scratch/b/cmake_shared" ]; then
  shared=yes
  run_it "$scratch/b/cmake_shared"
  needs_libmpg "$scratch/b/cmake_shared" ||
    fail "cmake_shared isn't linked with libmpg.so"
fi
if needs_libmpg "$scratch/b/cmake_static"; then
  fail "cmake_static needs libmpg.so"
fi

# Callers of the C library stay small, unless the target says no.
says_ok() {
  local said
  said=$(timeout 30 "$@") || fail "$*: exit status $?"
  [ "$said" = ok ] || fail "$* said: $said"
}
says_ok "$scratch/b/stubs_ON" small
says_ok "$scratch/b/stubs_OFF" large

# A function that calls only mpg keeps its small segment.
stays_small() { # stays_small <program>
  objdump -d --no-show-raw-insn "$1" |
    awk '/^[0-9a-f]+ </{on=/<outside_leaf>:/} on' > "$scratch/leaf.s"
  grep -q 'call.*<__morestack>' "$scratch/leaf.s" ||
    fail "outside_leaf of $1 doesn't call __morestack"
  if grep -q '__morestack_non_split' "$scratch/leaf.s"; then
    fail "calling mpg costs $1 a large segment: the library isn't split-aware"
  fi
}
stays_small "$scratch/b/cmake_static"
[ $shared = no ] || stays_small "$scratch/b/cmake_shared"

# bfd is refused with a sentence.
if "$cmake" -S "$scratch/project" -B "$scratch/bfd" \
  -DCMAKE_C_COMPILER="$cc" -DCMAKE_PREFIX_PATH="$prefix" \
  -DCMAKE_EXE_LINKER_FLAGS=-fuse-ld=bfd > "$scratch/bfd.log" 2>&1; then
  fail "the bfd linker was accepted"
fi
tr -s '\n ' ' ' < "$scratch/bfd.log" > "$scratch/bfd.line"
grep -q 'use lld or gold' "$scratch/bfd.line" ||
  fail "refusing bfd doesn't say what to use"

# ---- pkg-config --------------------------------------------------------------
export PKG_CONFIG_PATH=$pc_dir
case $("$cc" --version) in
  *clang*) pc=mpg-clang ;;
  *) pc=mpg ;;
esac
if command -v pkg-config > /dev/null; then
  read -r -a cflags <<< "$(pkg-config --cflags $pc)"
  read -r -a libs <<< "$(pkg-config --libs mpg)"
  "$cc" -O2 "${cflags[@]}" -c "$program" -o "$scratch/two.o"
  "$cc" "$scratch/two.o" -o "$scratch/two" "${libs[@]}"
  run_it "$scratch/two"
  "$cc" -O2 "${cflags[@]}" "$program" -o "$scratch/one" "${libs[@]}"
  run_it "$scratch/one"
  "$cc" -O2 -static "${cflags[@]}" "$program" -o "$scratch/one_static" \
    "${libs[@]}" 2> "$scratch/log" || fail "-static: $(cat "$scratch/log")"
  run_it "$scratch/one_static"
  # Its traceback has names, and addresses for addr2line.
  "$cc" -g -O2 -static "${cflags[@]}" "$here/../crash/stack_overflow_prog.c" \
    -o "$scratch/overflow" "${libs[@]}" 2> "$scratch/log"
  MPG_DEBUG=maxstack=100000 "$scratch/overflow" 2> "$scratch/log" || true
  grep -q '^created by .* in goroutine 1' "$scratch/log" &&
    grep -q '(overflow 0x[0-9a-f]*)$' "$scratch/log" ||
    fail "-static: traceback: $(head -5 "$scratch/log")"
  "$cc" -O2 "${cflags[@]}" -D_GNU_SOURCE "$here/stubs_outside.c" \
    -o "$scratch/stubs" "${libs[@]}"
  says_ok "$scratch/stubs" small
  read -r -a libs <<< "$(pkg-config --define-variable=libc_stubs= --libs mpg)"
  "$cc" -O2 "${cflags[@]}" -D_GNU_SOURCE "$here/stubs_outside.c" \
    -o "$scratch/stubs" "${libs[@]}"
  says_ok "$scratch/stubs" large
  "$cc" -O2 "${cflags[@]}" "$here/args_outside.c" -o "$scratch/args" "${libs[@]}"
  MPG_DEBUG=stackguard=1 says_ok "$scratch/args"
  # Clang, without a warning; its debug information has lines, too.
  if command -v clang > /dev/null; then
    # shellcheck disable=SC2046
    clang -Wall -Werror -O2 $(pkg-config --cflags mpg-clang) "$program" \
      -o "$scratch/clang" $(pkg-config --libs mpg)
    run_it "$scratch/clang"
    for lto in '' -flto; do # -flto: the linker pushes arguments
      # shellcheck disable=SC2046,SC2086
      clang -O2 $lto $(pkg-config --cflags mpg-clang) "$here/args_outside.c" \
        -o "$scratch/args" $(pkg-config --libs mpg-clang)
      MPG_DEBUG=stackguard=1 says_ok "$scratch/args"
    done
    # shellcheck disable=SC2046
    clang -g -O2 $(pkg-config --cflags mpg-clang) \
      "$here/../crash/stack_overflow_prog.c" -o "$scratch/lines" \
      $(pkg-config --libs mpg)
    MPG_DEBUG=maxstack=100000 "$scratch/lines" 2> "$scratch/log" || true
    ! ldconfig -p | grep -q 'libdw\.so\.1' ||
      grep -q 'stack_overflow_prog\.c:[0-9]' "$scratch/log" ||
      fail "Clang: no lines: $(head -5 "$scratch/log")"
  fi
  # Two objects, one without flags; both without, but with the definition.
  # The plain one keeps no frame pointer and has the usual hardening.
  plain=(-DPLAIN -O2 -I"$prefix/include" -fstack-clash-protection)
  "$cc" "${plain[@]}" -c "$here/mixed_outside.c" -o "$scratch/plain.o"
  for flags in -O2 '-O2 -fno-split-stack'; do
    # shellcheck disable=SC2086
    "$cc" "${cflags[@]}" $flags "$here/mixed_outside.c" "$scratch/plain.o" \
      -o "$scratch/mixed" "${libs[@]}"
    says_ok "$scratch/mixed"
  done
  # A linker that leaves the prologues as they are.
  refuses_linker() { # refuses_linker <program>
    local status=0
    timeout 30 "$1" > "$scratch/log" 2>&1 || status=$?
    [ $status = 2 ] && grep -q '^fatal: linked by .* -fuse-ld=lld' \
      "$scratch/log" || fail "$1, linked by bfd: $status $(cat "$scratch/log")"
  }
  "$cc" "$scratch/two.o" -o "$scratch/by_bfd" "${libs[@]}" -fuse-ld=bfd
  refuses_linker "$scratch/by_bfd"
  # What can't work is refused when it is compiled.
  refused() { # refused <words> <flags...>
    local words=$1
    shift
    if "$cc" "${cflags[@]}" "$@" -fsyntax-only "$program" \
      2> "$scratch/log" || ! grep -q -- "$words" "$scratch/log"; then
      fail "$* isn't refused with '$words': $(head -5 "$scratch/log")"
    fi
  }
  refused 'for x86-64 with 64-bit pointers' -m32
  refused 'for x86-64 with 64-bit pointers' -mx32
  refused 'fcf-protection=none' -fcf-protection=full
  refused 'built with MPG_SANITIZE' -fsanitize=address
  refused 'built with MPG_SANITIZE' -fsanitize=thread
  if [ $shared = yes ]; then
    read -r -a libs <<< "$(pkg-config --libs mpg-shared)"
    libs+=("-Wl,-rpath,$lib_dir")
    "$cc" "$scratch/two.o" -o "$scratch/two_shared" "${libs[@]}"
    run_it "$scratch/two_shared"
    "$cc" "$scratch/two.o" -o "$scratch/by_bfd" "${libs[@]}" -fuse-ld=bfd
    refuses_linker "$scratch/by_bfd"
    stays_small "$scratch/two_shared"
    "$cc" -O2 "${cflags[@]}" "$program" -o "$scratch/one_shared" "${libs[@]}"
    run_it "$scratch/one_shared"
    stays_small "$scratch/one_shared"
    # A program that opens a library which uses mpg, too.
    "$cc" -O2 "${cflags[@]}" -DPLUGIN -fPIC -shared "$here/plugin_outside.c" \
      -o "$scratch/plugin.so" "${libs[@]}"
    "$cc" -O2 "${cflags[@]}" "$here/plugin_outside.c" -o "$scratch/opens" \
      "${libs[@]}"
    says_ok "$scratch/opens" "$scratch/plugin.so"
  fi
else
  fail "pkg-config is not installed"
fi

# ---- no flags: fixed stacks, any linker --------------------------------------
"$cc" -O2 -I"$prefix/include" "$program" -o "$scratch/fixed" \
  "$lib_dir/libmpg.a" -ljemalloc -lpthread -ldl -lm
run_it "$scratch/fixed"
