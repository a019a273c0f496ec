#!/usr/bin/env bash
# nested_test.sh <build dir> <compiler>
#
# Stacks are executable exactly where the program, or a library of it, says so:
# nested_outside.c, built in several ways.
. "$(dirname "$0")/../support/as_users.sh"

# says <what> <expected> <debug options> <argument>
says() {
  local said
  said=$(MPG_DEBUG=$3 timeout 60 "$scratch/program" "$4" 2>&1 |
    sort -u | tr '\n' ' ')
  [ "$said" = "$2 " ] && return
  echo "nested_test: $1, $3 $4 says: $said"
  bad=1
}

# build <what> <linker> <libs array> <flags...>
build() {
  local -n libs=$3
  local linker=$2
  "$cc" -fuse-ld="$linker" -Wl,--version > /dev/null 2>&1 || return 1
  "$cc" "${flags[@]}" "${@:4}" -c "$here/nested_outside.c" \
    -o "$scratch/o.o" &&
    "$cc" "${link[@]}" -fuse-ld="$linker" "$scratch/o.o" "${libs[@]}" \
      -o "$scratch/program" 2> "$scratch/log" && return
  echo "nested_test: $1 ($linker) doesn't build:"
  cat "$scratch/log"
  bad=1
  return 1
}

link=()
for linker in lld gold; do
  for libs in static shared; do
    build "usual, $libs" $linker $libs -O2 && says "usual, $libs" rw-p '' maps
  done
done

# Because a library says so.
echo 'int asks(void) { return 1; }' > "$scratch/asks.c"
"$cc" -shared -fPIC -Wl,-z,execstack "$scratch/asks.c" \
  -o "$scratch/asks.so" || bad=1
link=(-Wl,--no-as-needed "$scratch/asks.so")
build library lld static -O2 && says library rwxp '' maps

# GCC's mark of an object is heard by gold, not by lld.
link=(-Wl,-z,execstack)
for linker in lld gold; do
  for how in maps stackguard=1 stackmove=1; do
    build asked $linker static -O2 && says asked rwxp "${how#maps}" maps
  done
done
if "$cc" --version | grep -q clang; then exit $bad; fi
for linker in lld gold; do
  link=()
  if [ $linker = lld ]; then link=(-Wl,-z,execstack); fi
  for level in -O0 -O2; do
    for libs in static shared; do
      build "nested, $level, $libs" $linker $libs $level -DNESTED || continue
      says "nested, $level, $libs" ok '' calls
      says "nested, $level, $libs" ok stackmove=1,preemptall=1 calls
    done
  done
  link+=(-static)
  build "nested, -static" $linker static -O2 -DNESTED &&
    says "nested, -static" ok '' calls
done
exit $bad
