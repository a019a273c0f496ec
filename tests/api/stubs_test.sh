#!/usr/bin/env bash
# stubs_test.sh <build dir> <compiler>
#
# Builds stubs_outside.c against the build folder in many ways - optimisation,
# link-time optimisation, _FORTIFY_SOURCE, C++, -static, libmpg.so, both
# linkers, without stubs - and runs it; jump_outside.c in some of them.
. "$(dirname "$0")/../support/as_users.sh"

flags+=(-D_GNU_SOURCE)
own_flags() { # own_flags <compiler>
  if "$1" --version | grep -q clang; then
    echo -mllvm -no-x86-call-frame-opt
  else
    echo -mstack-arg-probe -fstack-clash-protection \
      --param=stack-clash-protection-probe-interval=16
  fi
}
shared+=(-Wl,--export-dynamic-symbol=__longjmp_chk)

no_pie=()
if "$cc" --version | grep -q clang; then no_pie=(-no-pie -fno-pie); fi

has() { command -v "$1" > /dev/null; }
links() { # links <compiler> <linker>
  "$1" -fuse-ld="$2" -Wl,--version > /dev/null 2>&1
}

# try <what> <expected size or ""> <compiler> <linker> <libs array> <flags...>
try() {
  local what="$1 ($3, $4)" want=$2 compiler=$3 linker=$4 said
  local -n libs=$5
  shift 5
  has "$compiler" && links "$compiler" "$linker" || return 0
  # Language first: the flags of LTO are wanted at the link, too.
  # shellcheck disable=SC2046
  if ! "$compiler" "$@" "${flags[@]}" $(own_flags "$compiler") \
    -c "$source" -o "$scratch/o.o" > "$scratch/log" 2>&1 ||
    ! "$compiler" "$@" "${link[@]}" -fuse-ld="$linker" "$scratch/o.o" \
      "${libs[@]}" -o "$scratch/program" > "$scratch/log" 2>&1; then
    echo "stubs_test: $what doesn't build:"
    head -20 "$scratch/log"
    bad=1
    return
  fi
  # shellcheck disable=SC2086
  said=$(timeout 30 "$scratch/program" $want 2>&1)
  if [ "$said" != ok ]; then
    echo "stubs_test: $what says: $said"
    bad=1
  fi
}

# -mcmodel=large is refused, and says what to do.
for compiler in gcc clang; do
  has $compiler || continue
  if echo '#include <mpg.h>' | $compiler "${flags[@]}" -mcmodel=large \
    -fsyntax-only -xc - 2> "$scratch/log" ||
    ! grep -q 'use -mcmodel=medium' "$scratch/log"; then
    echo "stubs_test: -mcmodel=large isn't refused by $compiler"
    bad=1
  fi
done

source=$here/stubs_outside.c
link=()
for linker in lld gold; do
  for level in -O0 -O2 -O3; do
    try "$level" small "$cc" $linker static $level
  done
  try fortify small "$cc" $linker static -O2 -D_FORTIFY_SOURCE=2
  try no-pie small "$cc" $linker static -O2 -no-pie -fno-pie
  try stack-protector small "$cc" $linker static -O2 -fstack-protector-all
  try shared small "$cc" $linker shared -O2
  plain=("$build/libmpg.a" -ljemalloc -lpthread -ldl -lm -Wl,-z,now)
  # Clang 14 makes references of this model that no PIE can have.
  try medium small "$cc" $linker static -O2 -mcmodel=medium "${no_pie[@]}"
  try "without stubs" large "$cc" $linker plain -O2
  link=(-static)
  try static large "$cc" $linker static -O2
  # As when compiled and linked in one step, with what mpg.pc adds for it.
  link=(-static -fsplit-stack -Wl,-u,pthread_create)
  try "static, one step" large "$cc" $linker static -O2
  link=()
done
# Link-time optimisation: GCC's needs gold, Clang's lld; the prologues are
# made at the link.
link=("${flags[@]}")
lto=("${static[@]/-lmpg_libc/-lmpg_libc_lto}")
if "$cc" --version | grep -q clang; then
  try lto small "$cc" lld lto -O2 -flto
else
  try lto small "$cc" gold lto -O2 -flto
  try "lto, the usual stubs" '' "$cc" gold static -O2 -flto
fi
link=()

# _longjmp's stub is the program's own; the others are libraries', too.
source=$here/jump_outside.c
for linker in lld gold; do
  try jump '' "$cc" $linker static -O2
  try jump '' "$cc" $linker shared -O2
  link=(-static)
  try jump-static '' "$cc" $linker static -O2
  link=()
done
"$cc" -O2 -shared -fPIC "$here/../support/throwlib.c" \
  -o "$scratch/throwlib.so" || bad=1
link=("$scratch/throwlib.so")
for linker in lld gold; do
  try throw '' "$cc" $linker static -O2 -DTHROWLIB
  try throw '' "$cc" $linker shared -O2 -DTHROWLIB
  try "throw, without stubs" '' "$cc" $linker plain -O2 -DTHROWLIB
done
link=()

source=$scratch/stubs_outside.cpp
cp "$here/stubs_outside.c" "$source"
case $cc in
  *clang*) cxx=clang++ ;;
  *) cxx=g++ ;;
esac
for linker in lld gold; do
  try C++ small $cxx $linker static -O2
done
exit $bad
