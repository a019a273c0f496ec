#!/usr/bin/env bash
# cxx_test.sh <build dir> <C compiler>
#
# Builds cxx_program.cpp against the build folder, with mpg's flags and without,
# linked with the archive, with libmpg.so, statically, and as a library that a C
# program opens, and runs it with one P and with eight.
set -u
folder=$1
cc=$2
here=$(cd "$(dirname "$0")" && pwd)
include=$here/../../include
source=$here/../support/cxx_program.cpp
host=$here/../support/cxx_host.c
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
bad=0

case $cc in
  *clang*)
    cxx=clang++
    own=(-mllvm -no-x86-call-frame-opt)
    ;;
  *)
    cxx=g++
    own=(-mstack-arg-probe -fstack-clash-protection
      --param=stack-clash-protection-probe-interval=16)
    ;;
esac
command -v $cxx > /dev/null || exit 77
linker=lld
echo 'int main() {}' > "$scratch/empty.cpp"
$cxx -fuse-ld=$linker "$scratch/empty.cpp" -o "$scratch/empty" \
  > /dev/null 2>&1 || linker=gold

split=(-fsplit-stack -fno-omit-frame-pointer -fcf-protection=none
  -DMPG_SPLIT_STACK=1 "${own[@]}")
fixed=()
stubs=(-L"$folder/libc" -lmpg_libc)
archive=("$folder/libmpg.a" "${stubs[@]}" -ljemalloc)
static=("${archive[@]}" -static)
shared=(-L"$folder" "$folder/libmpg_nonshared.a" -lmpg "${stubs[@]}"
  "-Wl,-rpath,$folder")

# build <what> <out> <command>...: says so when it fails.
build() {
  local what=$1
  shift
  "$@" > "$scratch/log" 2>&1 && return
  echo "cxx_test: $what doesn't build:"
  head -20 "$scratch/log"
  bad=1
  return 1
}

# link <compiler> <argument>...
link() { "$1" -fuse-ld=$linker "${@:2}" -lpthread -ldl -lm -Wl,-z,now; }

# run <what> <command>...
run() {
  local procs debug said what=$1
  shift
  for procs in 1 8; do
    for debug in '' preemptall=1; do
      said=$(MPG_PROCS=$procs MPG_DEBUG=$debug timeout 60 "$@" 2>&1)
      [ "$said" = ok ] && continue
      echo "cxx_test: $what, $procs Ps, '$debug' says: $said"
      bad=1
    done
  done
}

# compile <flag>...: in two steps, -fsplit-stack is for the compiler only.
compile() {
  $cxx -std=c++17 -O2 "$@" -I"$include" -c "$source" -o "$scratch/o.o"
}

try() { # try <flags array> <libs array>
  local -n flags=$1 libs=$2
  build "$1, $2" compile "${flags[@]}" &&
    build "$1, $2" link $cxx "$scratch/o.o" "${libs[@]}" \
      -o "$scratch/program" &&
    run "$1, $2" "$scratch/program"
}

# A library that is opened.  The C program has no C++ library of its own, and
# jemalloc, which has operator new, after libc, which has malloc.
opened() {
  build plugin compile -fPIC -DPLUGIN "${split[@]}" || return
  if link $cxx -shared "$scratch/o.o" -o "$scratch/alone.so" \
    2> "$scratch/log"; then
    echo "cxx_test: a library is linked without mpg's"
    bad=1
  fi
  grep -q mpg_link_with_libs_of_pkg_config_mpg "$scratch/log" || bad=1
  build plugin link $cxx -shared "$scratch/o.o" "${shared[@]}" \
    -o "$scratch/plugin.so" &&
    build host "$cc" -O2 "${split[@]}" -I"$include" -c "$host" \
      -o "$scratch/host.o" &&
    build host link "$cc" "$scratch/host.o" "${shared[@]}" \
      -o "$scratch/host" &&
    run plugin "$scratch/host" "$scratch/plugin.so"
}

try split archive
try fixed archive
try split static
if [ -f "$folder/libmpg.so" ]; then
  try split shared
  opened
fi
exit $bad
