#!/usr/bin/env bash
# libc_stubs.sh <C compiler> <source dir> <out dir>
#
# Makes, from arch/linux/libc.def,
#
#   libmpg_libc_stubs.a  one object for each function that the C library here
#                        has, bound to the version that it gives to new
#                        programs (rows that it lacks are left out)
#   libmpg_libc.so       what programs link, as -lmpg_libc: a text that names
#                        the archive
#   libmpg_libc_lto.so   the same, and pulls in the compiler's builtin
#                        functions: their names appear only after GCC's
#                        link-time optimisation, when no linker looks into
#                        archives any more
#   libmpg_libc.a, libmpg_libc_lto.a   _longjmp only: a program linked with
#                        -static gets no other stubs, because its libc has no
#                        second names for what it defines
set -euo pipefail
cc=$1
source=$2
out=$3
archive=$out/libmpg_libc_stubs.a
scratch=$(mktemp -d "$out/stubs.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

tool() { # tool <name>: the compiler's own, else the PATH's
  local path
  path=$("$cc" -print-prog-name="$1")
  command -v "$path" > /dev/null || path=$1
  echo "$path"
}
as=$(tool as)

# Default versions: <name> <version>
for library in libc.so.6 libm.so.6 libpthread.so.0; do
  path=$("$cc" -print-file-name=$library)
  [ -e "$path" ] || continue
  "$(tool readelf)" -W --dyn-syms "$path"
done | sed -nE 's/.* (FUNC|IFUNC) +(GLOBAL|WEAK) +DEFAULT +[0-9]+ ([A-Za-z_0-9]+)@@([A-Za-z_0-9.]+).*/\3 \4/p' > "$scratch/versions"

# Rows: <kind> <name> <version>
sed 's,/\*.*\*/,,; /^\/\*/,/\*\//d' "$source/arch/linux/libc.def" |
  tr '\n' ' ' | sed 's/MPGI_LIBC/\n&/g' |
  sed -nE 's/^MPGI_LIBC\(([A-Z_]+), "[^"]*",([^)]*)\).*/\1\2/p' |
  awk 'NR == FNR { if (!($1 in v)) v[$1] = $2; next }
       { for (i = 2; i <= NF; i++) if ($i in v) print $1, $i, v[$i] }' \
    "$scratch/versions" - > "$scratch/rows"
[ -s "$scratch/rows" ] || {
  echo "libc_stubs.sh: no function of libc.def found in the C library" >&2
  exit 1
}

stub() { # stub <file> <object>: assembles a line that needs the file
  printf '.include "%s"\n%s\n' "$1" "$(cat)" |
    "$as" -I "$source/arch/x86_64/libc" -o "$2" -
}

while read -r kind name version; do
  stub stub.S "$scratch/$name.o" <<< "$kind $name, $version"
done < "$scratch/rows"
version=$(sed -n 's/^_longjmp //p' "$scratch/versions" | head -1)
stub jump.S "$scratch/_longjmp.o" << END
.symver mpgi_real_longjmp, _longjmp@$version
JUMP mpgi_real_longjmp
END
(cd "$scratch" && "$(tool ar)" rcsD "$archive.new" ./*.o)
mv "$archive.new" "$archive"

# Builtins: the compiler says 1 behind their names.
builtins=$(while read -r _ name _; do
  echo "#ifdef __has_builtin"
  echo "builtin $name __has_builtin(__builtin_$name)"
  echo "#endif"
done < "$scratch/rows" | "$cc" -E -P -x c - |
  sed -nE 's/^builtin (.*) 1$/\1/p' | tr '\n' ' ')
echo "INPUT(libmpg_libc_stubs.a)" > "$out/libmpg_libc.so"
echo "EXTERN($builtins) INPUT(libmpg_libc_stubs.a)" > "$out/libmpg_libc_lto.so"
stub jump.S "$scratch/static.o" <<< "JUMP __libc_longjmp"
for library in libmpg_libc libmpg_libc_lto; do
  rm -f "$out/$library.a"
  "$(tool ar)" rcsD "$out/$library.a" "$scratch/static.o"
done
