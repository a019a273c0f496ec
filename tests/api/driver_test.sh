#!/usr/bin/env bash
# driver_test.sh: the driver of tests/crash must fail when it should.
set -u
driver=$(cd "$(dirname "$0")/.." && pwd)/support/crash_driver
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
bad=0

# program <shell code>: what dies.
program() {
  printf '#!/bin/sh\n%s\n' "$1" > "$scratch/prog"
  chmod +x "$scratch/prog"
}

# expect <pass|fail> <lines of the source...>
expect() {
  local want=$1 got=pass
  shift
  printf '%s\n' "$@" > "$scratch/prog.c"
  "$driver" "$scratch/prog.c" "$scratch/prog" > "$scratch/out" 2>&1 ||
    got=fail
  if [ $got != "$want" ]; then
    echo "expected $want for: $*" >&2
    cat "$scratch/out" >&2
    bad=1
  fi
}

program 'echo "fatal: no luck at 3" >&2; exit 2'
expect pass '// EXPECT-EXIT: 2'
expect pass '// EXPECT-EXIT: 2' '// EXPECT-STDERR: ^fatal: no luck at [0-9]$'
expect pass '// EXPECT-EXIT: 2' '// REJECT-STDERR: goroutine'
expect fail '// EXPECT-EXIT: 0'
expect fail '// EXPECT-EXIT: signal 6'
expect fail '// EXPECT-EXIT: 2' '// EXPECT-STDERR: ^no luck'
expect fail '// EXPECT-EXIT: 2' '// EXPECT-STDERR: fatal' \
  '// EXPECT-STDERR: absent'
expect fail '// EXPECT-EXIT: 2' '// REJECT-STDERR: luck'
expect fail 'int main(void);'

program 'kill -ABRT $$'
expect pass '// EXPECT-EXIT: signal 6'
expect fail '// EXPECT-EXIT: 2'

program 'echo "$A $B $1" >&2; exit 3'
expect pass '// EXPECT-EXIT: 3' '// ENV: A=one' '// ENV: B=two words' \
  '// ARGS: three' '// EXPECT-STDERR: ^one two words three$'

program 'echo "$MPG_DEBUG" >&2; exit 3'
unset MPG_DEBUG
expect pass '// EXPECT-EXIT: 3' '// ENV: MPG_DEBUG=own' '// EXPECT-STDERR: ^own$'
export MPG_DEBUG=given=2
expect pass '// EXPECT-EXIT: 3' '// EXPECT-STDERR: ^given=2$'
expect pass '// EXPECT-EXIT: 3' '// ENV: MPG_DEBUG=own=1' \
  '// EXPECT-STDERR: ^given=2,own=1$'
exit $bad
