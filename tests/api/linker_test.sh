#!/usr/bin/env bash
# linker_test.sh <cmake>: the choice of the linker, with compilers that know
# only some of them.
set -u
cmake=$1
root=$(cd "$(dirname "$0")/../.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cat > "$scratch/choose.cmake" << TEXT
include($root/tools/cmake/linker.cmake)
mpg_choose_linker(chosen)
message("chosen: \${chosen}")
TEXT

# compiler <linkers...>: a compiler that accepts -fuse-ld for these.
compiler() {
  {
    echo '#!/bin/sh'
    echo 'case " $* " in'
    for name in "$@"; do echo "*-fuse-ld=$name\\ *) exit 0 ;;"; done
    echo 'esac'
    echo 'exit 1'
  } > "$scratch/cc"
  chmod +x "$scratch/cc"
}

# choose <expected words> <linkers of the compiler> [cmake arguments]
bad=0
choose() {
  local want=$1 said
  # shellcheck disable=SC2086
  compiler $2
  shift 2
  said=$("$cmake" -DCMAKE_C_COMPILER="$scratch/cc" "$@" \
    -P "$scratch/choose.cmake" 2>&1 | tr -s ' \n' ' ')
  if [[ $said != *"$want"* ]]; then
    echo "expected '$want', got: $said" >&2
    bad=1
  fi
}

choose "chosen: lld" "lld gold bfd"
choose "chosen: gold" "gold bfd"
choose "apt install lld" "bfd"
choose "no lld or gold linker found" ""
choose "chosen: gold" "lld gold" -DMPG_LINKER=gold
choose "no gold linker found" "lld" -DMPG_LINKER=gold
choose "use lld or gold" "lld gold bfd" -DMPG_LINKER=bfd
choose "use lld or gold" "lld bfd" -DCMAKE_EXE_LINKER_FLAGS=-fuse-ld=bfd
choose "unknown linker 'mold'" "mold" -DMPG_LINKER=mold
choose "chosen: gold" "lld gold" -DCMAKE_C_FLAGS=-fuse-ld=gold
choose "chosen: gold" "lld gold" -DCMAKE_C_COMPILER_ID=GNU -DCMAKE_C_FLAGS=-flto
choose "chosen: lld" "lld gold" -DCMAKE_C_COMPILER_ID=Clang \
  -DCMAKE_C_FLAGS=-flto
exit $bad
