#!/usr/bin/env bash
# gdb_test.sh - gdb's own bt across segments; tools/mpg-gdb.py.
#
# usage: gdb_test.sh program script
# Exit status 77: there is no gdb, or it may not trace here.
set -u
program=$1
script=$2
command -v gdb > /dev/null || exit 77
export DEBUGINFOD_URLS=
out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT

# look <arguments of the program>
look() {
  gdb -nx -batch -ex 'set confirm off' -ex 'set pagination off' \
    -ex 'handle SIGURG nostop noprint pass' \
    -ex 'handle SIGCONT nostop noprint pass' -ex "source $script" \
    -ex 'break stop_here' -ex "run $*" \
    -ex 'echo ==bt\n' -ex 'bt' \
    -ex 'echo ==info\n' -ex 'info goroutines' \
    -ex 'printf "ids: %d %d %d\n", parked_id, loop_id, moved_id' \
    -ex 'echo ==parked\n' -ex 'eval "goroutine %d bt", parked_id' \
    -ex 'echo ==moved\n' -ex 'eval "goroutine %d bt", moved_id' \
    -ex 'echo ==loop\n' -ex 'eval "goroutine %d bt", loop_id' \
    -ex 'echo ==same\n' -ex 'bt 2' \
    -ex 'echo ==all\n' -ex 'goroutine all info registers rip' \
    -ex 'echo ==end\n' -ex 'kill' "$program" > "$out" 2>&1
}

# section <name>: what was printed between ==name and the next ==
section() {
  sed -n "/^==$1\$/,/^==/p" "$out"
}

bad=0
# expect <section> <count> <regex>
expect() {
  local n
  n=$(section "$1" | grep -Ec -- "$3")
  [ "$n" -eq "$2" ] && return
  echo "$1: $n lines match, not $2: $3"
  bad=1
}

for arguments in '' one; do
  # shellcheck disable=SC2086
  look $arguments
  if grep -q 'Operation not permitted' "$out"; then exit 77; fi
  read -r parked loop moved < <(sed -n 's/^ids: //p' "$out")
  expect bt 31 'in descend \('
  expect bt 1 ' start \(arg='
  expect bt 0 'Backtrace stopped'
  expect info 1 '^\* +1 +running +stop_here at '
  expect info 1 "^  +$parked +chan_recv +park at "
  expect info 1 "^  +$moved +chan_recv +park at "
  # perhaps it is being preempted
  expect info 1 "^  +$loop +(running|runnable|preempted) +[a-z_]+ at "
  expect parked 21 'in descend \('
  expect parked 1 ' parks_deep \(arg='
  expect parked 1 ' park \(\)'
  expect moved 2 'in descend \('
  expect moved 1 ' parks_moved \(arg='
  expect moved 1 ' park \(\)'
  expect loop 1 ' loops \(arg='
  expect same 1 '^#0 +stop_here'
  expect all 4 '^goroutine [0-9]+ \['
  [ $bad -eq 0 ] && continue
  echo "---- gdb's output ($arguments)"
  cat "$out"
  exit 1
done
