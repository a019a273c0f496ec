#!/usr/bin/env bash
# cxx_test.sh <build dir> <C compiler>
#
# Builds cxx_program.cpp against the build folder, with mpg's flags and without,
# linked with the archive, with libmpg.so and statically, and runs it with one P
# and with eight.
set -u
build=$1
here=$(cd "$(dirname "$0")" && pwd)
source=$here/../support/cxx_program.cpp
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
bad=0

case $2 in
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
stubs=(-L"$build/libc" -lmpg_libc)
archive=("$build/libmpg.a" "${stubs[@]}" -ljemalloc)
static=("${archive[@]}" -static)
shared=(-L"$build" "$build/libmpg_nonshared.a" -lmpg "${stubs[@]}"
  "-Wl,-rpath,$build")

try() { # try <flags array> <libs array>
  local -n flags=$1 libs=$2
  local procs debug said
  # In two steps: -fsplit-stack is for the compiler only.
  if ! { $cxx -std=c++17 -O2 "${flags[@]}" -I"$here/../../include" \
    -c "$source" -o "$scratch/o.o" &&
    $cxx -fuse-ld=$linker "$scratch/o.o" "${libs[@]}" -lpthread -ldl -lm \
      -Wl,-z,now -o "$scratch/program"; } > "$scratch/log" 2>&1; then
    echo "cxx_test: $1, $2 doesn't build:"
    head -20 "$scratch/log"
    bad=1
    return
  fi
  for procs in 1 8; do
    for debug in '' preemptall=1; do
      said=$(MPG_PROCS=$procs MPG_DEBUG=$debug \
        timeout 60 "$scratch/program" 2>&1)
      [ "$said" = ok ] && continue
      echo "cxx_test: $1, $2, $procs Ps, '$debug' says: $said"
      bad=1
    done
  done
}

try split archive
try fixed archive
try split static
[ ! -f "$build/libmpg.so" ] || try split shared
exit $bad
