#!/bin/sh
# headers.sh ROOT BUILD CC…: every header compiles alone.
set -u
root=$1 build=$2
shift 2
cd "$root" || exit 1

flags=$(pkg-config --cflags jansson libprotobuf-c nettle zlib openblas 2>/dev/null)
seen=0 bad=0
for h in $(find base kernels graph formats train passes cli -name '*.h' ! -path 'kernels/cuda/*' 2>/dev/null | LC_ALL=C sort); do
    seen=$((seen + 1))
    if ! printf '#include "%s"\n' "$h" |
        "$@" -std=c17 -D_GNU_SOURCE '-DMC_VERSION=""' -Wall -Wextra -Werror -Wno-unused-function -I. -I"$build" $flags \
            -fsyntax-only -x c -; then
        bad=$((bad + 1))
    fi
done
echo "$seen headers, $bad do not compile alone"
[ "$bad" = 0 ] && [ "$seen" -gt 0 ]
