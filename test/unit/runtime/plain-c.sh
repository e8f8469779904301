# Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

# Links a C program with the runtime as a user would, with cc alone, and looks
# at what the libraries need and offer: no C++ library, no LLVM, no names but
# fovea_*.
#
# plain-c.sh MAIN.c INCLUDE STATIC SHARED WORKDIR

set -eu
main=$1 include=$2 static=$3 shared=$4 work=$5
mkdir -p "$work"

fail() {
  echo "plain-c: $1"
  echo "$2"
  exit 1
}

cc -std=c99 -pedantic -Wall -Wextra -Werror -I"$include" "$main" "$static" \
  -lpthread -o "$work/static"
cc -std=c11 -pedantic -Wall -Wextra -Werror -I"$include" "$main" "$shared" \
  -Wl,-rpath,"$(dirname "$shared")" -o "$work/shared"
for program in static shared; do
  output=$("$work/$program" 2>&1) || fail "$program: exit code $?" "$output"
  [ -z "$output" ] || fail "$program printed" "$output"
  needed=$(readelf -d "$work/$program" | grep NEEDED)
  ! echo "$needed" | grep -iE 'stdc\+\+|libc\+\+|LLVM|MLIR' ||
    fail "$program needs more than C" "$needed"
done
readelf -d "$work/shared" | grep -q 'NEEDED.*libfovea_runtime\.so\.[0-9]' ||
  fail "the shared library has no SONAME" "$(readelf -d "$shared")"

exported=$(nm -D --defined-only "$shared" | awk '{print $3}')
echo "$exported" | grep -qx fovea_invoke || fail "no fovea_invoke" "$exported"
others=$(echo "$exported" | grep -v '^fovea_' || true)
[ -z "$others" ] || fail "exported beside fovea_*" "$others"

# The archive may define camelCase names of its own, with the same prefix.
defined=$(nm --defined-only --extern-only "$static" | awk 'NF == 3 {print $3}' |
  grep -v '^fovea' || true)
[ -z "$defined" ] || fail "defined beside fovea*" "$defined"

for library in "$static" "$shared"; do
  ! readelf -d "$library" 2>/dev/null | grep -iE 'NEEDED.*(c\+\+|LLVM|MLIR)' ||
    fail "$library needs more than C" ""
  foreign=$(nm --undefined-only "$library" | grep -E ' _Z|__cxa_[^f]|__gxx|[Ll][Ll][Vv][Mm]|mlir' || true)
  [ -z "$foreign" ] || fail "$library refers to" "$foreign"
  aborts=$(nm --undefined-only "$library" |
    grep -wE 'abort|exit|_exit|__assert_fail|printf|puts|perror|fprintf|stderr|stdout' || true)
  [ -z "$aborts" ] || fail "$library may end the process or print" "$aborts"
  if readelf -S "$library" | grep -qE '\.(ctors|init_array\.[0-9])'; then
    fail "$library has static constructors" ""
  fi
done
