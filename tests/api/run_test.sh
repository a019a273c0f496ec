#!/usr/bin/env bash
# run_test.sh: what ./run does before it builds: usage, unknown words, and
# installing what is missing, with a PATH that has almost nothing in it.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
bad=0

complain() {
  echo "run_test: $*" >&2
  bad=1
}

# expect <status> <words of the output> <arguments of run...>
expect() {
  local want=$1 words=$2 said status
  shift 2
  said=$("$root/run" "$@" 2>&1)
  status=$?
  [ $status -eq "$want" ] || complain "run $*: exit status $status"
  [[ $said == *"$words"* ]] || complain "run $*: said '$said'"
}

expect 0 "usage: ./run" help
expect 2 "usage: ./run"
expect 2 "unknown command 'tset'" tset
expect 2 "unknown preset 'fast'" test --preset fast
expect 2 "usage: ./run" test --preset

# ---- a bare machine ----------------------------------------------------------
bin=$scratch/bin
mkdir "$bin"
for tool in bash dirname cat sed sort tr head printf env mkdir; do
  ln -s "$(command -v $tool)" "$bin/$tool"
done
printf '#!/bin/sh\necho 2\n' > "$bin/nproc"

user() { # user <id>: who runs the script
  printf '#!/bin/sh\necho %s\n' "$1" > "$bin/id"
  chmod +x "$bin/id"
}

# An apt-get that writes down what it is asked; installing works only after
# an update, as on a fresh image.
cat > "$scratch/apt-get" << TEXT
#!/bin/sh
echo "apt-get \$*" >> "$scratch/log"
case \$1 in
  update) : > "$scratch/updated" ;;
  install) [ -e "$scratch/updated" ] ;;
esac
TEXT
printf '#!/bin/sh\necho sudo >> "%s/log"\nexec "$@"\n' "$scratch" \
  > "$scratch/sudo"
chmod +x "$bin/nproc" "$scratch/apt-get" "$scratch/sudo"

bare() { PATH=$bin CC=cc expect "$@"; }
user 0
bare 1 "these Debian packages are needed, and there is no apt-get: build" demo
cp "$scratch/apt-get" "$bin/apt-get"
user 1000
bare 1 "not root and no sudo; please install: build-essential" demo
[ ! -e "$scratch/log" ] || complain "apt-get was called without being root"

# Everything is "installed", nothing appears: CMake is asked for at last.
check_log() {
  local verbs
  verbs=$(awk '/^apt-get/{print $2} /^sudo/{print "sudo"}' "$scratch/log" |
    tr '\n' ' ')
  [ "$verbs" = "$1" ] || complain "apt-get was called as: $verbs"
  rm -f "$scratch/log" "$scratch/updated"
}
user 0
bare 1 "CMake 3.25 or newer is needed" demo
for package in build-essential cmake ninja-build lld pkg-config \
  libjemalloc-dev libcmocka-dev; do
  grep -qw -- "$package" "$scratch/log" || complain "$package isn't installed"
done
if grep -q -e golang -e clang-format "$scratch/log"; then
  complain "demo installs what only benches or format need"
fi
check_log "install update install "
user 1000
cp "$scratch/sudo" "$bin/sudo"
bare 1 "CMake 3.25 or newer is needed" bench
for package in golang-go libgc-dev; do
  grep -qw -- "$package" "$scratch/log" || complain "$package isn't installed"
done
check_log "sudo install sudo update sudo install "
bare 1 "" format
grep -qw clang-format "$scratch/log" || complain "clang-format isn't installed"
exit $bad
