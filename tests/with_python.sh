#!/bin/sh
# with_python.sh SCRIPT ARGS…: run a Python script that compares mcompress with onnx and onnxruntime.
#
# Uses the interpreter $MCOMPRESS_TEST_PYTHON if that is set. Otherwise makes, once per build folder, a
# virtual environment with the pinned packages below; where that cannot be made (no python3-venv, no
# network) it says why and exits 77, which meson counts as a skip.
set -u
export MCOMPRESS_DEVICE=cpu # the same numbers on a machine with a GPU
packages='onnx==1.23.2 onnxruntime==1.32.0 numpy'

if [ -n "${MCOMPRESS_TEST_PYTHON:-}" ]; then
    exec "$MCOMPRESS_TEST_PYTHON" "$@"
fi

skip() {
    echo "with_python.sh: $1; set MCOMPRESS_TEST_PYTHON to a Python that has $packages" >&2
    exit 77
}

# Tests run in the build folder; by hand the script is called from anywhere.
if [ -n "${MESON_BUILD_ROOT:-}" ]; then
    root=$MESON_BUILD_ROOT
elif [ -d meson-private ]; then
    root=$PWD
else
    root=$(dirname "$0")/../build
fi
[ -d "$root" ] || skip "no build folder at $root"
venv=$root/test-python
stamp="$venv/ready"

command -v python3 >/dev/null || skip 'no python3'
command -v flock >/dev/null || skip 'no flock (util-linux)'

# Scripts start in parallel: the first one makes the environment, the others wait. The stamp holds the
# outcome, so that a failure costs its time once; removing $venv tries again.
exec 9>"$root/test-python.lock" || skip "cannot write in $root"
flock 9
if [ "$(sed -n 1p "$stamp" 2>/dev/null)" != "$packages" ]; then
    rm -rf "$venv"
    log=$root/test-python.log
    {
        python3 -m venv "$venv" &&
            "$venv/bin/python" -m pip install --quiet --disable-pip-version-check $packages &&
            "$venv/bin/python" -c 'import numpy, onnx, onnxruntime'
    } >"$log" 2>&1
    state=$?
    mkdir -p "$venv"
    printf '%s\n%s\n' "$packages" "$state" >"$stamp"
fi
state=$(sed -n 2p "$stamp")
exec 9>&-
[ "$state" = 0 ] || skip "the Python environment could not be made ($(tail -n 1 "$root/test-python.log"))"
exec "$venv/bin/python" "$@"
