#!/usr/bin/env bash
# unseen_test.sh <build dir> <compiler>
#
# Code that takes more of a segment than it was promised, because linkers don't
# take it for functions, or because of how Clang aligns frames, is reported with
# MPG_DEBUG=stackguard=1: unseen_outside.c.
. "$(dirname "$0")/../support/as_users.sh"

wrong() {
  echo "unseen_test: $*"
  bad=1
}

is_ok() { # is_ok <way>
  local said
  said=$(MPG_DEBUG=stackguard=1 timeout 60 "$program" "$1" 2>&1)
  [ "$said" = ok ] || wrong "$program $1 says: $said"
}

is_reported() { # is_reported <way> <function>
  MPG_DEBUG=stackguard=1 timeout 60 "$program" "$1" > "$scratch/said" 2>&1
  local status=$?
  if [ $status != 2 ] || ! grep -q "^fatal: stack guard:.* in $2 " \
    "$scratch/said"; then
    wrong "$program $1: exit status $status"
    head -3 "$scratch/said"
  fi
}

"$cc" -O2 -fno-split-stack -c "$here/unseen_foreign.c" \
  -o "$scratch/foreign.o" || wrong "foreign code doesn't build"
for compiler in gcc clang; do
  command -v $compiler > /dev/null || continue
  for linker in lld gold; do
    $compiler -fuse-ld=$linker -Wl,--version > /dev/null 2>&1 || continue
    program=$scratch/$compiler-$linker
    if ! $compiler -O2 "${flags[@]}" -c "$here/unseen_outside.c" \
      -o "$scratch/o.o" || ! $compiler -fuse-ld=$linker "$scratch/o.o" \
      "$scratch/foreign.o" "${static[@]}" -o "$program"; then
      wrong "$program doesn't build"
      continue
    fi
    for way in plain typed foreign; do is_ok $way; done
    is_reported untyped eat
    is_reported chosen eat
    if [ $compiler = clang ]; then
      is_reported aligned '\(call_aligned\|fill\)'
    else
      is_ok aligned
    fi
  done
done
exit $bad
