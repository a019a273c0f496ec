#!/usr/bin/env bash
# valgrind_test.sh <program> <suppressions>: memcheck, when it is installed,
# has nothing to say about goroutines, and finds the errors of one.
set -u
program=$1
suppressions=$2
command -v valgrind > /dev/null || {
  echo "valgrind is not installed"
  exit 77
}
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT

check() { # check clean|faulty
  valgrind --error-exitcode=9 --suppressions="$suppressions" \
    "$program" "$1" > "$log" 2>&1
}

fail() {
  echo "valgrind_test: $*"
  head -60 "$log"
  exit 1
}

check clean || fail "clean: status $?"
! grep -q WARNING "$log" || fail "clean: a warning"
check faulty
[ $? = 9 ] || fail "the error was not found"
grep -q "Invalid read of size 4" "$log" || fail "another error was found"
grep -q "read_freed (.*valgrind_program.c" "$log" || fail "where is it?"
grep -q "Conditional jump or move depends on uninit" "$log" ||
  fail "the branch was not found"
grep -q "branch_on_unwritten (.*valgrind_program.c" "$log" || fail "which one?"
grep -q "ERROR SUMMARY: 2 errors" "$log" || fail "more errors were found"
