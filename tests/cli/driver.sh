#!/bin/sh
# driver.sh [--rewrite] BIN CRAFT MODELS CASE.sh: run one case and compare it with what is expected.
#
# A case is a script, run by sh in an empty folder of its own with `mcompress`, `try` (shows a command with
# all that came of it) and `craft` (craft.c: models and samples that no exporter makes) in its PATH and the
# reference models in $MODELS. Beside CASE.sh lie
# CASE.out and CASE.err, the exact standard output and error (no file: nothing may be printed), and CASE.exit,
# the status (no file: 0). --rewrite writes these files anew instead: read the difference before it is
# committed. For all cases:
#     for c in tests/cli/cases/*.sh; do tests/cli/driver.sh --rewrite build/mcompress build/tests/cli/craft models $c; done
set -u

rewrite=
if [ "$1" = --rewrite ]; then
    rewrite=1
    shift
fi
absolute() {
    (cd "$(dirname "$1")" && printf '%s/%s\n' "$PWD" "$(basename "$1")")
}
here=$(cd "$(dirname "$0")" && pwd)
bin=$(absolute "$1") craft=$(absolute "$2") MODELS=$(cd "$3" && pwd) case=$(absolute "$4")
expected=${case%.sh}

if grep -q 'fashion-mnist:' "$case" && [ ! -d /usr/share/datasets/fashion-mnist ] &&
    [ ! -d "${MCOMPRESS_DATA:-/nowhere}/fashion-mnist" ]; then
    echo 'the Fashion-MNIST files are not installed (Debian: dataset-fashion-mnist)'
    exit 77
fi

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin" "$work/run" "$work/got"
ln -s "$bin" "$work/bin/mcompress"
ln -s "$craft" "$work/bin/craft"
ln -s "$here/try" "$work/bin/try"
cd "$work/run" || exit 1
export MODELS
unset NO_COLOR MCOMPRESS_KERNELS 2>/dev/null
export MCOMPRESS_DEVICE=cpu # the same text on a machine with a GPU
PATH=$work/bin:$PATH LC_ALL=C TMPDIR=$work/got sh "$case" >"$work/out" 2>"$work/err" </dev/null
echo $? >"$work/exit"
if [ -n "$(ls -A "$work/got")" ]; then
    echo "left behind in TMPDIR: $(ls -A "$work/got")" >>"$work/err"
fi

# A sanitizer's complaint is a failure whatever is expected, also where the status is not.
if grep -q -e 'Sanitizer' -e 'runtime error:' "$work/err"; then
    cat "$work/err"
    exit 1
fi
[ "$(cat "$work/exit")" = 77 ] && { cat "$work/err"; exit 77; }

status=0
for part in out err exit; do
    want=$expected.$part
    if [ -n "$rewrite" ]; then
        rm -f "$want"
        if [ $part = exit ]; then
            [ "$(cat "$work/exit")" = 0 ] || cp "$work/exit" "$want"
        elif [ -s "$work/$part" ]; then
            cp "$work/$part" "$want"
        fi
        continue
    fi
    if [ ! -f "$want" ]; then
        want=$work/nothing
        if [ $part = exit ]; then echo 0 >"$want"; else : >"$want"; fi
    fi
    if ! diff -u "$want" "$work/$part"; then
        echo "$(basename "$case"): $part differs"
        status=1
    fi
done
exit $status
