# as_users.sh - sourced by tests that build programs as users do: <build dir>
# <compiler>.  Gives build, cc, here (the test's folder), root, a scratch folder
# that goes at the end, bad=0, and arrays of flags: for compiling, and for
# linking with stubs and libmpg.a (static) or libmpg.so (shared).
set -u
build=$1
cc=$2
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
bad=0

flags=(-fsplit-stack -fno-omit-frame-pointer -fcf-protection=none
  -DMPG_SPLIT_STACK=1 -I"$root/include")
stubs=(-L"$build/libc" -lmpg_libc)
static=("$build/libmpg.a" "${stubs[@]}" -ljemalloc -lpthread -ldl -lm
  -Wl,-z,now)
shared=(-L"$build" "$build/libmpg_nonshared.a" -lmpg "${stubs[@]}" -lm
  -Wl,-z,now "-Wl,-rpath,$build")
